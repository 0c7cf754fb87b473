package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// client speaks SMTP as plainly as it goes: one command, one reply.
type client struct{ addr string }

// session is one connection.
type session struct {
	net.Conn
	r *bufio.Reader
}

// message returns the content of 10 KiB that is sent, dot-stuffed.
func message() []byte {
	var b strings.Builder
	b.WriteString("From: <sender@elsewhere.test>\r\nTo: <user@bench.test>\r\nSubject: bench\r\n" +
		"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <bench@elsewhere.test>\r\n\r\n")
	for b.Len() < 10*1024 {
		b.WriteString("The quick brown fox jumps over the lazy dog and comes back the same way.\r\n")
	}
	b.WriteString(".\r\n")
	return []byte(b.String())
}

// sessionPatience bounds a session, from the connection to QUIT.
const sessionPatience = 5 * time.Minute

// open connects and says EHLO.
func (c *client) open() (*session, error) { return c.openFrom(nil) }

// openFrom is open from an address of the client's, if not nil.
func (c *client) openFrom(local net.IP) (*session, error) {
	dialer := net.Dialer{Timeout: 30 * time.Second}
	if local != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: local}
	}
	conn, err := dialer.Dial("tcp", c.addr)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: conn, r: bufio.NewReaderSize(conn, 512)}
	// One deadline for all: setting one for each reply costs time.
	if err = conn.SetDeadline(time.Now().Add(sessionPatience)); err == nil {
		err = s.expect("banner", 220)
	}
	if err == nil {
		err = s.command(250, "EHLO client.elsewhere.test")
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

// command sends a line and wants a reply with code.
func (s *session) command(code int, line string) error {
	if _, err := io.WriteString(s, line+"\r\n"); err != nil {
		return err
	}
	return s.expect(line, code)
}

// expect reads a reply.
func (s *session) expect(to string, code int) error {
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("reply to %s: %w", to, err)
		}
		if len(line) < 4 || line[3] == '-' {
			continue
		}
		if got := int(line[0]-'0')*100 + int(line[1]-'0')*10 + int(line[2]-'0'); got != code {
			return fmt.Errorf("reply to %s: %q, want %d", to, line, code)
		}
		return nil
	}
}

// send delivers messages over one connection, number i to the mailbox that to
// says; the content of each is body with the final dot.
func (c *client) send(first, messages int, body []byte, to func(i int) string) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.Close()
	for i := first; i < first+messages; i++ {
		if err := s.send(to(i), body); err != nil {
			return err
		}
	}
	return s.command(221, "QUIT")
}

// send delivers a message.
func (s *session) send(to string, body []byte) error {
	if err := s.command(250, "MAIL FROM:<sender@elsewhere.test>"); err != nil {
		return err
	}
	if err := s.command(250, "RCPT TO:<"+to+">"); err != nil {
		return err
	}
	if err := s.command(354, "DATA"); err != nil {
		return err
	}
	if _, err := s.Write(body); err != nil {
		return err
	}
	return s.expect("content", 250)
}

// refused makes one attempt to send to a recipient, who has to be refused.
func (c *client) refused(local net.IP, code int, to string) error {
	s, err := c.openFrom(local)
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.command(250, "MAIL FROM:<sender@elsewhere.test>"); err != nil {
		return err
	}
	if err := s.command(code, "RCPT TO:<"+to+">"); err != nil {
		return err
	}
	return s.command(221, "QUIT")
}

// account is the name of account i, which is mailbox i as well.
func account(i int) string { return fmt.Sprintf("user%d@bench.test", i%mailboxes) }

// authenticate logs in as account i.
func (s *session) authenticate(i int) error {
	return s.command(235, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+account(i)+"\x00"+password)))
}

// login is a session that logs in as account i and leaves.
func (c *client) login(i int) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.authenticate(i); err != nil {
		return err
	}
	return s.command(221, "QUIT")
}

// sessions are connections held open.
type sessions []*session

func (held sessions) close() {
	for _, s := range held {
		s.Close()
	}
}

// hold opens n connections; what it returns is to be closed, with an error too.
func hold(ctx context.Context, name string, n int, open func() (*session, error)) (sessions, error) {
	held := make(sessions, n)
	_, err := repeat(ctx, fmt.Sprintf("%s: %d idle connections", name, n), 10, n, func(i int) (err error) {
		held[i], err = open()
		return err
	})
	return slices.DeleteFunc(held, func(s *session) bool { return s == nil }), err
}

// repeat calls f(0) to f(n-1), as many at once as workers, shows progress, and
// returns how long it took. The first error ends it.
func repeat(ctx context.Context, what string, workers, n int, f func(i int) error) (time.Duration, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	stop := progress(what, n, &done)
	began := time.Now()
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := f(i); err != nil {
					cancel(err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	stop()
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	if int(done.Load()) != n {
		return 0, errors.New("not all was done")
	}
	return took, nil
}
