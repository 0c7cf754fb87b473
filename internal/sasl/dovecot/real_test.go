package dovecot_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
	"sekisho/internal/sasl/dovecot"
	"sekisho/internal/sasltest"
)

const users = `user@example.com:{PLAIN}secret::::::
barred@example.com:{PLAIN}secret::::::nologin reason=come=back allow_nets=192.0.2.1
`

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func text(s string) string {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "not base64: " + s
	}
	return string(b)
}

// show is a step in short.
func show(s sasl.Step) string {
	switch s.Kind {
	case sasl.Challenge:
		return "334 " + text(s.Challenge)
	case sasl.Done:
		return "235 " + s.User
	case sasl.Failed:
		return "535 " + s.Reason + " user=" + s.User
	}
	return "454 " + s.Reason
}

var client = sasl.Client{Address: "192.0.2.7", ServerAddress: "2001:db8::1", Service: "smtp"}

// play holds an exchange and returns its steps.
func play(ctx context.Context, b *dovecot.Backend, mech string, initial *string, responses ...string) string {
	first := ""
	if initial != nil {
		first = *initial
	}
	x, step := b.Start(ctx, client, mech, first, initial != nil)
	said := show(step)
	for _, r := range responses {
		if x == nil || step.Kind != sasl.Challenge {
			return said + " / over"
		}
		step = x.Next(ctx, r)
		said += " / " + show(step)
	}
	return said
}

func login(ctx context.Context, b *dovecot.Backend, user, password string) string {
	initial := b64("\x00" + user + "\x00" + password)
	return play(ctx, b, "PLAIN", &initial)
}

func newBackend(t *testing.T, path, dir string) *dovecot.Backend {
	b := dovecot.New(path, dir, clock.System{})
	t.Cleanup(func() { b.Close() })
	return b
}

func TestDovecot(t *testing.T) {
	d := sasltest.NewDovecot(t, users, "")
	d.Start(t)
	for _, path := range []string{"auth", "unix:auth", d.Socket, "unix:" + d.Socket, "inet:" + d.Addr} {
		if got := login(t.Context(), newBackend(t, path, d.Dir), "user@example.com", "secret"); got != "235 user@example.com" {
			t.Errorf("smtpd_sasl_path = %s: %s", path, got)
		}
	}
	b := newBackend(t, "auth", d.Dir)
	var names []string
	list, err := b.Mechanisms(true)
	for _, m := range list {
		names = append(names, fmt.Sprintf("%s %v %v %v %v", m.Name, m.Plaintext, m.Active, m.Dictionary, m.MutualAuth))
	}
	if want := "PLAIN true false false false, LOGIN true false false false, CRAM-MD5 false true true false, SCRAM-SHA-256 false false false true"; err != nil || strings.Join(names, ", ") != want {
		t.Errorf("mechanisms %q, %v", names, err)
	}
	str := func(s string) *string { return &s }
	for _, tt := range []struct {
		mech      string
		initial   *string
		responses []string
		want      string
	}{
		{"plain", str(b64("\x00user@example.com\x00secret")), nil, "235 user@example.com"},
		{"PLAIN", nil, []string{b64("\x00USER@example.com\x00secret")}, "334  / 235 user@example.com"},
		{"PLAIN", str(b64("\x00user@example.com\x00wrong")), nil, "535  user=user@example.com"},
		{"PLAIN", str(b64("\x00nobody@example.com\x00wrong")), nil, "535  user=nobody@example.com"},
		{"PLAIN", str(b64("other\x00user@example.com\x00secret")), nil, "535  user=user@example.com"},
		{"PLAIN", str("="), nil, "535  user=(unavailable)"},
		{"PLAIN", str("!"), nil, "535 Invalid base64 data in initial response user="},
		{"PLAIN", str("abc"), nil, "535 Invalid base64 data in initial response user=(unavailable)"},
		{"PLAIN", nil, []string{"!"}, "334  / 535 Invalid base64 data in continued response user="},
		{"PLAIN", nil, []string{"abc"}, "334  / 535 Invalid base64 data in continued response user=(unavailable)"},
		{"LOGIN", nil, []string{b64("user@example.com"), b64("secret")}, "334 Username: / 334 Password: / 235 user@example.com"},
		{"LOGIN", nil, []string{b64("user@example.com"), b64("wrong")}, "334 Username: / 334 Password: / 535  user=user@example.com"},
		{"FOO", nil, nil, "535 Invalid authentication mechanism user="},
	} {
		if got := play(t.Context(), b, tt.mech, tt.initial, tt.responses...); got != tt.want {
			t.Errorf("%s %v %q:\ngot  %s\nwant %s", tt.mech, tt.initial, tt.responses, got, tt.want)
		}
	}
}

// TestDovecotSeesTheClient has Dovecot decide by the client's address.
func TestDovecotSeesTheClient(t *testing.T) {
	d := sasltest.NewDovecot(t, "near@example.com:{PLAIN}secret::::::allow_nets=192.0.2.0/24\nfar@example.com:{PLAIN}secret::::::allow_nets=198.51.100.0/24\n", "")
	d.Start(t)
	b := newBackend(t, "auth", d.Dir)
	if got := login(t.Context(), b, "near@example.com", "secret"); got != "235 near@example.com" {
		t.Errorf("from its network: %s", got)
	}
	if got := login(t.Context(), b, "far@example.com", "secret"); got != "535  user=far@example.com" {
		t.Errorf("from another network: %s", got)
	}
}

// TestLongLines finds the limit of Dovecot, beyond which it would end the
// connection and with it the exchanges of others.
func TestLongLines(t *testing.T) {
	d := sasltest.NewDovecot(t, users, "")
	d.Start(t)
	b := newBackend(t, "auth", d.Dir)
	other, step := b.Start(t.Context(), client, "LOGIN", "", false)
	if step.Kind != sasl.Challenge {
		t.Fatal(show(step))
	}
	longest := authproto.MaxLine - len("CONT\t2\t\n") // a multiple of 4, as base64 is
	for _, tt := range []struct {
		length int
		want   string
	}{
		{longest, "334  / 535  user=user@example.com"},
		{longest + 4, "334  / 454 Connection lost to authentication server"},
		{12288, "334  / 454 Connection lost to authentication server"},
	} {
		response := b64("\x00user@example.com\x00" + strings.Repeat("x", tt.length))[:tt.length]
		if got := play(t.Context(), b, "PLAIN", nil, response); got != tt.want {
			t.Errorf("response of %d bytes: %s", len(response), got)
		}
	}
	step = other.Next(t.Context(), b64("user@example.com"))
	if step = other.Next(t.Context(), b64("secret")); step.Kind != sasl.Done {
		t.Errorf("the exchange beside them: %s", show(step))
	}
}

// TestRestart stops and starts Dovecot around and amid exchanges.
func TestRestart(t *testing.T) {
	d := sasltest.NewDovecot(t, users, "")
	b := newBackend(t, "auth", d.Dir)
	list, err := b.Mechanisms(false)
	if err == nil || err.Error() != "Connect to Dovecot auth socket 'auth' failed: No such file or directory" || len(list) != 2 {
		t.Errorf("before the first start: %v, %v", list, err)
	}
	const away, amid = "454 ", "454 Connection lost to authentication server"
	if got := login(t.Context(), b, "user@example.com", "secret"); got != away {
		t.Errorf("before the first start: %s", got)
	}
	for range 2 {
		d.Start(t)
		if got := login(t.Context(), b, "user@example.com", "secret"); got != "235 user@example.com" {
			t.Errorf("Dovecot runs: %s", got)
		}
		x, _ := b.Start(t.Context(), client, "LOGIN", "", false)
		d.Stop(t)
		if step := x.Next(t.Context(), b64("user@example.com")); show(step) != amid {
			t.Errorf("amid an exchange: %s", show(step))
		}
		if got := login(t.Context(), b, "user@example.com", "secret"); got != away {
			t.Errorf("Dovecot is stopped: %s", got)
		}
		if list, err := b.Mechanisms(false); err != nil || len(list) != 4 {
			t.Errorf("Dovecot is stopped: %v, %v", list, err)
		}
	}
}

func TestWrongSocket(t *testing.T) {
	d := sasltest.NewDovecot(t, users, "")
	d.Start(t)
	err := newBackend(t, "auth-master", d.Dir).Connect(t.Context())
	if err == nil || !strings.Contains(err.Error(), "auth-master instead of auth-client") {
		t.Errorf("a master socket: %v", err)
	}
}

// TestFewConnections has more exchanges under way than Dovecot allows clients.
func TestFewConnections(t *testing.T) {
	const idle, logins = 1500, 50
	d := sasltest.NewDovecot(t, users, "")
	d.Start(t)
	front, opened := relay(t, d.Socket)
	b := newBackend(t, front, d.Dir)
	for i := range idle {
		if _, step := b.Start(t.Context(), client, "LOGIN", "", false); step.Kind != sasl.Challenge {
			t.Fatalf("exchange %d: %s", i, show(step))
		}
	}
	var all sync.WaitGroup
	for range logins {
		all.Go(func() {
			if got := login(t.Context(), b, "user@example.com", "secret"); got != "235 user@example.com" {
				t.Errorf("a login among %d idle ones: %s", idle, got)
			}
		})
	}
	all.Wait()
	if n := opened(); n > 2 {
		t.Errorf("%d connections for %d exchanges", n, idle+logins)
	}
}

// relay is a socket in front of another; opened counts its connections.
func relay(t *testing.T, to string) (path string, opened func() int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "relay")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path = dir + "/auth"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var mu sync.Mutex
	n := 0
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			n++
			mu.Unlock()
			back, err := net.DialTimeout("unix", to, time.Minute)
			if err != nil {
				from.Close()
				continue
			}
			go pipe(from, back)
			go pipe(back, from)
		}
	}()
	return path, func() int { mu.Lock(); defer mu.Unlock(); return n }
}

func pipe(to, from net.Conn) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if _, werr := to.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}
