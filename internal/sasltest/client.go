package sasltest

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// Client is a connection to an SMTP server, after its greeting. Its methods end
// the test when the server does not answer.
type Client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects and says EHLO. The connection ends with the test.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &Client{t, conn, bufio.NewReader(conn)}
	if reply := c.reply(); !strings.HasPrefix(reply, "220 ") {
		t.Fatalf("greeted with %q", reply)
	}
	return c
}

// Say sends a line and returns the reply, lines parted by newlines.
func (c *Client) Say(line string) string {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.conn, "%s\r\n", line); err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
	return c.reply()
}

func (c *Client) reply() string {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		c.t.Fatal(err)
	}
	var all []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatalf("no reply: %v", err)
		}
		all = append(all, strings.TrimRight(line, "\r\n"))
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "\n")
		}
	}
}

// Plain is the argument of AUTH for a login with PLAIN.
func Plain(user, password string) string {
	return "PLAIN " + base64.StdEncoding.EncodeToString([]byte("\x00"+user+"\x00"+password))
}
