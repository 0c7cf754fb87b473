package wire

import "time"

// WriteString buffers s. A full buffer is sent at once; an error of the
// connection is kept and returned by this and every later call.
func (c *Conn) WriteString(s string) error {
	for len(s) > 0 && c.err == nil {
		if c.out == nil {
			c.out = writers.Get().(*[writeSize]byte)
		}
		m := copy(c.out[c.n:], s)
		c.n += m
		s = s[m:]
		if c.n == writeSize {
			c.send()
		}
	}
	return c.err
}

// Flush sends what waits.
func (c *Conn) Flush() error {
	if c.n > 0 && c.err == nil {
		c.send()
	}
	return c.err
}

// Forget drops what waits to be sent.
func (c *Conn) Forget() {
	if c.out != nil {
		writers.Put(c.out)
		c.out, c.n = nil, 0
	}
}

// SinceSent is how long ago output last left.
func (c *Conn) SinceSent() time.Duration { return time.Since(c.lastWritten) }

func (c *Conn) send() {
	c.lastWritten = time.Now()
	c.err = c.net.SetWriteDeadline(c.until())
	if c.err == nil {
		_, c.err = c.net.Write(c.out[:c.n])
	}
	writers.Put(c.out)
	c.out, c.n = nil, 0
}
