package saslauthd_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/sasltest"
)

// TestPostfix: a real Postfix asks our daemon by the SASL library. A password
// that cannot be checked is a temporary failure there too.
func TestPostfix(t *testing.T) {
	need(t, "libsasl2-modules", "postfix")
	imap := startIMAP(t, "")
	d := startOurs(t, "-a", "rimap", "-O", port(imap.addr), "-r")
	postfix := sasltest.StartPostfix(t, "smtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\n")
	conf := filepath.Join(postfix.Conf(), "sasl")
	if err := os.Mkdir(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conf, "smtpd.conf"),
		[]byte("pwcheck_method: saslauthd\nmech_list: plain login\nsaslauthd_path: "+d.mux+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	want := func(password, reply string) {
		t.Helper()
		session := sasltest.Dial(t, postfix.Addr)
		if hello := session.Say("EHLO x"); !strings.Contains(hello, "AUTH ") {
			t.Fatalf("offered:\n%s", hello)
		}
		if got := session.Say("AUTH " + sasltest.Plain("bob@demo.test", password)); !strings.HasPrefix(got, reply) {
			t.Errorf("%s: %s, want %s", password, got, reply)
		}
		session.Say("QUIT")
	}
	want("bob-demo", "235 2.7.0")
	want("x", "535 5.7.8")
	imap.stop(t)
	want("bob-demo", "454 4.7.0")
	imap.start(t)
	await(t, "the daemon to find the IMAP server", func() bool {
		ok, _, _ := d.Check(t.Context(), "bob", "bob-demo", "smtp", "demo.test")
		return ok
	})
	want("bob-demo", "235 2.7.0")
}
