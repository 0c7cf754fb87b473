// Package password checks a password against every stored form that
// PostfixAdmin and Dovecot write, and makes new stored forms.
//
// A stored form is "{SCHEME}value", with ".B64" or ".HEX" after the scheme for
// a value in another encoding, or a bare value: "$id$..." as crypt(3) writes
// it, a bare digest, or the password itself. What looks like a hash is never
// taken for the password itself, so a stolen hash does not log in, and an
// unknown scheme matches nothing.
//
// The package knows no accounts. Schemes as in Dovecot's "Password Schemes"
// and doveadm-pw(1), PostfixAdmin's $CONF['encrypt'], crypt(5).
package password

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrScheme is in the chain of every error that means "this stored form
// cannot be checked".
var ErrScheme = errors.New("stored password cannot be checked")

// Password is one stored form, taken apart. It is a value.
type Password struct {
	scheme string // upper case, without encoding suffix
	value  string // after decoding of the suffix
}

var (
	prefixed = regexp.MustCompile(`^\{([A-Za-z0-9-]+)(?:\.([A-Za-z0-9]+))?\}`)
	crypted  = regexp.MustCompile(`^\$[A-Za-z0-9,=.-]*\$`)
	desForm  = regexp.MustCompile(`^(?:[./0-9A-Za-z]{13}|_[./0-9A-Za-z]{19})$`)
	hexForm  = regexp.MustCompile(`^(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{64}|[0-9a-fA-F]{128})$`)
	scramKey = regexp.MustCompile(`^[0-9]+,[+/0-9A-Za-z=]+,[+/0-9A-Za-z]{27}=,[+/0-9A-Za-z]{27}=$`)
	scramBig = regexp.MustCompile(`^[0-9]+,[+/0-9A-Za-z=]+,[+/0-9A-Za-z]{43}=,[+/0-9A-Za-z]{43}=$`)
	mysqlOld = regexp.MustCompile(`^\*[0-9A-F]{40}$`)
)

// Parse reads a stored form. An error wraps ErrScheme and does not contain
// the stored value.
func Parse(stored string) (Password, error) {
	m := prefixed.FindStringSubmatch(stored)
	if m == nil {
		return bare(stored)
	}
	p := Password{scheme: strings.ToUpper(m[1]), value: stored[len(m[0]):]}
	if m[2] != "" {
		raw, err := decodeSuffix(strings.ToUpper(m[2]), p.value)
		if err != nil {
			return Password{}, fmt.Errorf("%w: {%s.%s}: %w", ErrScheme, m[1], m[2], err)
		}
		p.value = p.recode(raw)
	}
	if err := p.known(); err != nil {
		return Password{}, err
	}
	return p, nil
}

// bare decides what a value without a scheme is. Some plaintext passwords look
// like a hash: thirteen letters and digits, like DES crypt. Taking a hash for
// the password would be worse than refusing their owners; {PLAIN} helps them.
func bare(stored string) (Password, error) {
	switch {
	case crypted.MatchString(stored), desForm.MatchString(stored):
		return Password{"CRYPT", stored}, nil
	case hexForm.MatchString(stored), looksLikeBase64Digest(stored):
		return Password{bareDigest, stored}, nil
	case scramKey.MatchString(stored):
		return Password{"SCRAM-SHA-1", stored}, nil
	case scramBig.MatchString(stored):
		return Password{"SCRAM-SHA-256", stored}, nil
	case mysqlOld.MatchString(stored):
		return Password{}, fmt.Errorf("%w: it is a hash of MySQL's PASSWORD()", ErrScheme)
	case strings.HasPrefix(stored, "{"):
		return Password{}, fmt.Errorf("%w: no scheme between { and }", ErrScheme)
	}
	return Password{"PLAIN", stored}, nil
}

// bareDigest is the scheme of a digest that does not say which: PostfixAdmin's
// "md5", and what old versions of it stored for Dovecot.
const bareDigest = "DIGEST"

// looksLikeBase64Digest reports whether s is padded base64 of 16 bytes or
// more, or has the length of SSHA or SSHA256 with Dovecot's salt of 4 bytes,
// which need no padding.
func looksLikeBase64Digest(s string) bool {
	if len(s) < 24 || !strings.HasSuffix(s, "=") && len(s) != 32 && len(s) != 48 {
		return false
	}
	_, err := base64.StdEncoding.Strict().DecodeString(s)
	return err == nil
}

func decodeSuffix(encoding, value string) ([]byte, error) {
	switch encoding {
	case "B64", "BASE64":
		return decodeBase64(value)
	case "HEX":
		return hex.DecodeString(value)
	}
	return nil, fmt.Errorf("unknown encoding; there are B64 and HEX")
}

// recode brings a decoded value into the form its scheme has by default.
func (p Password) recode(raw []byte) string {
	if _, ok := p.digest(); ok {
		return base64.StdEncoding.EncodeToString(raw)
	}
	switch p.scheme {
	case "CRAM-MD5", "HMAC-MD5", "DIGEST-MD5":
		return hex.EncodeToString(raw)
	}
	return string(raw)
}

// known returns an error for a scheme that Verify does not do.
func (p Password) known() error {
	switch p.scheme {
	case "PLAIN", "CLEARTEXT", "CLEAR", "PLAIN-TRUNC",
		"CRYPT", "DES-CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT",
		"ARGON2I", "ARGON2ID", "PBKDF2",
		"CRAM-MD5", "HMAC-MD5", "DIGEST-MD5", "SCRAM-SHA-1", "SCRAM-SHA-256":
		return nil
	case "MD5":
		return nil
	}
	if _, ok := p.digest(); ok {
		return nil
	}
	return fmt.Errorf("%w: scheme {%s} is not supported", ErrScheme, p.scheme)
}

// Scheme returns the scheme in upper case; PLAIN, CRYPT or DIGEST when none
// was written.
func (p Password) Scheme() string { return p.scheme }

// Plain returns the password itself, when it is what is stored.
func (p Password) Plain() (string, bool) {
	switch p.scheme {
	case "PLAIN", "CLEARTEXT", "CLEAR":
		return p.value, p.value != ""
	}
	return "", false
}

// Verify reports whether plaintext is the password. user is the login name,
// which DIGEST-MD5 hashes along. An empty password never matches. An error
// wraps ErrScheme: the stored form is damaged.
func (p Password) Verify(plaintext, user string) (bool, error) {
	if plaintext == "" || p.value == "" {
		return false, nil
	}
	if stored, ok := p.Plain(); ok {
		return equal(stored, plaintext), nil
	}
	ok, err := p.verifyHashed(plaintext, user)
	if err != nil {
		return false, fmt.Errorf("%w: {%s}: %w", ErrScheme, p.scheme, err)
	}
	return ok, nil
}

func (p Password) verifyHashed(plaintext, user string) (bool, error) {
	switch p.scheme {
	case "PLAIN-TRUNC":
		return verifyTruncated(p.value, plaintext), nil
	case "CRYPT", "DES-CRYPT", "MD5-CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2I", "ARGON2ID":
		return verifyCrypt(p.value, plaintext)
	case "PBKDF2":
		return verifyPBKDF2(p.value, plaintext)
	case "CRAM-MD5", "HMAC-MD5":
		return verifyCRAM(p.value, plaintext)
	case "DIGEST-MD5":
		return verifyDigestMD5(p.value, plaintext, user)
	case "SCRAM-SHA-1", "SCRAM-SHA-256":
		return verifySCRAM(p, plaintext)
	case bareDigest:
		return verifyAnyDigest(p.value, plaintext, user), nil
	case "MD5":
		if crypted.MatchString(p.value) {
			return verifyCrypt(p.value, plaintext)
		}
	}
	d, _ := p.digest()
	return d.verify(p.value, plaintext)
}

// Verify checks plaintext against a stored form; see Parse and
// Password.Verify.
func Verify(stored, plaintext, user string) (bool, error) {
	p, err := Parse(stored)
	if err != nil {
		return false, err
	}
	return p.Verify(plaintext, user)
}

// equal compares in a time that tells nothing of the content.
func equal(a, b string) bool {
	return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1
}

// decodeBase64 takes base64 with or without padding.
func decodeBase64(s string) ([]byte, error) {
	b, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(s, "="))
	if err != nil {
		return nil, errors.New("the value is no base64")
	}
	return b, nil
}
