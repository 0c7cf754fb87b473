package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/dovecot"
)

func TestParseStat(t *testing.T) {
	line := "77 (odd) name (x) S 5 77 77 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 3 0 12345 0 0"
	got, err := parseStat(77, []byte(line))
	if err != nil {
		t.Fatal(err)
	}
	want := stat{pid: 77, parent: 5, threads: 3, own: 3, waited: 0.5}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for _, bad := range []string{"", "77", "77 (x) S 5", "77 (x) S a 77 77 0 -1 4194560 100 0 0 0 250 50 30 20 20 0 3 0"} {
		if _, err := parseStat(77, []byte(bad)); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}

func TestParsePSS(t *testing.T) {
	got, err := parsePSS([]byte("5580-7ffd ---p 00000000 00:00 0 [rollup]\nRss:   1744 kB\nPss:    342 kB\nPss_Dirty: 9 kB\n"))
	if err != nil || got != 342*1024 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parsePSS([]byte("Rss: 1 kB\n")); err == nil {
		t.Error("no error without a line Pss")
	}
}

// TestTreeCountsEndedChildren has a shell with a child at work and one that has
// worked and ended.
func TestTreeCountsEndedChildren(t *testing.T) {
	cmd := exec.Command("sh", "-c", `sh -c 'i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done'; echo ready; sleep 60; :`)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		t.Fatal(err)
	}
	// The shell starts sleep right after it has said so.
	processes, err := tree(cmd.Process.Pid)
	for deadline := time.Now().Add(10 * time.Second); err == nil && len(processes) < 2 && time.Now().Before(deadline); {
		processes, err = tree(cmd.Process.Pid)
	}
	used, errCPU := cpuSeconds(cmd.Process.Pid)
	memory, errPSS := pss(cmd.Process.Pid)
	for _, p := range processes {
		if child, err := os.FindProcess(p.pid); err == nil {
			child.Kill()
		}
	}
	cmd.Wait()
	if err != nil || errCPU != nil || errPSS != nil {
		t.Fatal(err, errCPU, errPSS)
	}
	if len(processes) != 2 {
		t.Errorf("%d processes, want the shell and sleep", len(processes))
	}
	if used <= 0.02 {
		t.Errorf("%.3f s of CPU: the ended child is missing", used)
	}
	if memory <= 0 {
		t.Errorf("%d bytes of memory", memory)
	}
}

func TestResultsTable(t *testing.T) {
	var r results
	for _, v := range []float64{900, 1200, 1000} {
		r.add("accept", 10, "messages/s", "sekisho", v)
	}
	r.add("accept", 10, "messages/s", "postfix", 500)
	r.add("accept", 10, "messages/s", "postfix", 300)
	r.add("idle", 1000, "KiB", "sekisho", 21.25)
	r.add("disk", 1, "files/s", "disk", 2500)
	var b bytes.Buffer
	if err := r.writeTable(&b); err != nil {
		t.Fatal(err)
	}
	var got [][]string
	for line := range strings.Lines(b.String()) {
		got = append(got, strings.Fields(line))
	}
	want := [][]string{
		{"measure", "sessions", "sekisho", "postfix", "ratio", "goal", "figure"},
		{"accept", "10", "1000", "400", "2.50", "-", "messages/s"},
		{"idle", "1000", "21.2", "-", "-", "-", "KiB"},
		{"disk", "1", "2500", "(disk)", "-", "-", "files/s"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestRepeatStopsAtError(t *testing.T) {
	if _, err := repeat(t.Context(), "test", 3, 100, func(i int) error {
		if i == 50 {
			return os.ErrInvalid
		}
		return nil
	}); err != os.ErrInvalid {
		t.Errorf("error %v", err)
	}
}

func TestPlanRefusesNonsense(t *testing.T) {
	for _, args := range [][]string{
		{"-what=disk,acept"}, {"-sessions=0"}, {"-sessions=1,x"}, {"-idle="}, {"-rounds=0"}, {"-messages=-1"},
	} {
		f := flag.NewFlagSet("bench", flag.ContinueOnError)
		f.SetOutput(io.Discard)
		p := flags(f)
		if f.Parse(args) == nil && p.check() == nil {
			t.Errorf("%v was taken", args)
		}
	}
}

// TestSlowBackend logs in by Dovecot's protocol, twice at once over what the
// slow backend offers, and counts what failed.
func TestSlowBackend(t *testing.T) {
	b := &backends{dir: t.TempDir()}
	ways, err := b.openSlow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer b.stop()
	_, socket, _ := strings.Cut(strings.TrimSpace(ways[0].settings), "smtpd_sasl_path = ")
	peer := dovecot.New(socket, "", clock.System{})
	defer peer.Close()
	var res results
	s := &sekisho{}
	err = atOnce(t.Context(), s, "test", 2, &res, func(i int) error {
		_, step := peer.Start(t.Context(), sasl.Client{Service: "smtp"}, "PLAIN", "AGEAYg==", true)
		if step.Kind != sasl.Done || step.User != account(0) {
			t.Errorf("login %d: %+v", i, step)
		}
		if i == 1 {
			return os.ErrInvalid
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if in := res.rows[0].Median["sekisho"]; in != 1 {
		t.Errorf("%v logged in, want 1: the other failed", in)
	}
	if took := res.rows[1].Median["sekisho"]; took < delay.Seconds() {
		t.Errorf("all was answered after %v s, before the backend can have answered", took)
	}
}
