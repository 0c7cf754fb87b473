//go:build linux

package addresses

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// attr is one name and value of the protocol that Postfix's daemons speak
// among themselves: both end with a null byte, a list with one more.
type attr struct{ Name, Value octets }

// octets are a string of any bytes, which JSON alone would not leave as they are.
type octets string

func (o octets) MarshalText() ([]byte, error) { return []byte(strconv.QuoteToASCII(string(o))), nil }

func (o *octets) UnmarshalText(b []byte) error {
	s, err := strconv.Unquote(string(b))
	*o = octets(s)
	return err
}

// peer is a connection to a daemon.
type peer struct {
	net.Conn
	in       *bufio.Reader
	greeting []attr
}

// dial connects to a daemon's socket and takes its greeting.
func dial(socket string) (*peer, error) {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	p := &peer{Conn: conn, in: bufio.NewReader(conn)}
	if p.greeting, err = p.receive(); err != nil {
		conn.Close()
		return nil, fmt.Errorf("no greeting: %w", err)
	}
	return p, nil
}

func (p *peer) send(list ...attr) error {
	var b []byte
	for _, a := range list {
		b = append(append(append(append(b, a.Name...), 0), a.Value...), 0)
	}
	_, err := p.Write(append(b, 0))
	return err
}

// receive reads one list.
func (p *peer) receive() ([]attr, error) {
	var list []attr
	for {
		name, err := p.in.ReadString(0)
		if err != nil {
			return list, err
		}
		if name == "\x00" {
			return list, nil
		}
		value, err := p.in.ReadString(0)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return list, err
		}
		list = append(list, attr{octets(name[:len(name)-1]), octets(value[:len(value)-1])})
	}
}

// value returns the last value of a name: flags come twice, those of the server
// first.
func value(list []attr, name octets) (v string) {
	for _, a := range list {
		if a.Name == name {
			v = string(a.Value)
		}
	}
	return v
}
