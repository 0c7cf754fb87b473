// Package client is the client's side of SASL: it chooses a mechanism among
// those that a server offers, and answers the server's challenges. It does the
// job of Cyrus SASL's client library for Postfix's smtp(8).
//
// It speaks no protocol: base64 and line ends are the caller's business. It
// offers no security layer and keeps no password. RFC 4422, RFC 4616, RFC 2195,
// RFC 5802, RFC 7677; LOGIN and XOAUTH2 as they are in use.
package client

import (
	"crypto/hmac"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/xdg-go/scram"
)

// ErrNoMechanism: none of the mechanisms offered can be used.
var ErrNoMechanism = errors.New("no mechanism available")

// Properties are what a mechanism must have, by the words of Postfix's
// smtp_sasl_security_options.
type Properties uint8

const (
	NoPlaintext    Properties = 1 << iota // a listener does not learn the password
	NoActive                              // nor does who stands in between
	NoDictionary                          // nor can a listener find it by guessing
	NoAnonymous                           // somebody is logged in
	ForwardSecrecy                        // one session broken, the others are safe
	MutualAuth                            // the server has to know the password, too
)

var words = map[string]Properties{
	"noplaintext": NoPlaintext, "noactive": NoActive, "nodictionary": NoDictionary, "noanonymous": NoAnonymous,
	"forward_secrecy": ForwardSecrecy, "mutual_auth": MutualAuth,
}

// ParseProperties reads a list of such words; an unknown one is an error.
func ParseProperties(list []string) (p Properties, err error) {
	for _, w := range list {
		bit, ok := words[strings.ToLower(w)]
		if !ok {
			return 0, fmt.Errorf("unknown SASL security option %q", w)
		}
		p |= bit
	}
	return p, nil
}

// Exchange is a login under way. It belongs to one goroutine.
type Exchange struct {
	// Mechanism is the chosen one's name.
	Mechanism string
	// First is what the client says unasked; nil when the server begins.
	First []byte

	next func(challenge []byte) ([]byte, error)
}

// Next answers a challenge of the server. After the last answer it fails with
// ErrMore; SCRAM fails when the server does not prove that it knows the password.
func (e *Exchange) Next(challenge []byte) ([]byte, error) { return e.next(challenge) }

// mechanism is one way to log in.
type mechanism struct {
	name  string
	has   Properties
	begin func(user, password string) (first []byte, next func([]byte) ([]byte, error), err error)
}

// mechanisms are all there are, the best first.
func mechanisms() []mechanism {
	const strong = NoPlaintext | NoActive | NoAnonymous | MutualAuth
	return []mechanism{
		{"SCRAM-SHA-512", strong, scramWith(scram.SHA512)},
		{"SCRAM-SHA-256", strong, scramWith(scram.SHA256)},
		{"SCRAM-SHA-1", strong, scramWith(scram.SHA1)},
		{"CRAM-MD5", NoPlaintext | NoAnonymous, cramMD5},
		{"PLAIN", NoAnonymous, plain},
		{"LOGIN", NoAnonymous, login},
		{"XOAUTH2", NoAnonymous, xoauth2},
	}
}

// Begin chooses the best of the mechanisms offered that has the wanted
// properties, and begins with it. ErrNoMechanism means that there is none.
func Begin(offered []string, want Properties, user, password string) (*Exchange, error) {
	for _, m := range mechanisms() {
		if m.has&want != want || !slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, m.name) }) {
			continue
		}
		first, next, err := m.begin(user, password)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.name, err)
		}
		return &Exchange{m.name, first, next}, nil
	}
	return nil, ErrNoMechanism
}

// ErrMore: the server wants to know more than the mechanism has to say.
var ErrMore = errors.New("generic failure")

// steps answers challenges with texts, one after the other.
func steps(texts ...string) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) {
		if len(texts) == 0 {
			return nil, ErrMore
		}
		text := texts[0]
		texts = texts[1:]
		return []byte(text), nil
	}
}

func plain(user, password string) ([]byte, func([]byte) ([]byte, error), error) {
	if strings.ContainsRune(user+password, 0) {
		return nil, nil, errors.New("a NUL byte in user name or password")
	}
	return []byte("\x00" + user + "\x00" + password), steps(), nil
}

func login(user, password string) ([]byte, func([]byte) ([]byte, error), error) {
	return nil, steps(user, password), nil
}

func cramMD5(user, password string) ([]byte, func([]byte) ([]byte, error), error) {
	answered := false
	return nil, func(challenge []byte) ([]byte, error) {
		if answered {
			return nil, ErrMore
		}
		answered = true
		h := hmac.New(md5.New, []byte(password))
		h.Write(challenge)
		return []byte(user + " " + hex.EncodeToString(h.Sum(nil))), nil
	}, nil
}

// xoauth2 sends a token in the password's place. A server that refuses explains
// itself in a challenge, which an empty answer ends.
func xoauth2(user, token string) ([]byte, func([]byte) ([]byte, error), error) {
	return []byte("user=" + user + "\x01auth=Bearer " + token + "\x01\x01"), steps(""), nil
}

// scramWith is SCRAM with a hash, without channel binding.
func scramWith(hash scram.HashGeneratorFcn) func(user, password string) ([]byte, func([]byte) ([]byte, error), error) {
	return func(user, password string) ([]byte, func([]byte) ([]byte, error), error) {
		c, err := hash.NewClient(user, password, "")
		if err != nil {
			return nil, nil, err
		}
		conversation := c.NewConversation()
		first, err := conversation.Step("")
		if err != nil {
			return nil, nil, err
		}
		return []byte(first), func(challenge []byte) ([]byte, error) {
			if conversation.Done() {
				return nil, ErrMore
			}
			answer, err := conversation.Step(string(challenge))
			return []byte(answer), err
		}, nil
	}
}
