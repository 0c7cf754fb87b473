package wire

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// Errors of Await.
var (
	ErrInterrupted = errors.New("wire: interrupted between commands")
	ErrSilent      = errors.New("wire: nothing was sent so far")
)

const (
	readSize  = 4096 // as much as Postfix reads ahead
	writeSize = 4096
)

// Conn is a connection seen as lines. It is for one goroutine; only Interrupt
// may be called from another.
type Conn struct {
	net   net.Conn
	raw   *rawConn // nil: not a socket, or encrypted
	under *rawConn // the socket below an encrypted connection

	timeout     time.Duration // for one read or write; 0: none
	perRequest  bool          // timeout is for a whole line instead
	minRate     int           // bytes that buy one more second with perRequest
	deadline    time.Time     // of the request under way
	silence     time.Time     // until when an Await that ended with ErrSilent may go on; see quiet
	quiet       bool          // an Await goes on
	lastWritten time.Time     // when output last left

	in   *[readSize]byte // from the pool; nil while there is nothing
	r, w int             // in[r:w] is unread
	one  [1]byte         // first byte of an encrypted connection's next input
	long []byte          // a line that did not lie in one piece
	out  *[writeSize]byte
	n    int // out[:n] waits

	err    error // the first error of a write
	strict bool  // only CRLF ends a line properly, see SetStrict

	mu          sync.Mutex
	awaiting    bool
	interrupted bool
}

var (
	readers = sync.Pool{New: func() any { return new([readSize]byte) }}
	writers = sync.Pool{New: func() any { return new([writeSize]byte) }}
)

// New returns a Conn over c.
func New(c net.Conn) *Conn { return &Conn{net: c, raw: newRawConn(c), lastWritten: time.Now()} }

// Switch goes on over another connection on top of the old one, as STARTTLS
// does. Input that was read from the old one and not used is thrown away;
// output must have been flushed.
func (c *Conn) Switch(to net.Conn) {
	c.release()
	c.net, c.raw, c.under = to, newRawConn(to), c.raw
}

// SetTimeout sets how long the other side may take. With perRequest it is the
// time for one whole line, and every minRate bytes received give back a second
// of it; else it is the time for each read and write.
func (c *Conn) SetTimeout(d time.Duration, perRequest bool, minRate int) {
	c.timeout, c.perRequest, c.minRate = d, perRequest, minRate
}

// SetStrict says how much of a line's end belongs to it: with strict, LF and one
// CR before it; else all CRs before the LF.
func (c *Conn) SetStrict(strict bool) { c.strict = strict }

// Buffered returns how many bytes have been read ahead.
func (c *Conn) Buffered() int { return c.w - c.r }

// release gives the read buffer back to the pool, with what is in it.
func (c *Conn) release() {
	if c.in != nil {
		readers.Put(c.in)
		c.in = nil
	}
	c.r, c.w, c.long = 0, 0, nil
}

// Release gives all buffers back to the pool; the Conn is not used afterwards.
func (c *Conn) Release() {
	c.release()
	if c.out != nil {
		writers.Put(c.out)
		c.out, c.n = nil, 0
	}
}

// Timeout reports whether err means that the other side took too long.
func Timeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// start begins a request: with per-request deadlines the clock runs from here.
func (c *Conn) start() {
	if c.perRequest && c.timeout > 0 {
		c.deadline = time.Now().Add(c.timeout)
	}
}

// until is the deadline of the next read or write.
func (c *Conn) until() time.Time {
	switch {
	case c.timeout <= 0:
		return time.Time{}
	case c.perRequest && !c.deadline.IsZero():
		return c.deadline
	}
	return time.Now().Add(c.timeout)
}

// credit extends the deadline for n bytes received.
func (c *Conn) credit(n int) {
	if !c.perRequest || c.minRate <= 0 || c.deadline.IsZero() {
		return
	}
	c.deadline = c.deadline.Add(time.Duration(n) * time.Second / time.Duration(c.minRate))
	if last := time.Now().Add(c.timeout); c.deadline.After(last) {
		c.deadline = last
	}
}

// fill reads more input. It blocks; what waits to be sent leaves first.
func (c *Conn) fill() error {
	if err := c.Flush(); err != nil {
		return err
	}
	if err := c.net.SetReadDeadline(c.until()); err != nil {
		return err
	}
	return c.read()
}

// read takes what the connection has next into the buffer. A connection that
// is silent holds no buffer meanwhile.
func (c *Conn) read() error {
	if c.r == c.w {
		c.r, c.w = 0, 0
	}
	var n int
	var err error
	switch {
	case c.in != nil:
		n, err = c.net.Read(c.in[c.w:])
	case c.raw != nil:
		c.in, n, err = c.raw.read()
	default:
		if n, err = c.net.Read(c.one[:]); n > 0 {
			c.in = readers.Get().(*[readSize]byte)
			c.in[0] = c.one[0]
		}
	}
	c.w += n
	c.credit(n)
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// need makes sure that there is unread input.
func (c *Conn) need() error {
	if c.r < c.w {
		return nil
	}
	return c.fill()
}

// Await waits for the first byte of the next command, without a buffer where
// that is possible. ErrInterrupted means that Interrupt ended the wait; ErrSilent,
// that patience was over (0: there is no end to it). The next Await goes on then,
// and its time with it.
func (c *Conn) Await(patience time.Duration) error {
	if !c.quiet {
		c.start()
		if c.r < c.w {
			return nil
		}
		c.release()
		if err := c.Flush(); err != nil {
			return err
		}
		c.silence = c.until()
	}
	until := c.silence
	c.quiet = false
	if now := time.Now(); patience > 0 && (until.IsZero() || now.Add(patience).Before(until)) {
		c.quiet, until = true, now.Add(patience)
	}
	err := c.await(until)
	if c.quiet = c.quiet && Timeout(err); c.quiet {
		return ErrSilent
	}
	return err
}

// await is the wait itself, which Interrupt can end.
func (c *Conn) await(until time.Time) error {
	c.mu.Lock()
	if c.interrupted {
		c.mu.Unlock()
		return ErrInterrupted
	}
	if err := c.net.SetReadDeadline(until); err != nil {
		c.mu.Unlock()
		return err
	}
	c.awaiting = true
	c.mu.Unlock()

	err := c.read()

	c.mu.Lock()
	defer c.mu.Unlock()
	c.awaiting = false
	if c.interrupted && Timeout(err) {
		return ErrInterrupted
	}
	return err
}

// Silence is what there is to wait for after ErrSilent: something to read from
// the socket, nil where there is none, or the time that Await would wait to.
func (c *Conn) Silence() (socket syscall.RawConn, until time.Time) {
	switch {
	case c.raw != nil:
		socket = c.raw.c
	case c.under != nil:
		socket = c.under.c
	}
	return socket, c.silence
}

// Interrupt ends an Await, now or when it next would block. Safe for
// concurrent use.
func (c *Conn) Interrupt() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.interrupted = true
	if c.awaiting {
		c.net.SetReadDeadline(time.Unix(1, 0)) // an error here ends the Await as well
	}
}

// Waiting reports whether the client has sent more than was read, and reads it
// in. An error of the connection shows at the next read.
func (c *Conn) Waiting() bool {
	if c.r < c.w {
		return true
	}
	if c.raw != nil {
		if c.raw.readable() {
			return c.fill() == nil
		}
		return false
	}
	until := time.Now().Add(pollTime)
	if c.under != nil && !c.under.readable() {
		until = time.Unix(1, 0) // only what was decrypted already
	}
	if c.net.SetReadDeadline(until) != nil {
		return false
	}
	return c.read() == nil
}

// pollTime is how long Waiting listens where it cannot just look.
const pollTime = time.Millisecond

// Peek returns up to n bytes of input that were read ahead.
func (c *Conn) Peek(n int) []byte {
	if c.r == c.w {
		return nil
	}
	return c.in[c.r:min(c.w, c.r+n)]
}
