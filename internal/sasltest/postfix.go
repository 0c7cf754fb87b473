package sasltest

import (
	"bytes"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Postfix is an smtpd that asks for passwords, without a way to deliver mail.
type Postfix struct {
	Addr string // 127.0.0.1:port
	dir  string
	pid  int // of master(8), and of its process group
}

// StartPostfix runs a Postfix with settings added to its main.cf until the end
// of the test.
func StartPostfix(t testing.TB, settings string) *Postfix {
	t.Helper()
	root(t)
	if _, err := exec.LookPath("postfix"); err != nil {
		missing(t, err.Error()+" (Debian: apt-get install postfix)")
	}
	p := &Postfix{Addr: port(t), dir: Folder(t)}
	owner, err := user.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"conf", "queue", "data"} {
		if err := os.Mkdir(filepath.Join(p.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(filepath.Join(p.dir, "data"), uid, -1); err != nil {
		t.Fatal(err)
	}
	fill := strings.NewReplacer("{dir}", p.dir, "{addr}", p.Addr)
	write(t, filepath.Join(p.dir, "conf/main.cf"), fill.Replace(mainCF)+settings)
	write(t, filepath.Join(p.dir, "conf/master.cf"), fill.Replace(masterCF))
	p.start(t)
	return p
}

const mainCF = `compatibility_level = 3.6
myhostname = mx.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/log
maillog_file_prefixes = {dir}
alias_maps =
alias_database =
local_recipient_maps =
smtpd_client_connection_count_limit = 0
smtpd_peername_lookup = no
smtpd_sasl_auth_enable = yes
`

const masterCF = `{addr} inet n - n - - smtpd
pickup    unix  n  - n  60    1 pickup
cleanup   unix  n  - n  -     0 cleanup
qmgr      unix  n  - n  300   1 qmgr
tlsmgr    unix  -  - n  1000? 1 tlsmgr
rewrite   unix  -  - n  -     - trivial-rewrite
bounce    unix  -  - n  -     0 bounce
defer     unix  -  - n  -     0 bounce
trace     unix  -  - n  -     0 bounce
verify    unix  -  - n  -     1 verify
flush     unix  n  - n  1000? 0 flush
proxymap  unix  -  - n  -     - proxymap
proxywrite unix -  - n  -     1 proxymap
smtp      unix  -  - n  -     - smtp
relay     unix  -  - n  -     - smtp
showq     unix  n  - n  -     - showq
error     unix  -  - n  -     - error
retry     unix  -  - n  -     - error
discard   unix  -  - n  -     - discard
local     unix  -  n n  -     - local
virtual   unix  -  n n  -     - virtual
lmtp      unix  -  - n  -     - lmtp
anvil     unix  -  - n  -     1 anvil
scache    unix  -  - n  -     1 scache
postlog   unix-dgram n - n -  1 postlogd
`

// Conf is the folder of its main.cf. Debian's Postfix looks for Cyrus SASL's
// files below it, in the folder sasl.
func (p *Postfix) Conf() string { return filepath.Join(p.dir, "conf") }

func (p *Postfix) start(t testing.TB) {
	t.Helper()
	if out, err := p.command("start"); err != nil {
		t.Fatalf("postfix start: %v\n%s%s", err, out, p.Log())
	}
	t.Cleanup(func() { p.stop(t) })
	data, err := os.ReadFile(filepath.Join(p.dir, "queue/pid/master.pid"))
	if err == nil {
		p.pid, err = strconv.Atoi(strings.TrimSpace(string(data)))
	}
	if err != nil {
		t.Fatalf("postfix: %v\n%s", err, p.Log())
	}
}

func (p *Postfix) command(word string) ([]byte, error) {
	return exec.Command("postfix", "-c", filepath.Join(p.dir, "conf"), word).CombinedOutput()
}

// stop ends master and its children.
func (p *Postfix) stop(t testing.TB) {
	if out, err := p.command("stop"); err != nil {
		t.Errorf("postfix stop: %v\n%s", err, bytes.TrimSpace(out))
	}
	if p.pid != 0 {
		for end := time.Now().Add(patience); syscall.Kill(-p.pid, 0) != syscall.ESRCH; {
			if time.Now().After(end) {
				t.Error("postfix does not stop: ", syscall.Kill(-p.pid, syscall.SIGKILL))
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	if t.Failed() {
		t.Logf("Postfix says:\n%s", p.Log())
	}
}

// Log returns what it has logged.
func (p *Postfix) Log() string {
	b, err := os.ReadFile(filepath.Join(p.dir, "log"))
	if err != nil {
		return err.Error() + "\n"
	}
	return string(b)
}
