package conformance

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekisho/conformance/sandbox"
)

var record = flag.Bool("record", false, "write down what Postfix does as the truth (TestPostfix only)")

// workers is how many servers of a kind run side by side: they mostly wait.
const workers = 6

func TestMain(m *testing.M) {
	if role := sandbox.Role(); role != "" {
		if err := Work(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() < strconv.Itoa(workers) {
		f.Value.Set(strconv.Itoa(workers))
	}
	os.Exit(m.Run())
}

// TestPostfix plays the dialogues to the real Postfix of this machine: the
// harness measures what it says it measures.
func TestPostfix(t *testing.T) {
	requireRoot(t)
	requirePostfix(t)
	playAll(t, rolePostfix, nil, checkPostfix)
}

func checkPostfix(t *testing.T, want, got *Transcript) {
	d := difference(want, got)
	if *record && d != "" {
		if err := os.WriteFile(transcriptPath(want.Name), got.Format(), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if d != "" {
		t.Errorf("Postfix does not do what was recorded (- recorded, + now):\n%s", d)
	}
}

// TestSekisho plays the dialogues to Sekisho.
func TestSekisho(t *testing.T) {
	requireRoot(t)
	binary := filepath.Join(t.TempDir(), "sekisho")
	if out, err := exec.Command("go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput(); err != nil {
		t.Fatalf("building sekisho: %v\n%s", err, out)
	}
	justified := differences(t)
	playAll(t, roleSekisho, []string{binaryVariable + "=" + binary}, func(t *testing.T, want, got *Transcript) {
		d := difference(want, got)
		switch expected, ok := justified[want.Name]; {
		case ok && d != expected:
			t.Errorf("Sekisho differs from Postfix, but not as differences.md says; it does so:\n%s", d)
		case !ok && d != "":
			t.Errorf("Sekisho differs from Postfix (- recorded, + now):\n%s", d)
		}
	})
}

// requirePostfix is for tests that need the servers of Debian's packages.
func requirePostfix(t *testing.T) {
	for _, command := range []string{"postfix", "dovecot"} {
		if _, err := exec.LookPath(command); err != nil {
			unavailable(t, fmt.Sprintf("%s is not installed: %v", command, err))
		}
	}
}

func requireRoot(t *testing.T) {
	if os.Getuid() != 0 {
		unavailable(t, "namespaces and low ports need root")
	}
}

// unavailable skips a test whose peer is missing; where the whole proof is asked
// for, that is a failure.
func unavailable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// playAll plays every transcript, several at a time, and hands each to check.
func playAll(t *testing.T, role string, env []string, check func(t *testing.T, want, got *Transcript)) {
	pools := map[string]*pool{}
	for _, script := range transcripts(t, "testdata") {
		p := pools[script.Site]
		if p == nil {
			p = newPool(role, append([]string{siteVariable + "=" + script.Site}, env...))
			pools[script.Site] = p
			t.Cleanup(p.close)
		}
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			got, took, err := p.play(script)
			if err != nil {
				t.Fatal(err)
			}
			if took > 5*time.Second {
				t.Logf("took %s", took)
			}
			check(t, script, got)
		})
	}
}

// pool starts workers when they are needed.
type pool struct {
	role string
	env  []string
	free chan *sandbox.Worker // nil stands for one not started
}

func newPool(role string, env []string) *pool {
	p := &pool{role: role, env: env, free: make(chan *sandbox.Worker, workers)}
	for range workers {
		p.free <- nil
	}
	return p
}

func (p *pool) play(script *Transcript) (*Transcript, time.Duration, error) {
	w := <-p.free
	var err error
	if w == nil {
		if w, err = sandbox.Start(p.role, p.env...); err != nil {
			p.free <- nil
			return nil, 0, err
		}
	}
	var got reply
	if err := w.Call(request{script.Name, script.Format()}, &got); err != nil {
		w.Close() // its state is unknown
		p.free <- nil
		return nil, 0, err
	}
	p.free <- w
	t, err := Parse(script.Name, got.Text)
	return t, got.Took, err
}

func (p *pool) close() {
	for range workers {
		if w := <-p.free; w != nil {
			w.Close()
		}
	}
}

func transcriptPath(name string) string { return filepath.Join("testdata", name+".txt") }

// transcripts reads all of a folder.
func transcripts(t *testing.T, dir string) []*Transcript {
	paths, err := filepath.Glob(dir + "/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts in %s: %v", dir, err)
	}
	var all []*Transcript
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		script, err := Parse(strings.TrimSuffix(filepath.Base(path), ".txt"), text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, script)
	}
	return all
}
