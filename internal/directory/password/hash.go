package password

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-crypt/crypt/algorithm"
	"github.com/go-crypt/crypt/algorithm/argon2"
	"github.com/go-crypt/crypt/algorithm/bcrypt"
	"github.com/go-crypt/crypt/algorithm/shacrypt"
)

// DefaultScheme is how new passwords are stored: bcrypt is read by every
// Dovecot and PostfixAdmin without further libraries, costs an attacker much
// and, unlike argon2, a server with many logins at once no memory. SCRAM
// cannot be had from it; {SCRAM-SHA-256} is there for sites that want that.
const DefaultScheme = "BLF-CRYPT"

// Costs of new hashes.
const (
	bcryptCost   = 10 // 2^10 rounds, PHP's default, some 60 ms
	shaRounds    = 100_000
	argon2Memory = 64 * 1024 // KiB; Dovecot's default for ARGON2ID
	argon2Time   = 3
)

// Schemes returns what Hash can write, the default first.
func Schemes() []string {
	return []string{DefaultScheme, "SHA512-CRYPT", "ARGON2ID", "SCRAM-SHA-256", "CRAM-MD5", "PLAIN"}
}

// Hash returns the stored form of a new password, {SCHEME} first.
func Hash(scheme, plaintext string) (string, error) {
	if plaintext == "" {
		return "", errors.New("a password must not be empty")
	}
	if strings.ContainsAny(plaintext, "\x00\r\n") {
		return "", errors.New("a password must not contain NUL or a line end")
	}
	scheme = strings.ToUpper(scheme)
	value, err := hashValue(scheme, plaintext)
	if err != nil {
		return "", fmt.Errorf("cannot store the password as {%s}: %w", scheme, err)
	}
	return "{" + scheme + "}" + value, nil
}

func hashValue(scheme, plaintext string) (string, error) {
	switch scheme {
	case "BLF-CRYPT":
		if len(plaintext) > bcryptMax {
			return "", fmt.Errorf("bcrypt takes %d bytes at most, this password has %d", bcryptMax, len(plaintext))
		}
		h, err := bcrypt.New(bcrypt.WithVariant(bcrypt.VariantStandard), bcrypt.WithCost(bcryptCost))
		if err != nil {
			return "", err
		}
		value, err := encode(h.Hash(plaintext))
		// PHP's crypt knows the sound bcrypt by the letter y only.
		return strings.Replace(value, "$2b$", "$2y$", 1), err
	case "SHA512-CRYPT":
		h, err := shacrypt.New(shacrypt.WithVariant(shacrypt.VariantSHA512), shacrypt.WithIterations(shaRounds))
		if err != nil {
			return "", err
		}
		return encode(h.Hash(plaintext))
	case "ARGON2ID":
		h, err := argon2.New(argon2.WithVariant(argon2.VariantID),
			argon2.WithM(argon2Memory), argon2.WithT(argon2Time), argon2.WithP(1))
		if err != nil {
			return "", err
		}
		return encode(h.Hash(plaintext))
	case "SCRAM-SHA-256":
		return hashSCRAM(plaintext)
	case "CRAM-MD5":
		c := newCRAM(plaintext)
		return fmt.Sprintf("%x", c[:]), nil
	case "PLAIN":
		return plaintext, nil
	}
	return "", fmt.Errorf("there are only %s", strings.Join(Schemes(), ", "))
}

func encode(d algorithm.Digest, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return d.Encode(), nil
}
