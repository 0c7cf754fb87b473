package master

import (
	"context"
	"encoding/base64"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
)

// impatient is a clock that does not wait when answers to logins do, but tells
// how long it should have.
type impatient struct {
	clock.System
	waits chan time.Duration
}

// step is what all waits of the test are multiples of, and no other waits.
const step = 7777 * time.Second

func (c impatient) Sleep(ctx context.Context, d time.Duration) error {
	if d == 0 || d%step != 0 {
		return c.System.Sleep(ctx, d)
	}
	c.waits <- d
	return ctx.Err()
}

// accountsCF is a site with the account a@demo.test, whose password is
// "a-demo".
func accountsCF(t *testing.T) (mainCF string, d *directory.Directory) {
	t.Helper()
	spec := "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")
	d, err := directory.Create(t.Context(), spec, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: "a@demo.test", Active: true}, "{PLAIN}a-demo"); err != nil {
		t.Fatal(err)
	}
	return "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = sekisho\nsekisho_directory = " + spec + "\n", d
}

// login logs in by PLAIN and returns the reply.
func login(t *testing.T, addr, user, password string) string {
	t.Helper()
	c := dial(t, addr)
	c.line()
	c.say("EHLO client.test")
	for strings.HasPrefix(c.line(), "250-") {
	}
	c.say("AUTH PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password)))
	return c.line()
}

// TestGuessing goes from service to service and over a reload.
func TestGuessing(t *testing.T) {
	one, two, quick := freeAddr(t), freeAddr(t), freeAddr(t)
	accounts, _ := accountsCF(t)
	main := mainCF + accounts + "sekisho_auth_failure_delay = 7777s\nsekisho_auth_failure_max_delay = 31108s\n"
	c := impatient{waits: make(chan time.Duration, 1)}
	r := startBy(t, c, main, smtpdAt(one, two, quick)+" -o sekisho_auth_failure_delay=0\n")
	const bad, good = "535 5.7.8 Error: authentication failed: (reason unavailable)", "235 2.7.0 Authentication successful"
	for i, tt := range []struct {
		addr, user, password string
		want                 string
		wait                 time.Duration
	}{
		{one, "a@demo.test", "wrong", bad, step},
		{two, "none@demo.test", "wrong", bad, 2 * step},
		{quick, "none@demo.test", "wrong", bad, 0},
		{one, "b@demo.test", "wrong", bad, 4 * step},
		{two, "a@demo.test", "wrong", bad, 4 * step},
		{one, "a@demo.test", "a-demo", good, 4 * step},
		{two, "a@demo.test", "a-demo", good, 0},
	} {
		if i == 3 {
			r.configure(main+"smtpd_banner = after the reload\n", smtpdAt(one, two))
			r.signals <- syscall.SIGHUP
			r.expect("reload -- version ")
		}
		got := login(t, tt.addr, tt.user, tt.password)
		var wait time.Duration
		if tt.wait > 0 {
			wait = <-c.waits
		}
		if got != tt.want || wait != tt.wait {
			t.Errorf("login %d: %q after %v, want %q after %v", i, got, wait, tt.want, tt.wait)
		}
	}
	if len(c.waits) > 0 {
		t.Errorf("waited once more, %v", <-c.waits)
	}
	r.stop()
}

func TestPasswordUpgrade(t *testing.T) {
	addr := freeAddr(t)
	accounts, d := accountsCF(t)
	r := start(t, mainCF+accounts, smtpdAt(addr))
	stored := func() string {
		a, err := d.LookupPassword(t.Context(), "a@demo.test")
		if err != nil {
			t.Fatal(err)
		}
		return a.Stored
	}
	if got := login(t, addr, "a@demo.test", "a-demo"); !strings.HasPrefix(got, "235 ") || stored() != "{PLAIN}a-demo" {
		t.Errorf("%s, stored is %s", got, stored())
	}
	r.configure(mainCF+accounts+"sekisho_password_upgrade = {MD5}\n", smtpdAt(addr))
	r.signals <- syscall.SIGHUP
	r.expect("sekisho_password_upgrade: \"{MD5}\" is no scheme that makes stored passwords stronger; there are ")
	r.configure(mainCF+accounts+"sekisho_password_upgrade = {SHA512-CRYPT}\n", smtpdAt(addr))
	r.signals <- syscall.SIGHUP
	r.expect("reload -- version ")
	if got := login(t, addr, "a@demo.test", "a-demo"); !strings.HasPrefix(got, "235 ") || !strings.HasPrefix(stored(), "{SHA512-CRYPT}$6$") {
		t.Errorf("%s, stored is %s", got, stored())
	}
	r.stop()
}
