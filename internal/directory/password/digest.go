package password

import (
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"
)

// digest is a scheme that stores one round of a hash function, salted by what
// follows the hash or not.
type digest struct {
	new    func() hash.Hash
	salted bool
}

// digest returns the scheme's hash function.
func (p Password) digest() (digest, bool) {
	switch p.scheme {
	case "MD5", "PLAIN-MD5", "LDAP-MD5", "MD5RAW":
		return digest{new: md5.New}, true
	case "PLAIN-MD4":
		return digest{new: newMD4}, true
	case "SHA", "SHA1":
		return digest{new: sha1.New}, true
	case "SHA256":
		return digest{new: sha256.New}, true
	case "SHA512":
		return digest{new: sha512.New}, true
	case "SMD5":
		return digest{new: md5.New, salted: true}, true
	case "SSHA":
		return digest{new: sha1.New, salted: true}, true
	case "SSHA256":
		return digest{new: sha256.New, salted: true}, true
	case "SSHA512":
		return digest{new: sha512.New, salted: true}, true
	}
	return digest{}, false
}

// verify checks plaintext. The value is hexadecimal or base64: for a digest of
// known length its length tells, a salted one is base64.
func (d digest) verify(value, plaintext string) (bool, error) {
	h := d.new()
	size := h.Size()
	raw, err := hex.DecodeString(value)
	if err != nil || len(raw) != size {
		if raw, err = decodeBase64(value); err != nil {
			return false, err
		}
	}
	if len(raw) < size || !d.salted && len(raw) != size {
		return false, fmt.Errorf("the value has %d bytes, not %d", len(raw), size)
	}
	h.Write([]byte(plaintext))
	h.Write(raw[size:])
	return equal(string(raw[:size]), string(h.Sum(nil))), nil
}

// maxSalt is the longest salt looked for behind a digest of unknown scheme.
const maxSalt = 32

// verifyAnyDigest tries every scheme that a digest without one may be of. A
// wrong one can only fit by chance, one in 2^128.
func verifyAnyDigest(value, plaintext, user string) bool {
	if len(value) == 64 {
		if ok, err := verifyCRAM(value, plaintext); ok && err == nil {
			return true
		}
	}
	if ok, err := verifyDigestMD5(value, plaintext, user); ok && err == nil {
		return true
	}
	raw, err := hex.DecodeString(value)
	if err != nil {
		if raw, err = decodeBase64(value); err != nil {
			return false
		}
	}
	for _, f := range []func() hash.Hash{newMD4, md5.New, sha1.New, sha256.New, sha512.New} {
		h := f()
		size := h.Size()
		if len(raw) < size || len(raw) > size+maxSalt {
			continue
		}
		h.Write([]byte(plaintext))
		h.Write(raw[size:])
		if equal(string(raw[:size]), string(h.Sum(nil))) {
			return true
		}
	}
	return false
}

// verifyTruncated checks Dovecot's PLAIN-TRUNC: "LENGTH-TEXT" is a password of
// which only the first LENGTH bytes count.
func verifyTruncated(value, plaintext string) bool {
	length, text, found := strings.Cut(value, "-")
	n, err := strconv.Atoi(length)
	if !found || err != nil || n < 0 {
		return equal(value, plaintext)
	}
	if len(plaintext) > n {
		plaintext = plaintext[:n]
	}
	return equal(text, plaintext)
}

// verifyPBKDF2 checks Dovecot's "$1$SALT$ROUNDS$HEX" (HMAC-SHA1).
func verifyPBKDF2(value, plaintext string) (bool, error) {
	f := strings.Split(value, "$")
	if len(f) != 5 || f[0] != "" || f[1] != "1" {
		return false, errors.New("the value is not $1$SALT$ROUNDS$HASH")
	}
	rounds, err := strconv.Atoi(f[3])
	if err != nil || rounds < 1 {
		return false, fmt.Errorf("%q is no number of rounds", f[3])
	}
	want, err := hex.DecodeString(f[4])
	if err != nil || len(want) != sha1.Size {
		return false, errors.New("the hash is not 40 hexadecimal digits")
	}
	key, err := pbkdf2.Key(sha1.New, plaintext, []byte(f[2]), rounds, sha1.Size)
	if err != nil {
		return false, err
	}
	return equal(string(want), string(key)), nil
}

// verifyDigestMD5 checks MD5("user:realm:password") of RFC 2831, the realm
// being what follows the '@' of the login name.
func verifyDigestMD5(value, plaintext, user string) (bool, error) {
	want, err := hex.DecodeString(value)
	if err != nil || len(want) != md5.Size {
		return false, errors.New("the value is not 32 hexadecimal digits")
	}
	name, realm, _ := strings.Cut(user, "@")
	sum := md5.Sum([]byte(name + ":" + realm + ":" + plaintext))
	return equal(string(want), string(sum[:])), nil
}
