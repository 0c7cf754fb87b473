package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"
)

// TestMain is main where the smoke test runs this program as the benchmark.
func TestMain(m *testing.M) {
	if os.Getenv("SEKISHO_BENCH_MAIN") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// TestEveryMeasure takes every measure once, with numbers that say nothing about
// speed.
func TestEveryMeasure(t *testing.T) {
	rows := bench(t, "-servers=sekisho", "-what=disk,accept,sink10,discard10,refuse,idle,queued,auth,slow")
	figures := map[string][]string{
		"disk":      {"one file for each message, messages/s", "one log for all, syncs shared, messages/s"},
		"accept":    {accepted, "delivered to Maildir, messages/s", generatorShare},
		"sink10":    {accepted, "relayed to the sink, messages/s"},
		"discard10": {accepted, "thrown away, messages/s"},
		"refuse":    {relayRefused, unknownRefused},
		"idle":      {"memory in all, MiB", idleMemoryTLS},
		"queued":    {accepted, drained, "peak memory after start with a full queue, MiB"},
		"auth":      {"embedded: logins/s"},
		"slow":      {"AUTH after EHLO: logged in"},
	}
	if os.Geteuid() == 0 {
		figures["refuse"] = append(figures["refuse"], blockRefused, tableRefused)
	}
	wantFigures(t, rows, "sekisho", figures)
}

// TestPostfixIsMeasured has Postfix go through the measures where it is not
// handled as Sekisho is.
func TestPostfixIsMeasured(t *testing.T) {
	if why := noPostfix(); why != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	rows := bench(t, "-servers=postfix", "-what=accept,queued,idle")
	wantFigures(t, rows, "postfix", map[string][]string{
		"accept": {accepted, "delivered to Maildir, messages/s", cpuPerMessage},
		"queued": {accepted, drained, cpuPerMessage},
		"idle":   {idleMemory},
	})
}

// bench runs the benchmark once with few of everything.
func bench(t *testing.T, args ...string) (rows []row) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts servers again and again")
	}
	cmd := exec.Command(os.Args[0], append([]string{"-json", "-rounds=1", "-sessions=3", "-messages=24", "-attempts=6",
		"-idle=5", "-queued=30", "-logins=4", "-slow=3"}, args...)...)
	cmd.Env = append(os.Environ(), "SEKISHO_BENCH_MAIN=yes")
	var out, progress bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &progress
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, &progress)
	}
	if err := json.Unmarshal(out.Bytes(), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// wantFigures wants figures of a server above 0, by measure.
func wantFigures(t *testing.T, rows []row, subject string, figures map[string][]string) {
	t.Helper()
	for measure, names := range figures {
		whose := subject
		if measure == "disk" {
			whose = measure
		}
		for _, name := range names {
			i := slices.IndexFunc(rows, func(r row) bool { return r.Measure == measure && r.Figure == name })
			if i < 0 {
				t.Errorf("%s: no figure %q", measure, name)
			} else if rows[i].Median[whose] <= 0 {
				t.Errorf("%s: %q of %s is %v", measure, name, whose, rows[i].Median[whose])
			}
		}
	}
}
