package authserver_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/sasltest"
	"sekisho/internal/testsite"
)

// patience bounds the start and the end of a process, on a busy machine.
const patience = time.Minute

// site is a folder with a configuration and accounts, and the program.
type site struct {
	t           *testing.T
	dir, binary string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: sasltest.Folder(t)}
	var err error
	if s.binary, err = testsite.Build(t.Context(), s.dir); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("compatibility_level = 3.6\nmyhostname = mx.example.com\nqueue_directory = %s\nmaillog_file = /dev/stdout\n"+
		"sekisho_directory = sqlite:%s/accounts/directory.db\nsekisho_auth_failure_delay = 0\nsekisho_password_upgrade = {ARGON2ID}\n", s.dir, s.dir)
	for name, text := range map[string]string{"main.cf": text, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(s.dir, "accounts"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := directory.Create(t.Context(), "sqlite:"+s.dir+"/accounts/directory.db", clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	s.command("secret\n", "domain", "add", "-c", s.dir, "example.com")
	s.command("secret\n", "mailbox", "add", "-c", s.dir, "user@example.com")
	s.give()
	return s
}

// give makes all belong to the user that the program becomes.
func (s *site) give() {
	s.t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup("postfix")
	if err != nil {
		s.t.Skip(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		s.t.Fatal(err)
	}
	err = filepath.WalkDir(s.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, -1)
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// command runs the program to its end.
func (s *site) command(input string, words ...string) (printed string) {
	s.t.Helper()
	cmd := exec.Command(s.binary, words...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		s.t.Fatalf("sekisho %q: %v\n%s", words, err, out)
	}
	return string(out)
}

// output collects what the program prints.
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

// start runs auth-server until the end of the test, or until it is stopped, and
// returns when it answers at where.
func (s *site) start(where string, flags ...string) (*testsite.Server, *output) {
	s.t.Helper()
	out := &output{}
	server, err := testsite.StartCommand(s.auth(flags...), out)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(server.Kill)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !strings.Contains(out.String(), "answering at "+where+" "); {
		select {
		case <-tick.C:
		case <-server.Exited():
			s.t.Fatalf("it has ended:\n%s", out)
		case <-late:
			s.t.Fatalf("it does not start:\n%s", out)
		}
	}
	return server, out
}

func (s *site) auth(flags ...string) *exec.Cmd {
	return exec.Command(s.binary, append([]string{"auth-server", "-c", s.dir}, flags...)...)
}

// ask logs in at a real Postfix that asks at path.
func ask(t *testing.T, path string) {
	t.Helper()
	p := sasltest.StartPostfix(t, "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = "+path+"\n")
	c := sasltest.Dial(t, p.Addr)
	if hello := c.Say("EHLO x"); !strings.Contains(hello, "250-AUTH PLAIN LOGIN") {
		t.Errorf("%s: %s", path, hello)
	}
	for _, tt := range []struct{ user, password, want string }{
		{"user@example.com", "wrong", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"nobody@example.com", "secret", "535 5.7.8 Error: authentication failed: (reason unavailable)"},
		{"user@example.com", "secret", "235 2.7.0 Authentication successful"},
	} {
		if got := c.Say("AUTH " + sasltest.Plain(tt.user, tt.password)); got != tt.want {
			t.Errorf("%s: %s with %s: %s, want %s", path, tt.user, tt.password, got, tt.want)
		}
	}
}

// TestPostfixAsks has real Postfix check passwords against our accounts.
func TestPostfixAsks(t *testing.T) {
	s := newSite(t)
	socket := filepath.Join(s.dir, "auth")
	first, _ := s.start(socket, "--socket", "auth")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	ask(t, socket)
	if got := s.command("", "mailbox", "schemes", "-c", s.dir); !strings.HasPrefix(got, "ARGON2ID\t1") {
		t.Errorf("stored passwords after sekisho_password_upgrade: %s", got)
	}

	// A second one leaves the first alone; a dead one's socket is in nobody's way.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if out, err := exec.CommandContext(ctx, s.binary, "auth-server", "-c", s.dir, "--socket", "auth").CombinedOutput(); err == nil || !strings.Contains(string(out), "a server answers at "+socket+" already") {
		t.Errorf("a second one: %v\n%s", err, out)
	}
	first.Kill()
	again, out := s.start(socket, "--socket", "unix:"+socket, "--mode", "666")
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != 0o666 {
		t.Errorf("the socket: %v, %v", info.Mode(), err)
	}
	idle, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if err := again.Stop(patience); err != nil {
		t.Errorf("stopped with a client connected: %v\n%s", err, out)
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket stays: %v", err)
	}
}

func TestTCP(t *testing.T) {
	s := newSite(t)
	addrs, err := testsite.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	_, out := s.start(addrs[0], "--listen", addrs[0])
	ask(t, "inet:"+addrs[0])
	if strings.Contains(out.String(), "unencrypted") {
		t.Errorf("a warning about the loopback:\n%s", out)
	}
}

func TestRefused(t *testing.T) {
	s := newSite(t)
	if err := os.WriteFile(filepath.Join(s.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		flags []string
		want  string
	}{
		{nil, "missing flags"},
		{[]string{"--socket", "a", "--listen", "b"}, "can't be used together"},
		{[]string{"--socket", "a", "--mode", "rw"}, "--mode rw: write three or four digits"},
		{[]string{"--socket", "file"}, "is there already, and no socket"},
		{[]string{"--socket", "nowhere/auth"}, "no such file or directory"},
		{[]string{"--listen", "127.0.0.1:x"}, "127.0.0.1"},
		{[]string{"-c", "/nonexistent", "--socket", "a"}, "/nonexistent/main.cf"},
	} {
		out, err := s.auth(tt.flags...).CombinedOutput()
		if err == nil || !strings.Contains(string(out), tt.want) {
			t.Errorf("%q: %v, %s; want %s", tt.flags, err, out, tt.want)
		}
	}
}
