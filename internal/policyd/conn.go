package policyd

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// address is where a service listens: a path relative to dir, or a host and
// port, of which the host may be left out.
func address(transport, endpoint, dir string) (network, addr string) {
	if transport != "inet" {
		if !filepath.IsAbs(endpoint) {
			endpoint = filepath.Join(dir, endpoint)
		}
		return "unix", endpoint
	}
	if !strings.Contains(endpoint, ":") {
		endpoint = ":" + endpoint
	}
	if strings.HasPrefix(endpoint, ":") {
		endpoint = "localhost" + endpoint
	}
	return "tcp", endpoint
}

// conn is one connection.
type conn struct {
	net.Conn
	r        *bufio.Reader
	timeout  time.Duration // of one reading or writing
	born     time.Time
	used     time.Time
	requests int
	keep     context.CancelFunc // ends the wait for the end of its idle time
}

// Read reads, and does not wait longer than the timeout.
func (c *conn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *conn) send(request string) error {
	if err := c.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := io.WriteString(c.Conn, request)
	return err
}

// quiet reports whether the other side has neither closed the connection nor
// sent something that nobody asked for.
func (c *conn) quiet() bool {
	s, ok := c.Conn.(syscall.Conn)
	if !ok || c.r.Buffered() > 0 {
		return false
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return false
	}
	nothing := false
	err = raw.Control(func(fd uintptr) {
		var one [1]byte
		_, _, err := syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		nothing = errors.Is(err, syscall.EAGAIN)
	})
	return err == nil && nothing
}

// try is one attempt. A connection on which anything goes wrong is closed.
func (c *client) try(ctx context.Context, request string) (action string, err error) {
	cn, err := c.connection(ctx)
	if err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { cn.Close() })
	defer stop()
	if err := cn.send(request); err != nil {
		cn.Close()
		return "", err
	}
	action, err = readAction(cn.r, c.Endpoint)
	if err != nil {
		cn.Close()
		return "", err
	}
	c.put(cn)
	return action, nil
}

// connection takes an idle connection, or makes one.
func (c *client) connection(ctx context.Context) (*conn, error) {
	for cn := c.take(); cn != nil; cn = c.take() {
		if !c.expired(cn) && cn.quiet() {
			return cn, nil
		}
		cn.Close()
	}
	d := net.Dialer{Timeout: c.Timeout}
	nc, err := d.DialContext(ctx, c.network, c.addr)
	if err != nil {
		return nil, c.connectTrouble(err)
	}
	cn := &conn{Conn: nc, timeout: c.Timeout, born: c.clock.Now()}
	cn.r = bufio.NewReader(cn)
	return cn, nil
}

func (c *client) expired(cn *conn) bool {
	now := c.clock.Now()
	return now.Sub(cn.used) >= c.MaxIdle || now.Sub(cn.born) >= c.MaxTTL
}

func (c *client) take() *conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.idle) - 1
	if last < 0 {
		return nil
	}
	cn := c.idle[last]
	c.idle = c.idle[:last]
	cn.keep()
	return cn
}

// put keeps a connection for the next request until its time is over.
func (c *client) put(cn *conn) {
	cn.requests++
	cn.used = c.clock.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.RequestLimit > 0 && cn.requests >= c.RequestLimit || c.expired(cn) {
		cn.Close()
		return
	}
	var ctx context.Context
	ctx, cn.keep = context.WithCancel(context.Background())
	c.idle = append(c.idle, cn)
	go c.drop(ctx, cn, min(c.MaxIdle, c.MaxTTL-cn.used.Sub(cn.born)))
}

// drop closes a connection that nobody has taken for a while.
func (c *client) drop(ctx context.Context, cn *conn, after time.Duration) {
	if c.clock.Sleep(ctx, after) != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if i := slices.Index(c.idle, cn); i >= 0 && c.expired(cn) {
		c.idle = slices.Delete(c.idle, i, i+1)
		cn.keep()
		cn.Close()
	}
}

func (c *client) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cn := range c.idle {
		cn.keep()
		cn.Close()
	}
	c.idle, c.closed = nil, true
}
