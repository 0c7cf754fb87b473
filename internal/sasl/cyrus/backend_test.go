package cyrus_test

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
	_ "modernc.org/sqlite"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/cyrus"
)

// md5crypt is "md5pass".
const md5crypt = "$1$saltsalt$cCPENxTVtU4kpnV2ngztX0"

const accounts = `
CREATE TABLE mailbox (username TEXT, password TEXT, active TEXT);
INSERT INTO mailbox VALUES
 ('plain@example.com', 'plainpass', '1'), ('plain2@example.com', '{PLAIN}plain2pass', '1'),
 ('md5@example.com', '` + md5crypt + `', '1'), ('inactive@example.com', 'plainpass', '0'),
 ('host@mx.example.com', 'hostpass', '1'), ('o''hara@example.com', 'quoted', '1'),
 ('empty@example.com', '', '1'), ('null@example.com', NULL, '1'), ('odd@example.com', '{NOSUCH}x', '1');
`

// database makes the accounts and returns the lines of a file that lead there.
func database(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "accounts.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(accounts); err != nil {
		t.Fatal(err)
	}
	return "auxprop_plugin: sql\nsql_engine: sqlite\nsql_database: " + path +
		"\nsql_select: SELECT password FROM mailbox WHERE username='%u@%r' AND active='1'\n"
}

// open makes a backend of a file's text.
func open(t *testing.T, text string, o cyrus.Options) *cyrus.Backend {
	t.Helper()
	b, err := tryOpen(t, text, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() }) // of dead connections it complains
	return b
}

func tryOpen(t *testing.T, text string, o cyrus.Options) (*cyrus.Backend, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "smtpd.conf"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := cyrus.Find("smtpd", []string{filepath.Join(dir, "none"), dir})
	if err != nil {
		return nil, err
	}
	o.Hostname = "mx.example.com"
	if o.Clock == nil {
		o.Clock = clock.NewManual(time.Unix(1000, 0))
	}
	return cyrus.New(f, o)
}

// outcome is a step in a line: the reply's code and reason, the name, what
// Cyrus notes.
func outcome(s sasl.Step) string {
	text := map[sasl.StepKind]string{sasl.Done: "235", sasl.Failed: "535", sasl.TempFailed: "454", sasl.Challenge: "334 " + s.Challenge}[s.Kind]
	if s.Kind == sasl.Challenge {
		return text
	}
	if s.Reason != "" {
		text += " " + s.Reason
	}
	text += ", " + s.User
	for _, w := range s.Warnings {
		text += "; " + strings.TrimPrefix(w, "SASL authentication failure: ")
	}
	return text
}

// say holds a dialogue and returns its last outcome. "-" as the first response
// stands for no initial response.
func say(t *testing.T, b *cyrus.Backend, mech string, responses ...string) string {
	t.Helper()
	first := responses[0]
	x, step := b.Start(t.Context(), sasl.Client{Service: "smtp"}, mech, first, first != "-")
	for _, r := range responses[1:] {
		if step.Kind != sasl.Challenge {
			t.Fatalf("%s %q ends early: %s", mech, responses, outcome(step))
		}
		step = x.Next(t.Context(), r)
	}
	return outcome(step)
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

const wrong = "535 authentication failure, "

// TestAnswers has what Postfix 3.7.11 with Cyrus SASL 2.1.28 answers and logs,
// save where passwords are hashed or empty.
func TestAnswers(t *testing.T) {
	b := open(t, "pwcheck_method: auxprop\nmech_list: plain login cram-md5\n"+database(t), cyrus.Options{})
	const verification = "; Password verification failed"
	for _, tt := range []struct {
		mech      string
		responses []string
		want      string
	}{
		{"PLAIN", []string{b64("\x00plain@example.com\x00plainpass")}, "235, plain@example.com"},
		{"plain", []string{"-", b64("\x00plain@example.com\x00plainpass")}, "235, plain@example.com"},
		{"PLAIN", []string{b64("plain@example.com\x00 plain@example.com \x00plainpass")}, "235, plain@example.com"},
		{"PLAIN", []string{b64("\x00host\x00hostpass")}, "235, host"},
		{"PLAIN", []string{b64("\x00plain@example.com\x00bad")}, wrong + "plain@example.com" + verification},
		{"PLAIN", []string{b64("\x00plain@example.com\x00")}, wrong + "plain@example.com" + verification},
		{"PLAIN", []string{b64("\x00PLAIN@EXAMPLE.COM\x00plainpass")}, wrong + "PLAIN@EXAMPLE.COM" + verification},
		{"PLAIN", []string{b64("\x00nosuch@example.com\x00x")}, wrong + "nosuch@example.com" + verification},
		{"PLAIN", []string{b64("\x00plain\x00plainpass")}, wrong + "plain" + verification},
		{"PLAIN", []string{b64("\x00inactive@example.com\x00plainpass")}, wrong + "inactive@example.com" + verification},
		{"PLAIN", []string{b64("\x00null@example.com\x00")}, wrong + "null@example.com" + verification},
		{"PLAIN", []string{b64("\x00\x00x")}, "454 generic failure, (unavailable); All-whitespace username."},
		{"PLAIN", []string{b64("\x00  \x00x")}, "454 generic failure, ; All-whitespace username." + verification},
		{"PLAIN", []string{b64("user@example.net\x00plain@example.com\x00plainpass")}, wrong + "user@example.net; Requested identity not authenticated identity"},
		{"PLAIN", []string{b64("user@example.net\x00plain@example.com\x00bad")}, wrong + "plain@example.com" + verification},
		{"PLAIN", []string{b64("plainpass")}, "535 bad protocol / cancel, (unavailable); Can only find author (no password)"},
		{"PLAIN", []string{"-", ""}, "535 bad protocol / cancel, (unavailable); Can only find author (no password)"},
		{"PLAIN", []string{b64("a\x00b")}, "535 bad protocol / cancel, (unavailable); Can only find author/en (no password)"},
		{"PLAIN", []string{b64("\x00a\x00b\x00")}, "535 bad protocol / cancel, (unavailable); Got more data than we were expecting in the PLAIN plugin?"},
		{"PLAIN", []string{"="}, "535 another step is needed in authentication, (unavailable)"},
		{"PLAIN", []string{"!!!!"}, "535 bad protocol / cancel, (unavailable)"},
		{"LOGIN", []string{"-"}, "334 VXNlcm5hbWU6"},
		{"LOGIN", []string{"-", ""}, "334 UGFzc3dvcmQ6"},
		{"LOGIN", []string{"-", b64("plain@example.com"), b64("plainpass")}, "235, plain@example.com"},
		{"LOGIN", []string{b64("plain@example.com"), b64("plainpass")}, "235, plain@example.com"},
		{"LOGIN", []string{"-", b64("plain@example.com\x00x"), b64("plainpass")}, "235, plain@example.com"},
		{"LOGIN", []string{"-", b64("plain@example.com"), b64("bad")}, wrong + "plain@example.com"},
		{"LOGIN", []string{"-", b64("plain@example.com"), ""}, wrong + "plain@example.com"},
		{"LOGIN", []string{"-", b64("plain@example.com"), "@@@@"}, "535 bad protocol / cancel, (unavailable)"},
		{"LOGIN", []string{"-", b64("  "), b64("x")}, "454 generic failure, ; All-whitespace username."},
		{"LOGIN", []string{"-", b64(strings.Repeat("x", 1025))}, "535 bad protocol / cancel, (unavailable)"},
		{"LOGIN", []string{"-", b64("x"), b64(strings.Repeat("x", 1025))}, "535 bad protocol / cancel, (unavailable); clientinlen is > 1024 characters in LOGIN plugin"},
		{"CRAM-MD5", []string{"AAAA"}, "535 bad protocol / cancel, (unavailable); Remote sent first but mech does not allow it."},
		{"CRAM-MD5", []string{"-", "AAAA"}, "535 bad protocol / cancel, (unavailable); need authentication name"},
		{"CRAM-MD5", []string{"-", b64("plain@example.com xyz")}, wrong + "plain@example.com; incorrect digest response"},
		{"CRAM-MD5", []string{"-", b64("nosuch@example.com xyz")}, wrong + "nosuch@example.com"},
		{"CRAM-MD5", []string{"-", b64(" xyz")}, "535 bad protocol / cancel, (unavailable); need authentication name"},
		{"CRAM-MD5", []string{"-", b64("  xyz")}, wrong},
		{"FOO", []string{"abc"}, "535 another step is needed in authentication, (unavailable)"},
		{"FOO", []string{"-"}, "535 no mechanism available, (unavailable); Couldn't find mech FOO"},

		// Beyond Cyrus: stored forms are told apart, and none is the password.
		{"PLAIN", []string{b64("\x00md5@example.com\x00md5pass")}, "235, md5@example.com"},
		{"LOGIN", []string{"-", b64("md5@example.com"), b64("md5pass")}, "235, md5@example.com"},
		{"PLAIN", []string{b64("\x00md5@example.com\x00" + md5crypt)}, wrong + "md5@example.com" + verification},
		{"PLAIN", []string{b64("\x00plain2@example.com\x00plain2pass")}, "235, plain2@example.com"},
		{"PLAIN", []string{b64("\x00plain2@example.com\x00{PLAIN}plain2pass")}, wrong + "plain2@example.com" + verification},
		{"PLAIN", []string{b64("\x00empty@example.com\x00")}, wrong + "empty@example.com" + verification},

		// A name is never part of the SQL.
		{"PLAIN", []string{b64("\x00o'hara@example.com\x00quoted")}, "235, o'hara@example.com"},
		{"PLAIN", []string{b64("\x00' OR '1'='1@example.com\x00plainpass")}, wrong + "' OR '1'='1@example.com" + verification},
		{"PLAIN", []string{b64("\x00pl%in@example.com\x00plainpass")}, wrong + "pl%in@example.com" + verification},
		{"PLAIN", []string{b64("\x00\xe9@example.com\x00x")}, wrong + "\xe9@example.com" + verification},
	} {
		if got := say(t, b, tt.mech, tt.responses...); got != tt.want {
			t.Errorf("%s %q:\n got %s\nwant %s", tt.mech, tt.responses, got, tt.want)
		}
	}
}

// TestDamagedStoredForm: the client need not know, the administrator must.
func TestDamagedStoredForm(t *testing.T) {
	b := open(t, database(t), cyrus.Options{})
	got := say(t, b, "PLAIN", b64("\x00odd@example.com\x00{NOSUCH}x"))
	if !strings.HasPrefix(got, wrong+"odd@example.com; SASL: auxprop: odd@example.com: ") {
		t.Error(got)
	}
}

// TestBase64 has what sasl_decode64 of Cyrus SASL 2.1.28 returns.
func TestBase64(t *testing.T) {
	b := open(t, database(t), cyrus.Options{})
	const badProtocol, anotherStep = "bad protocol / cancel", "another step is needed in authentication"
	for text, want := range map[string]string{
		"=": anotherStep, "a": anotherStep, "ab": anotherStep, "abc": anotherStep, "*": anotherStep, "!!!": anotherStep,
		"abcde": anotherStep, "abcdefg": anotherStep, "abcd\r": anotherStep, "abcd\n": anotherStep, "ab=": anotherStep,
		"abcd!!": anotherStep, "abcd=": anotherStep, "abcd===": anotherStep,
		"ab=c": badProtocol, "a===": badProtocol, "====": badProtocol, "=bcd": badProtocol, "ab==x": badProtocol,
		"ab==abcd": badProtocol, "ab===": badProtocol, "ab==\r": badProtocol, "ab c": badProtocol, "abc==": badProtocol,
		"!!!!": badProtocol, "ab\r\nc": badProtocol,
	} {
		if got, want := say(t, b, "LOGIN", text), "535 "+want+", (unavailable)"; got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	for _, text := range []string{"abcd", "ab==", "abc=", "YR=="} {
		if got := say(t, b, "LOGIN", text); got != "334 UGFzc3dvcmQ6" {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestLocalDomain(t *testing.T) {
	b := open(t, database(t), cyrus.Options{LocalDomain: "example.com"})
	for initial, want := range map[string]string{
		"\x00plain\x00plainpass":             "235, plain@example.com",
		"\x00plain@example.com\x00plainpass": "235, plain@example.com",
		"x\x00plain\x00plainpass":            wrong + "x@example.com; Requested identity not authenticated identity",
		"plain\x00plain\x00plainpass":        "235, plain@example.com",
	} {
		if got := say(t, b, "PLAIN", b64(initial)); got != want {
			t.Errorf("%q: %s, want %s", initial, got, want)
		}
	}
}

func TestCRAMMD5(t *testing.T) {
	b := open(t, "mech_list: cram-md5\n"+database(t), cyrus.Options{})
	for name, want := range map[string]string{
		"plain@example.com":  "235, plain@example.com",
		"plain2@example.com": "235, plain2@example.com",
		"md5@example.com":    wrong + "md5@example.com", // a hash answers no challenge
	} {
		x, step := b.Start(t.Context(), sasl.Client{}, "CRAM-MD5", "", false)
		asked, err := base64.StdEncoding.DecodeString(step.Challenge)
		if err != nil || !strings.HasSuffix(string(asked), ".1000@mx.example.com>") {
			t.Fatalf("challenge %q, %v", asked, err)
		}
		mac := hmac.New(md5.New, []byte(strings.Replace(name, "@example.com", "pass", 1)))
		mac.Write(asked)
		if got := outcome(x.Next(t.Context(), b64(name+" "+hex.EncodeToString(mac.Sum(nil))))); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestSCRAM(t *testing.T) {
	b := open(t, "mech_list: scram-sha-256\n"+database(t), cyrus.Options{})
	for _, tt := range []struct{ name, password, want string }{
		{"plain@example.com", "plainpass", "235, plain@example.com"},
		{"plain@example.com", "bad", wrong + "plain@example.com"},
		{"nosuch@example.com", "bad", wrong + "nosuch@example.com"},
		{"md5@example.com", "md5pass", wrong + "md5@example.com"},
	} {
		client, err := scram.SHA256.NewClient(tt.name, tt.password, "")
		if err != nil {
			t.Fatal(err)
		}
		conv := client.NewConversation()
		x, step := b.Start(t.Context(), sasl.Client{}, "SCRAM-SHA-256", "", false)
		for step.Kind == sasl.Challenge {
			asked, err := base64.StdEncoding.DecodeString(step.Challenge)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := conv.Step(string(asked))
			if err != nil {
				t.Fatalf("%s: the client does not trust the server: %v", tt.name, err)
			}
			step = x.Next(t.Context(), b64(answer))
		}
		if got := outcome(step); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, tt.password, got, tt.want)
		}
	}
	if got := say(t, b, "SCRAM-SHA-256", "-", "AAAA"); got != "535 bad protocol / cancel, (unavailable); Invalid SCRAM-SHA-256 input" {
		t.Error(got)
	}
}

// TestDown: a database that cannot be asked is said, and refuses nobody.
func TestDown(t *testing.T) {
	text := strings.Replace(database(t), "FROM mailbox", "FROM nosuch", 1)
	b := open(t, "mech_list: plain cram-md5 scram-sha-256\n"+text, cyrus.Options{})
	if err := b.Probe(t.Context()); err == nil || !strings.Contains(err.Error(), "nosuch") {
		t.Errorf("Probe: %v", err)
	}
	for mech, responses := range map[string][]string{
		"PLAIN":         {b64("\x00plain@example.com\x00plainpass")},
		"CRAM-MD5":      {"-", b64("plain@example.com x")},
		"SCRAM-SHA-256": {b64("n,,n=plain@example.com,r=abcdefghijklmnop")},
	} {
		got := say(t, b, mech, responses...)
		if !strings.HasPrefix(got, "454 generic failure, plain@example.com; SASL: ") || !strings.Contains(got, "no such table: nosuch") {
			t.Errorf("%s: %s", mech, got)
		}
	}
	if err := open(t, database(t), cyrus.Options{}).Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

// peer knows one password, or cannot be asked.
type peer struct {
	known string
	err   error
}

func (p peer) Check(_ context.Context, login, password, service, realm string) (bool, string, error) {
	return strings.Join([]string{login, password, service, realm}, " ") == p.known, "no", p.err
}

func (p peer) Probe(context.Context) error { return p.err }

// method is a pwcheck_method with a peer.
func method(known string, err error) cyrus.Method {
	return cyrus.Method{Keys: []string{"known_path"}, Open: func(get func(string) string) (cyrus.Peer, error) {
		if get("known_path") == "bad" {
			return nil, errors.New("it is bad")
		}
		return peer{known, err}, nil
	}}
}

func TestMethodsInOrder(t *testing.T) {
	o := cyrus.Options{Methods: map[string]cyrus.Method{
		"saslauthd": method("a@b secret smtp example.org", nil),
		"down":      method("", errors.New("connection refused")),
	}}
	const ask = "\x00a@b@example.org\x00"
	for _, tt := range []struct{ methods, initial, want string }{
		{"saslauthd", ask + "secret", "235, a@b@example.org"},
		{"saslauthd auxprop", "\x00plain@example.com\x00plainpass", "235, plain@example.com"},
		{"auxprop saslauthd", ask + "secret", "235, a@b@example.org"},
		{"down saslauthd", ask + "secret", "235, a@b@example.org; SASL: down: connection refused"},
		{"saslauthd", ask + "x", wrong + "a@b@example.org; Password verification failed"},
		{"down saslauthd", ask + "x", "454 generic failure, a@b@example.org; SASL: down: connection refused; Password verification failed"},
	} {
		b := open(t, "pwcheck_method: "+tt.methods+"\nknown_path: x\n"+database(t), o)
		if got := say(t, b, "PLAIN", b64(tt.initial)); got != tt.want {
			t.Errorf("%s %q: %s, want %s", tt.methods, tt.initial, got, tt.want)
		}
		if b.Warnings() != nil {
			t.Errorf("%s: %q", tt.methods, b.Warnings())
		}
		if err, down := b.Probe(t.Context()), strings.Contains(tt.methods, "down"); (err != nil) != down {
			t.Errorf("%s: Probe: %v", tt.methods, err)
		}
	}
}

func TestMechanisms(t *testing.T) {
	o := cyrus.Options{Methods: map[string]cyrus.Method{"saslauthd": method("", nil)}}
	for _, tt := range []struct {
		lines, want string
		warned      string
	}{
		{"", "PLAIN LOGIN", ""},
		{"mech_list: plain login", "PLAIN LOGIN", ""},
		{"mech_list: LOGIN plain", "LOGIN PLAIN", ""},
		{"mech_list: scram-sha-256 cram-md5 plain", "SCRAM-SHA-256 CRAM-MD5 PLAIN", ""},
		{"mech_list: digest-md5 login", "DIGEST-MD5 LOGIN", ""},
		{"mech_list: ntlm login", "LOGIN", "NTLM is not offered"},
		{"mech_list: cram-md5 login\npwcheck_method: saslauthd", "LOGIN", "CRAM-MD5 is not offered"},
		{"canon_user_plugin: ldapdb", "PLAIN LOGIN", ":2: canon_user_plugin: this key is unknown"},
	} {
		b := open(t, "# comment\n"+tt.lines+"\n"+database(t), o)
		list, err := b.Mechanisms(false)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, m := range list {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.lines, got, tt.want)
		}
		if got := strings.Join(b.Warnings(), "\n"); tt.warned == "" && got != "" || !strings.Contains(got, tt.warned) {
			t.Errorf("%s: warnings %q, want %q", tt.lines, got, tt.warned)
		}
	}
}

func TestFileErrors(t *testing.T) {
	o := cyrus.Options{Methods: map[string]cyrus.Method{"saslauthd": method("", nil)}}
	for _, tt := range []struct{ text, want string }{
		{"mech_list: plain\nnonsense\n", `smtpd.conf:2: "nonsense" is not "key: value"`},
		{"mech_list:\n", "smtpd.conf:1: mech_list has no value"},
		{"pwcheck_method: pam\n", `smtpd.conf:1: pwcheck_method: "pam" is unknown here: there are auxprop, saslauthd`},
		{"pwcheck_method: saslauthd\nknown_path: bad\n", "smtpd.conf:1: pwcheck_method: saslauthd: it is bad"},
		{"pwcheck_method: auxprop\nauxprop_plugin: sasldb\n", "smtpd.conf:2: auxprop_plugin: sasldb: Sekisho does not read sasldb2"},
		{"pwcheck_method: auxprop\n", "auxprop_plugin: it is not set"},
		{"auxprop_plugin: ldapdb\n", "smtpd.conf:1: auxprop_plugin: ldapdb is unknown"},
		{"auxprop_plugin: sql\n", "sql_select: it is not set"},
		{"auxprop_plugin: sql\nsql_select: SELECT '%x'\nsql_engine: sqlite\n", "smtpd.conf:2: sql_select: bad % escape"},
		{"auxprop_plugin: sql\nsql_select: SELECT '%u'\nsql_engine: oracle\n", "smtpd.conf:3: sql_engine: oracle is unknown"},
		{"auxprop_plugin: sql\nsql_select: SELECT '%u'\n", "sql_database: it is not set"},
		{"auxprop_plugin: sql\nsql_select: SELECT '%u'\nsql_engine: sqlite3\nsql_database: /nonexistent/db\n", "smtpd.conf:4: sql_database: stat /nonexistent/db"},
		{"pwcheck_method: saslauthd\nmech_list: gssapi\n", `smtpd.conf:2: mech_list: none of "gssapi" can be offered`},
	} {
		if _, err := tryOpen(t, tt.text, o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.text, err, tt.want)
		}
	}
	if _, err := cyrus.Find("smtpd", []string{"/nonexistent/a", "/nonexistent/b"}); err == nil || !strings.Contains(err.Error(), "/nonexistent/a, /nonexistent/b") {
		t.Error(err)
	}
	if _, err := cyrus.Find("private/auth", []string{t.TempDir()}); err == nil {
		t.Error("a path is taken for a name")
	}
}

// TestFirstFileCounts, and the first of two lines, in any case of the key.
func TestFirstFileCounts(t *testing.T) {
	var dirs []string
	for _, value := range []string{"one", "two"} {
		dir := t.TempDir()
		text := "  # comment\n\nSQL_User :x\n"
		text = strings.Replace(text, " :x", ": "+value+" \t", 1) + "sql_user: again\n"
		if err := os.WriteFile(filepath.Join(dir, "smtpd.conf"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		dirs = append(dirs, dir)
	}
	for _, want := range []string{"one", "two"} {
		f, err := cyrus.Find("smtpd", dirs)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Get("sql_user"); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		dirs[0], dirs[1] = dirs[1], dirs[0]
	}
}

// TestDIGESTMD5 speaks as a client, and as one that replays or changes what was
// asked.
func TestDIGESTMD5(t *testing.T) {
	b := open(t, "mech_list: digest-md5\n"+database(t), cyrus.Options{LocalDomain: "example.com"})
	sum := func(s string) []byte { d := md5.Sum([]byte(s)); return d[:] }
	hash := func(s string) string { return hex.EncodeToString(sum(s)) }
	for _, tt := range []struct{ name, password, nc, authzid, want string }{
		{"plain@example.com", "plainpass", "00000001", "", "235, plain@example.com"},
		{"plain", "plainpass", "00000001", "", "235, plain@example.com"},
		{"plain", "plainpass", "00000001", "plain@example.com", "235, plain@example.com"},
		{"plain", "plainpass", "00000001", "md5@example.com", wrong + "md5@example.com; Requested identity not authenticated identity"},
		{"plain", "bad", "00000001", "", wrong + "plain@example.com"},
		{"nosuch", "", "00000001", "", wrong + "nosuch@example.com"},
		{"md5", md5crypt, "00000001", "", wrong + "md5@example.com"}, // a hash answers no challenge
		{"plain", "plainpass", "00000002", "", "535 bad protocol / cancel, (unavailable); DIGEST-MD5: incorrect nonce-count: authentication aborted"},
	} {
		x, step := b.Start(t.Context(), sasl.Client{}, "DIGEST-MD5", "", false)
		asked, err := base64.StdEncoding.DecodeString(step.Challenge)
		if err != nil {
			t.Fatal(err)
		}
		nonce, rest, ok := strings.Cut(strings.TrimPrefix(string(asked), `nonce="`), `"`)
		if want := `,realm="example.com",qop="auth",charset=utf-8,algorithm=md5-sess`; !ok || rest != want {
			t.Fatalf("challenge %s", asked)
		}
		a1 := string(sum(tt.name+":example.com:"+tt.password)) + ":" + nonce + ":c"
		text := `username="` + tt.name + `",realm="example.com",nonce="` + nonce + `",cnonce="c",nc=` + tt.nc + `,qop=auth,digest-uri="smtp/mx.example.com"`
		if tt.authzid != "" {
			a1 += ":" + tt.authzid
			text += `,authzid="` + tt.authzid + `"`
		}
		proof := func(a2 string) string {
			return hash(hash(a1) + ":" + nonce + ":" + tt.nc + ":c:auth:" + hash(a2+"smtp/mx.example.com"))
		}
		step = x.Next(t.Context(), b64(text+",response="+proof("AUTHENTICATE:")))
		if step.Kind == sasl.Challenge {
			if want := b64("rspauth=" + proof(":")); step.Challenge != want || step.User != "plain@example.com" {
				t.Errorf("%s: the server proves itself by %s for %s, want %s", tt.name, step.Challenge, step.User, want)
			}
			step = x.Next(t.Context(), "")
		}
		if got := outcome(step); got != tt.want {
			t.Errorf("%s %s: %s, want %s", tt.name, tt.password, got, tt.want)
		}
	}
}
