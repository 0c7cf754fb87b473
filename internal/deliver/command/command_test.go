package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
)

// nobody is who commands run as when the tester is root.
func nobody() int {
	if os.Getuid() == 0 {
		return 65534
	}
	return os.Getuid()
}

func run(t *testing.T, c Command, input string) (deliver.Result, string) {
	t.Helper()
	var log bytes.Buffer
	c.UID, c.GID, c.Service, c.Log = nobody(), max(os.Getgid(), nobody()), "pipe", slog.New(slog.NewTextHandler(&log, nil))
	if c.Clock == nil {
		c.Clock, c.Limit = clock.System{}, 20*time.Second
	}
	return c.Run(t.Context(), func(w io.Writer) error { _, err := io.WriteString(w, input); return err }), log.String()
}

func TestLines(t *testing.T) {
	for _, c := range []struct {
		line, shell string
		status      deliver.Status
		dsn, text   string
	}{
		{"cat", "", deliver.Sent, "2.0.0", "hello"},
		{"cat; echo $((1+1))", "", deliver.Sent, "2.0.0", "hello2 "},
		{"exit 67", "", deliver.Bounced, "5.1.1", "user unknown"}, // only a shell knows exit
		{"/bin/sh -c exit", "", deliver.Sent, "2.0.0", ""},
		{"echo a b", "/bin/echo -n", deliver.Sent, "2.0.0", "echo a b"},
		{"/no/such/thing", "", deliver.Deferred, "4.3.0", "temporary failure. Command output: pipe: fatal: execvp /no/such/thing: No such file or directory "},
		{"kill -9 $$", "", deliver.Deferred, "4.3.0", `Command died with signal 9: "kill -9 $$"`},
		{"echo 4.2.2 full; exit 9", "", deliver.Deferred, "4.2.2", "full "},
		{"exit 9", "", deliver.Bounced, "5.3.0", `Command died with status 9: "exit 9"`},
		{"printf 'a\\tb\\033'; exit 75", "", deliver.Deferred, "4.3.0", "temporary failure. Command output: a b_"},
	} {
		r, _ := run(t, Command{Line: c.line, Shell: strings.Fields(c.shell)}, "hello")
		if r.Status != c.status || r.DSN != c.dsn || r.Text != c.text {
			t.Errorf("%s: %v %s %q, want %v %s %q", c.line, r.Status, r.DSN, r.Text, c.status, c.dsn, c.text)
		}
	}
}

// A command is not root, has no capabilities and no environment but its own.
func TestPowers(t *testing.T) {
	r, _ := run(t, Command{Argv: []string{"sh", "-c", "id -u; umask; grep CapPrm /proc/self/status; grep CapAmb /proc/self/status; env | sort"}, Env: []string{"A=b"}}, "")
	for _, want := range []string{"0077", "CapPrm: 0000000000000000", "CapAmb: 0000000000000000", "A=b PATH=/usr/bin:/bin"} {
		if !strings.Contains(r.Text, want) {
			t.Errorf("%q has no %q", r.Text, want)
		}
	}
	if strings.HasPrefix(r.Text, "0 ") {
		t.Errorf("runs as root: %q", r.Text)
	}
	c := Command{Argv: []string{"true"}, UID: 0, GID: 1, Clock: clock.System{}, Limit: time.Minute, Log: slog.New(slog.DiscardHandler)}
	if r := c.Run(t.Context(), func(io.Writer) error { return nil }); r.Status != deliver.Deferred {
		t.Errorf("root's command: %+v", r)
	}
}

// A folder that the user may not enter is not entered with the server's rights.
func TestFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs another user's folder")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	r, log := run(t, Command{Argv: []string{"pwd"}, Dir: dir}, "")
	if r.Status != deliver.Deferred || r.Text != "temporary failure" || !strings.Contains(log, "cannot change directory") {
		t.Errorf("%+v, log %s", r, log)
	}
	if r, _ := run(t, Command{Argv: []string{"pwd"}, Home: dir}, ""); r.Text != "/ " {
		t.Errorf("begins in %q, want /", r.Text)
	}
}

// When time is over the command ends with all it has started, and so does the
// wait for a descendant that has gone its own way with our pipes.
func TestTimeLimit(t *testing.T) {
	clk := clock.NewManual(time.Unix(0, 0))
	go func() {
		for clk.Sleepers() == 0 {
			time.Sleep(time.Millisecond)
		}
		clk.Advance(time.Hour)
	}()
	c := Command{Line: "echo busy; setsid sleep 5 & sleep 60", Clock: clk, Limit: time.Hour}
	r, _ := run(t, c, strings.Repeat("x", 1<<20))
	if r.Status != deliver.Bounced || r.DSN != "5.3.0" || !strings.HasPrefix(r.Text, "Command time limit exceeded: ") {
		t.Errorf("%+v", r)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := Command{Line: "sleep 60", UID: nobody(), GID: max(os.Getgid(), nobody()), Clock: clock.System{}, Limit: time.Hour, Log: slog.New(slog.DiscardHandler)}
	r := c.Run(ctx, func(io.Writer) error { cancel(); return nil })
	if r.Status != deliver.Deferred || r.Text != "delivery was interrupted" {
		t.Errorf("%+v", r)
	}
}

// A message that cannot be read is not delivered, whatever the command says.
func TestUnreadable(t *testing.T) {
	c := Command{Line: "cat", UID: nobody(), GID: max(os.Getgid(), nobody()), Clock: clock.System{}, Limit: time.Minute, Log: slog.New(slog.DiscardHandler)}
	r := c.Run(t.Context(), func(io.Writer) error { return ReadError{errors.New("bad disk")} })
	if r.Status != deliver.Deferred || r.Text != "error reading message: bad disk" {
		t.Errorf("%+v", r)
	}
}

// A script without #! is the shell's.
func TestScript(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte("echo got $1\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(path); dir != "/tmp" && dir != "/"; dir = filepath.Dir(dir) {
		os.Chmod(dir, 0o755)
	}
	if r, _ := run(t, Command{Argv: []string{path, "this"}}, ""); r.Text != "got this " {
		t.Errorf("%+v", r)
	}
}

func TestForm(t *testing.T) {
	now := time.Date(2026, 11, 25, 10, 0, 0, 0, time.Local)
	const content = "Subject: x\n\nFrom here\n.\nFrom there"
	for _, c := range []struct {
		form Form
		want string
	}{
		{Form{EOL: "\n"}, "Subject: x\n\nFrom here\n.\nFrom there\n"},
		{Form{EOL: "\r\n", QuoteFrom: true, Dot: true, Blank: true}, "Subject: x\r\n\r\n>From here\r\n..\r\n>From there\r\n\r\n"},
		{Form{EOL: "\n", FromLine: true, ReturnPath: true, Original: "a b@c", Delivered: "d@e"},
			"From MAILER-DAEMON  Wed Nov 25 10:00:00 2026\nReturn-Path: <>\nX-Original-To: \"a b\"@c\nDelivered-To: d@e\n" + content + "\n"},
	} {
		var b bytes.Buffer
		if err := c.form.Write(&b, strings.NewReader(content), now); err != nil || b.String() != c.want {
			t.Errorf("%+v: %v %q, want %q", c.form, err, &b, c.want)
		}
	}
	var read ReadError
	if err := (Form{EOL: "\n"}).Write(io.Discard, io.MultiReader(strings.NewReader("x\n"), failing{}), now); !errors.As(err, &read) {
		t.Errorf("error %v is no ReadError", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("bad disk") }
