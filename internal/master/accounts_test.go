package master

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasltest"
)

const dovecotCF = mainCF + `smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
`

// TestDovecot has Dovecot come and go while sessions are open.
func TestDovecot(t *testing.T) {
	d := sasltest.NewDovecot(t, "user@example.com:{PLAIN}secret::::::\n", "")
	addr := freeAddr(t)
	r := start(t, dovecotCF+"queue_directory = "+d.Dir+"\nsmtpd_sasl_path = auth\n", smtpdAt(addr))
	said := r.expect("smtpd_sasl_path")
	for _, want := range []string{
		filepath.Join(r.dir, "main.cf") + ":",
		"smtpd_sasl_path = auth: SASL: Connect to Dovecot auth socket 'auth' failed: No such file or directory",
		"there is no " + d.Socket,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("at the start the log lacks %q:\n%s", want, said)
		}
	}
	good := "AUTH " + sasltest.Plain("user@example.com", "secret")
	expect := func(c *sasltest.Client, command, want string) {
		t.Helper()
		if got := c.Say(command); got != want {
			t.Errorf("%s: %s, want %s", command, got, want)
		}
	}
	const away = "454 4.7.0 Temporary authentication failure: (reason unavailable)"
	const ok = "235 2.7.0 Authentication successful"
	early := sasltest.Dial(t, addr)
	if hello := early.Say("EHLO x"); !strings.Contains(hello, "AUTH PLAIN LOGIN\n") {
		t.Errorf("before Dovecot has ever been there: %s", hello)
	}
	expect(early, good, away)
	d.Start(t)
	expect(early, good, ok)
	idle := sasltest.Dial(t, addr)
	if hello := idle.Say("EHLO x"); !strings.Contains(hello, "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n") {
		t.Errorf("Dovecot is there: %s", hello)
	}
	amid := sasltest.Dial(t, addr)
	expect(amid, "AUTH LOGIN", "334 VXNlcm5hbWU6")
	d.Stop(t)
	expect(amid, "dXNlcg==", "454 4.7.0 Temporary authentication failure: Connection lost to authentication server")
	expect(idle, good, away)
	late := sasltest.Dial(t, addr)
	if hello := late.Say("EHLO x"); !strings.Contains(hello, "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256\n") {
		t.Errorf("Dovecot has gone: %s", hello)
	}
	expect(late, good, away)
	d.Start(t)
	for _, c := range []*sasltest.Client{idle, amid, late} {
		expect(c, good, ok)
	}
	r.stop()
}

// TestIdleSessions has more sessions than Dovecot allows clients.
func TestIdleSessions(t *testing.T) {
	const idle, logins = 1200, 50
	d := sasltest.NewDovecot(t, "user@example.com:{PLAIN}secret::::::\n", "default_client_limit = 100\n")
	d.Start(t)
	addr := freeAddr(t)
	r := start(t, dovecotCF+"smtpd_client_connection_count_limit = 0\nsmtpd_sasl_path = "+d.Socket+"\n", smtpdAt(addr))
	go func() {
		for range r.log { // nobody reads it
		}
	}()
	began := time.Now()
	for range idle {
		sasltest.Dial(t, addr)
	}
	good := "AUTH " + sasltest.Plain("user@example.com", "secret")
	for range logins {
		if got := sasltest.Dial(t, addr).Say(good); got != "235 2.7.0 Authentication successful" {
			t.Fatal(got)
		}
	}
	t.Logf("%d idle sessions and %d logins took %v", idle, logins, time.Since(began))
	r.stop()
}

// TestWaysShared: services share a backend when they agree on what makes it.
func TestWaysShared(t *testing.T) {
	one, two, three := freeAddr(t), freeAddr(t), freeAddr(t)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), dovecotCF+"smtpd_sasl_path = /nonexistent/one\n")
	write(t, filepath.Join(dir, "master.cf"), smtpdAt(one, two, three)+" -o smtpd_sasl_path=/nonexistent/two\n")
	sh, g, err := begin(dir, clock.System{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		g.end()
		if err := sh.close(); err != nil {
			t.Error(err)
		}
	}()
	b := &builder{graph: g, backends: make(map[string]sasl.Backend)}
	var got []sasl.Backend
	for _, svc := range g.services {
		got = append(got, b.accounts(svc.site.Config))
	}
	if got[0] != got[1] || got[0] == got[2] || got[2] == nil {
		t.Errorf("backends %p %p %p", got[0], got[1], got[2])
	}
}

// TestUnknownWay names the ways there are.
func TestUnknownWay(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), dovecotCF+"smtpd_sasl_type = magic\n")
	write(t, filepath.Join(dir, "master.cf"), smtpdAt(freeAddr(t)))
	_, _, err := begin(dir, clock.System{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	want := fmt.Sprintf("%s:14: smtpd_sasl_type = magic: Sekisho cannot check passwords that way; it can with", filepath.Join(dir, "main.cf"))
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// TestDirectoryDown has the accounts on a database server that is not there: it
// is said at the start, and the server serves what needs no login.
func TestDirectoryDown(t *testing.T) {
	file := filepath.Join(t.TempDir(), "directory.cf")
	if err := os.WriteFile(file, []byte("hosts = unix:/nowhere/s\nuser = u\ndbname = d\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := freeAddr(t)
	r := start(t, mainCF+"smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = sekisho\nsekisho_directory = mysql:"+file+"\n", smtpdAt(addr))
	const want = "no database server answers: unix:/nowhere/s: cannot connect: "
	if said := r.expect("sekisho_directory"); !strings.Contains(said, want) {
		t.Errorf("at the start the log lacks %q:\n%s", want, said)
	}
	c := sasltest.Dial(t, addr)
	if hello := c.Say("EHLO x"); !strings.Contains(hello, "AUTH PLAIN LOGIN\n") {
		t.Errorf("EHLO: %s", hello)
	}
	got := c.Say("AUTH " + sasltest.Plain("user@example.com", "secret"))
	if !strings.HasPrefix(got, "454 4.7.0 Temporary authentication failure") {
		t.Errorf("AUTH: %s", got)
	}
}
