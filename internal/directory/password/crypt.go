package password

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-crypt/crypt"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/md5crypt"
	"github.com/go-crypt/crypt/algorithm/scrypt"
	"github.com/go-crypt/crypt/algorithm/sha1crypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
	"github.com/go-crypt/x/yescrypt"
)

// bcryptMax is how many bytes of a password bcrypt looks at.
const bcryptMax = 72

// verifyCrypt checks a value as crypt(3) writes it, and the argon2 form of
// the same look.
func verifyCrypt(value, plaintext string) (bool, error) {
	id, _, _ := strings.Cut(strings.TrimPrefix(value, "$"), "$")
	switch {
	case desForm.MatchString(value):
		want, err := desCrypt(plaintext, value)
		return err == nil && equal(value, want), err
	case id == "y":
		want, err := yescrypt.Hash([]byte(plaintext), []byte(value))
		return err == nil && equal(value, string(want)), err
	case id == "2" || id == "2a" || id == "2b" || id == "2y":
		plaintext = plaintext[:min(len(plaintext), bcryptMax)]
	case id == "2x":
		return false, errors.New("$2x$ marks hashes of a broken bcrypt; set the password anew")
	case id == "1":
		value = firstFields(value, 4)
	case strings.HasPrefix(id, "argon2"):
		if err := affordable(value); err != nil {
			return false, err
		}
	}
	d, err := newDecoder()
	if err != nil {
		return false, err
	}
	digest, err := d.Decode(value)
	if err != nil {
		return false, fmt.Errorf("no form of crypt(3) that is known here: $%s$", id)
	}
	return digest.MatchAdvanced(plaintext)
}

// argon2MaxMemory is what one check may take, in KiB.
const argon2MaxMemory = 1 << 20

// affordable refuses argon2 parameters that would bring the server down.
func affordable(value string) error {
	for _, f := range strings.FieldsFunc(value, func(r rune) bool { return r == '$' || r == ',' }) {
		m, isMemory := strings.CutPrefix(f, "m=")
		if n, err := strconv.ParseUint(m, 10, 32); isMemory && (err != nil || n > argon2MaxMemory) {
			return fmt.Errorf("argon2 with m=%s; %d KiB are the most one login may take", m, argon2MaxMemory)
		}
	}
	return nil
}

// firstFields keeps n fields of a $-separated value: some systems write more
// after an MD5-CRYPT hash.
func firstFields(value string, n int) string {
	f := strings.Split(value, "$")
	return strings.Join(f[:min(n, len(f))], "$")
}

// newDecoder registers the forms of crypt(5), and argon2.
func newDecoder() (*crypt.Decoder, error) {
	d := crypt.NewDecoder()
	return d, errors.Join(
		argon2.RegisterDecoder(d),
		bcrypt.RegisterDecoderStandard(d),
		md5crypt.RegisterDecoder(d),
		scrypt.RegisterDecoderScrypt(d),
		sha1crypt.RegisterDecoder(d),
		shacrypt.RegisterDecoder(d),
	)
}
