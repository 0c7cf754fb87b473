package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// refusal is a kind of session that ends without a message.
type refusal struct {
	name, settings string // of main.cf, {conf} for the configuration directory
	hold           func(c *client) error
}

var refusalKinds = []refusal{
	{"relay attempts", "", func(c *client) error { return c.refused("user@elsewhere.test", 554) }},
	{"unknown users", "", func(c *client) error { return c.refused("nobody@bench.test", 550) }},
	{"clients in a block list", "smtpd_client_restrictions = check_client_access cidr:{conf}/blocked\n",
		func(c *client) error { return c.refused("user0@bench.test", 554) }},
}

// refusals measures every kind of refusal, 10 sessions at once.
func refusals(attempts int, res *results) (steps []func(context.Context, subject) error) {
	for _, kind := range refusalKinds {
		steps = append(steps, func(ctx context.Context, s subject) error {
			settings := strings.ReplaceAll(kind.settings, "{conf}", s.site().conf)
			err := errors.Join(writeBlocked(s.site().conf), s.site().configure("", ""))
			if err != nil {
				return err
			}
			// The warm-up sends mail, so the list comes into force after it.
			err = running(ctx, s, func(s subject) error {
				if settings == "" {
					return refuse(ctx, s, kind, 10, attempts, res)
				}
				if err := errors.Join(s.site().configure(settings, ""), s.stop(), s.start()); err != nil {
					return err
				}
				return refuse(ctx, s, kind, 10, attempts, res)
			})
			return errors.Join(err, s.site().configure("", ""))
		})
	}
	return steps
}

// writeBlocked writes a block list of 1,000 networks, the last of which is the
// client's.
func writeBlocked(dir string) error {
	var b strings.Builder
	for i := range 999 {
		fmt.Fprintf(&b, "10.%d.%d.0/24 REJECT\n", i/250, i%250)
	}
	b.WriteString("127.0.0.0/8 REJECT\n")
	return os.WriteFile(filepath.Join(dir, "blocked"), []byte(b.String()), 0o644)
}

// refuse measures sessions that end in a refusal.
func refuse(ctx context.Context, s subject, kind refusal, sessions, attempts int, res *results) error {
	if err := kind.hold(s.site().client()); err != nil { // reads the tables
		return err
	}
	before, err := cpuSeconds(s.root())
	if err != nil {
		return err
	}
	took, err := repeat(ctx, fmt.Sprintf("%s: refuse %s, %d sessions", s.name(), kind.name, sessions), sessions, attempts, func(int) error {
		return kind.hold(s.site().client())
	})
	if err != nil {
		return err
	}
	after, err := cpuSeconds(s.root())
	if err != nil {
		return err
	}
	n := float64(attempts)
	res.add("refuse", sessions, kind.name+" refused, sessions/s", s.name(), n/took.Seconds())
	res.add("refuse", sessions, kind.name+", CPU s per 1,000 sessions", s.name(), (after-before)/n*1000)
	return nil
}

// refused makes one attempt to send mail to a recipient who is refused with code.
func (c *client) refused(recipient string, code int) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.Close()
	if err := s.command(250, "MAIL FROM:<sender@elsewhere.test>"); err != nil {
		return err
	}
	if err := s.command(code, "RCPT TO:<%s>", recipient); err != nil {
		return err
	}
	return s.command(221, "QUIT")
}
