package socket

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// What tcp_table(5) and its client in Postfix hold to.
const (
	tcpTimeout = 100 * time.Second
	tcpMaxLine = 4096
	tcpTries   = 10
	tcpPause   = time.Second
)

// TCP is a table of the line protocol of tcp_table(5).
type TCP struct {
	Name string // as configured, for warnings
	Pool *Pool
	Warn func(string)
}

// TCPServer returns how the server of a tcp: table is connected to.
func TCPServer(address string) Server {
	return Server{Network: "tcp", Address: address, Timeout: tcpTimeout}
}

// Lookup asks for a key. A server that cannot be reached, or doesn't answer, is
// tried ten times, a second apart.
func (t *TCP) Lookup(key string) (value string, found bool, err error) {
	for try := 1; ; try++ {
		var reply string
		err = t.Pool.exchange(func(c *conn) (err error) {
			if _, err = io.WriteString(c, "get "+percentQuote(key)+"\n"); err == nil {
				reply, err = c.line(tcpMaxLine)
			}
			if err == nil {
				value, found, err = t.parse(reply)
			}
			return err
		})
		var answered *replyError
		var old staleError
		switch {
		case err == nil || errors.As(err, &answered):
			return value, found, err
		case errors.As(err, &old):
			try--
			continue
		}
		t.complain(err)
		if try == tcpTries {
			return "", false, errors.New(reason(err))
		}
		if stopped := t.Pool.clock.Sleep(t.Pool.ctx, tcpPause); stopped != nil {
			return "", false, stopped
		}
	}
}

// replyError is a reply that is none, or says that there is none.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

func (t *TCP) complain(err error) {
	var dial dialError
	switch {
	case errors.As(err, &dial):
		t.Warn("connect to TCP map " + t.Name + ": " + reason(err))
	case errors.Is(err, errLong):
		t.Warn(fmt.Sprintf("read TCP map reply from %s: text longer than %d", t.Name, tcpMaxLine))
	default:
		t.Warn("read TCP map reply from " + t.Name + ": unexpected EOF (" + reason(err) + ")")
	}
}

// parse reads a reply: three digits, a blank, and a text.
func (t *TCP) parse(reply string) (value string, found bool, err error) {
	bad := func(what string) error {
		text := "read TCP map reply from " + t.Name + ": " + what + ": " + short(reply, 100, '_')
		t.Warn(text)
		return &replyError{text}
	}
	if len(reply) < 4 || !digits(reply[:3]) || !isSpace(reply[3]) {
		return "", false, bad("malformed reply")
	}
	value, ok := percentUnquote(reply[4:])
	switch {
	case !ok:
		return "", false, bad("malformed reply")
	case reply[0] == '2':
		return value, true, nil
	case reply[0] == '5':
		return "", false, nil
	case reply[0] == '4':
		return "", false, &replyError{"the server of tcp:" + t.Name + " says " + short(reply, 100, '_')}
	}
	return "", false, bad("bad status code")
}

func digits(s string) bool { return strings.Trim(s, "0123456789") == "" }

// percentQuote writes all but printing ASCII characters as %XX.
func percentQuote(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func percentUnquote(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		n, err := strconv.ParseUint(s[i+1:i+3], 16, 8)
		if err != nil {
			return "", false
		}
		b.WriteByte(byte(n))
		i += 2
	}
	return b.String(), true
}
