package cyrus

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"strings"

	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
)

// mechanism is the server's part of one mechanism, in decoded bytes.
type mechanism interface {
	// first is the challenge for a client without initial response.
	first() sasl.Step
	// next takes a response.
	next(ctx context.Context, response []byte, initial bool) sasl.Step
}

// login is what all mechanisms need.
type login struct {
	backend *Backend
	service string
}

const allBlank = "All-whitespace username."

// password decides by name and password; note is what Cyrus logs of a refusal.
func (l login) password(ctx context.Context, user, password string, note ...string) sasl.Step {
	if user == "" {
		return failed("", reasonGeneric, append([]string{allBlank}, note...)...)
	}
	ok, notes, err := l.backend.verify(ctx, user, password, l.service)
	step := failed(user, reasonWrong, note...)
	switch {
	case ok:
		step = sasl.Step{Kind: sasl.Done, User: user, UserKnown: true}
	case err != nil:
		step = failed(user, reasonGeneric, note...)
	}
	step.Warnings = append(notes, step.Warnings...)
	return step
}

// lookup finds the stored form for a mechanism that needs more than the
// client's word; see store.password.
func (l login) lookup(ctx context.Context, user string) (p password.Password, found bool, down *sasl.Step) {
	p, found, damage, err := l.backend.store.password(ctx, user)
	step := failed(user, reasonGeneric)
	switch {
	case err != nil:
		step.Warnings = []string{"SASL: auxprop: " + err.Error()}
	case damage != "":
		step = failed(user, reasonWrong)
		step.Warnings = []string{"SASL: auxprop: " + damage}
	default:
		return p, found, nil
	}
	return p, false, &step
}

// plain is PLAIN, RFC 4616: authzid NUL authcid NUL password.
type plain struct{ login }

func (*plain) first() sasl.Step { return challenge("") }

func (p *plain) next(ctx context.Context, response []byte, _ bool) sasl.Step {
	f := strings.Split(string(response), "\x00")
	switch {
	case len(f) == 1:
		return failed(nobody, reasonProtocol, "Can only find author (no password)")
	case len(f) == 2:
		return failed(nobody, reasonProtocol, "Can only find author/en (no password)")
	case len(f) > 3:
		return failed(nobody, reasonProtocol, "Got more data than we were expecting in the PLAIN plugin?")
	}
	user, ok := p.backend.canonical(f[1])
	if !ok {
		return failed(nobody, reasonGeneric, allBlank)
	}
	step := p.password(ctx, user, f[2], "Password verification failed")
	if other, ok := p.backend.canonical(f[0]); step.Kind == sasl.Done && ok && other != "" && other != user {
		// Nobody may act for another.
		return failed(other, reasonWrong, "Requested identity not authenticated identity")
	}
	return step
}

// loginMech is LOGIN, which no RFC defines (draft-murchison-sasl-login): the
// name, then the password.
type loginMech struct {
	login
	user  string
	asked bool // for the password
}

// loginLength is the most that LOGIN takes of a name or a password.
const loginLength = 1024

func (*loginMech) first() sasl.Step { return challenge("Username:") }

func (l *loginMech) next(ctx context.Context, response []byte, initial bool) sasl.Step {
	switch {
	case initial && len(response) == 0:
		return l.first()
	case l.asked:
		return l.decide(ctx, response)
	case len(response) > loginLength:
		return failed(nobody, reasonProtocol)
	}
	l.user, _, _ = strings.Cut(string(response), "\x00")
	l.asked = true
	return challenge("Password:")
}

func (l *loginMech) decide(ctx context.Context, response []byte) sasl.Step {
	if len(response) > loginLength {
		return failed(nobody, reasonProtocol, "clientinlen is > 1024 characters in LOGIN plugin")
	}
	user, ok := l.backend.canonical(l.user)
	if !ok {
		return failed(nobody, reasonGeneric, allBlank)
	}
	return l.password(ctx, user, string(response))
}

// cramMD5 is CRAM-MD5, RFC 2195: the client proves by HMAC-MD5 that it knows
// the password.
type cramMD5 struct {
	login
	challenge string
}

func (c *cramMD5) first() sasl.Step {
	var nonce [8]byte
	rand.Read(nonce[:])
	c.challenge = fmt.Sprintf("<%d.%d@%s>", binary.BigEndian.Uint64(nonce[:]), c.backend.o.Clock.Now().Unix(), c.backend.o.Hostname)
	return challenge(c.challenge)
}

func (c *cramMD5) next(ctx context.Context, response []byte, initial bool) sasl.Step {
	if initial {
		return failed(nobody, reasonProtocol, "Remote sent first but mech does not allow it.")
	}
	text := string(response)
	i := strings.LastIndexByte(text, ' ')
	if i <= 0 {
		return failed(nobody, reasonProtocol, "need authentication name")
	}
	user, _ := c.backend.canonical(text[:i])
	stored, found, down := c.lookup(ctx, user)
	if down != nil {
		return *down
	}
	secret, able := stored.CRAM()
	match := subtle.ConstantTimeCompare([]byte(secret.Response(c.challenge)), []byte(strings.ToLower(text[i+1:]))) == 1
	switch {
	case !found || !able:
		return failed(user, reasonWrong)
	case !match:
		return failed(user, reasonWrong, "incorrect digest response")
	}
	return sasl.Step{Kind: sasl.Done, User: user, UserKnown: true}
}
