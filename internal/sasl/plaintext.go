package sasl

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"strconv"
	"strings"
)

// plain is PLAIN, RFC 4616: authzid NUL authcid NUL password.
type plain struct{ backend *Embedded }

func (*plain) first() Step { return challenge("") }

func (p *plain) next(ctx context.Context, response []byte, _ bool) Step {
	f := bytes.Split(response, []byte{0})
	if len(f) != 3 {
		return Step{Kind: Failed}
	}
	authzid, authcid := string(f[0]), string(f[1])
	if authzid != "" && authzid != authcid {
		return refuse(authcid) // nobody may act for another
	}
	return p.backend.check(ctx, authcid, string(f[2]))
}

// login is LOGIN, which no RFC defines (draft-murchison-sasl-login): the name,
// then the password.
type login struct {
	backend *Embedded
	user    string
	asked   bool // for the password
}

func (*login) first() Step { return challenge("Username:") }

func (l *login) next(ctx context.Context, response []byte, initial bool) Step {
	switch {
	case initial && len(response) == 0:
		return l.first()
	case l.asked:
		return l.backend.check(ctx, l.user, string(response))
	case len(response) == 0:
		return refuse("")
	case bytes.IndexByte(response, 0) >= 0:
		return Step{Kind: Failed}
	}
	l.user, l.asked = string(response), true
	return challenge("Password:")
}

// cramMD5 is CRAM-MD5, RFC 2195: the client proves by HMAC-MD5 that it knows
// the password.
type cramMD5 struct {
	backend   *Embedded
	challenge string
}

func (c *cramMD5) first() Step {
	nonce := make([]byte, 16)
	rand.Read(nonce)
	c.challenge = "<" + hex.EncodeToString(nonce) + "." +
		strconv.FormatInt(c.backend.clock.Now().Unix(), 10) + "@" + c.backend.host + ">"
	return challenge(c.challenge)
}

func (c *cramMD5) next(ctx context.Context, response []byte, initial bool) Step {
	if initial { // the server speaks first; Dovecot overlooks it too
		return c.first()
	}
	text := string(response)
	i := strings.LastIndexByte(text, ' ')
	if i < 0 {
		return Step{Kind: Failed}
	}
	user, digest := text[:i], text[i+1:]
	a, stored, ok, failed := c.backend.lookup(ctx, user)
	if failed != nil {
		return *failed
	}
	secret, able := stored.CRAM()
	want := secret.Response(c.challenge)
	match := subtle.ConstantTimeCompare([]byte(want), []byte(strings.ToLower(digest))) == 1
	if !ok || !able || !match {
		return refuse(user)
	}
	return Step{Kind: Done, User: a.User, UserKnown: true}
}
