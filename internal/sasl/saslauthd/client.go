// Package saslauthd is the client of saslauthd(8), Cyrus SASL's password
// checking daemon (pwcheck_method: saslauthd), and both sides' messages. A
// connection carries one request of four strings and one answer.
//
// It does not know SASL or SMTP, and does not decide what a login name is: who
// calls it has parted name and realm. The daemon's side is the command
// "sekisho saslauthd". saslauthd(8); the messages are described in Cyrus SASL's
// saslauthd/LDAP_SASLAUTHD and testsaslauthd.
package saslauthd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"strings"
	"syscall"
	"time"
)

// DefaultPath is the socket where Debian's saslauthd listens, and where Cyrus
// SASL looks for it without saslauthd_path.
const DefaultPath = "/var/run/saslauthd/mux"

// timeout bounds one check. Cyrus SASL waits for ever; the daemon works off
// five requests at a time, and a burst has to wait for its turn.
const timeout = 60 * time.Second

// Client asks the daemon behind a socket. It is safe for concurrent use: each
// check has a connection of its own.
type Client struct{ path string }

// New returns a client of the socket at path (saslauthd_path, with the "mux" at
// its end); empty is DefaultPath. It connects to nothing.
func New(path string) *Client {
	if path == "" {
		path = DefaultPath
	}
	return &Client{path}
}

// Check asks whether password is right. Not ok and no error: it is not; reason
// is what the daemon says about it, for the log. An error: the daemon could not
// be asked or gave no answer, which is temporary.
func (c *Client) Check(ctx context.Context, login, password, service, realm string) (ok bool, reason string, err error) {
	request, err := Request{login, password, service, realm}.Append(nil)
	if err != nil {
		return false, err.Error(), nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	conn, err := c.connect(ctx)
	if err != nil {
		return false, "", c.explain(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := conn.Write(request); err != nil {
		return false, "", fmt.Errorf("saslauthd at %s: %w", c.path, cause(ctx, err))
	}
	answer, err := readString(conn, math.MaxUint16)
	if err != nil {
		return false, "", fmt.Errorf("saslauthd at %s gives no answer: %w", c.path, cause(ctx, err))
	}
	return c.judge(string(answer))
}

// judge reads an answer by its first two letters, as Cyrus SASL does.
func (c *Client) judge(answer string) (ok bool, reason string, err error) {
	switch {
	case len(answer) < 2:
		return false, "", fmt.Errorf("saslauthd at %s: bad response %q", c.path, answer)
	case strings.HasPrefix(answer, "OK"):
		return true, "", nil
	}
	return false, strings.Trim(strings.TrimPrefix(answer, "NO"), "\x00 "), nil
}

// Probe reports why the daemon cannot be reached, to be said at start.
func (c *Client) Probe(ctx context.Context) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return c.explain(err)
	}
	return conn.Close()
}

// connect waits while the daemon's queue of connections is full, which a
// connect(2) that does not block takes for an error.
func (c *Client) connect(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		conn, err := d.DialContext(ctx, "unix", c.path)
		if !errors.Is(err, syscall.EAGAIN) {
			return conn, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, fmt.Errorf("too many logins at once: %w", ctx.Err())
		}
	}
}

// explain says what to do about a connection that failed.
func (c *Client) explain(err error) error {
	what := ""
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		what = "; is saslauthd running, with -m and this folder?"
	case errors.Is(err, fs.ErrPermission):
		what = "; may the mail server's user enter its folder (on Debian: adduser postfix sasl)?"
	}
	return fmt.Errorf("cannot connect to saslauthd at %s: %w%s", c.path, err, what)
}

// cause prefers the reason why a connection was cut to the error of the cut.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}
