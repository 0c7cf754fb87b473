package rimap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxLine bounds a line of the server; capabilities are the longest.
const maxLine = 16 << 10

// maxLines bounds what a server may send before the answer that is waited for.
const maxLines = 100

// conn is one connection to an IMAP server that has not been logged in to.
type conn struct {
	net.Conn
	r            *bufio.Reader
	secure       bool
	capabilities []string // upper case; nil: not known
	tags         int
}

// dial connects and goes as far as a password can be sent: greeting,
// capabilities, TLS if there is any.
func dial(ctx context.Context, s server) (*conn, error) {
	var d net.Dialer
	nc, err := d.DialContext(ctx, "tcp", s.addr)
	if err != nil {
		return nil, err
	}
	c := &conn{}
	c.use(nc)
	stop := c.cutBy(ctx)
	defer stop()
	if err := c.prepare(ctx, s); err != nil {
		c.Close()
		return nil, cause(ctx, err)
	}
	return c, nil
}

// use makes nc the connection.
func (c *conn) use(nc net.Conn) {
	c.Conn, c.r = nc, bufio.NewReaderSize(nc, maxLine)
}

// cutBy ends reading and writing with ctx, until stop is called.
func (c *conn) cutBy(ctx context.Context) (stop func() bool) {
	nc := c.Conn
	return context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
}

// cause prefers the reason why a connection was cut to the error of the cut.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

func (c *conn) prepare(ctx context.Context, s server) error {
	if s.tls {
		if err := c.handshake(ctx, s.conf); err != nil {
			return err
		}
	}
	if err := c.greeting(); err != nil {
		return err
	}
	if err := c.askCapabilities(); err != nil {
		return err
	}
	if !c.secure && c.can("STARTTLS") {
		if err := c.startTLS(ctx, s.conf); err != nil {
			return err
		}
	}
	if c.can("LOGINDISABLED") {
		return errRefusesPlaintext
	}
	return nil
}

// errRefusesPlaintext is a server that wants no passwords over this connection.
var errRefusesPlaintext = errors.New("the server takes no passwords over an unencrypted connection (LOGINDISABLED, PRIVACYREQUIRED)" +
	" and offers no STARTTLS: give it TLS, use its port 993, or for Dovecot set disable_plaintext_auth = no")

func (c *conn) handshake(ctx context.Context, conf *tls.Config) error {
	t := tls.Client(c.Conn, conf)
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	c.use(t)
	c.secure = true
	return nil
}

// greeting reads the first line. A server that takes everybody for logged in
// (PREAUTH) checks nothing.
func (c *conn) greeting() error {
	line, err := c.line()
	if err != nil {
		return fmt.Errorf("no greeting: %w", err)
	}
	word, text, _ := strings.Cut(strings.TrimPrefix(line, "* "), " ")
	if !strings.HasPrefix(line, "* ") || !strings.EqualFold(word, "OK") {
		return fmt.Errorf("unexpected greeting %q", line)
	}
	c.noteCode(text)
	return nil
}

func (c *conn) askCapabilities() error {
	if c.capabilities != nil {
		return nil
	}
	_, err := c.ok("CAPABILITY")
	return err
}

// startTLS encrypts the connection. What the server has sent before counts no
// more, and what it has sent too early might not be the server's.
func (c *conn) startTLS(ctx context.Context, conf *tls.Config) error {
	if _, err := c.ok("STARTTLS"); err != nil {
		return err
	}
	if c.r.Buffered() > 0 {
		return errors.New("STARTTLS: the server went on in plain text")
	}
	if err := c.handshake(ctx, conf); err != nil {
		return err
	}
	c.capabilities = nil
	return c.askCapabilities()
}

func (c *conn) can(capability string) bool { return slices.Contains(c.capabilities, capability) }

// reply is a tagged response.
type reply struct {
	status string // OK, NO, BAD
	code   string // of the brackets, upper case, without arguments
	text   string // with the brackets
}

// ok sends a command without arguments that has to succeed.
func (c *conn) ok(command string) (reply, error) {
	r, err := c.command(command)
	if err == nil && r.status != "OK" {
		err = fmt.Errorf("%s: %s %s", command, r.status, r.text)
	}
	return r, err
}

// command sends parts and returns the tagged response. Between two parts the
// server says that it is ready for the next, as after the length of a literal.
func (c *conn) command(parts ...string) (reply, error) {
	c.tags++
	tag := "S" + strconv.Itoa(c.tags)
	send := tag + " "
	for i, part := range parts {
		if _, err := c.Write([]byte(send + part + "\r\n")); err != nil {
			return reply{}, err
		}
		r, more, err := c.answer(tag)
		if err != nil {
			return reply{}, err
		}
		if !more {
			return r, nil
		}
		if i == len(parts)-1 {
			return reply{}, errors.New("the server asks for more than there is")
		}
		send = ""
	}
	return reply{}, errors.New("no command")
}

// answer reads to the tagged response, or to a request for more.
func (c *conn) answer(tag string) (r reply, more bool, err error) {
	for range maxLines {
		line, err := c.line()
		if err != nil {
			return reply{}, false, err
		}
		first, rest, _ := strings.Cut(line, " ")
		switch first {
		case tag:
			return c.tagged(rest), false, nil
		case "+":
			return reply{}, true, nil
		case "*":
			if err := c.untagged(rest); err != nil {
				return reply{}, false, err
			}
		default:
			return reply{}, false, fmt.Errorf("unexpected response %q", line)
		}
	}
	return reply{}, false, fmt.Errorf("%d lines and no answer", maxLines)
}

func (c *conn) tagged(line string) reply {
	status, text, _ := strings.Cut(line, " ")
	return reply{strings.ToUpper(status), c.noteCode(text), text}
}

func (c *conn) untagged(line string) error {
	word, rest, _ := strings.Cut(line, " ")
	switch strings.ToUpper(word) {
	case "BYE":
		return fmt.Errorf("the server hangs up: %s", rest)
	case "CAPABILITY":
		c.capabilities = strings.Fields(strings.ToUpper(rest))
	}
	return nil
}

// noteCode returns the response code in front of text. Capabilities are kept.
func (c *conn) noteCode(text string) string {
	if !strings.HasPrefix(text, "[") {
		return ""
	}
	code, _, ok := strings.Cut(text[1:], "]")
	if !ok {
		return ""
	}
	words := strings.Fields(strings.ToUpper(code))
	if len(words) == 0 {
		return ""
	}
	if words[0] == "CAPABILITY" {
		c.capabilities = words[1:]
	}
	return words[0]
}

func (c *conn) line() (string, error) {
	b, err := c.r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// login sends the LOGIN command.
func (c *conn) login(user, password string) (reply, error) {
	parts := []string{"LOGIN"}
	for _, s := range []string{user, password} {
		last := &parts[len(parts)-1]
		if quotable(s) {
			*last += ` "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
			continue
		}
		*last += fmt.Sprintf(" {%d}", len(s))
		parts = append(parts, s)
	}
	return c.command(parts...)
}

// quotable reports whether s can be a quoted string. Long ones cannot: servers
// bound their lines.
func quotable(s string) bool {
	return len(s) < 1000 && strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// logout says good-bye and closes.
func (c *conn) logout() {
	// The answer to the login is known: nothing depends on these.
	_ = c.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.command("LOGOUT")
	_ = c.Close()
}
