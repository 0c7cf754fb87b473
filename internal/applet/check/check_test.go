package check_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	checkcmd "sekisho/internal/applet/check"
	"sekisho/internal/applet/exit"
	"sekisho/internal/check"
	"sekisho/internal/clock"
)

// run runs the command with its output in a file, as in a pipe.
func run(t *testing.T, main string, asJSON bool) (out string, status int) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": "smtp inet n - n - - smtpd\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	err = (&checkcmd.Cmd{Config: dir, JSON: asJSON}).Run(&checkcmd.Env{Out: f, Clock: clock.System{}})
	var s exit.Status
	if err != nil && !errors.As(err, &s) {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(b), dir, "DIR"), int(s)
}

const good = "compatibility_level = 3.6\nmyhostname = mx.demo.test\ninet_interfaces = 127.0.0.1\nmydestination =\nlocal_recipient_maps =\nmynetworks = 127.0.0.0/8\n"

func TestLines(t *testing.T) {
	if out, status := run(t, good, false); out != "" || status != 0 {
		t.Errorf("a good configuration: %q, exit status %d", out, status)
	}
	out, status := run(t, good+"smtpd_helo_require = yes\n", false)
	want := "DIR/main.cf:7: warning SEK003: unused parameter: smtpd_helo_require=yes; no such parameter, and no value refers to it (did you mean smtpd_helo_required?)\n"
	if out != want || status != 1 {
		t.Errorf("got  %q, exit status %d\nwant %q, exit status 1", out, status, want)
	}
	if out, status := run(t, good+"soft_bounce = maybe\n", false); status != 2 || !strings.HasPrefix(out, "DIR/main.cf:7: error SEK001: ") {
		t.Errorf("%q, exit status %d", out, status)
	}
}

func TestJSON(t *testing.T) {
	out, status := run(t, good+"soft_bounce = maybe\n", true)
	var found []check.Finding
	if err := json.Unmarshal([]byte(out), &found); err != nil {
		t.Fatal(err)
	}
	if status != 2 || len(found) != 1 || found[0].Code != "SEK001" || found[0].Pos.Line != 7 {
		t.Errorf("%+v, exit status %d", found, status)
	}
	if out, status := run(t, good, true); strings.TrimSpace(out) != "[]" || status != 0 {
		t.Errorf("a good configuration: %q, exit status %d", out, status)
	}
}
