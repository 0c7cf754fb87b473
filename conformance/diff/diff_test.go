package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekisho/conformance"
	"sekisho/conformance/sandbox"
)

func TestMain(m *testing.M) {
	if role := sandbox.Role(); role != "" {
		if err := work(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// needs skips a test whose peers are missing; where the whole proof is asked for,
// that is a failure.
func needs(t *testing.T, commands ...string) {
	t.Helper()
	missing := ""
	if os.Getuid() != 0 {
		missing = "root"
	}
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			missing = c
		}
	}
	switch {
	case missing == "":
	case os.Getenv("CI") == "true":
		t.Fatal("needs " + missing)
	default:
		t.Skip("needs " + missing)
	}
}

// TestDialogues plays a sample; conformance-diff of the Makefile plays more.
func TestDialogues(t *testing.T) {
	if testing.Short() {
		t.Skip("plays to a real Postfix")
	}
	needs(t, "postfix")
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(binary, "")
	r.out = testLog{t}
	if err := r.world(1, 400); err != nil {
		t.Fatal(err)
	}
	if r.differ > 0 {
		t.Errorf("%d of %d dialogues differ", r.differ, r.done)
	}
	if r.done < 300 || r.covered.dialogues == 0 || len(r.covered.names) < 10 {
		t.Errorf("only %d dialogues, restrictions seen in %d: %d", r.done, r.covered.dialogues, len(r.covered.names))
	}
}

// testLog writes to a test's log.
type testLog struct{ *testing.T }

func (l testLog) Write(p []byte) (int, error) {
	l.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// TestKept plays what was found before to Sekisho.
func TestKept(t *testing.T) {
	needs(t)
	binary, err := build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("../testdata/diff/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			want, err := conformance.Parse(path, text)
			if err != nil {
				t.Fatal(err)
			}
			c, err := sampleOf(want)
			if err != nil {
				t.Fatal(err)
			}
			got := playSekisho(t, c, binary)
			a, b := heard(lines(outcome{Steps: want.Steps, Log: want.Log})), heard(lines(got))
			if !slices.Equal(a, b) {
				t.Errorf("Postfix:\n%s\nSekisho:\n%s", strings.Join(a, "\n"), strings.Join(b, "\n"))
			}
		})
	}
}

func playSekisho(t *testing.T, c sample, binary string) outcome {
	t.Helper()
	w, err := sandbox.Start(roleSekisho, binaryVariable+"="+binary)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var r reply
	if err := w.Call(request{World: c.world()}, &r); err != nil {
		t.Fatal(err)
	}
	if err := w.Call(request{Play: map[int][]talk{0: c.Talks}}, &r); err != nil {
		t.Fatal(err)
	}
	o := r.Play[0][len(c.Talks)-1]
	if o.Err != "" {
		t.Fatal(o.Err)
	}
	return o
}

// TestWorlds: a seed says all, and the generator uses the whole language.
func TestWorlds(t *testing.T) {
	text := func(seed int64) string { return fmt.Sprint(makeWorld(seed, services, talksEach)) }
	if first, again := text(7), text(7); first != again || first == text(8) {
		t.Error("a world does not follow from its seed alone")
	}
	all := ""
	for seed := range int64(12) {
		all += strings.ToLower(text(seed))
	}
	for name := range restrictions {
		if !strings.Contains(all, name) {
			t.Errorf("%s is in none of 12 worlds", name)
		}
	}
}

// TestShrinker makes a difference small that a scripted pair of servers has: it
// wants one setting, one item, one entry and one line.
func TestShrinker(t *testing.T) {
	say := func(lines ...string) talk {
		var out talk
		for _, l := range lines {
			out = append(out, turn{{Kind: conformance.Send, Data: []byte(l)}, {Kind: conformance.Reply, Data: []byte("?")}})
		}
		return out
	}
	s := &shrinker{kind: "difference", say: t.Logf}
	s.try = func(all []sample) []bool {
		var out []bool
		for _, c := range all {
			text := string(transcript("", "", c, outcome{Steps: c.Talks[len(c.Talks)-1].steps()}).Format())
			wanted := []string{"soft_bounce", "reject_rbl_client x", "check_client_access", "key value", "MAIL", "x.test A 192.0.2.1", "mydestination"}
			out = append(out, !slices.ContainsFunc(wanted, func(w string) bool { return !strings.Contains(text, w) }))
		}
		return out
	}
	start := sample{
		Main: []setting{{Name: "relayhost", Value: "x"}, {Name: "mydestination", Value: "y"}}, Zone: []string{"a.test A 192.0.2.9", "x.test A 192.0.2.1", "b.test EXISTS"},
		Files: map[string]string{"access": "other line\nkey value\nmore x\n", "unused": "x y\n"},
		Settings: []setting{
			{Name: "soft_bounce", Value: "yes"}, {Name: "reject_code", Value: "550"},
			{Name: "smtpd_client_restrictions", List: true, Items: []string{"permit_mynetworks", "reject_rbl_client x", "check_client_access texthash:$config_directory/t/access"}},
		},
		Talks: []talk{say("QUIT"), say("EHLO", "MAIL", "RCPT", "QUIT")},
	}
	got := s.reduce(start)
	want := sample{
		Main: start.Main[1:], Zone: start.Zone[1:2], Files: map[string]string{"access": "key value\n"},
		Settings: []setting{start.Settings[0], {Name: "smtpd_client_restrictions", List: true, Items: start.Settings[2].Items[1:]}},
		Talks:    []talk{{start.Talks[1][0], start.Talks[1][1]}},
	}
	text := func(c sample) string {
		return string(transcript("", "", c, outcome{Steps: c.Talks[len(c.Talks)-1].steps()}).Format())
	}
	if a, b := text(got), text(want); a != b || len(got.Talks) != 1 {
		t.Errorf("got  %s\nwant %s", a, b)
	}
}

// TestCatcher: the end of a session is found with what is logged behind it.
func TestCatcher(t *testing.T) {
	c := newCatcher()
	for i, l := range []string{"connect from x[192.0.2.1]", "disconnect from x[192.0.2.1]", "master_notify: status 1"} {
		c.take("<22>Nov 25 12:00:0" + strconv.Itoa(i) + " postfix/v3/smtpd[7]: " + l)
	}
	if lines, ok := c.session("v3", time.Second); !ok || len(lines) != 2 {
		t.Errorf("%q, %v", lines, ok)
	}
	if lines, ok := c.session("v3", time.Millisecond); ok || len(lines) != 1 {
		t.Errorf("%q, %v", lines, ok)
	}
}

// TestMasksAreExplained: what is known to differ stands in differences.md.
func TestMasksAreExplained(t *testing.T) {
	text, err := os.ReadFile("../differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append(slices.Clone(knownNames), maskNames()...) {
		if !strings.Contains(string(text), "| "+name+" |") {
			t.Errorf("differences.md does not explain %q", name)
		}
	}
}
