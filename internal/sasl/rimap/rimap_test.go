package rimap_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl/rimap"
)

// script answers each command line of a client; "{tag}" stands for its tag. The
// greeting is the answer to "". An empty answer hangs up.
type script func(line string) string

// serve plays an IMAP server and counts its connections.
func serve(t *testing.T, s script) (addr string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go play(conn, s)
		}
	}()
	return l.Addr().String(), connections
}

func play(conn net.Conn, s script) {
	defer conn.Close()
	r, tag := bufio.NewReader(conn), ""
	for line := ""; ; {
		answer := s(line)
		if answer == "" {
			return
		}
		if _, err := conn.Write([]byte(strings.ReplaceAll(answer, "{tag}", tag))); err != nil {
			return
		}
		next, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(next, "\r\n")
		if t, _, ok := strings.Cut(line, " "); ok && strings.HasPrefix(t, "S") {
			tag, line = t, line[len(t)+1:]
		}
	}
}

// login answers LOGIN with answer, and everything else as servers do.
func login(answer string) script {
	return func(line string) string {
		switch {
		case line == "":
			return "* OK hello\r\n"
		case line == "CAPABILITY":
			return "* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n"
		case line == "LOGOUT":
			return "* BYE bye\r\n{tag} OK done\r\n"
		}
		return answer
	}
}

func client(t *testing.T, o rimap.Options) *rimap.Client {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	c, err := rimap.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		answer string
		want   string // OK, NO reason, or a part of the error
	}{
		{"{tag} OK in\r\n", "OK"},
		{"* CAPABILITY X\r\n* 3 EXISTS\r\n{tag} ok [CAPABILITY Y] in\r\n", "OK"},
		{"{tag} NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", "NO [AUTHENTICATIONFAILED] Authentication failed."},
		{"{tag} NO\r\n", "NO "},
		{"{tag} BAD what?\r\n", "NO what?"},
		{"{tag} NO [UNAVAILABLE] later\r\n", "[UNAVAILABLE] later"},
		{"{tag} NO [LIMIT] too many\r\n", "[LIMIT] too many"},
		{"{tag} NO [PRIVACYREQUIRED] no\r\n", "takes no passwords over an unencrypted connection"},
		{"* BYE shutting down\r\n", "the server hangs up: shutting down"},
		{"S99 OK in\r\n", `unexpected response "S99 OK in"`},
		{"+ more\r\n", "asks for more than there is"},
		{strings.Repeat("* x\r\n", 101), "100 lines and no answer"},
		{strings.Repeat("x", 20<<10) + "\r\n", "buffer full"},
		{"", "no answer to LOGIN: EOF"},
	} {
		addr, _ := serve(t, login(tt.answer))
		ok, reason, err := client(t, rimap.Options{Server: addr}).Check(t.Context(), "bob", "secret", "smtp", "")
		got := "NO " + reason
		if ok {
			got = "OK"
		}
		if err != nil && !ok {
			got = err.Error()
		}
		if got != tt.want && (err == nil || !strings.Contains(got, tt.want)) {
			t.Errorf("%.40q: %q, want %q", tt.answer, got, tt.want)
		}
	}
}

func TestGreetings(t *testing.T) {
	for greeting, want := range map[string]string{
		"* PREAUTH in\r\n": "unexpected greeting",
		"* BYE busy\r\n":   "unexpected greeting",
		"220 mail\r\n":     "unexpected greeting",
		"* OKAY\r\n":       "unexpected greeting",
		"":                 "no greeting: EOF",
		"* OK [X\r\n":      "OK",
		"* ok [] hi\r\n":   "OK",
		"* OK [CAPABILITY IMAP4rev1 LOGINDISABLED] x\r\n": "give it TLS",
		"* OK [CAPABILITY STARTTLS] x\r\n":                "STARTTLS: BAD no",
	} {
		rest := login("{tag} OK in\r\n")
		addr, _ := serve(t, func(line string) string {
			switch line {
			case "":
				return greeting
			case "STARTTLS":
				return "{tag} BAD no\r\n"
			}
			return rest(line)
		})
		c := client(t, rimap.Options{Server: addr})
		probed := c.Probe(t.Context())
		ok, _, err := client(t, rimap.Options{Server: addr}).Check(t.Context(), "bob", "secret", "smtp", "")
		for _, err := range []error{probed, err} {
			if want == "OK" && err != nil || want != "OK" && (err == nil || !strings.Contains(err.Error(), want)) {
				t.Errorf("%q: %v", greeting, err)
			}
		}
		if ok != (want == "OK") {
			t.Errorf("%q: %v", greeting, ok)
		}
	}
}

// TestLoginCommand looks at how names and passwords are written.
func TestLoginCommand(t *testing.T) {
	for _, tt := range []struct {
		realm                      bool
		login, password, realmName string
		want                       string
	}{
		{false, "bob", "x", "demo.test", `LOGIN "bob" "x"`},
		{true, "bob", "x", "demo.test", `LOGIN "bob@demo.test" "x"`},
		{true, "bob", "x", "", `LOGIN "bob" "x"`},
		{false, `b"o\b`, ` x y`, "", `LOGIN "b\"o\\b" " x y"`},
		{false, "", "", "", `LOGIN "" ""`},
		{false, "bob", "pässwort", "", `LOGIN "bob" {9}|pässwort`},
		{false, "bob\r\nX9 LOGOUT", "x", "", `LOGIN {14}|bob|X9 LOGOUT "x"`},
		{false, "bö", "x\ny", "", `LOGIN {3}|bö {3}|x|y`},
		{false, "bob", strings.Repeat("x", 1000), "", `LOGIN "bob" {1000}|` + strings.Repeat("x", 1000)},
	} {
		var lines []string
		rest := login("")
		addr, _ := serve(t, func(line string) string {
			switch {
			case strings.HasSuffix(line, "}"):
				lines = append(lines, line)
				return "+ go on\r\n"
			case strings.HasPrefix(line, "LOGIN") || len(lines) > 0 && line != "LOGOUT":
				lines = append(lines, line)
				if n := strings.Count(tt.want, "|"); len(lines) <= n {
					return "* 1 EXISTS\r\n"
				}
				return "S2 OK in\r\n"
			}
			return rest(line)
		})
		ok, _, err := client(t, rimap.Options{Server: addr, Realm: tt.realm}).Check(t.Context(), tt.login, tt.password, "smtp", tt.realmName)
		if got := strings.Join(lines, "|"); !ok || err != nil || got != tt.want {
			t.Errorf("%q %q: sent %q, want %q; %v %v", tt.login, tt.password, got, tt.want, ok, err)
		}
	}
	ok, _, err := client(t, rimap.Options{Server: "127.0.0.1:1"}).Check(t.Context(), "bob", "x\x00y", "smtp", "")
	if ok || err != nil {
		t.Errorf("NUL: %v, %v", ok, err)
	}
}

// TestBackOff: a server that is down is asked by one login after each pause.
func TestBackOff(t *testing.T) {
	var down atomic.Bool
	down.Store(true)
	up := login("{tag} OK in\r\n")
	addr, connections := serve(t, func(line string) string {
		if down.Load() {
			return "* BYE down\r\n"
		}
		return up(line)
	})
	c := clock.NewManual(time.Unix(1e9, 0))
	r := client(t, rimap.Options{Server: addr, Clock: c})
	check := func(n int32, works bool) {
		t.Helper()
		for range 5 {
			if ok, _, err := r.Check(t.Context(), "bob", "x", "smtp", ""); ok != works || (err == nil) != works {
				t.Errorf("%v, %v", ok, err)
			}
		}
		if got := connections.Swap(0); got != n {
			t.Errorf("%d connections, want %d", got, n)
		}
	}
	check(1, false)
	c.Advance(time.Second)
	check(1, false)
	c.Advance(time.Second)
	check(0, false) // the second pause is longer
	c.Advance(time.Second)
	check(1, false)
	down.Store(false)
	check(0, false)
	c.Advance(4 * time.Second)
	check(5, true)
}

// TestLostLoginsAreNotADeadServer: a login that makes the server hang up must
// not close the gate for everybody.
func TestLostLoginsAreNotADeadServer(t *testing.T) {
	rest := login("{tag} OK in\r\n")
	addr, _ := serve(t, func(line string) string {
		if strings.Contains(line, "evil") {
			return ""
		}
		return rest(line)
	})
	r := client(t, rimap.Options{Server: addr})
	if _, _, err := r.Check(t.Context(), "evil", "x", "smtp", ""); err == nil {
		t.Error("no error")
	}
	if ok, _, err := r.Check(t.Context(), "bob", "x", "smtp", ""); !ok {
		t.Errorf("another login: %v", err)
	}
}

// TestGuesserDoesNotSlowOthers: failures that are answered late hold up the
// logins of one name only.
func TestGuesserDoesNotSlowOthers(t *testing.T) {
	late := make(chan struct{})
	rest := login("{tag} OK in\r\n")
	addr, connections := serve(t, func(line string) string {
		if strings.Contains(line, "guess") {
			<-late
			return "{tag} NO no\r\n"
		}
		return rest(line)
	})
	r := client(t, rimap.Options{Server: addr})
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if ok, _, err := r.Check(t.Context(), "guess", "x", "smtp", ""); ok || err != nil {
				t.Error(ok, err)
			}
		})
	}
	for i := range 50 {
		if ok, _, err := r.Check(t.Context(), fmt.Sprint("user", i), "x", "smtp", ""); !ok {
			t.Error(err)
		}
	}
	if n := connections.Load(); n > 50+8 {
		t.Errorf("%d connections", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := r.Check(ctx, "guess", "x", "smtp", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	close(late)
	wg.Wait()
}

func TestServerNames(t *testing.T) {
	for _, spec := range []string{"", "/143", "a b", "pop3://x", "imaps://", "h:1:2/3"} {
		if _, err := rimap.New(rimap.Options{Server: spec}); err == nil {
			t.Errorf("%q is taken", spec)
		}
	}
	for spec, want := range map[string]string{
		"127.0.0.1/1":         "127.0.0.1:1:",
		"imap://[::1]:1":      "[::1]:1:",
		"imaps://127.0.0.1:1": "127.0.0.1:1:",
		"127.0.0.1/imaps":     "127.0.0.1:993:",
		"127.0.0.1":           "127.0.0.1:143:",
		"::1":                 "[::1]:143:",
	} {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := client(t, rimap.Options{Server: spec}).Probe(ctx)
		if err == nil || !strings.HasPrefix(err.Error(), "IMAP server "+want) {
			t.Errorf("%s: %v", spec, err)
		}
	}
}
