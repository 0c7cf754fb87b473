// Package sasltest starts a real Dovecot that checks passwords, and a real
// Postfix that asks for them, for tests: each in a folder of its own, on
// 127.0.0.1 and Unix sockets, ended with the test. Where the programs are
// missing, or the rights to start them, the test is skipped, or fails if the
// environment has CI=true. SMTP is spoken by Client.
package sasltest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// patience bounds the start and the end of a server, on a busy machine.
const patience = time.Minute

// Dovecot is an authentication service without anything else of Dovecot.
type Dovecot struct {
	Dir    string
	Socket string // for clients
	Master string // for masters, who do not authenticate
	Addr   string // 127.0.0.1:port, the same as Socket
	server *testsite.Server
	out    *os.File
}

// NewDovecot writes the configuration of a Dovecot with the users of a
// passwd-file. It answers a failed login at once, unless settings, which are
// added to its configuration, say otherwise.
func NewDovecot(t testing.TB, users, settings string) *Dovecot {
	t.Helper()
	root(t)
	if _, err := exec.LookPath("dovecot"); err != nil {
		missing(t, err.Error()+" (Debian: apt-get install dovecot-core)")
	}
	d := &Dovecot{Dir: Folder(t), Addr: port(t)}
	d.Socket, d.Master = filepath.Join(d.Dir, "auth"), filepath.Join(d.Dir, "auth-master")
	_, number, _ := strings.Cut(d.Addr, ":")
	write(t, filepath.Join(d.Dir, "users"), users)
	write(t, filepath.Join(d.Dir, "dovecot.conf"),
		strings.NewReplacer("{dir}", d.Dir, "{port}", number).Replace(dovecotConf)+settings)
	var err error
	if d.out, err = os.Create(filepath.Join(d.Dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.Stop(t)
		d.out.Close()
		if t.Failed() {
			t.Logf("Dovecot says:\n%s%s", d.read("output"), d.read("log"))
		}
	})
	return d
}

const dovecotConf = `base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
listen = 127.0.0.1
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login cram-md5 scram-sha-256
auth_failure_delay = 0
passdb {
  driver = passwd-file
  args = {dir}/users
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home=/nonexistent
}
service auth {
  unix_listener {dir}/auth {
    mode = 0666
  }
  unix_listener {dir}/auth-master {
    mode = 0666
  }
  inet_listener {
    port = {port}
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`

// Start runs it, until the end of the test or Stop.
func (d *Dovecot) Start(t testing.TB) {
	t.Helper()
	var err error
	cmd := exec.Command("dovecot", "-F", "-c", filepath.Join(d.Dir, "dovecot.conf"))
	if d.server, err = testsite.StartCommand(cmd, d.out, d.Addr); err != nil {
		t.Fatalf("dovecot: %v\n%s%s", err, d.read("output"), d.read("log"))
	}
}

// Stop ends it; it can be started again. Its authentication process would go on
// as long as somebody is connected to it: as systemd does, it is killed.
func (d *Dovecot) Stop(t testing.TB) {
	t.Helper()
	if d.server == nil {
		return
	}
	if err := d.server.Stop(patience); err != nil {
		t.Errorf("dovecot: %v", err)
	}
	end(t, d.server.PID(), "dovecot")
	d.server = nil
}

// end kills what is left of a process group, and waits for its end.
func end(t testing.TB, group int, name string) {
	t.Helper()
	for late := time.Now().Add(patience); syscall.Kill(-group, syscall.SIGKILL) != syscall.ESRCH; {
		if time.Now().After(late) {
			t.Errorf("%s does not end", name)
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Log returns what it has logged.
func (d *Dovecot) Log() string { return d.read("log") }

func (d *Dovecot) read(name string) string {
	b, err := os.ReadFile(filepath.Join(d.Dir, name))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(b)
}

// root skips tests of servers that only root can start.
func root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root can start it")
	}
}

// missing skips the test, or fails it where the whole proof is asked for.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Folder makes a folder with a path that is short enough for sockets, and that
// other users can read.
func Folder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sasl")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func port(t testing.TB) string {
	t.Helper()
	addrs, err := testsite.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	return addrs[0]
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
