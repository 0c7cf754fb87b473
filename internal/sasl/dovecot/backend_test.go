package dovecot_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/dovecot"
)

const greeting = "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nMECH\tTOKEN\tprivate\nSPID\t1\nCUID\t1\nCOOKIE\tab\nDONE\n"

// fake is a service whose part the test plays.
type fake struct {
	t     *testing.T
	path  string
	conns chan *peer
}

// peer is one connection to it.
type peer struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func newFake(t *testing.T) *fake {
	dir, err := os.MkdirTemp("", "fake")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fake{t, dir + "/auth", make(chan *peer, 8)}
	l, err := net.Listen("unix", f.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.conns <- &peer{c, t, bufio.NewReader(c)}
		}
	}()
	return f
}

// accept returns the next connection, greeted with text.
func (f *fake) accept(text string) *peer {
	f.t.Helper()
	select {
	case p := <-f.conns:
		f.t.Cleanup(func() { p.Close() })
		p.say(text)
		return p
	case <-time.After(time.Minute):
		f.t.Fatal("nobody connects")
		return nil
	}
}

func (p *peer) say(text string) {
	p.t.Helper()
	if _, err := p.Write([]byte(text)); err != nil {
		p.t.Error(err)
	}
}

// hear returns the next line, without its newline.
func (p *peer) hear() string {
	p.t.Helper()
	if err := p.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
		p.t.Fatal(err)
	}
	line, err := p.r.ReadString('\n')
	if err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(line, "\n")
}

// opened hears how a connection begins.
func (p *peer) opened() *peer {
	p.t.Helper()
	var id uint32
	if l := p.hear(); l != "VERSION\t1\t1" {
		p.t.Errorf("first line %q", l)
	}
	if l := p.hear(); sscan(l, "CPID\t%d", &id) != 1 || id <= 1<<22 {
		p.t.Errorf("second line %q", l)
	}
	return p
}

func sscan(line, format string, to ...any) int {
	n, err := fmt.Sscanf(line, format, to...)
	if err != nil {
		return -1
	}
	return n
}

// start is Start in the background; exchange is for after the step.
func start(ctx context.Context, b *dovecot.Backend, c sasl.Client, mech, initial string, hasInitial bool) (steps chan sasl.Step, exchange func() sasl.Exchange) {
	steps = make(chan sasl.Step, 1)
	var x sasl.Exchange
	go func() {
		var s sasl.Step
		x, s = b.Start(ctx, c, mech, initial, hasInitial)
		steps <- s
	}()
	return steps, func() sasl.Exchange { return x }
}

func await(t *testing.T, steps chan sasl.Step) sasl.Step {
	t.Helper()
	select {
	case s := <-steps:
		return s
	case <-time.After(time.Minute):
		t.Fatal("no step")
		return sasl.Step{}
	}
}

func TestRequestAndReplies(t *testing.T) {
	f := newFake(t)
	b := newBackend(t, f.path, "")
	over := client
	over.TLS, over.Service = true, "smtp\tx"
	odd := sasl.Client{Address: "unknown", Service: "smtp"}
	var p *peer
	for i, tt := range []struct {
		client      sasl.Client
		mech        string
		initial     string
		has         bool
		request     string // without command and id
		reply, want string // after the id
	}{
		{client, "plain", "eA==", true, "PLAIN\tservice=smtp\tnologin\tlip=2001:db8::1\trip=192.0.2.7\tresp=eA==", "OK\t%d\tx=y\tuser=a@b", "235 a@b"},
		{over, "LOGIN", "", false, "LOGIN\tservice=smtp\x01tx\tnologin\tlip=2001:db8::1\trip=192.0.2.7\tsecured", "CONT\t%d\teA==", "334 x"},
		{odd, "PLAIN", "=", true, "PLAIN\tservice=smtp\tnologin\tresp==", "FAIL\t%d\ttemp\treason=Not\x01now\tuser=a", "535 Not?now user=a"},
		{client, "PLAIN", "", true, "PLAIN\tservice=smtp\tnologin\tlip=2001:db8::1\trip=192.0.2.7\tresp=", "FAIL\t%d", "535  user=(unavailable)"},
		{client, "PLAIN", "", false, "PLAIN\tservice=smtp\tnologin\tlip=2001:db8::1\trip=192.0.2.7", "OK\t%d", "535 Authentication backend error user=(unavailable)"},
		{client, "PLAIN", "", false, "PLAIN\tservice=smtp\tnologin\tlip=2001:db8::1\trip=192.0.2.7", "CONT\t%d", "535 Authentication backend error user=(unavailable)"},
	} {
		steps, _ := start(t.Context(), b, tt.client, tt.mech, tt.initial, tt.has)
		if p == nil {
			p = f.accept(greeting).opened()
		}
		id := i + 1
		if got, want := p.hear(), fmt.Sprintf("AUTH\t%d\t%s", id, tt.request); got != want {
			t.Errorf("request %q, want %q", got, want)
		}
		p.say(fmt.Sprintf("NEWS\t%d\nOK\t999\tuser=other\nOK\nOK\tx\n"+tt.reply+"\n", id, id))
		if got := show(await(t, steps)); got != tt.want {
			t.Errorf("%q: %s, want %s", tt.reply, got, tt.want)
		}
	}
}

func TestHandshake(t *testing.T) {
	for said, want := range map[string]string{
		"VERSION\t2\t0\n":          "protocol version mismatch (2 vs. 1)",
		"VERSION\t1\n":             "protocol version error",
		"VERSION\tx\ty\n":          "protocol version error",
		"VERSION\t1\t2\nSPID\t1\n": "wrong auth socket (auth-master instead of auth-client)",
		"":                         "connection closed before the end of the handshake",
	} {
		f := newFake(t)
		failed := make(chan error, 1)
		b := newBackend(t, f.path, "")
		go func() { failed <- b.Connect(t.Context()) }()
		f.accept(said).opened().Close()
		if err := <-failed; err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", said, err, want)
		}
	}
}

// TestPatience moves the clock while the service is silent.
func TestPatience(t *testing.T) {
	f := newFake(t)
	now := clock.NewManual(time.Unix(1700000000, 0))
	b := dovecot.New(f.path, "", now)
	defer b.Close()

	// A service that accepts but says nothing.
	failed := make(chan error, 1)
	go func() { failed <- b.Connect(t.Context()) }()
	f.accept("")
	if err := pass(t, now, failed); err == nil || !strings.HasSuffix(err.Error(), ": Connection timed out") {
		t.Errorf("silent before the handshake: %v", err)
	}

	// One that does not reply: others go another way.
	const away = "454 Connection lost to authentication server"
	steps, _ := start(t.Context(), b, client, "PLAIN", "", false)
	p := f.accept(greeting).opened()
	p.hear()
	if s := show(pass(t, now, steps)); s != away {
		t.Errorf("no reply: %s", s)
	}
	steps, _ = start(t.Context(), b, client, "PLAIN", "", false)
	p = f.accept(greeting).opened()
	p.hear()
	p.say("OK\t1\tuser=a\n")
	if s := show(await(t, steps)); s != "235 a" {
		t.Errorf("on a new connection: %s", s)
	}

	// One that is slow with one exchange, but goes on with others.
	slow, _ := start(t.Context(), b, client, "PLAIN", "", false)
	p.hear()
	steps, _ = start(t.Context(), b, client, "PLAIN", "", false)
	p.hear()
	p.say("OK\t3\tuser=a\n")
	await(t, steps)
	if s := show(pass(t, now, slow)); s != away {
		t.Errorf("slow: %s", s)
	}
	if l := p.hear(); l != "CANCEL\t2" {
		t.Errorf("after the time: %q", l)
	}
	start(t.Context(), b, client, "LOGIN", "", false)
	if l := p.hear(); !strings.HasPrefix(l, "AUTH\t4\t") {
		t.Errorf("the same connection: %q", l)
	}
}

// TestRenewal: after a minute a new connection is made; the old one ends with
// its last exchange.
func TestRenewal(t *testing.T) {
	f := newFake(t)
	now := clock.NewManual(time.Unix(1700000000, 0))
	b := dovecot.New(f.path, "", now)
	defer b.Close()
	ctx, cancel := context.WithCancel(t.Context())
	steps, _ := start(ctx, b, client, "LOGIN", "", false)
	old := f.accept(greeting).opened()
	old.hear()
	old.say("CONT\t1\t\n")
	await(t, steps)
	now.Advance(time.Minute)
	if list, err := b.Mechanisms(false); err != nil || len(list) != 2 {
		t.Errorf("mechanisms %v, %v", list, err)
	}
	fresh := f.accept(strings.Replace(greeting, "MECH", "MECH\tNEW\nMECH", 1)).opened()
	steps, _ = start(t.Context(), b, client, "NEW", "", false)
	fresh.hear()
	fresh.say("OK\t1\tuser=new\n")
	if s := show(await(t, steps)); s != "235 new" {
		t.Errorf("after a minute: %s", s)
	}
	cancel()
	for l := old.hear(); l != "EOF"; l = old.hear() {
		if l != "CANCEL\t1" {
			t.Fatalf("the old connection: %q", l)
		}
	}
}

// pass lets time pass until something happens.
func pass[T any](t *testing.T, c *clock.Manual, happens chan T) T {
	t.Helper()
	for range 3000 {
		select {
		case v := <-happens:
			return v
		case <-time.After(20 * time.Millisecond):
			c.Advance(time.Second)
		}
	}
	t.Fatal("nothing happens")
	panic("unreachable")
}

func TestCancelled(t *testing.T) {
	f := newFake(t)
	b := newBackend(t, f.path, "")
	ctx, cancel := context.WithCancel(t.Context())
	steps, _ := start(ctx, b, client, "LOGIN", "", false)
	p := f.accept(greeting).opened()
	p.hear()
	p.say("CONT\t1\t\n")
	await(t, steps)
	cancel() // as smtpd does on "*"
	if l := p.hear(); l != "CANCEL\t1" {
		t.Errorf("cancelled between messages: %q", l)
	}
	ctx, cancel = context.WithCancel(t.Context())
	steps, _ = start(ctx, b, client, "LOGIN", "", false)
	p.hear()
	cancel()
	if s := await(t, steps); s.Kind != sasl.TempFailed {
		t.Errorf("cancelled amid: %s", show(s))
	}
	if l := p.hear(); l != "CANCEL\t2" {
		t.Errorf("cancelled amid: %q", l)
	}
	steps, get := start(t.Context(), b, client, "LOGIN", "", false)
	p.hear()
	p.say("CONT\t3\t\n")
	await(t, steps)
	if s := get().Next(t.Context(), "@@@@"); show(s) != "535 Invalid base64 data in continued response user=" {
		t.Errorf("bad base64: %s", show(s))
	}
	if l := p.hear(); l != "CANCEL\t3" {
		t.Errorf("after bad base64: %q", l)
	}
}

// TestLost loses the connection with requests on it.
func TestLost(t *testing.T) {
	f := newFake(t)
	b := newBackend(t, f.path, "")
	steps, _ := start(t.Context(), b, client, "PLAIN", "eA==", true)
	p := f.accept(greeting).opened()
	p.hear()
	p.Close()
	p = f.accept(greeting).opened() // once again
	if l := p.hear(); !strings.HasPrefix(l, "AUTH\t1\tPLAIN\t") {
		t.Errorf("the second time: %q", l)
	}
	p.say("OK\t1\tuser=a\n")
	if s := show(await(t, steps)); s != "235 a" {
		t.Errorf("lost once: %s", s)
	}
	steps, _ = start(t.Context(), b, client, "PLAIN", "eA==", true)
	p.hear()
	p.Close()
	p = f.accept(greeting).opened()
	p.hear()
	p.Close()
	if s := show(await(t, steps)); s != "454 Connection lost to authentication server" {
		t.Errorf("lost twice: %s", s)
	}
}
