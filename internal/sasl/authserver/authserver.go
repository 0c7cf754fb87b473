// Package authserver offers a sasl.Backend to other programs by Dovecot's
// authentication protocol, as a client of which Postfix (smtpd_sasl_type =
// dovecot) and Exim (driver = dovecot) check passwords. A connection may have
// many exchanges under way.
//
// It serves authentication only: no user lookups, no masters, no proxying. It
// opens no sockets, and writes nothing to the log but what a backend warns of and
// what clients do against the protocol. See package authproto for the protocol.
package authserver

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
)

const (
	// maxLine is the longest line that is read: more than Dovecot takes, so that
	// an answer of smtpd_sasl_response_limit gets through.
	maxLine = 32 << 10
	// maxExchanges is how many a connection may have under way.
	maxExchanges = 10000
	// patience is how long an exchange waits for the client's next message.
	patience = 150 * time.Second
)

// Server serves one backend. It is safe for concurrent use.
type Server struct {
	backend sasl.Backend
	clock   clock.Clock
	log     *slog.Logger
	last    atomic.Uint32 // connection id
}

// New returns a server.
func New(backend sasl.Backend, c clock.Clock, log *slog.Logger) *Server {
	return &Server{backend: backend, clock: c, log: log}
}

// Serve serves one client until it leaves or ctx ends, and closes conn. Exchanges
// that are under way then are given up.
func (s *Server) Serve(ctx context.Context, conn net.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	c := &client{server: s, ctx: ctx, conn: conn, exchanges: make(map[uint32]*exchange)}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	if err := c.serve(); err != nil && ctx.Err() == nil && !errors.Is(err, net.ErrClosed) {
		s.log.Warn(fmt.Sprintf("authentication client %s: %v", peer(conn), err))
	}
	cancel()
	stop()
	conn.Close()
	c.running.Wait()
}

// peer names the other end for the log; one of a Unix socket has no name.
func peer(conn net.Conn) string {
	if a := conn.RemoteAddr().String(); a != "" && a != "@" {
		return a
	}
	return "at " + conn.LocalAddr().String()
}

// client is one connection.
type client struct {
	server *Server
	ctx    context.Context
	conn   net.Conn

	running sync.WaitGroup // exchanges
	writing sync.Mutex

	mu        sync.Mutex
	exchanges map[uint32]*exchange // by request id
}

// serve greets and reads requests. The error is what the client did wrong, nil
// when it left.
func (c *client) serve() error {
	c.write(c.greeting())
	lines := bufio.NewScanner(c.conn)
	lines.Buffer(nil, maxLine)
	if err := handshake(lines); err != nil {
		return err
	}
	for lines.Scan() {
		if err := c.command(strings.Split(lines.Text(), "\t")); err != nil {
			return err
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line of more than %d bytes", maxLine)
	}
	return nil
}

// greeting is what a client hears first: it needs to know the mechanisms before
// it says anything. Mechanisms bound to the TLS session are not among them: the
// protocol does not carry what binds them.
func (c *client) greeting() string {
	list, err := c.server.backend.Mechanisms(false)
	if err != nil {
		c.server.log.Warn("SASL: " + err.Error())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "VERSION\t%d\t%d\n", authproto.Major, authproto.Minor)
	for _, m := range list {
		b.WriteString(authproto.FormatMechanism(m) + "\n")
	}
	cookie := make([]byte, 16)
	rand.Read(cookie)
	fmt.Fprintf(&b, "SPID\t%d\nCUID\t%d\nCOOKIE\t%s\nDONE\n", os.Getpid(), c.server.last.Add(1), hex.EncodeToString(cookie))
	return b.String()
}

// handshake reads the client's part, up to its process id.
func handshake(lines *bufio.Scanner) error {
	for versioned := false; lines.Scan(); {
		f := strings.Split(lines.Text(), "\t")
		switch {
		case f[0] == "VERSION":
			if len(f) < 2 || f[1] != strconv.Itoa(authproto.Major) {
				return fmt.Errorf("it speaks version %q of the protocol", strings.Join(f[1:], "."))
			}
			versioned = true
		case f[0] == "CPID" && versioned:
			return nil
		default:
			return fmt.Errorf("%q in the handshake", f[0])
		}
	}
	return nil
}

// command obeys one line.
func (c *client) command(f []string) error {
	if len(f) < 2 {
		return fmt.Errorf("command %q without id", f[0])
	}
	n, err := strconv.ParseUint(f[1], 10, 32)
	if err != nil {
		return fmt.Errorf("command %s with id %q", f[0], f[1])
	}
	id := uint32(n)
	switch {
	case f[0] == "AUTH" && len(f) >= 3:
		return c.auth(id, f[2], f[3:])
	case f[0] == "CONT" && len(f) == 3:
		c.cont(id, f[2])
	case f[0] == "CANCEL":
		c.cancel(id)
	default:
		return fmt.Errorf("unknown command %q", f[0])
	}
	return nil
}

// write sends lines. When the client is gone, reading sees it.
func (c *client) write(text string) {
	c.writing.Lock()
	defer c.writing.Unlock()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.conn.Close()
	}
}
