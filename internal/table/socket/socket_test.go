package socket

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekisho/internal/clock"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server serves connections until the test ends; serve's return ends one.
func server(t *testing.T, serve func(n int, r *bufio.Reader, w io.Writer)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	wait.Go(func() {
		for n := 1; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wait.Go(func() {
				defer c.Close()
				serve(n, bufio.NewReader(c), c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wait.Wait()
	})
	return l.Addr().String()
}

func pool(t *testing.T, s Server, c clock.Clock) *Pool {
	p := NewPool(s, c)
	t.Cleanup(func() { p.Close() })
	return p
}

type said struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *said) warn(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.b.WriteString(text + "\n")
}

// TestTCPRestart: a connection that was kept and is closed is made again without
// a word; a server that closes without an answer is tried ten times.
func TestTCPRestart(t *testing.T) {
	var answers atomic.Bool
	var conns atomic.Int32
	answers.Store(true)
	addr := server(t, func(n int, r *bufio.Reader, w io.Writer) {
		conns.Add(1)
		if _, err := r.ReadString('\n'); err == nil && answers.Load() {
			fmt.Fprintln(w, "200 ok")
		}
	})
	clk := clock.NewManual(time.Unix(1, 0))
	var log said
	table := &TCP{Name: "it", Pool: pool(t, TCPServer(addr), clk), Warn: log.warn}
	for range 3 {
		if v, ok, err := table.Lookup("k"); v != "ok" || !ok || err != nil {
			t.Fatal(v, ok, err)
		}
	}
	if log.b.Len() > 0 || conns.Load() != 3 {
		t.Errorf("%d connections, and said %q", conns.Load(), log.b.String())
	}
	answers.Store(false)
	conns.Store(0)
	done := make(chan error)
	go func() {
		_, _, err := table.Lookup("k")
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if want := strings.Repeat("read TCP map reply from it: unexpected EOF (unexpected disconnect)\n", 10); log.b.String() != want || err == nil {
				t.Errorf("%v; said %s", err, log.b.String())
			}
			if conns.Load() != 10 {
				t.Errorf("%d connections", conns.Load())
			}
			return
		default:
			clk.Advance(time.Second)
			runtime.Gosched()
		}
	}
}

func TestTCPLongReply(t *testing.T) {
	long := strings.Repeat("x", tcpMaxLine-3)
	addr := server(t, func(n int, r *bufio.Reader, w io.Writer) {
		for {
			if _, err := r.ReadString('\n'); err != nil {
				return
			}
			fmt.Fprintln(w, "200 "+long)
		}
	})
	p := pool(t, TCPServer(addr), clock.System{})
	var log said
	table := &TCP{Name: "it", Pool: p, Warn: func(s string) {
		log.warn(s)
		p.cancel() // once is enough
	}}
	if _, _, err := table.Lookup("k"); err == nil || log.b.String() != "read TCP map reply from it: text longer than 4096\n" {
		t.Errorf("%v; said %s", err, log.b.String())
	}
}

// TestSocketmapRestart: a server that closes the connection is asked once more.
func TestSocketmapRestart(t *testing.T) {
	addr := server(t, func(n int, r *bufio.Reader, w io.Writer) {
		if n%2 == 1 {
			return
		}
		if _, err := r.ReadString(','); err == nil {
			io.WriteString(w, "4:OK v,")
		}
	})
	var log said
	m := &Socketmap{Spec: "socketmap:it", Name: "m", Pool: pool(t, SocketmapServer("tcp", addr), clock.System{}), Warn: log.warn}
	for range 3 {
		if v, ok, err := m.Lookup("k"); v != "v" || !ok || err != nil {
			t.Fatal(v, ok, err, log.b.String())
		}
		m.Pool.mu.Lock()
		m.Pool.drop() // else the second one would be a kept one
		m.Pool.mu.Unlock()
	}
	if _, ok, err := m.Lookup(strings.Repeat("k", mapMaxKey+1)); ok || err != nil || !strings.Contains(log.b.String(), "query too large: 'kkk") {
		t.Errorf("a long key: %v %v %s", ok, err, log.b.String())
	}
}

// TestSilentServer: what doesn't answer is an error after the time-out, and at
// once after Close.
func TestSilentServer(t *testing.T) {
	addr := server(t, func(n int, r *bufio.Reader, w io.Writer) { io.Copy(io.Discard, r) })
	var log said
	slow := SocketmapServer("tcp", addr)
	slow.Timeout = 20 * time.Millisecond
	m := &Socketmap{Spec: "socketmap:it", Name: "m", Pool: pool(t, slow, clock.System{}), Warn: log.warn}
	if _, _, err := m.Lookup("k"); err == nil || log.b.String() != "table socketmap:it lookup error: time limit exceeded\n" {
		t.Errorf("%v; said %s", err, log.b.String())
	}
	p := pool(t, SocketmapServer("tcp", addr), clock.System{})
	m.Pool, m.Warn = p, func(string) {}
	done := make(chan error)
	go func() {
		_, _, err := m.Lookup("k")
		done <- err
	}()
	for len(p.slots) == 0 {
		runtime.Gosched()
	}
	p.Close()
	if err := <-done; err == nil {
		t.Error("a lookup that Close ended has no error")
	}
}

// TestReuse: connections are kept between requests, one for each that is under
// way, and not longer than the server's settings say.
func TestReuse(t *testing.T) {
	var conns atomic.Int32
	addr := server(t, func(n int, r *bufio.Reader, w io.Writer) {
		conns.Add(1)
		for {
			if _, err := r.ReadString(','); err != nil {
				return
			}
			io.WriteString(w, "4:OK v,")
		}
	})
	clk := clock.NewManual(time.Unix(1000, 0))
	m := &Socketmap{Spec: "socketmap:it", Name: "m", Pool: pool(t, SocketmapServer("tcp", addr), clk), Warn: func(s string) { t.Error(s) }}
	lookup := func() {
		if v, ok, err := m.Lookup("k"); v != "v" || !ok || err != nil {
			t.Error(v, ok, err)
		}
	}
	for _, step := range []struct {
		wait time.Duration
		want int32
	}{{0, 1}, {9 * time.Second, 1}, {9 * time.Second, 1}, {mapIdle, 2}, {9 * time.Second, 2}} {
		clk.Advance(step.wait)
		lookup()
		if got := conns.Load(); got != step.want {
			t.Errorf("after %v: %d connections, want %d", step.wait, got, step.want)
		}
	}
	var wait sync.WaitGroup
	for range 200 {
		wait.Go(lookup)
	}
	wait.Wait()
	if n := conns.Load(); n > maxConns+2 {
		t.Errorf("%d connections", n)
	}
}

// TestPermanent: only PERM will not get better.
func TestPermanent(t *testing.T) {
	m := &Socketmap{Spec: "socketmap:it", Warn: func(string) {}}
	for reply, want := range map[string]bool{"PERM x": true, "TEMP x": false, "TIMEOUT x": false, "JUNK": false} {
		_, _, err := m.parse(reply)
		var p interface{ Permanent() bool }
		if got := errors.As(err, &p) && p.Permanent(); got != want || err == nil {
			t.Errorf("%s: permanent %v, want %v", reply, got, want)
		}
	}
}

func TestEndpoint(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"inet:host:25", "tcp host:25"}, {"inet:[::1]:25", "tcp [::1]:25"}, {"inet::25", "tcp localhost:25"}, {"unix:/a/b", "unix /a/b"},
		{"unix:a/b", "unix /dir/a/b"}, {"local:x", "unix /dir/x"}, {"inet", `need service transport:endpoint instead of "inet"`},
		{":x", `need service transport:endpoint instead of ":x"`}, {"unix:", `need service transport:endpoint instead of "unix:"`},
		{"tcp:x", "invalid transport name: tcp in service: tcp:x (use inet:host:port or unix:path)"}, {"inet:host", `"host" has no port (write host:port)`},
	} {
		network, address, err := Endpoint(tt.in, "/dir")
		got := network + " " + address
		if err != nil {
			got = err.Error()
		}
		if got != tt.want {
			t.Errorf("%s: %s, want %s", tt.in, got, tt.want)
		}
	}
}

// FuzzReplies: no reply makes a lookup crash, or read beyond its limit.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{"200 ok\n", "400 a%2\n", "4:OK v,", "99999999999:", "VALUE k 0 3\r\nabc\r\nEND\r\n", "END\r\n", ":", ""} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, reply []byte) {
		reader := func() *conn { return &conn{r: bufio.NewReader(strings.NewReader(string(reply)))} }
		table := &TCP{Warn: func(string) {}}
		if line, err := reader().line(tcpMaxLine); err == nil {
			if v, found, err := table.parse(line); len(v) > tcpMaxLine || found && err != nil {
				t.Errorf("%q: %q %v %v", reply, v, found, err)
			}
		}
		if s, err := reader().netstring(mapMaxReply); err == nil && !strings.Contains(string(reply), ":"+s+",") {
			t.Errorf("%q: %q", reply, s)
		}
		valueSize(string(reply))
		if s, ok := percentUnquote(percentQuote(string(reply))); !ok || s != string(reply) {
			t.Errorf("%q: %q %v", reply, s, ok)
		}
	})
}
