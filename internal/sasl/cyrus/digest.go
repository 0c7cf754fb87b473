package cyrus

import (
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"

	"sekisho/internal/sasl"
)

// digestMD5 is DIGEST-MD5 (RFC 2831) with qop "auth", for clients that know
// nothing better; RFC 6331 has withdrawn it. It needs the password itself.
type digestMD5 struct {
	login
	nonce  string
	user   string // canonical
	proven bool   // only the client's empty last response is missing
}

// realm is what the client is asked to hash with the password.
func (d *digestMD5) realm() string {
	if d.backend.o.LocalDomain != "" {
		return d.backend.o.LocalDomain
	}
	return d.backend.o.Hostname
}

func (d *digestMD5) first() sasl.Step {
	if d.nonce == "" {
		var nonce [24]byte
		rand.Read(nonce[:])
		d.nonce = base64.StdEncoding.EncodeToString(nonce[:])
	}
	return challenge(`nonce="` + d.nonce + `",realm="` + d.realm() + `",qop="auth",charset=utf-8,algorithm=md5-sess`)
}

func (d *digestMD5) next(ctx context.Context, response []byte, initial bool) sasl.Step {
	if initial {
		return failed(nobody, reasonProtocol, "Remote sent first but mech does not allow it.")
	}
	if d.proven {
		if len(response) != 0 {
			return failed(d.user, reasonProtocol)
		}
		return sasl.Step{Kind: sasl.Done, User: d.user, UserKnown: true}
	}
	r, err := d.read(string(response))
	if err != nil {
		return failed(nobody, reasonProtocol, "DIGEST-MD5: "+err.Error())
	}
	name := r["username"]
	if realm := r["realm"]; realm != "" && realm != d.realm() {
		name += "@" + realm
	}
	user, ok := d.backend.canonical(name)
	if !ok || user == "" {
		return failed(nobody, reasonGeneric, allBlank)
	}
	stored, found, down := d.lookup(ctx, user)
	if down != nil {
		return *down
	}
	secret, able := stored.Plain()
	match := subtle.ConstantTimeCompare([]byte(r.digest("AUTHENTICATE:", secret)), []byte(strings.ToLower(r["response"]))) == 1
	if !found || !able || secret == "" || !match {
		return failed(user, reasonWrong)
	}
	if other, given := d.backend.canonical(r["authzid"]); given && other != user {
		return failed(other, reasonWrong, "Requested identity not authenticated identity")
	}
	d.user, d.proven = user, true
	step := challenge("rspauth=" + r.digest(":", secret))
	step.User, step.UserKnown = user, true
	return step
}

// directives are the fields of a client's response, by their names.
type directives map[string]string

// read takes a response that belongs to this challenge.
func (d *digestMD5) read(text string) (directives, error) {
	r, err := parseDirectives(text)
	switch {
	case err != nil:
		return nil, err
	case r["nonce"] != d.nonce:
		return nil, errors.New("nonce changed: authentication aborted")
	case r["nc"] != "00000001":
		return nil, errors.New("incorrect nonce-count: authentication aborted")
	case r["qop"] != "auth" && r["qop"] != "":
		return nil, errors.New("unknown quality of protection")
	case r["cnonce"] == "" || r["response"] == "" || r["username"] == "":
		return nil, errors.New("required parameters missing")
	case !strings.Contains(r["digest-uri"], "/"):
		return nil, errors.New("digest-uri missing")
	}
	return r, nil
}

// digest is RFC 2831's response-value, section 2.1.2.1, with the beginning of A2
// that tells the client's from the server's (2.1.3).
func (r directives) digest(a2, password string) string {
	secret := md5.Sum([]byte(r["username"] + ":" + r["realm"] + ":" + password))
	a1 := string(secret[:]) + ":" + r["nonce"] + ":" + r["cnonce"]
	if r["authzid"] != "" {
		a1 += ":" + r["authzid"]
	}
	return hexMD5(hexMD5(a1) + ":" + r["nonce"] + ":" + r["nc"] + ":" + r["cnonce"] + ":auth:" + hexMD5(a2+r["digest-uri"]))
}

func hexMD5(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

// parseDirectives reads name=value and name="value", separated by commas. None
// may come twice.
func parseDirectives(s string) (directives, error) {
	r := make(directives)
	for s = strings.TrimLeft(s, ", \t"); s != ""; s = strings.TrimLeft(s, ", \t") {
		name, rest, ok := strings.Cut(s, "=")
		if !ok {
			return nil, errors.New("a directive without a value")
		}
		var value string
		if value, s, ok = directiveValue(rest); !ok {
			return nil, errors.New("an open quote")
		}
		name = strings.ToLower(strings.TrimSpace(name))
		if _, twice := r[name]; twice {
			return nil, errors.New("a directive comes twice: " + name)
		}
		r[name] = value
	}
	return r, nil
}

// directiveValue cuts a value off; not ok when its quote does not end.
func directiveValue(s string) (value, rest string, ok bool) {
	if !strings.HasPrefix(s, `"`) {
		n := strings.IndexByte(s, ',')
		if n < 0 {
			n = len(s)
		}
		return strings.TrimSpace(s[:n]), s[n:], true
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return b.String(), s[i+1:], true
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
