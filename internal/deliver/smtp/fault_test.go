package smtp

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/tls"

	"sekisho/internal/deliver"
)

// limited is a connection that carries only so many bytes from the server to the
// client; after that it breaks, or falls silent.
type limited struct {
	net.Conn
	left  int
	stall bool
}

func (l *limited) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p[:min(len(p), l.left)])
	l.left -= n
	if err != nil || n == len(p) {
		return n, err
	}
	if l.stall {
		io.Copy(io.Discard, l.Conn) // until the client has had enough
	}
	l.Conn.Close()
	return n, net.ErrClosed
}

// listenLimited serves on a port of its own, with at most limit bytes to each
// client.
func (s *server) listenLimited(t *testing.T, limit int, stall bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { s.serve(&limited{conn, limit, stall}) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// Wherever a server breaks off or falls silent, a message is delivered if, and
// only if, its acceptance was read; it is never bounced, and it is there once at
// most.
func TestEveryByte(t *testing.T) {
	const ehlo = "250-srv.test\r\n250 8BITMIME\r\n"
	const pipelining = "250-srv.test\r\n250 PIPELINING\r\n"
	for _, offer := range []string{ehlo, pipelining} {
		upTo := "220 srv.test ESMTP\r\n" + offer + "250 2.0.0 ok\r\n" + "250 2.0.0 ok\r\n" + "250 2.0.0 ok\r\n" + "354 go\r\n" + "250-2.0.0 first\r\n250 2.0.0 Ok: queued as 123\r\n"
		var all sync.WaitGroup
		room := make(chan struct{}, 40)
		for limit := range len(upTo) + 1 {
			for _, stall := range []bool{false, true} {
				if stall && offer == pipelining && limit%4 != 0 {
					continue
				}
				room <- struct{}{}
				all.Go(func() {
					defer func() { <-room }()
					s := &server{replies: map[string]string{"EHLO": strings.TrimSuffix(strings.ReplaceAll(offer, "\r\n", "\n"), "\n")}}
					port := s.listenLimited(t, limit, stall)
					a, _ := newAgent(t)
					for _, d := range []*time.Duration{&a.HeloTimeout, &a.MailTimeout, &a.RcptTimeout, &a.DataInitTimeout, &a.DataDoneTimeout, &a.QuitTimeout, &a.RsetTimeout} {
						*d = 700 * time.Millisecond
					}
					whole := limit == len(upTo)
					for _, r := range a.Deliver(t.Context(), request("[127.0.0.1]:"+port, "Subject: x\n\nhello\n")) {
						if r.Status == deliver.Bounced || (r.Status == deliver.Sent) != whole {
							t.Errorf("%d bytes, stall %v: %+v", limit, stall, r)
						}
						atDot := limit >= strings.Index(upTo, "250-2.0.0 first")
						if risky := strings.Contains(r.Text, "may be sent more than once"); risky != (atDot && !whole) {
							t.Errorf("%d bytes, stall %v: %+v", limit, stall, r)
						}
					}
					if n := strings.Count(s.received(), "\r\n.\r\n"); n > 1 {
						t.Errorf("%d bytes, stall %v: %d copies", limit, stall, n)
					}
				})
			}
		}
		all.Wait()
	}
}

// The same within the handshake of TLS.
func TestEveryByteOfTLS(t *testing.T) {
	cert, _ := certificate(t, "tls.test")
	var all sync.WaitGroup
	room := make(chan struct{}, 40)
	for limit := 60; limit < 1200; limit += 23 {
		for _, stall := range []bool{false, true} {
			room <- struct{}{}
			all.Go(func() {
				defer func() { <-room }()
				s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250 STARTTLS", "EHLO 2": "250 srv.test"}, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
				port := s.listenLimited(t, limit, stall)
				a, _ := newAgent(t)
				for _, d := range []*time.Duration{&a.HeloTimeout, &a.StartTLSTimeout, &a.MailTimeout, &a.RcptTimeout, &a.DataInitTimeout, &a.DataDoneTimeout} {
					*d = 700 * time.Millisecond
				}
				a.TLS, a.MinimalBackoff = TLSMay, time.Hour
				r := request("tls.test:"+port, "x\n")
				r.Envelope.Arrived = time.Now()
				for _, r := range a.Deliver(t.Context(), r) {
					if r.Status != deliver.Deferred && !strings.Contains(s.received(), ".\r\n") {
						t.Errorf("%d bytes, stall %v: %+v", limit, stall, r)
					}
				}
				if strings.Contains(s.received(), ".\r\n") && limit < 500 {
					t.Errorf("%d bytes: sent in the clear", limit)
				}
			})
		}
	}
	all.Wait()
}

// A server that reads no more, in the middle of a large message.
func TestServerThatStopsReading(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, "220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
		<-ended
	}()
	defer func() { close(ended); l.Close(); <-done }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	a, _ := newAgent(t)
	a.DataXferTimeout = 100 * time.Millisecond
	r := request("[127.0.0.1]:"+port, "")
	r.Content = func() (io.ReadCloser, error) {
		return io.NopCloser(io.LimitReader(repeated("a line of the message\n"), 64<<20)), nil
	}
	got := lines(a.Deliver(t.Context(), r))
	if want := "dsn=4.4.2, status=deferred (conversation with 127.0.0.1[127.0.0.1] timed out while sending message body)"; !strings.Contains(got, want) {
		t.Errorf("%swant %s", got, want)
	}
}

type repeated string

func (r repeated) Read(p []byte) (int, error) {
	n := 0
	for n+len(r) <= len(p) {
		n += copy(p[n:], r)
	}
	if n == 0 {
		n = copy(p, r[:len(p)])
	}
	return n, nil
}

// A server that refuses the message while it is sent, and hangs up: what it said
// counts (Postfix's LOST_CONNECTION_INSIDE_DATA). If it says yes to half a
// message, that is no delivery.
func TestRefusalWithinData(t *testing.T) {
	for answer, want := range map[string]string{
		"552 5.3.4 too much":  "dsn=5.3.4, status=bounced (host HOST said: 552 5.3.4 too much (in reply to end of DATA command))",
		"451 4.3.0 disk full": "dsn=4.3.0, status=deferred (host HOST said: 451 4.3.0 disk full (in reply to end of DATA command))",
		"250 2.0.0 thank you": "dsn=4.4.2, status=deferred (lost connection with HOST while sending message body)",
		"":                    "dsn=4.4.2, status=deferred (lost connection with HOST while sending message body)",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			conn, err := l.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
			io.WriteString(conn, "220 x\r\n250 x\r\n250 ok\r\n250 ok\r\n250 ok\r\n354 go\r\n")
			io.CopyN(io.Discard, conn, 200<<10)
			if answer != "" {
				fmt.Fprintf(conn, "%s\r\n", answer)
			}
		}()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		a, _ := newAgent(t)
		r := request("[127.0.0.1]:"+port, "")
		r.Content = func() (io.ReadCloser, error) {
			return io.NopCloser(io.LimitReader(repeated("a line of the message\n"), 64<<20)), nil
		}
		got := lines(a.Deliver(t.Context(), r))
		if want = strings.ReplaceAll(want, "HOST", "127.0.0.1[127.0.0.1]"); !strings.Contains(got, want) {
			t.Errorf("%q: %swant %s", answer, got, want)
		}
		l.Close()
		<-done
	}
}
