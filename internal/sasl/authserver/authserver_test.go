package authserver_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/maillog"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authserver"
	"sekisho/internal/sasl/dovecot"
	"sekisho/internal/sasltest"
)

// place lets user@example.com in with "secret", and asks LOGIN's questions. The
// user "slow" gets no answer before the exchange is given up.
type place struct {
	mu   sync.Mutex
	seen []sasl.Client
}

func (p *place) Mechanisms(tls bool) ([]sasl.Mechanism, error) {
	list := []sasl.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}
	if tls {
		list = append(list, sasl.Mechanism{Name: "SCRAM-SHA-256-PLUS", MutualAuth: true})
	}
	return list, nil
}

func (p *place) Start(ctx context.Context, c sasl.Client, mech, initial string, has bool) (sasl.Exchange, sasl.Step) {
	p.mu.Lock()
	p.seen = append(p.seen, c)
	p.mu.Unlock()
	switch {
	case mech == "LOGIN":
		return &login{}, challenge("Username:")
	case mech != "PLAIN":
		return nil, sasl.Step{Kind: sasl.Failed, Reason: "Invalid authentication mechanism"}
	case !has:
		return &plain{}, challenge("")
	}
	return nil, check(ctx, initial)
}

type plain struct{}

func (plain) Next(ctx context.Context, response string) sasl.Step { return check(ctx, response) }

type login struct{ user string }

func (l *login) Next(ctx context.Context, response string) sasl.Step {
	if l.user == "" {
		b, _ := base64.StdEncoding.DecodeString(response)
		l.user = string(b)
		return challenge("Password:")
	}
	b, _ := base64.StdEncoding.DecodeString(response)
	return check(ctx, b64("\x00"+l.user+"\x00"+string(b)))
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

func challenge(s string) sasl.Step { return sasl.Step{Kind: sasl.Challenge, Challenge: b64(s)} }

func check(ctx context.Context, response string) sasl.Step {
	b, err := base64.StdEncoding.DecodeString(response)
	f := strings.Split(string(b), "\x00")
	switch {
	case err != nil || len(f) != 3:
		return sasl.Step{Kind: sasl.Failed, Reason: "Invalid base64 data in initial response"}
	case f[1] == "slow":
		<-ctx.Done()
	case f[1] == "down":
		return sasl.Step{Kind: sasl.TempFailed, Reason: "Temporary authentication failure", User: "down", UserKnown: true, Warnings: []string{"SASL: it is down"}}
	case f[1] == "user@example.com" && f[2] == "secret":
		return sasl.Step{Kind: sasl.Done, User: f[1], UserKnown: true}
	}
	return sasl.Step{Kind: sasl.Failed, User: f[1], UserKnown: true}
}

// logged collects the log.
type logged struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// serve serves at a Unix socket and at a TCP port until the end of the test.
func serve(t *testing.T, b sasl.Backend, c clock.Clock) (socket, addr string, log *logged) {
	t.Helper()
	log = &logged{}
	s := authserver.New(b, c, slog.New(maillog.NewHandler(log, "mx", clock.System{})))
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	t.Cleanup(func() { cancel(); all.Wait() })
	socket = filepath.Join(sasltest.Folder(t), "auth")
	for _, where := range [][2]string{{"unix", socket}, {"tcp", "127.0.0.1:0"}} {
		l, err := net.Listen(where[0], where[1])
		if err != nil {
			t.Fatal(err)
		}
		if where[0] == "unix" {
			if err := os.Chmod(socket, 0o666); err != nil {
				t.Fatal(err)
			}
		}
		addr = l.Addr().String()
		all.Go(func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() { s.Serve(ctx, conn) })
			}
		})
		t.Cleanup(func() { l.Close() })
	}
	return socket, addr, log
}

// raw is a client that types.
type raw struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func connect(t *testing.T, socket string) *raw {
	t.Helper()
	conn, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(time.Minute))
	return &raw{t, conn, bufio.NewReader(conn)}
}

func (r *raw) say(text string) {
	r.t.Helper()
	if _, err := r.Write([]byte(text)); err != nil {
		r.t.Error(err)
	}
}

func (r *raw) hear() string {
	line, err := r.r.ReadString('\n')
	if err != nil {
		return "closed"
	}
	return strings.TrimSuffix(line, "\n")
}

// greeted hears the server's handshake.
func greeted(t *testing.T, socket string) (r *raw, lines []string) {
	t.Helper()
	r = connect(t, socket)
	for {
		lines = append(lines, r.hear())
		if last := lines[len(lines)-1]; last == "DONE" || last == "closed" {
			return r, lines
		}
	}
}

func TestHandshake(t *testing.T) {
	socket, _, log := serve(t, &place{}, clock.System{})
	_, first := greeted(t, socket)
	_, second := greeted(t, socket)
	if got := strings.Join(first[:3], " "); got != "VERSION\t1\t1 MECH\tPLAIN\tplaintext MECH\tLOGIN\tplaintext" {
		t.Errorf("handshake %q", got)
	}
	for i, name := range []string{"SPID\t", "CUID\t", "COOKIE\t"} {
		if !strings.HasPrefix(first[3+i], name) || i > 0 && first[3+i] == second[3+i] {
			t.Errorf("%s: %q, then %q", name, first[3+i], second[3+i])
		}
	}
	const hello = "VERSION\t1\t1\nCPID\t1\n"
	for said, complaint := range map[string]string{
		"VERSION\t2\t0\n":                          `it speaks version "2.0" of the protocol`,
		"CPID\t1\n":                                `"CPID" in the handshake`,
		"EHLO x\n":                                 `"EHLO x" in the handshake`,
		hello + "AUTH\n":                           `command "AUTH" without id`,
		hello + "AUTH\tx\tPLAIN\n":                 `command AUTH with id "x"`,
		hello + "AUTH\t1\n":                        `unknown command "AUTH"`,
		hello + "USER\t1\tx\n":                     `unknown command "USER"`,
		hello + strings.Repeat("x", 40000):         `a line of more than 32768 bytes`,
		hello + "AUTH\t1\tLOGIN\nAUTH\t1\tLOGIN\n": `request id 1 for a second exchange`,
	} {
		r, _ := greeted(t, socket)
		r.Write([]byte(said)) // it may be closed before the end
		for got := r.hear(); got != "closed"; got = r.hear() {
			if !strings.HasPrefix(got, "CONT\t1\t") {
				t.Errorf("%.40q: %q", said, got)
			}
		}
		if !strings.Contains(log.String(), "warning: authentication client at "+socket+": "+complaint) {
			t.Errorf("%.40q: no complaint %s in\n%s", said, complaint, log)
		}
	}
}

func TestExchanges(t *testing.T) {
	p := &place{}
	now := clock.NewManual(time.Unix(1700000000, 0))
	socket, _, log := serve(t, p, now)
	r, _ := greeted(t, socket)
	r.say("VERSION\t1\t2\nCPID\t77\n")
	for _, tt := range []struct{ said, want string }{
		{"AUTH\t1\tPLAIN\tservice=smtp\tnologin\tlip=192.0.2.1\trip=2001:db8::7\tsecured\tresp=" + b64("\x00user@example.com\x00secret"), "OK\t1\tuser=user@example.com"},
		{"AUTH\t2\tPLAIN\tservice=x\x01ty\trip=192.0.2.9\tresp=" + b64("\x00user@example.com\x00wrong"), "FAIL\t2\tuser=user@example.com"},
		{"AUTH\t3\tPLAIN\tresp=" + b64("\x00a\tb\x00wrong"), "FAIL\t3\tuser=a\x01tb"},
		{"AUTH\t4\tPLAIN\tresp=" + b64("\x00down\x00wrong"), "FAIL\t4\tuser=down\ttemp\treason=Temporary authentication failure"},
		{"AUTH\t5\tFOO", "FAIL\t5\treason=Invalid authentication mechanism"},
		{"AUTH\t6\tLOGIN", "CONT\t6\tVXNlcm5hbWU6"},
		{"AUTH\t7\tPLAIN\tresp=", "FAIL\t7\treason=Invalid base64 data in initial response"},
		{"CONT\t99\tx\nCONT\t6\t" + b64("user@example.com"), "CONT\t6\tUGFzc3dvcmQ6"},
		{"CANCEL\t99\nCONT\t6\t" + b64("secret"), "OK\t6\tuser=user@example.com"},
		{"AUTH\t8\tPLAIN\tresp=" + b64("\x00slow\x00x") + "\nCANCEL\t8\nAUTH\t9\tPLAIN", "CONT\t9\t"},
		{"CANCEL\t9\nAUTH\t9\tPLAIN", "CONT\t9\t"},
	} {
		r.say(tt.said + "\n")
		if got := r.hear(); got != tt.want {
			t.Errorf("%q:\ngot  %q\nwant %q", tt.said, got, tt.want)
		}
	}
	// Nobody goes on with exchange 9.
	late := make(chan string, 1)
	go func() { late <- r.hear() }()
	for done := false; !done; {
		select {
		case got := <-late:
			done = true
			if got != "FAIL\t9\treason=Authentication timed out" {
				t.Errorf("nobody goes on: %q", got)
			}
		case <-time.After(10 * time.Millisecond):
			now.Advance(time.Minute)
		}
	}
	if !strings.Contains(log.String(), "warning: SASL: it is down\n") {
		t.Errorf("log:\n%s", log)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if want := (sasl.Client{Address: "2001:db8::7", ServerAddress: "192.0.2.1", Service: "smtp", TLS: true}); fmt.Sprint(p.seen[0]) != fmt.Sprint(want) {
		t.Errorf("client %v, want %v", p.seen[0], want)
	}
	if got := p.seen[1]; got.Service != "x\ty" || got.TLS || got.Address != "192.0.2.9" {
		t.Errorf("client %v", got)
	}
}

// TestOurClient has the client of this protocol ask, many times at once.
func TestOurClient(t *testing.T) {
	socket, addr, _ := serve(t, &place{}, clock.System{})
	for _, path := range []string{socket, "inet:" + addr} {
		b := dovecot.New(path, "", clock.System{})
		defer b.Close()
		list, err := b.Mechanisms(true)
		if err != nil || len(list) != 2 || list[0] != (sasl.Mechanism{Name: "PLAIN", Plaintext: true}) {
			t.Fatalf("%s: %v, %v", path, list, err)
		}
		var all sync.WaitGroup
		for i := range 200 {
			all.Go(func() {
				x, s := b.Start(t.Context(), sasl.Client{Service: "smtp"}, "LOGIN", "", false)
				password, want := "secret", sasl.Done
				if i%2 == 0 {
					password, want = "wrong", sasl.Failed
				}
				for _, word := range []string{"user@example.com", password} {
					if s.Kind != sasl.Challenge {
						t.Errorf("%+v", s)
						return
					}
					s = x.Next(t.Context(), b64(word))
				}
				if s.Kind != want || s.User != "user@example.com" {
					t.Errorf("%s: %+v", password, s)
				}
			})
		}
		all.Wait()
	}
}

// TestPostfix has real Postfix ask.
func TestPostfix(t *testing.T) {
	socket, addr, _ := serve(t, &place{}, clock.System{})
	for _, path := range []string{socket, "inet:" + addr} {
		p := sasltest.StartPostfix(t, "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = "+path+"\n")
		c := sasltest.Dial(t, p.Addr)
		if hello := c.Say("EHLO x"); !strings.Contains(hello, "250-AUTH PLAIN LOGIN\n") {
			t.Errorf("%s: %s", path, hello)
		}
		for _, tt := range []struct{ said, want string }{
			{"AUTH " + sasltest.Plain("user@example.com", "wrong"), "535 5.7.8 Error: authentication failed: (reason unavailable)"},
			{"AUTH " + sasltest.Plain("down", "x"), "535 5.7.8 Error: authentication failed: Temporary authentication failure"},
			{"AUTH LOGIN", "334 VXNlcm5hbWU6"},
			{"*", "501 5.7.0 Authentication aborted"},
			{"AUTH LOGIN", "334 VXNlcm5hbWU6"},
			{b64("user@example.com"), "334 UGFzc3dvcmQ6"},
			{b64("secret"), "235 2.7.0 Authentication successful"},
		} {
			if got := c.Say(tt.said); got != tt.want {
				t.Errorf("%s: %s: %s, want %s", path, tt.said, got, tt.want)
			}
		}
		// postlogd writes the log in its own time.
		logged := func() bool {
			return strings.Contains(p.Log(), "SASL PLAIN authentication failed: (reason unavailable), sasl_username=user@example.com")
		}
		for end := time.Now().Add(10 * time.Second); !logged() && time.Now().Before(end); {
			time.Sleep(10 * time.Millisecond)
		}
		if !logged() {
			t.Errorf("Postfix's log:\n%s", p.Log())
		}
	}
}
