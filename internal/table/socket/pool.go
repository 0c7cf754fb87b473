// Package socket asks servers that answer lookups over a stream, one reply for
// one request: tcp_table(5), socketmap_table(5), and memcached as
// memcache_table(5) uses it.
//
// It knows the protocols and their limits, and neither configuration files nor
// what a key is for. A Pool of connections belongs to one server and may serve
// several tables; everything here is safe for concurrent use. An error of a
// lookup means that nobody knows whether the key is there; what is wrong has
// then been said to Warn, in Postfix's words.
package socket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/clock"
)

// maxConns bounds the connections to one server, as many as Postfix's
// default_process_limit allows; further requests wait for one.
const maxConns = 100

// Server is where a pool connects to, and how patiently.
type Server struct {
	Network, Address string        // for net.Dial
	Timeout          time.Duration // for a connection, and for each exchange on it
	Idle             time.Duration // how long an unused connection is kept; 0: for ever
	Life             time.Duration // how long any connection is kept; 0: for ever
}

// Endpoint reads Postfix's "inet:host:port" or "unix:path"; a relative path
// begins in dir.
func Endpoint(s, dir string) (network, address string, err error) {
	transport, where, ok := strings.Cut(s, ":")
	switch {
	case !ok || transport == "" || where == "":
		return "", "", fmt.Errorf("need service transport:endpoint instead of %q", s)
	case transport == "inet":
		address, err = HostPort(where)
		return "tcp", address, err
	case transport == "unix" || transport == "local":
		if !filepath.IsAbs(where) {
			where = filepath.Join(dir, where)
		}
		return "unix", where, nil
	}
	return "", "", fmt.Errorf("invalid transport name: %s in service: %s (use inet:host:port or unix:path)", transport, s)
}

// HostPort reads "host:port", "[address]:port" or ":port", which is the local
// host's.
func HostPort(s string) (string, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || i+1 == len(s) {
		return "", fmt.Errorf("%q has no port (write host:port)", s)
	}
	host := strings.TrimSuffix(strings.TrimPrefix(s[:i], "["), "]")
	if host == "" {
		host = "localhost"
	}
	return net.JoinHostPort(host, s[i+1:]), nil
}

// Pool keeps connections to one server.
type Pool struct {
	server Server
	clock  clock.Clock
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	slots  chan struct{}

	mu   sync.Mutex
	free []*conn // the one used last is the last
}

// conn is one connection, for one exchange at a time.
type conn struct {
	net.Conn
	r          *bufio.Reader
	born, used time.Time
	reused     bool
}

// NewPool returns a pool; it makes no connection before it is asked to.
func NewPool(s Server, c clock.Clock) *Pool {
	ctx, cancel := context.WithCancel(context.Background())
	return &Pool{server: s, clock: c, ctx: ctx, cancel: cancel, slots: make(chan struct{}, maxConns)}
}

// Close ends the connections, also those in use.
func (p *Pool) Close() error {
	p.cancel()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.drop()
	return nil
}

func (p *Pool) drop() {
	for _, c := range p.free {
		c.Conn.Close()
	}
	p.free = nil
}

// dialError is a connection that could not be made.
type dialError struct{ error }

func (e dialError) Unwrap() error { return e.error }

// staleError is an exchange that failed on a connection that had been kept: the
// server may have been started again since.
type staleError struct{ error }

func (e staleError) Unwrap() error { return e.error }

// exchange calls f with a connection, and keeps the connection unless f fails.
// An error is a dialError, a staleError or f's own.
func (p *Pool) exchange(f func(*conn) error) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-p.ctx.Done():
		return dialError{net.ErrClosed}
	}
	c, err := p.get()
	if err != nil {
		return dialError{err}
	}
	stop := context.AfterFunc(p.ctx, func() { c.Conn.Close() })
	defer stop()
	if err = c.SetDeadline(time.Now().Add(p.server.Timeout)); err == nil {
		err = f(c)
	}
	if err != nil {
		c.Conn.Close()
		if c.reused {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.drop() // they are of the same age
			return stale(err)
		}
		return err
	}
	p.put(c)
	return nil
}

// stale marks errors that a fresh connection may not have.
func stale(err error) error {
	var network net.Error
	if errors.As(err, &network) && network.Timeout() {
		return err
	}
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return staleError{err}
	}
	return err
}

func (p *Pool) get() (*conn, error) {
	now := p.clock.Now()
	p.mu.Lock()
	for len(p.free) > 0 {
		c := p.free[len(p.free)-1]
		p.free = p.free[:len(p.free)-1]
		if p.old(c, now) {
			c.Conn.Close()
			continue
		}
		p.mu.Unlock()
		c.reused = true
		return c, nil
	}
	p.mu.Unlock()
	d := net.Dialer{Timeout: p.server.Timeout}
	n, err := d.DialContext(p.ctx, p.server.Network, p.server.Address)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: n, r: bufio.NewReader(n), born: now}, nil
}

func (p *Pool) old(c *conn, now time.Time) bool {
	return p.server.Idle > 0 && now.Sub(c.used) >= p.server.Idle || p.server.Life > 0 && now.Sub(c.born) >= p.server.Life
}

func (p *Pool) put(c *conn) {
	now := p.clock.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil || c.r.Buffered() > 0 {
		c.Conn.Close() // bytes that nobody asked for: the next reply would be wrong
		return
	}
	c.used = now
	for len(p.free) > 0 && p.old(p.free[0], now) {
		p.free[0].Conn.Close()
		p.free = p.free[1:]
	}
	p.free = append(p.free, c)
}

// timedOut is what the system says of a wait that was too long.
const timedOut = "Connection timed out"

// reason says in the system's words what went wrong with a connection.
func reason(err error) string {
	var number syscall.Errno
	var network net.Error
	switch {
	case errors.As(err, &number):
		text := number.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return timedOut
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "unexpected disconnect"
	}
	return err.Error()
}

// line reads up to a newline, which is not returned. A line of more than limit
// bytes is errLong.
func (c *conn) line(limit int) (string, error) {
	var b []byte
	for {
		ch, err := c.r.ReadByte()
		switch {
		case err != nil:
			return "", noEnd(err)
		case ch == '\n':
			return string(b), nil
		case len(b) == limit:
			return "", errLong
		}
		b = append(b, ch)
	}
}

var errLong = errors.New("too long")

// noEnd makes an end in the middle of a reply an error of its own.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// short cuts a text for a log line and replaces what cannot be shown.
func short(s string, n int, instead rune) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return instead
		}
		return r
	}, s)
	if len(s) > n {
		return s[:n]
	}
	return s
}

// isSpace is C's isspace.
func isSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
