package socket

import (
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Limits of Postfix's socketmap client, socketmap_table(5).
const (
	mapTimeout  = 100 * time.Second
	mapIdle     = 10 * time.Second
	mapLife     = 100 * time.Second
	mapMaxKey   = 10000
	mapMaxReply = 100000
)

// Socketmap is a table of Sendmail's socketmap protocol.
type Socketmap struct {
	Spec string // "socketmap:..." as configured, for warnings
	Name string // of the map, as the server knows it
	Pool *Pool
	Warn func(string)
}

// SocketmapServer returns how a socketmap server is connected to.
func SocketmapServer(network, address string) Server {
	return Server{Network: network, Address: address, Timeout: mapTimeout, Idle: mapIdle, Life: mapLife}
}

// Lookup asks for a key. A connection that the server has closed is made again
// once.
func (m *Socketmap) Lookup(key string) (value string, found bool, err error) {
	if len(key) > mapMaxKey {
		m.Warn("table " + m.Spec + " query too large: '" + short(key, 100, '?') + "', returning 'not found'")
		return "", false, nil
	}
	for try := 1; ; try++ {
		var reply string
		err = m.Pool.exchange(func(c *conn) (err error) {
			if _, err = io.WriteString(c, netstring(m.Name+" "+key)); err == nil {
				reply, err = c.netstring(mapMaxReply)
			}
			return err
		})
		if err == nil {
			return m.parse(reply)
		}
		if try == 1 && disconnected(err) {
			continue
		}
		return "", false, m.complain(err)
	}
}

// disconnected tells whether the server has ended a connection.
func disconnected(err error) bool {
	var dial dialError
	var network net.Error
	switch {
	case errors.As(err, &dial):
		return false
	case errors.As(err, &network):
		return !network.Timeout()
	}
	return errors.Is(err, io.ErrUnexpectedEOF)
}

func (m *Socketmap) complain(err error) error {
	text := reason(err)
	var dial dialError
	switch {
	case errors.As(err, &dial):
		m.Warn("connect to " + m.Pool.server.Address + ": " + text)
	case disconnected(err):
		text = "unexpected disconnect"
	case text == timedOut:
		text = "time limit exceeded"
	}
	m.Warn("table " + m.Spec + " lookup error: " + text)
	return errors.New(text)
}

// parse reads a reply: a word, and a value or a reason.
func (m *Socketmap) parse(reply string) (value string, found bool, err error) {
	reply, _, _ = strings.Cut(reply, "\x00")
	word, rest, _ := strings.Cut(reply, " ")
	class := "unknown"
	switch word {
	case "OK":
		return rest, true, nil
	case "NOTFOUND":
		return "", false, nil
	case "TEMP":
		class = "temporary"
	case "TIMEOUT":
		class = "timeout"
	case "PERM":
		class = "permanent"
	}
	text := m.Spec + " socketmap server " + class + " error"
	if rest = strings.TrimLeft(rest, " \t\n\v\f\r"); rest != "" {
		text += ": " + short(rest, 200, '?')
	}
	m.Warn(text)
	return "", false, &mapError{text, word == "PERM"}
}

// mapError is a server's word that it has no answer.
type mapError struct {
	text      string
	permanent bool
}

func (e *mapError) Error() string { return e.text }

// Permanent tells that asking again will not help.
func (e *mapError) Permanent() bool { return e.permanent }

func netstring(s string) string { return strconv.Itoa(len(s)) + ":" + s + "," }

// errNetstring is a reply that is no netstring, errHuge one of too many bytes.
var (
	errNetstring = errors.New("input format error")
	errHuge      = errors.New("input exceeds size limit")
)

// netstring reads "LENGTH:BYTES,".
func (c *conn) netstring(limit int) (string, error) {
	n := 0
	for i := 0; ; i++ {
		ch, err := c.r.ReadByte()
		switch {
		case err != nil:
			return "", noEnd(err)
		case ch == ':' && i > 0:
			return c.payload(n)
		case ch < '0' || ch > '9':
			return "", errNetstring
		}
		if n = n*10 + int(ch-'0'); n > limit {
			return "", errHuge
		}
	}
}

func (c *conn) payload(n int) (string, error) {
	b := make([]byte, n+1)
	if _, err := io.ReadFull(c.r, b); err != nil {
		return "", noEnd(err)
	}
	if b[n] != ',' {
		return "", errNetstring
	}
	return string(b[:n]), nil
}
