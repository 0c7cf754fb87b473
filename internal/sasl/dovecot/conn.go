package dovecot

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
)

// maxReply is the longest line that is read from the service.
const maxReply = 64 << 10

var errBadVersion = errors.New("protocol version error")

// errLost says that a connection has ended.
var errLost = errors.New("connection lost")

// failure is why there is no connection, as Postfix logs it after "SASL: ".
type failure struct {
	what string
	why  error
}

func (f *failure) Error() string { return f.what + ": " + f.why.Error() }

// Unwrap returns the reason.
func (f *failure) Unwrap() error { return f.why }

// conn is a connection to the service, shared by many exchanges. It is safe for
// concurrent use.
type conn struct {
	net        net.Conn
	mechanisms []sasl.Mechanism
	born       time.Time
	lost       chan struct{} // closed when nothing more can come

	writing sync.Mutex // held while a line is written

	mu      sync.Mutex
	last    uint32                 // request id
	waiting map[uint32]chan string // exchanges under way; their replies, one at a time
	heard   int                    // lines read so far
	retired bool                   // no new exchanges; closed after the last one
}

// open connects and shakes hands until ctx ends.
func open(ctx context.Context, a address, now time.Time) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, a.network, a.addr)
	if err != nil {
		return nil, &failure{"Connect to Dovecot auth socket '" + a.spec + "' failed", plain(ctx, err)}
	}
	c := &conn{net: nc, born: now, lost: make(chan struct{}), waiting: make(map[uint32]chan string)}
	stop := context.AfterFunc(ctx, func() { nc.Close() })
	defer stop()
	lines := bufio.NewScanner(nc)
	lines.Buffer(nil, maxReply)
	if err := c.handshake(lines); err != nil {
		nc.Close()
		return nil, &failure{a.spec, plain(ctx, err)}
	}
	go c.read(lines)
	return c, nil
}

// handshake sends who we are and reads the mechanisms.
func (c *conn) handshake(lines *bufio.Scanner) error {
	if _, err := fmt.Fprintf(c.net, "VERSION\t%d\t%d\nCPID\t%d\n", authproto.Major, authproto.Minor, cpid()); err != nil {
		return fmt.Errorf("sending the handshake: %w", err)
	}
	for named := false; lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		switch f[0] {
		case "VERSION":
			if err := checkVersion(f[1:]); err != nil {
				return err
			}
		case "MECH":
			named = true
			if m, offer := authproto.ParseMechanism(f[1:]); offer {
				c.mechanisms = append(c.mechanisms, m)
			}
		case "SPID": // a master socket has no mechanisms, and no DONE
			if !named {
				return errors.New("wrong auth socket (auth-master instead of auth-client)")
			}
		case "DONE":
			return nil
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("no handshake: %w", err)
	}
	return errors.New("connection closed before the end of the handshake")
}

func checkVersion(f []string) error {
	if len(f) < 2 {
		return errBadVersion
	}
	major, err := strconv.Atoi(f[0])
	switch {
	case err != nil:
		return errBadVersion
	case major != authproto.Major:
		return fmt.Errorf("protocol version mismatch (%d vs. %d)", major, authproto.Major)
	}
	return nil
}

// cpid makes up a process id for one connection: every one needs its own, so it
// is none that a real process can have.
func cpid() uint32 {
	var b [4]byte
	rand.Read(b[:])
	return binary.BigEndian.Uint32(b[:])&0x7fffffff | 1<<30
}

// read hands replies to the exchanges that wait for them, until the end.
func (c *conn) read(lines *bufio.Scanner) {
	defer c.fail()
	for lines.Scan() {
		line := lines.Text()
		f := strings.SplitN(line, "\t", 3)
		if len(f) < 2 || f[0] != "CONT" && f[0] != "OK" && f[0] != "FAIL" {
			continue
		}
		id, err := strconv.ParseUint(f[1], 10, 32)
		if err != nil {
			continue
		}
		c.mu.Lock()
		c.heard++
		replies := c.waiting[uint32(id)]
		c.mu.Unlock()
		select {
		case replies <- line: // never for nil
		default: // nobody asked
		}
	}
}

// fail ends the connection, whatever happens to its exchanges.
func (c *conn) fail() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failLocked()
}

func (c *conn) failLocked() {
	select {
	case <-c.lost:
	default:
		close(c.lost)
		c.net.Close()
	}
}

// fit reports whether a new exchange can begin on c.
func (c *conn) fit() bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.lost:
		return false
	default:
		return !c.retired
	}
}

// retire lets the exchanges under way come to their end, and closes c then.
func (c *conn) retire() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.retired = true
	c.closeIdle()
}

func (c *conn) closeIdle() {
	if c.retired && len(c.waiting) == 0 {
		c.failLocked()
	}
}

// begin gives out a request id, and where its replies will come.
func (c *conn) begin() (id uint32, replies chan string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for { // after 2^32 of them, pass over those still under way
		c.last++
		if _, used := c.waiting[c.last]; !used && c.last != 0 {
			break
		}
	}
	replies = make(chan string, 1)
	c.waiting[c.last] = replies
	return c.last, replies
}

// end takes an exchange away; false when that was done already.
func (c *conn) end(id uint32) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.waiting[id]
	delete(c.waiting, id)
	c.closeIdle()
	return ok
}

// send writes a line. When limit ends first, the service does not read, and the
// connection is given up.
func (c *conn) send(limit context.Context, line string) error {
	stop := context.AfterFunc(limit, c.fail)
	defer stop()
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := io.WriteString(c.net, line); err != nil {
		c.fail()
		return errLost
	}
	return nil
}

// lines returns how many lines were read so far.
func (c *conn) lines() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.heard
}
