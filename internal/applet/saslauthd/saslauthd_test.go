package saslauthd_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/sasl/rimap"
	client "sekisho/internal/sasl/saslauthd"
)

// checker is what package rimap and the client of a saslauthd have in common.
type checker interface {
	Check(ctx context.Context, login, password, service, realm string) (ok bool, reason string, err error)
}

// logins are asked of every way that has -r; Dovecot says which are right.
var logins = []struct {
	login, realm, password string
	ok                     bool
}{
	{"bob", "demo.test", "bob-demo", true},
	{"bob", "demo.test", "local", false},
	{"bob", "demo.test", "", false},
	{"bob", "", "local", true},
	{"bob", "other.test", "bob-demo", false},
	{"none", "demo.test", "bob-demo", false},
	{"bob\"", "demo.test", "x\\", false},
	{"carol", "demo.test", `pä"ss\ w{3}rt`, true},
	{"bob", "demo.test", strings.Repeat("x", 200), false},
}

func checkLogins(t *testing.T, c checker) {
	t.Helper()
	for _, l := range logins {
		ok, reason, err := c.Check(t.Context(), l.login, l.password, "smtp", l.realm)
		if ok != l.ok || err != nil {
			t.Errorf("%s, %s, %s: %v, %q, %v", l.login, l.realm, l.password, ok, reason, err)
		}
	}
}

func imapClient(t *testing.T, server, caFile string) *rimap.Client {
	t.Helper()
	c, err := rimap.New(rimap.Options{Server: server, Realm: true, CAFile: caFile, Clock: clock.System{}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestLogins: the same of Dovecot itself, of the real daemon and of ours.
func TestLogins(t *testing.T) {
	t.Parallel()
	imap := startIMAP(t, "")
	t.Run("rimap", func(t *testing.T) { checkLogins(t, imapClient(t, imap.addr, "")) })
	t.Run("real", func(t *testing.T) { checkLogins(t, startReal(t, "-a", "rimap", "-O", port(imap.addr), "-r")) })
	t.Run("ours", func(t *testing.T) { checkLogins(t, startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r")) })
	t.Run("cached", func(t *testing.T) {
		d := startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r", "-c")
		for range 3 {
			checkLogins(t, d)
		}
	})
}

// raw asks with bytes and returns all that comes back.
func raw(t *testing.T, d *daemon, request []byte) string {
	t.Helper()
	conn, err := net.Dial("unix", d.mux)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.UnixConn).CloseWrite(); err != nil && !errors.Is(err, syscall.ENOTCONN) {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return string(answer)
}

// TestLikeTheRealDaemon compares answers byte for byte, and what Cyrus SASL's
// client makes of them.
func TestLikeTheRealDaemon(t *testing.T) {
	t.Parallel()
	imap := startIMAP(t, "")
	for _, r := range [][]string{nil, {"-r"}} {
		options := append([]string{"-a", "rimap", "-O", port(imap.addr)}, r...)
		theirs, ours := startReal(t, options...), startOurs(t, options...)
		for _, q := range []client.Request{
			{Login: "bob", Password: "bob-demo", Service: "smtp", Realm: "demo.test"},
			{Login: "bob", Password: "local", Service: "smtp", Realm: "demo.test"},
			{Login: "bob", Password: "local", Service: "", Realm: ""},
			{Login: "bob@demo.test", Password: "bob-demo", Service: "imap", Realm: ""},
			{Login: "", Password: "x", Service: "smtp", Realm: "demo.test"},
			{Login: "bob", Password: "", Service: "smtp", Realm: "demo.test"},
			{Login: "none", Password: "x", Service: "smtp", Realm: "demo.test"},
			{Login: "bob", Password: strings.Repeat("x", 5000), Service: "smtp", Realm: "demo.test"},
		} {
			request, err := q.Append(nil)
			if err != nil {
				t.Fatal(err)
			}
			if want, got := raw(t, theirs, request), raw(t, ours, request); got != want {
				t.Errorf("%v %.60v: %q, the real one says %q", r, q, got, want)
			}
		}
		for _, request := range []string{"", "\x00", "\x00\x03bo", "\x00\x03bob\x00\x01x"} {
			if want, got := raw(t, theirs, []byte(request)), raw(t, ours, []byte(request)); got != want {
				t.Errorf("%q: %q, the real one says %q", request, got, want)
			}
		}
		for _, l := range [][3]string{{"bob", "demo.test", "bob-demo"}, {"bob", "demo.test", "x"}, {"bob", "", "local"}} {
			if want, got := theirs.test(t, l[0], l[1], l[2]), ours.test(t, l[0], l[1], l[2]); got != want {
				t.Errorf("testsaslauthd %v: %q, with the real one %q", l, got, want)
			}
		}
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert := certificate(t)
	keys := "ssl_cert = <" + cert + "\nssl_key = <" + cert + ".key\n"
	elsewhere := func(addr string) string { return strings.Replace(addr, "127.0.0.1", "127.0.0.9", 1) }
	for _, tt := range []struct {
		name, settings string
		server         func(*imapServer) string
		caFile         string
		err            string
	}{
		{"STARTTLS", "ssl = yes\n" + keys, func(d *imapServer) string { return d.addr }, "", ""},
		{"STARTTLS, certificate", "ssl = yes\n" + keys, func(d *imapServer) string { return d.addr }, cert, ""},
		{"STARTTLS, demanded", "ssl = required\ndisable_plaintext_auth = yes\n" + keys, func(d *imapServer) string { return elsewhere(d.addr) }, "", ""},
		{"STARTTLS, wrong name", "ssl = yes\n" + keys, func(d *imapServer) string { return elsewhere(d.addr) }, cert, "certificate is valid for 127.0.0.1, not 127.0.0.9"},
		{"imaps", "ssl = yes\n" + keys, func(d *imapServer) string { return "imaps://" + d.tlsAddr }, cert, ""},
		{"no TLS, but needed", "disable_plaintext_auth = yes\n", func(d *imapServer) string { return elsewhere(d.addr) }, "", "takes no passwords over an unencrypted connection"},
		{"no TLS, not needed", "disable_plaintext_auth = yes\n", func(d *imapServer) string { return d.addr }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			imap := startIMAP(t, tt.settings)
			c := imapClient(t, tt.server(imap), tt.caFile)
			probed := c.Probe(t.Context())
			if tt.err == "" {
				if probed != nil {
					t.Error(probed)
				}
				checkLogins(t, c)
				return
			}
			ok, _, err := c.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test")
			for _, err := range []error{probed, err} {
				if ok || err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, %v", ok, err)
				}
			}
		})
	}
}

// TestIMAPServerDown: while it is away nobody is told that his password is
// wrong, nobody waits, and it is found again without a restart.
func TestIMAPServerDown(t *testing.T) {
	imap := startIMAP(t, "")
	d := startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r")
	checkLogins(t, d)
	imap.stop(t)
	begun := time.Now()
	for range 200 {
		if ok, _, err := d.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test"); ok || err == nil {
			t.Fatalf("%v, %v", ok, err)
		}
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("200 logins took %v", took)
	}
	if got := d.test(t, "bob", "demo.test", "bob-demo"); strings.Contains(got, "NO") || strings.Contains(got, "OK") {
		t.Errorf("testsaslauthd: %q", got)
	}
	if !strings.Contains(d.out.String(), "connection refused") {
		t.Error("the log does not say why")
	}
	imap.start(t)
	await(t, "logins to work again", func() bool {
		ok, _, _ := d.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test")
		return ok
	})
}

// TestGuesserDoesNotSlowOthers: Dovecot answers failures after two seconds, and
// then would answer everybody at our address late, if it did not trust it
// (login_trusted_networks). The others' logins, one after the other, do not
// take that long each.
func TestGuesserDoesNotSlowOthers(t *testing.T) {
	imap := startIMAP(t, "auth_failure_delay = 2 secs\nlogin_trusted_networks = 127.0.0.1\n"+
		"service anvil {\n  unix_listener anvil-auth-penalty {\n    mode = 0600\n  }\n}\n")
	d := startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r", "-n", "1")
	ctx, cancel := context.WithCancel(t.Context())
	var guesser sync.WaitGroup
	for range 40 {
		guesser.Go(func() {
			for ctx.Err() == nil {
				_, _, _ = d.Check(ctx, "none", "x", "smtp", "demo.test")
			}
		})
	}
	await(t, "the guesser", func() bool { return strings.Contains(d.out.String(), "auth failure: [user=none@demo.test]") })
	begun := time.Now()
	const n = 30
	for range n {
		if ok, _, err := d.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test"); !ok {
			t.Errorf("%v", err)
		}
	}
	if took := time.Since(begun); took > n*time.Second {
		t.Errorf("%d logins took %v", n, took)
	}
	cancel()
	guesser.Wait()
}

// TestManyAtOnce: the real daemon's five processes and ours.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	imap := startIMAP(t, "")
	options := []string{"-a", "rimap", "-O", port(imap.addr), "-r"}
	for name, d := range map[string]*daemon{"real": startReal(t, options...), "ours": startOurs(t, options...)} {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				pass := []string{"bob-demo", "wrong"}[i%2]
				ok, _, err := d.Check(t.Context(), "bob", pass, "smtp", "demo.test")
				if ok != (i%2 == 0) || err != nil {
					t.Errorf("%s, %s: %v, %v", name, pass, ok, err)
				}
			})
		}
		wg.Wait()
	}
}

// TestAccounts: -a sekisho.
func TestAccounts(t *testing.T) {
	dir := t.TempDir()
	accounts, err := directory.Create(t.Context(), "sqlite:"+filepath.Join(dir, "accounts.db"), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer accounts.Close()
	stored, err := password.Hash("SHA512-CRYPT", "bob-demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := accounts.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	if err := accounts.AddMailbox(t.Context(), directory.Mailbox{Username: "bob@demo.test", Active: true}, stored); err != nil {
		t.Fatal(err)
	}
	d := startOurs(t, "-a", "sekisho", "-r", "--config", dir)
	for _, tt := range []struct {
		login, realm, password string
		ok                     bool
	}{
		{"bob", "demo.test", "bob-demo", true},
		{"bob@demo.test", "", "bob-demo", true},
		{"bob", "demo.test", "x", false},
		{"bob", "demo.test", stored, false},
		{"bob", "", "bob-demo", false},
		{"none", "demo.test", "bob-demo", false},
		{"bob\x00", "demo.test", "bob-demo", false},
	} {
		if ok, _, err := d.Check(t.Context(), tt.login, tt.password, "smtp", tt.realm); ok != tt.ok || err != nil {
			t.Errorf("%+v: %v, %v", tt, ok, err)
		}
	}
	if got := d.test(t, "bob", "demo.test", "bob-demo"); got != `0: OK "Success."` {
		t.Error(got)
	}
}

// TestCache: a right password is right for as long as -t says, even if nobody
// can be asked; a wrong one is not remembered.
func TestCache(t *testing.T) {
	t.Parallel()
	imap := startIMAP(t, "")
	d := startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r", "-c", "-t", "3600")
	checkLogins(t, d)
	imap.stop(t)
	if ok, _, err := d.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test"); !ok {
		t.Errorf("cached: %v", err)
	}
	for _, r := range [][3]string{{"bob", "demo.test", "x"}, {"bob", "x", "bob-demo"}, {"bo", "bdemo.test", "bob-demo"}} {
		if ok, _, err := d.Check(t.Context(), r[0], r[2], "smtp", r[1]); ok || err == nil {
			t.Errorf("%v: %v, %v", r, ok, err)
		}
	}
}

// TestDaemon: without -d it detaches when it listens, keeps others away, and
// tidies up when it is told to end.
func TestDaemon(t *testing.T) {
	dir := folder(t)
	run := func(options ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"saslauthd", "-m", dir}, options...)...)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("-a", "rimap", "-O", "127.0.0.1/1"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	number, err := os.ReadFile(filepath.Join(dir, "saslauthd.pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(number)))
	if err != nil {
		t.Fatal(err)
	}
	end := sync.OnceFunc(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
	defer end()
	for name, mode := range map[string]os.FileMode{"mux": os.ModeSocket | 0o777, "saslauthd.pid": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if _, _, err := client.New(filepath.Join(dir, "mux")).Check(t.Context(), "bob", "x", "smtp", ""); err == nil {
		t.Error("an IMAP server that is not there has answered")
	}
	for _, tt := range []struct{ options, want string }{
		{"-a rimap -O 127.0.0.1/1", "another instance of saslauthd is currently running"},
		{"-a rimap", "-a rimap needs -O HOST"},
		{"-a pam", "must be one of"},
		{"-a rimap -O 127.0.0.1/1 -m run", "an absolute path is needed"},
		{"-a rimap -O 127.0.0.1/1 -m /nonexistent", "no such file"},
		{"-a rimap -O a/b/c", "write HOST"},
	} {
		if out, err := run(strings.Fields(tt.options)...); err == nil || !strings.Contains(out, tt.want) {
			t.Errorf("%s: %v, %s", tt.options, err, out)
		}
	}
	end()
	await(t, "the daemon to tidy up", func() bool {
		left, err := os.ReadDir(dir)
		return err == nil && len(left) == 0
	})
}
