package dovecot

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
)

// What Postfix tells the client.
const (
	reasonMechanism = "Invalid authentication mechanism"
	reasonInitial   = "Invalid base64 data in initial response"
	reasonContinued = "Invalid base64 data in continued response"
	reasonLost      = "Connection lost to authentication server"
	reasonBackend   = "Authentication backend error"
)

// unavailable stands in log lines for a user whom the service did not name.
const unavailable = "(unavailable)"

// exchange is one authentication on a shared connection.
type exchange struct {
	backend *Backend
	conn    *conn
	id      uint32
	replies chan string
	forget  func() bool // takes back what the end of the context would do
}

// Start begins an exchange. On a connection that is lost before the first reply
// it begins once again on a new one.
func (b *Backend) Start(ctx context.Context, c sasl.Client, mech, initial string, hasInitial bool) (sasl.Exchange, sasl.Step) {
	if hasInitial && !isBase64(initial) {
		return nil, sasl.Step{Kind: sasl.Failed, Reason: reasonInitial}
	}
	mech = strings.ToUpper(mech)
	for range 2 {
		conn, err := b.connection(ctx)
		if err != nil {
			return nil, sasl.Step{Kind: sasl.TempFailed, Warnings: []string{"SASL: " + err.Error()}}
		}
		if !slices.ContainsFunc(conn.mechanisms, func(m sasl.Mechanism) bool { return m.Name == mech }) {
			return nil, sasl.Step{Kind: sasl.Failed, Reason: reasonMechanism}
		}
		x := b.begin(ctx, conn)
		step, err := x.ask(ctx, request(x.id, c, mech, initial, hasInitial))
		switch {
		case errors.Is(err, errLost) && ctx.Err() == nil:
			continue
		case step.Kind == sasl.Challenge:
			return x, step
		}
		return nil, step
	}
	return nil, lost()
}

// request is the line that begins an exchange. The response must be its last
// field.
func request(id uint32, c sasl.Client, mech, initial string, hasInitial bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "AUTH\t%d\t%s\tservice=%s\tnologin", id, mech, authproto.Escape(c.Service))
	for _, f := range [][2]string{{"lip", c.ServerAddress}, {"rip", c.Address}} {
		if a, err := netip.ParseAddr(f[1]); err == nil { // not of a client without one
			b.WriteString("\t" + f[0] + "=" + a.String())
		}
	}
	if c.TLS {
		b.WriteString("\tsecured")
	}
	if hasInitial {
		b.WriteString("\tresp=" + initial)
	}
	b.WriteByte('\n')
	return b.String()
}

// begin registers an exchange on a connection; the end of ctx cancels it.
func (b *Backend) begin(ctx context.Context, c *conn) *exchange {
	x := &exchange{backend: b, conn: c}
	x.id, x.replies = c.begin()
	x.forget = context.AfterFunc(ctx, x.cancel)
	return x
}

// cancel tells the service that nobody waits for the exchange any more.
func (x *exchange) cancel() {
	if !x.conn.end(x.id) {
		return
	}
	limit, done := x.backend.limit(x.backend.ctx)
	defer done()
	_ = x.conn.send(limit, fmt.Sprintf("CANCEL\t%d\n", x.id)) // lost: cancelled as well
}

// Next implements sasl.Exchange.
func (x *exchange) Next(ctx context.Context, response string) sasl.Step {
	if !isBase64(response) {
		x.forget()
		x.cancel()
		return sasl.Step{Kind: sasl.Failed, Reason: reasonContinued}
	}
	step, _ := x.ask(ctx, fmt.Sprintf("CONT\t%d\t%s\n", x.id, response))
	return step
}

// ask sends a line and waits for its reply. After a step that is no Challenge
// the exchange is over. The error is errLost if the connection was lost.
func (x *exchange) ask(ctx context.Context, line string) (sasl.Step, error) {
	step, err := x.reply(ctx, line)
	if err != nil {
		step = lost()
	}
	if step.Kind != sasl.Challenge {
		x.forget()
		x.conn.end(x.id)
	}
	return step, err
}

func (x *exchange) reply(ctx context.Context, line string) (sasl.Step, error) {
	if len(line) > authproto.MaxLine {
		x.cancel() // sending it would end the exchanges of others
		return lost(), nil
	}
	limit, done := x.backend.limit(x.backend.ctx)
	defer done()
	heard := x.conn.lines()
	if err := x.conn.send(limit, line); err != nil {
		return sasl.Step{}, err
	}
	select {
	case reply := <-x.replies:
		return parse(reply), nil
	case <-x.conn.lost:
		return x.lastWord()
	case <-ctx.Done():
	case <-limit.Done():
		if x.conn.lines() == heard {
			x.conn.retire() // it may be dead; others go another way
		}
	}
	x.cancel()
	return lost(), nil
}

// lastWord is a reply that came just before the connection was lost.
func (x *exchange) lastWord() (sasl.Step, error) {
	select {
	case reply := <-x.replies:
		return parse(reply), nil
	default:
		return sasl.Step{}, errLost
	}
}

func lost() sasl.Step { return sasl.Step{Kind: sasl.TempFailed, Reason: reasonLost} }

// parse reads a reply.
func parse(line string) sasl.Step {
	f := strings.Split(line, "\t") // at least command and id
	switch f[0] {
	case "CONT":
		if len(f) < 3 {
			return broken("missing Dovecot server CONT reply field")
		}
		return sasl.Step{Kind: sasl.Challenge, Challenge: f[2]}
	case "OK":
		user, _, known := values(f[2:])
		if !known {
			return broken("missing Dovecot server OK username field")
		}
		return sasl.Step{Kind: sasl.Done, User: user, UserKnown: true}
	}
	user, reason, known := values(f[2:])
	if !known {
		user = unavailable
	}
	return sasl.Step{Kind: sasl.Failed, User: user, UserKnown: true, Reason: reason}
}

// broken is the answer to a reply that lacks something.
func broken(warning string) sasl.Step {
	return sasl.Step{Kind: sasl.Failed, User: unavailable, UserKnown: true, Reason: reasonBackend, Warnings: []string{warning}}
}

// values finds the user and the reason in the fields of a reply.
func values(fields []string) (user, reason string, known bool) {
	for _, f := range fields {
		if v, ok := strings.CutPrefix(f, "user="); ok {
			user, known = printable(v), true
		}
		if v, ok := strings.CutPrefix(f, "reason="); ok {
			reason = printable(v)
		}
	}
	return user, reason, known
}

// printable replaces what must not reach a reply or a log line by '?'.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// isBase64 is the check that Postfix makes: only the characters count, the
// service sees to the rest.
func isBase64(s string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
	return strings.Trim(s, alphabet) == ""
}
