package smtp

import (
	"net"
	"time"
)

// timedConn bounds the time that a server may take (timed_read(3)): each read
// and write has it anew, or with a deadline all of one request have it together
// (smtp_per_request_deadline). It belongs to one goroutine.
type timedConn struct {
	net.Conn
	timeout time.Duration

	requests bool          // the limit is for a whole request
	rate     int           // bytes/s that buy more time for a request; 0: nothing does
	left     time.Duration // of the request
}

// start begins a request that may take limit.
func (c *timedConn) start(limit time.Duration, rate int) {
	c.timeout, c.left, c.rate = limit, limit, rate
}

// Read reads within the limit.
func (c *timedConn) Read(p []byte) (int, error) {
	return c.timed(c.Conn.SetReadDeadline, c.Conn.Read, p)
}

// Write writes within the limit.
func (c *timedConn) Write(p []byte) (int, error) {
	return c.timed(c.Conn.SetWriteDeadline, c.Conn.Write, p)
}

func (c *timedConn) timed(limit func(time.Time) error, do func([]byte) (int, error), p []byte) (int, error) {
	begin := time.Now()
	if !c.requests {
		if err := limit(begin.Add(c.timeout)); err != nil {
			return 0, err
		}
		return do(p)
	}
	if err := limit(begin.Add(c.left)); err != nil {
		return 0, err
	}
	n, err := do(p)
	c.left -= time.Since(begin)
	if c.rate > 0 {
		c.left = min(c.timeout, c.left+time.Duration(n)*time.Second/time.Duration(c.rate))
	}
	return n, err
}
