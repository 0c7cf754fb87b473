// Package rimap checks a password by logging in to an IMAP server with it, as
// saslauthd -a rimap does, but without that daemon, and over TLS where the
// server offers it.
//
// Every attempt has a connection of its own, so that nobody waits behind a
// guesser whose failures the server answers late. When the server cannot be
// reached, only one attempt now and then finds out whether it still cannot be;
// everybody else is told at once.
//
// The server cannot see who guesses, only us. Dovecot answers an address late
// from which there were wrong passwords; that is switched off for ours by its
// login_trusted_networks.
//
// It does not read mail and does not know SASL. RFC 3501 and RFC 9051 (IMAP),
// RFC 5530 (response codes), RFC 2595 (STARTTLS), saslauthd(8).
package rimap

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sekisho/internal/clock"
)

const (
	// connectTimeout bounds everything before the password is sent.
	connectTimeout = 10 * time.Second
	// timeout bounds a check. Servers answer guessers late: Dovecot after up to
	// 17 s.
	timeout = 60 * time.Second
)

// Options say where passwords are checked.
type Options struct {
	// Server is HOST, HOST:PORT or HOST/PORT, by default port 143; with
	// imaps:// in front, and for port 993, TLS from the start.
	Server string
	// Realm makes login@realm of a login with a realm (saslauthd -r). Else the
	// realm is not used.
	Realm bool
	// CAFile holds the certificates that may sign the server's, in PEM form.
	// Empty: those of the system, and any certificate for a server on this
	// machine.
	CAFile string
	Clock  clock.Clock
}

// Client checks passwords. It is safe for concurrent use.
type Client struct {
	server server
	realm  bool
	gate   gate
	pool   *pool
}

// New returns a client. It connects to nothing; see Probe.
func New(o Options) (*Client, error) {
	s, err := parseServer(o.Server)
	if err != nil {
		return nil, err
	}
	if o.CAFile != "" {
		if err := s.trust(o.CAFile); err != nil {
			return nil, err
		}
	}
	return &Client{server: s, realm: o.Realm, gate: gate{clock: o.Clock}, pool: newPool()}, nil
}

// Check asks whether password is right. Not ok and no error: it is not; reason
// is what the server says about it, for the log. An error: the server could not
// be asked or could not decide, which is temporary. The service is not used.
func (c *Client) Check(ctx context.Context, login, password, _, realm string) (ok bool, reason string, err error) {
	if c.realm && realm != "" {
		login += "@" + realm
	}
	if strings.ContainsRune(login+password, 0) {
		return false, "a NUL cannot be in a login", nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if err := c.gate.look(); err != nil {
		return false, "", err
	}
	done, err := c.pool.take(ctx, login)
	if err != nil {
		return false, "", c.wrap(fmt.Errorf("too many logins at once: %w", err))
	}
	defer done()
	conn, err := c.connect(ctx)
	if err != nil {
		return false, "", err
	}
	stop := conn.cutBy(ctx)
	r, err := conn.login(login, password)
	stop()
	// From here on nothing means that the server is down: it may be this
	// login that it does not get along with.
	if err != nil {
		conn.Close()
		return false, "", c.wrap(fmt.Errorf("no answer to LOGIN: %w", cause(ctx, err)))
	}
	conn.logout()
	return c.judge(r)
}

// judge tells a wrong password from a server that could not find out.
func (c *Client) judge(r reply) (ok bool, reason string, err error) {
	switch r.code {
	case "PRIVACYREQUIRED":
		return false, "", c.wrap(errRefusesPlaintext)
	case "UNAVAILABLE", "SERVERBUG", "INUSE", "LIMIT", "CONTACTADMIN":
		if r.status != "OK" {
			return false, "", c.wrap(errors.New(r.text))
		}
	}
	return r.status == "OK", r.text, nil
}

// Probe reports why passwords cannot be checked, to be said at start.
func (c *Client) Probe(ctx context.Context) error {
	conn, err := c.connect(ctx)
	if err != nil {
		return err
	}
	conn.logout()
	return nil
}

// connect returns a connection that is ready for a password, and remembers
// whether there is one.
func (c *Client) connect(ctx context.Context) (*conn, error) {
	scout, err := c.gate.enter()
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := dial(limited, c.server)
	switch {
	case err == nil:
		c.gate.leave(scout, nil)
		return conn, nil
	case ctx.Err() != nil: // whoever asked has gone
		c.gate.withdraw(scout)
		return nil, c.wrap(err)
	}
	err = c.wrap(err)
	c.gate.leave(scout, err)
	return nil, err
}

func (c *Client) wrap(err error) error {
	return fmt.Errorf("IMAP server %s: %w", c.server.addr, err)
}
