package saslauthd_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/saslauthd"
	"sekisho/internal/clock"
	client "sekisho/internal/sasl/saslauthd"
	"sekisho/internal/testsite"
)

// TestMain is the daemon when the test binary is called as one.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 || os.Args[1] != "saslauthd" {
		os.Exit(m.Run())
	}
	var cmd saslauthd.Cmd
	parser, err := kong.New(&cmd)
	if err == nil {
		_, err = parser.Parse(os.Args[2:])
	}
	if err == nil {
		err = cmd.Run(&saslauthd.Env{
			Context: context.Background(),
			Directory: func(dir string) (string, error) {
				return "sqlite:" + filepath.Join(dir, "accounts.db"), nil
			},
			Args: os.Args, Err: os.Stderr, Clock: clock.System{},
		})
	}
	var status exit.Status
	switch {
	case errors.As(err, &status):
		os.Exit(int(status))
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

const patience = time.Minute

// missing skips the test, or fails it where the whole proof is asked for.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// need finds programs that only root can use here.
func need(t *testing.T, debian string, programs ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		missing(t, "only root can start "+programs[0])
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			missing(t, err.Error()+" (Debian: apt-get install "+debian+")")
		}
	}
}

// folder makes one with a path that is short enough for sockets, and that other
// users can read.
func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "authd")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

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
	for late := time.After(patience); !found(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("waited too long for %s", what)
		}
	}
}

// daemon is a saslauthd, ours or the real one, that stays in the foreground.
type daemon struct {
	mux string
	*client.Client
	out *output
}

// start runs a saslauthd until the end of the test.
func start(t *testing.T, command ...string) *daemon {
	t.Helper()
	dir := folder(t)
	d := &daemon{mux: filepath.Join(dir, "mux"), out: &output{}}
	d.Client = client.New(d.mux)
	command = append(command, "-d", "-m", dir)
	s, err := testsite.StartCommand(exec.Command(command[0], command[1:]...), d.out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// The real one's children are in its process group.
		_ = syscall.Kill(-s.PID(), syscall.SIGKILL)
		<-s.Exited()
		if t.Failed() {
			t.Logf("%s says:\n%s", command[0], d.out)
		}
	})
	await(t, "saslauthd to listen", func() bool { return d.Probe(t.Context()) == nil })
	return d
}

func startOurs(t *testing.T, options ...string) *daemon {
	t.Helper()
	return start(t, append([]string{os.Args[0], "saslauthd"}, options...)...)
}

func startReal(t *testing.T, options ...string) *daemon {
	t.Helper()
	need(t, "sasl2-bin", "saslauthd")
	return start(t, append([]string{"saslauthd"}, options...)...)
}

// test asks with Cyrus SASL's own client.
func (d *daemon) test(t *testing.T, user, realm, password string) string {
	t.Helper()
	need(t, "sasl2-bin", "testsaslauthd")
	out, err := exec.CommandContext(t.Context(), "testsaslauthd", "-f", d.mux, "-u", user, "-r", realm, "-p", password, "-s", "smtp").CombinedOutput()
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// imapServer is a real Dovecot that serves IMAP on 127.0.0.1, with TLS from the
// start on a second port. On 127.0.0.9 it has both as well: whoever comes there
// from 127.0.0.1 is not on the same host, as far as Dovecot knows.
type imapServer struct {
	dir, addr, tlsAddr string
	server             *testsite.Server
	out                *output
}

// port returns an address as -O has it.
func port(addr string) string { return strings.Replace(addr, ":", "/", 1) }

// startIMAP writes a Dovecot's configuration and runs it until the end of the
// test.
func startIMAP(t *testing.T, settings string) *imapServer {
	t.Helper()
	need(t, "dovecot-imapd", "dovecot", "/usr/lib/dovecot/imap")
	addrs, err := testsite.Ports(2)
	if err != nil {
		t.Fatal(err)
	}
	d := &imapServer{dir: folder(t), addr: addrs[0], tlsAddr: addrs[1], out: &output{}}
	mail := filepath.Join(d.dir, "mail")
	if err := os.Mkdir(mail, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(mail, 5000, 5000); err != nil {
		t.Fatal(err)
	}
	_, imap, _ := strings.Cut(d.addr, ":")
	_, imaps, _ := strings.Cut(d.tlsAddr, ":")
	conf := strings.NewReplacer("{dir}", d.dir, "{imap}", imap, "{imaps}", imaps).Replace(dovecotConf + settings)
	for name, text := range map[string]string{"users": users, "dovecot.conf": conf} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d.start(t)
	t.Cleanup(func() {
		d.stop(t)
		if log, _ := os.ReadFile(filepath.Join(d.dir, "log")); t.Failed() {
			t.Logf("Dovecot says:\n%s%s", d.out, log)
		}
	})
	return d
}

func (d *imapServer) start(t *testing.T) {
	t.Helper()
	var err error
	cmd := exec.Command("dovecot", "-F", "-c", filepath.Join(d.dir, "dovecot.conf"))
	if d.server, err = testsite.StartCommand(cmd, d.out, d.addr); err != nil {
		t.Fatalf("%v\n%s", err, d.out)
	}
}

// stop ends it with all its processes; it can be started again.
func (d *imapServer) stop(t *testing.T) {
	t.Helper()
	if d.server == nil {
		return
	}
	if err := d.server.Stop(patience); err != nil {
		t.Errorf("dovecot: %v", err)
	}
	group := d.server.PID()
	await(t, "the end of Dovecot", func() bool { return syscall.Kill(-group, syscall.SIGKILL) == syscall.ESRCH })
	d.server = nil
}

const users = `bob@demo.test:{PLAIN}bob-demo
bob:{PLAIN}local
carol@demo.test:{PLAIN}pä"ss\ w{3}rt
`

const dovecotConf = `base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
listen = 127.0.0.1, 127.0.0.9
protocols = imap
ssl = no
disable_plaintext_auth = no
auth_failure_delay = 0
auth_username_chars =
mail_location = maildir:{dir}/mail/%u
passdb {
  driver = passwd-file
  args = {dir}/users
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home={dir}/mail/%u
}
service imap-login {
  chroot =
  inet_listener imap {
    port = {imap}
  }
  inet_listener imaps {
    port = {imaps}
  }
}
service anvil {
  chroot =
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

// certificate writes a self-signed one for 127.0.0.1, its key beside it.
func certificate(t *testing.T) (path string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "cert.pem")
	for name, block := range map[string]*pem.Block{
		path:          {Type: "CERTIFICATE", Bytes: der},
		path + ".key": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}
