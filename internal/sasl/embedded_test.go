package sasl_test

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
)

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func unb64(t *testing.T, s string) string {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// site makes a backend over the accounts USER STORED; "off@" and the domain
// off.test are inactive.
func site(t *testing.T, accounts ...string) (*sasl.Embedded, *directory.Directory, *clock.Manual) {
	t.Helper()
	c := clock.NewManual(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC))
	d, err := directory.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "accounts.db"), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	for _, name := range []string{"demo.test", "off.test"} {
		if err := d.AddDomain(t.Context(), directory.Domain{Name: name, Active: name != "off.test"}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, a := range accounts {
		user, stored, _ := strings.Cut(a, " ")
		m := directory.Mailbox{Username: user, Active: !strings.HasPrefix(user, "off@")}
		if err := d.AddMailbox(t.Context(), m, stored); err != nil {
			t.Fatal(err)
		}
	}
	e, err := sasl.NewEmbedded(d, "mx.demo.test", c)
	if err != nil {
		t.Fatal(err)
	}
	return e, d, c
}

// show writes a step down: C:challenge, OK:user, or NO:reason:user.
func show(s sasl.Step) string {
	user := "-"
	if s.UserKnown {
		user = s.User
	}
	switch s.Kind {
	case sasl.Challenge:
		return "C:" + s.Challenge
	case sasl.Done:
		return "OK:" + user
	case sasl.Failed:
		return "NO:" + s.Reason + ":" + user
	}
	return "TEMP:" + s.Reason + ":" + user
}

// The expectations are Dovecot 2.3.19's, asked over its socket, but for the
// empty stored password, with which Dovecot lets everybody in.
func TestDialogs(t *testing.T) {
	e, _, _ := site(t,
		"alice@demo.test {BLF-CRYPT}$2y$05$3oEIHFwB1ga0FNsuoPQX7eP/BeI.86hAUz79QUVcTl3bXY4yom9Y2",
		"bob@demo.test bob-demo",
		"md5@demo.test $1$saltsalt$9T3cUS1EUG/L6TvTCoJP10",
		"odd@demo.test {NTLM}xyz",
		"empty@demo.test {PLAIN}",
		"off@demo.test {PLAIN}off-demo",
		"carol@off.test {PLAIN}carol-demo")
	const secret = "Secret pass-1"
	const hash = "$2y$05$3oEIHFwB1ga0FNsuoPQX7eP/BeI.86hAUz79QUVcTl3bXY4yom9Y2"
	const badInitial, badContinued = "NO:Invalid base64 data in initial response:-", "NO:Invalid base64 data in continued response:-"
	tests := []struct {
		mech  string
		sends []string // first the initial response; "-": none
		want  string   // the last step
	}{
		{"PLAIN", []string{b64("\x00alice@demo.test\x00" + secret)}, "OK:alice@demo.test"},
		{"plain", []string{"-", b64("\x00ALICE@Demo.Test\x00" + secret)}, "OK:alice@demo.test"},
		{"PLAIN", []string{"-"}, "C:"},
		{"PLAIN", []string{b64("alice@demo.test\x00alice@demo.test\x00" + secret)}, "OK:alice@demo.test"},
		{"PLAIN", []string{b64("bob@demo.test\x00alice@demo.test\x00" + secret)}, "NO::alice@demo.test"},
		{"PLAIN", []string{b64("\x00bob@demo.test\x00bob-demo")}, "OK:bob@demo.test"},
		{"PLAIN", []string{b64("\x00md5@demo.test\x00" + secret)}, "OK:md5@demo.test"},
		{"PLAIN", []string{b64("\x00Alice@demo.test\x00wrong")}, "NO::alice@demo.test"},
		{"PLAIN", []string{b64("\x00nosuch@demo.test\x00x")}, "NO::nosuch@demo.test"},
		{"PLAIN", []string{b64("\x00alice@demo.test\x00")}, "NO::alice@demo.test"},
		{"PLAIN", []string{b64("\x00\x00x")}, "NO::"},
		{"PLAIN", []string{b64("\x00off@demo.test\x00off-demo")}, "NO::off@demo.test"},
		{"PLAIN", []string{b64("\x00carol@off.test\x00carol-demo")}, "NO::carol@off.test"},
		{"PLAIN", []string{b64("\x00alice@demo.test\x00" + hash)}, "NO::alice@demo.test"},
		{"PLAIN", []string{b64("\x00alice@demo.test\x00{BLF-CRYPT}" + hash)}, "NO::alice@demo.test"},
		{"PLAIN", []string{"="}, "NO::-"},
		{"PLAIN", []string{b64("md5pass")}, "NO::-"},
		{"PLAIN", []string{"!!!!"}, badInitial},
		{"PLAIN", []string{"abc"}, badInitial},
		{"PLAIN", []string{"*"}, badInitial},
		{"PLAIN", []string{"-", "@@@@"}, badContinued},
		{"PLAIN", []string{b64("\x00alice@demo.test\x00" + secret + "\x00x")}, "NO::-"},
		{"PLAIN", []string{b64("\x00odd@demo.test\x00xyz")}, "NO::odd@demo.test"},
		{"PLAIN", []string{b64("\x00empty@demo.test\x00")}, "NO::empty@demo.test"},
		{"PLAIN", []string{b64("\x00' OR 1=1 --\x00x")}, "NO::' OR 1=1 --"},
		{"PLAIN", []string{b64("ALICE@demo.test\x00alice@demo.test\x00" + secret)}, "NO::alice@demo.test"},

		{"LOGIN", []string{"-"}, "C:VXNlcm5hbWU6"},
		{"LOGIN", []string{"="}, "C:VXNlcm5hbWU6"},
		{"LOGIN", []string{"-", b64("alice@demo.test")}, "C:UGFzc3dvcmQ6"},
		{"LOGIN", []string{"-", b64("alice@demo.test"), b64(secret)}, "OK:alice@demo.test"},
		{"login", []string{b64("alice@demo.test"), b64(secret)}, "OK:alice@demo.test"},
		{"LOGIN", []string{"-", b64("alice@demo.test"), b64("wrong")}, "NO::alice@demo.test"},
		{"LOGIN", []string{"-", b64("alice@demo.test"), "@@@@"}, badContinued},
		{"LOGIN", []string{"-", ""}, "NO::"},
		{"LOGIN", []string{"-", b64("alice@demo.test\x00x")}, "NO::-"},
		{"LOGIN", []string{"-", b64("alice@demo.test"), ""}, "NO::alice@demo.test"},

		{"CRAM-MD5", []string{"-", b64("bob@demo.test 0123456789abcdef0123456789abcdef")}, "NO::bob@demo.test"},
		{"CRAM-MD5", []string{"-", b64("nospace")}, "NO::-"},
		{"CRAM-MD5", []string{b64("x"), b64("nospace")}, "NO::-"},
		{"SCRAM-SHA-256", []string{b64("n,,nonsense")}, "NO::-"},
		{"SCRAM-SHA-256", []string{b64("p=tls-exporter,,n=bob@demo.test,r=abc")}, "NO::-"},
		{"SCRAM-SHA-256-PLUS", []string{b64("n,,n=bob@demo.test,r=abc")}, "NO:Invalid authentication mechanism:-"},
		{"FOO", []string{"-"}, "NO:Invalid authentication mechanism:-"},
		{"ANONYMOUS", []string{b64("x")}, "NO:Invalid authentication mechanism:-"},
		{"", []string{"-"}, "NO:Invalid authentication mechanism:-"},
	}
	for _, tt := range tests {
		t.Run(tt.mech+" "+strings.Join(tt.sends, " "), func(t *testing.T) {
			initial := tt.sends[0]
			x, step := e.Start(t.Context(), sasl.Client{}, tt.mech, strings.TrimPrefix(initial, "-"), initial != "-")
			for _, send := range tt.sends[1:] {
				if step.Kind != sasl.Challenge {
					t.Fatalf("over before %q: %s", send, show(step))
				}
				step = x.Next(t.Context(), send)
			}
			if got := show(step); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestUnreadablePasswordIsReported(t *testing.T) {
	e, _, _ := site(t, "odd@demo.test {NTLM}s3cret")
	_, step := e.Start(t.Context(), sasl.Client{}, "PLAIN", b64("\x00odd@demo.test\x00s3cret"), true)
	if len(step.Warnings) != 1 || !strings.Contains(step.Warnings[0], "odd@demo.test") ||
		!strings.Contains(step.Warnings[0], "{NTLM}") || strings.Contains(step.Warnings[0], "s3cret") {
		t.Errorf("warnings %q", step.Warnings)
	}
}

func TestDirectoryDown(t *testing.T) {
	e, d, _ := site(t, "bob@demo.test bob-demo")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if list, err := e.Mechanisms(false); err == nil || len(list) != 2 {
		t.Errorf("Mechanisms: %v, %v; want an error, and those that do not depend on accounts", list, err)
	}
	for mech, initial := range map[string]string{
		"PLAIN":         "\x00bob@demo.test\x00bob-demo",
		"SCRAM-SHA-256": "n,,n=bob@demo.test,r=abc",
	} {
		_, step := e.Start(t.Context(), sasl.Client{}, mech, b64(initial), true)
		if step.Kind != sasl.TempFailed || len(step.Warnings) != 1 {
			t.Errorf("%s: %s, warnings %q", mech, show(step), step.Warnings)
		}
	}
}

func names(t *testing.T, e *sasl.Embedded, tls bool) string {
	t.Helper()
	list, err := e.Mechanisms(tls)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, m := range list {
		s = append(s, m.Name)
	}
	return strings.Join(s, " ")
}

func TestMechanismsFitAllAccounts(t *testing.T) {
	stored := func(scheme string) string {
		s, err := password.Hash(scheme, "x")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tt := range []struct {
		accounts []string
		clear    string
		tls      string
	}{
		{nil, "PLAIN LOGIN", "PLAIN LOGIN"},
		{[]string{"a@demo.test x"}, "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS"},
		{[]string{"a@demo.test x", "b@demo.test " + stored("CRAM-MD5")}, "PLAIN LOGIN CRAM-MD5", "PLAIN LOGIN CRAM-MD5"},
		{[]string{"a@demo.test x", "b@demo.test " + stored("SCRAM-SHA-256")}, "PLAIN LOGIN SCRAM-SHA-256", "PLAIN LOGIN SCRAM-SHA-256 SCRAM-SHA-256-PLUS"},
		{[]string{"a@demo.test x", "b@demo.test " + stored("BLF-CRYPT")}, "PLAIN LOGIN", "PLAIN LOGIN"},
		{[]string{"a@demo.test x", "off@demo.test " + stored("BLF-CRYPT")}, "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256", "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256 SCRAM-SHA-256-PLUS"},
	} {
		e, _, _ := site(t, tt.accounts...)
		if got := names(t, e, false); got != tt.clear {
			t.Errorf("%q: %s, want %s", tt.accounts, got, tt.clear)
		}
		if got := names(t, e, true); got != tt.tls {
			t.Errorf("%q with TLS: %s, want %s", tt.accounts, got, tt.tls)
		}
	}
}

func TestMechanismsAreLookedUpEachMinute(t *testing.T) {
	e, d, c := site(t, "a@demo.test x")
	before := names(t, e, false)
	if err := d.SetPassword(t.Context(), "a@demo.test", "$6$x$y"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, e, false); got != before {
		t.Errorf("%s at once", got)
	}
	c.Advance(time.Minute)
	if got := names(t, e, false); got != "PLAIN LOGIN" {
		t.Errorf("%s after a minute", got)
	}
}

func TestCRAMMD5(t *testing.T) {
	stored, err := password.Hash("CRAM-MD5", "bob-demo")
	if err != nil {
		t.Fatal(err)
	}
	e, _, _ := site(t, "bob@demo.test bob-demo", "cram@demo.test "+stored, "off@demo.test bob-demo",
		"hash@demo.test $1$saltsalt$9T3cUS1EUG/L6TvTCoJP10")
	for user, want := range map[string]string{
		"bob@demo.test":  "OK:bob@demo.test",
		"CRAM@demo.test": "OK:cram@demo.test",
		"off@demo.test":  "NO::off@demo.test",
		"hash@demo.test": "NO::hash@demo.test",
		"none@demo.test": "NO::none@demo.test",
	} {
		x, step := e.Start(t.Context(), sasl.Client{}, "CRAM-MD5", "", false)
		text := unb64(t, step.Challenge)
		if !strings.HasPrefix(text, "<") || !strings.HasSuffix(text, "@mx.demo.test>") {
			t.Errorf("challenge %q", text)
		}
		p, err := password.Parse("bob-demo")
		if err != nil {
			t.Fatal(err)
		}
		secret, _ := p.CRAM()
		if got := show(x.Next(t.Context(), b64(user+" "+secret.Response(text)))); got != want {
			t.Errorf("%s: %s, want %s", user, got, want)
		}
		if got := show(x.Next(t.Context(), b64(user+" "+secret.Response("<other>")))); !strings.HasPrefix(got, "NO:") {
			t.Errorf("%s: another challenge's response: %s", user, got)
		}
	}
}

// scramDialog plays a client of the xdg-go library.
func scramDialog(t *testing.T, e *sasl.Embedded, c sasl.Client, mech, user, pass, authzid string, conv func(*scram.Client) *scram.ClientConversation) string {
	t.Helper()
	client, err := scram.SHA256.NewClient(user, pass, authzid)
	if err != nil {
		t.Fatal(err)
	}
	cc := conv(client)
	first, err := cc.Step("")
	if err != nil {
		t.Fatal(err)
	}
	x, step := e.Start(t.Context(), c, mech, b64(first), true)
	for step.Kind == sasl.Challenge {
		reply, err := cc.Step(unb64(t, step.Challenge))
		if err != nil {
			t.Fatalf("the client refuses the server: %v", err)
		}
		step = x.Next(t.Context(), b64(reply))
	}
	if step.Kind == sasl.Done && !cc.Valid() {
		t.Error("done, but the client has not verified the server")
	}
	return show(step)
}

func TestSCRAM(t *testing.T) {
	stored, err := password.Hash("SCRAM-SHA-256", "Secret ☃ pass")
	if err != nil {
		t.Fatal(err)
	}
	e, _, _ := site(t, "alice@demo.test "+stored, "bob@demo.test bob-demo", "off@demo.test bob-demo",
		"hash@demo.test $1$saltsalt$9T3cUS1EUG/L6TvTCoJP10")
	binding := func(kind string) ([]byte, bool) { return []byte("data of " + kind), kind != "tls-unique" }
	clear, tls := sasl.Client{}, sasl.Client{TLS: true, ChannelBinding: binding}
	without := (*scram.Client).NewConversation
	aware := (*scram.Client).NewConversationAdvertisingChannelBinding
	with := func(kind, data string) func(*scram.Client) *scram.ClientConversation {
		return func(c *scram.Client) *scram.ClientConversation {
			return c.NewConversationWithChannelBinding(scram.ChannelBinding{Type: scram.ChannelBindingType(kind), Data: []byte(data)})
		}
	}
	const plus = "SCRAM-SHA-256-PLUS"
	for _, tt := range []struct {
		name                      string
		client                    sasl.Client
		mech, user, pass, authzid string
		conv                      func(*scram.Client) *scram.ClientConversation
		want                      string
	}{
		{"stored keys", clear, "scram-sha-256", "Alice@demo.test", "Secret ☃ pass", "", without, "OK:alice@demo.test"},
		{"plain", clear, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "", without, "OK:bob@demo.test"},
		{"same authzid", clear, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "bob@demo.test", without, "OK:bob@demo.test"},
		{"other authzid", clear, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "alice@demo.test", without, "NO::bob@demo.test"},
		{"wrong password", clear, "SCRAM-SHA-256", "bob@demo.test", "wrong", "", without, "NO::bob@demo.test"},
		{"no such user", clear, "SCRAM-SHA-256", "none@demo.test", "x", "", without, "NO::none@demo.test"},
		{"inactive", clear, "SCRAM-SHA-256", "off@demo.test", "bob-demo", "", without, "NO::off@demo.test"},
		{"no keys", clear, "SCRAM-SHA-256", "hash@demo.test", "Secret pass-1", "", without, "NO::hash@demo.test"},
		{"TLS without binding", tls, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "", without, "OK:bob@demo.test"},
		{"no -PLUS to be seen", clear, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "", aware, "OK:bob@demo.test"},
		{"-PLUS hidden by somebody", tls, "SCRAM-SHA-256", "bob@demo.test", "bob-demo", "", aware, "NO::bob@demo.test"},
		{"exporter", tls, plus, "alice@demo.test", "Secret ☃ pass", "", with("tls-exporter", "data of tls-exporter"), "OK:alice@demo.test"},
		{"end point", tls, plus, "bob@demo.test", "bob-demo", "", with("tls-server-end-point", "data of tls-server-end-point"), "OK:bob@demo.test"},
		{"another session's binding", tls, plus, "bob@demo.test", "bob-demo", "", with("tls-exporter", "other"), "NO::bob@demo.test"},
		{"binding that is not there", tls, plus, "bob@demo.test", "bob-demo", "", with("tls-unique", "x"), "NO::-"},
		{"-PLUS without binding", tls, plus, "bob@demo.test", "bob-demo", "", without, "NO::-"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := scramDialog(t, e, tt.client, tt.mech, tt.user, tt.pass, tt.authzid, tt.conv); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}

// TestSCRAMHidesWhoExists: what the server says before the proof is the same
// each time for a name, and looks alike whether the name exists or not.
func TestSCRAMHidesWhoExists(t *testing.T) {
	e, _, _ := site(t, "bob@demo.test bob-demo")
	ask := func(user string) string {
		x, step := e.Start(t.Context(), sasl.Client{}, "SCRAM-SHA-256", b64("n,,n="+user+",r=abc"), true)
		if step.Kind != sasl.Challenge || x == nil {
			t.Fatalf("%s: %s", user, show(step))
		}
		_, saltAndRounds, _ := strings.Cut(unb64(t, step.Challenge), ",s=")
		return saltAndRounds
	}
	for _, user := range []string{"bob@demo.test", "none@demo.test"} {
		first, second := ask(user), ask(user)
		if first != second || !strings.HasSuffix(first, ",i=4096") || len(first) != len("1234567890123456789012==,i=4096") {
			t.Errorf("%s: %q then %q", user, first, second)
		}
	}
	if ask("bob@demo.test") == ask("none@demo.test") {
		t.Error("all names share one salt")
	}
}
