package password

import (
	"fmt"
	"strings"
)

// strength orders schemes by what trying one password costs whoever has stolen
// the stored forms.
type strength int

const (
	readable strength = iota // nothing to try: it is the password
	fast                     // one hash or a thousand, billions of tries a second
	slow                     // many rounds
	harder                   // many rounds that do not suit graphics cards
	hardest                  // much memory besides
)

var strengths = map[string]strength{
	"PLAIN": readable, "CLEARTEXT": readable, "CLEAR": readable, "PLAIN-TRUNC": readable,
	"SHA256-CRYPT": slow, "SHA512-CRYPT": slow, "PBKDF2": slow, "SCRAM-SHA-1": slow, "SCRAM-SHA-256": slow,
	"BLF-CRYPT": harder, "ARGON2I": hardest, "ARGON2ID": hardest,
}

// crypts are the same by what crypt(3) writes.
var crypts = map[string]strength{
	"$5$": slow, "$6$": slow, "$2a$": harder, "$2b$": harder, "$2x$": harder, "$2y$": harder,
	"$argon2i$": hardest, "$argon2id$": hardest,
}

func (p Password) strength() strength {
	if s, ok := strengths[p.scheme]; ok {
		return s
	}
	for prefix, s := range crypts {
		if strings.HasPrefix(p.value, prefix) {
			return s
		}
	}
	return fast
}

// Target returns the scheme that s names, with or without braces and in any
// case, as one to which weaker stored forms can be brought. An error says that
// Hash cannot write it, or that it protects no better than what it would
// replace.
func Target(s string) (scheme string, err error) {
	scheme = strings.ToUpper(strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}"))
	var able []string
	for _, known := range Schemes() {
		if strengths[known] < slow {
			continue
		}
		if known == scheme {
			return scheme, nil
		}
		able = append(able, "{"+known+"}")
	}
	return "", fmt.Errorf("%q is no scheme that makes stored passwords stronger; there are %s", s, strings.Join(able, ", "))
}

// Weaker reports whether p protects a password worse than the new form in a
// scheme of Target would. SCRAM's keys are not weaker than any: they are slow to
// try, and their owner may log in by SCRAM, which no other hash allows.
func (p Password) Weaker(scheme string) bool {
	return !strings.HasPrefix(p.scheme, "SCRAM-") && p.strength() < strengths[scheme]
}

// Form names the stored form: the scheme, and with CRYPT, which leaves open
// what it is, the mark that crypt(3) puts in front: "CRYPT $6$". DES has none.
func (p Password) Form() string {
	if p.scheme != "CRYPT" {
		return p.scheme
	}
	if mark := crypted.FindString(p.value); mark != "" {
		return p.scheme + " " + mark
	}
	return p.scheme + " DES"
}
