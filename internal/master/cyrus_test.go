package master

import (
	"database/sql"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"sekisho/internal/clock"
	"sekisho/internal/sasl/saslauthd"
	"sekisho/internal/sasltest"
)

// cyrusCF is a site with text in its smtpd.conf.
func cyrusCF(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "smtpd.conf"), text)
	return mainCF + "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = cyrus\nsmtpd_sasl_path = smtpd\ncyrus_sasl_config_path = /nonexistent:" + dir + "\n"
}

const (
	loggedIn  = "235 2.7.0 Authentication successful"
	wrongPass = "535 5.7.8 Error: authentication failed: authentication failure"
)

func TestCyrusSQL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TABLE mailbox (username TEXT, password TEXT); INSERT INTO mailbox VALUES ('a@example.com', 'secret')"); err != nil {
		t.Fatal(err)
	}
	one, two := freeAddr(t), freeAddr(t)
	r := start(t, cyrusCF(t, "auxprop_plugin: sql\nsql_engine: sqlite\nsql_database: "+path+
		"\nsql_select: SELECT password FROM mailbox WHERE username='%u@%r'\nmech_list: login plain\nnonsense: 1\n"),
		smtpdAt(one, two)+" -o smtpd_sasl_local_domain=example.com\n")
	r.expect("smtpd.conf:6: nonsense: this key is unknown here")
	for _, tt := range []struct{ addr, command, want string }{
		{one, "AUTH " + sasltest.Plain("a@example.com", "secret"), loggedIn},
		{one, "AUTH " + sasltest.Plain("a", "secret"), wrongPass},
		{two, "AUTH " + sasltest.Plain("a", "secret"), loggedIn},
		{two, "AUTH CRAM-MD5", "535 5.7.8 Error: authentication failed: no mechanism available"},
	} {
		c := sasltest.Dial(t, tt.addr)
		if hello := c.Say("EHLO x"); !strings.Contains(hello, "AUTH LOGIN PLAIN\n") {
			t.Errorf("offered: %s", hello)
		}
		if got := c.Say(tt.command); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.command, got, tt.want)
		}
	}
	if _, err := db.Exec("DROP TABLE mailbox"); err != nil {
		t.Fatal(err)
	}
	const away = "454 4.7.0 Temporary authentication failure: generic failure"
	if got := sasltest.Dial(t, one).Say("AUTH " + sasltest.Plain("a@example.com", "secret")); got != away {
		t.Errorf("without a table: %s", got)
	}
	r.expect("no such table: mailbox")
	r.stop()
}

// TestCyrusSaslauthd has the daemon come after the server.
func TestCyrusSaslauthd(t *testing.T) {
	socket, addr := filepath.Join(t.TempDir(), "mux"), freeAddr(t)
	r := start(t, cyrusCF(t, "pwcheck_method: saslauthd\nsaslauthd_path: "+socket+"\n"), smtpdAt(addr))
	r.expect("until that is mended, logins get a temporary error")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go answer(l, saslauthd.Request{Login: "a", Password: "secret", Service: "smtp", Realm: "example.com"})
	for password, want := range map[string]string{"secret": loggedIn, "bad": wrongPass} {
		if got := sasltest.Dial(t, addr).Say("AUTH " + sasltest.Plain("a@example.com", password)); got != want {
			t.Errorf("%s: %s, want %s", password, got, want)
		}
	}
	r.stop()
}

// answer is a saslauthd that knows one user.
func answer(l net.Listener, known saslauthd.Request) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		text := "NO"
		if r, err := saslauthd.ReadRequest(conn, 1000); err == nil && r == known {
			text = "OK"
		}
		_, _ = conn.Write(saslauthd.AppendAnswer(nil, text))
		_ = conn.Close()
	}
}

// TestCyrusErrors end the start and say where and why.
func TestCyrusErrors(t *testing.T) {
	for _, tt := range []struct{ text, extra, want string }{
		{"auxprop_plugin: sasldb\n", "", "smtpd.conf:1: auxprop_plugin: sasldb: Sekisho does not read sasldb2"},
		{"pwcheck_method: rimap\n", "", "smtpd.conf:1: pwcheck_method: rimap: rimap_server is not set"},
		{"pwcheck_method: pam\n", "", `"pam" is unknown here: there are auxprop, rimap, saslauthd`},
		{"", "smtpd_sasl_path = other\n", "there is no other.conf in any of /nonexistent, "},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.cf"), cyrusCF(t, tt.text)+tt.extra)
		write(t, filepath.Join(dir, "master.cf"), smtpdAt(freeAddr(t)))
		_, _, err := begin(dir, clock.System{}, slog.New(slog.NewTextHandler(io.Discard, nil)))
		if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), filepath.Join(dir, "main.cf")+":") {
			t.Errorf("%q: %v, want %s", tt.text, err, tt.want)
		}
	}
}
