package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// output collects what a process prints.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// await polls until found says so.
func await(t *testing.T, what string, found func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(30 * time.Second); !found(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// demoSite is a demo under test.
type demoSite struct {
	t      *testing.T
	binary string
	dir    string // where "make run" is typed; the site is in run below it
	addrs  []string
	out    *output
	server *testsite.Server
}

// newDemo makes a site on free ports and runs it.
func newDemo(t *testing.T) *demoSite {
	t.Helper()
	d := &demoSite{t: t, dir: t.TempDir()}
	if err := os.Chmod(d.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if d.binary, err = testsite.Build(t.Context(), d.dir); err != nil {
		t.Fatal(err)
	}
	if d.addrs, err = testsite.Ports(4); err != nil {
		t.Fatal(err)
	}
	d.start("--smtp-port", port(t, d.addrs[0]), "--submission-port", port(t, d.addrs[1]),
		"--submissions-port", port(t, d.addrs[2]), "--dns-port", port(t, d.addrs[3]))
	return d
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (d *demoSite) start(flags ...string) {
	d.t.Helper()
	cmd := exec.Command(d.binary, append([]string{"demo", "run"}, flags...)...)
	cmd.Dir = d.dir
	d.out = &output{}
	var err error
	if d.server, err = testsite.StartCommand(cmd, d.out, d.addrs[:3]...); err != nil {
		d.t.Fatalf("%v\n%s", err, d.out)
	}
	d.t.Cleanup(d.server.Kill)
	await(d.t, "what to try", func() bool { return strings.Contains(d.out.String(), "Delivered mail is in") })
}

func (d *demoSite) stop() {
	d.t.Helper()
	if err := d.server.Stop(30 * time.Second); err != nil {
		d.t.Errorf("%v\n%s", err, d.out)
	}
}

// mail returns the messages in a mailbox.
func (d *demoSite) mail(box string) []string {
	d.t.Helper()
	files, err := filepath.Glob(filepath.Join(d.dir, "run/mail", box, "new/*"))
	if err != nil {
		d.t.Fatal(err)
	}
	var out []string
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			d.t.Fatal(err)
		}
		out = append(out, string(b))
	}
	return out
}

// printed are the commands that the demo tells to paste, by their titles, each
// with the line that says what comes of it.
func (d *demoSite) printed() map[string][2]string {
	out := make(map[string][2]string)
	for _, block := range strings.Split(d.out.String(), "\n\n") {
		l := strings.Split(block, "\n")
		if len(l) == 3 && strings.HasPrefix(l[0], "# ") && strings.HasPrefix(l[1], "curl ") {
			out[l[0][2:]] = [2]string{l[1], l[2]}
		}
	}
	return out
}

// paste runs a printed command as a user does.
func (d *demoSite) paste(command string) (printed string, ok bool) {
	cmd := exec.CommandContext(d.t.Context(), "sh", "-c", command)
	cmd.Dir = d.dir
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// TestDemo pastes every command that the demo prints and looks for what it
// says comes of it; then a second run must find the mail of the first.
func TestDemo(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil && os.Getenv("CI") == "" {
		t.Skip("needs curl")
	}
	d := newDemo(t)
	commands := d.printed()
	if len(commands) != 5 {
		t.Fatalf("%d commands to paste:\n%s", len(commands), d.out)
	}
	for title, c := range commands {
		reply, refused := strings.CutPrefix(c[1], "# ")
		out, ok := d.paste(c[0])
		switch {
		case ok == refused:
			t.Errorf("%s: success is %v\n%s", title, ok, out)
		case refused && !strings.Contains(out, reply):
			t.Errorf("%s: the reply is not %q:\n%s", title, reply, out)
		case !refused:
			look := c[1]
			await(t, title, func() bool { _, ok := d.paste(look); return ok })
			if text, _ := d.paste(look); !strings.Contains(text, "\nThe checkpoint is open.\n") {
				t.Errorf("%s: delivered was %q", title, text)
			}
		}
	}
	d.stop()

	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(d.dir, "run", name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("access", "spammer@sender.test OK\n")
	before := len(d.mail("demo.test/bob"))
	d.start()
	if out, ok := d.paste(d.printed()["check_sender_access refuses a sender"][0]); !ok {
		t.Errorf("the second run has forgotten the changed table:\n%s", out)
	}
	await(t, "one more message", func() bool { return len(d.mail("demo.test/bob")) == before+1 })
	d.stop()
}
