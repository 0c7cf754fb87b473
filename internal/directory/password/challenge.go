package password

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// CRAM is what answers a CRAM-MD5 challenge without the password: the MD5
// states after the outer and the inner key block of HMAC, as Dovecot stores
// them.
type CRAM [2 * md5.Size]byte

// CRAM returns the secret for CRAM-MD5, false when the stored form has none.
func (p Password) CRAM() (CRAM, bool) {
	if plain, ok := p.Plain(); ok {
		return newCRAM(plain), true
	}
	if p.scheme == "CRAM-MD5" || p.scheme == "HMAC-MD5" {
		c, err := parseCRAM(p.value)
		return c, err == nil
	}
	return CRAM{}, false
}

// HasCRAM reports whether CRAM gives a secret.
func (p Password) HasCRAM() bool {
	_, ok := p.CRAM()
	return ok
}

// Response returns the lower-case hexadecimal HMAC-MD5 of a challenge (RFC
// 2195).
func (c CRAM) Response(challenge string) string {
	inner, outer := c.state(md5.Size), c.state(0)
	inner.Write([]byte(challenge))
	outer.Write(inner.Sum(nil))
	return hex.EncodeToString(outer.Sum(nil))
}

// md5Magic begins the state that crypto/md5 marshals: four words, the block
// under way, the length.
const md5Magic = "md5\x01"

// state continues the MD5 whose state stands at offset, one block done.
func (c CRAM) state(offset int) hash.Hash {
	b := []byte(md5Magic)
	for i := offset; i < offset+md5.Size; i += 4 {
		b = binary.BigEndian.AppendUint32(b, binary.LittleEndian.Uint32(c[i:]))
	}
	b = append(b, make([]byte, md5.BlockSize)...)
	b = binary.BigEndian.AppendUint64(b, md5.BlockSize)
	h := md5.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(b); err != nil {
		panic("password: crypto/md5 no longer reads its own state format: " + err.Error())
	}
	return h
}

func newCRAM(plaintext string) CRAM {
	key := []byte(plaintext)
	if len(key) > md5.BlockSize {
		sum := md5.Sum(key)
		key = sum[:]
	}
	var c CRAM
	for i, pad := range []byte{0x5c, 0x36} {
		block := make([]byte, md5.BlockSize)
		copy(block, key)
		for j := range block {
			block[j] ^= pad
		}
		h := md5.New()
		h.Write(block)
		b, err := h.(encoding.BinaryMarshaler).MarshalBinary()
		if err != nil || !strings.HasPrefix(string(b), md5Magic) {
			panic("password: crypto/md5 has another state format")
		}
		for j := range md5.Size / 4 {
			word := binary.BigEndian.Uint32(b[len(md5Magic)+4*j:])
			binary.LittleEndian.PutUint32(c[i*md5.Size+4*j:], word)
		}
	}
	return c
}

func parseCRAM(value string) (CRAM, error) {
	raw, err := hex.DecodeString(value)
	var c CRAM
	if err != nil || len(raw) != len(c) {
		return c, errors.New("the value is not 64 hexadecimal digits")
	}
	copy(c[:], raw)
	return c, nil
}

func verifyCRAM(value, plaintext string) (bool, error) {
	c, err := parseCRAM(value)
	if err != nil {
		return false, err
	}
	want := newCRAM(plaintext)
	return equal(string(c[:]), string(want[:])), nil
}

// SCRAM is what a server keeps for RFC 5802.
type SCRAM struct {
	Salt       []byte
	Iterations int
	StoredKey  []byte
	ServerKey  []byte
}

// SCRAMIterations is what new keys take: RFC 7677's minimum and Dovecot's default.
const SCRAMIterations = 4096

// SCRAM returns the keys for SCRAM-SHA-256, false when the stored form has
// none. From a plain password they are computed with salt.
func (p Password) SCRAM(salt []byte) (SCRAM, bool) {
	if plain, ok := p.Plain(); ok {
		s, err := newSCRAM(sha256.New, prepare(plain), salt, SCRAMIterations)
		return s, err == nil
	}
	if p.scheme != "SCRAM-SHA-256" {
		return SCRAM{}, false
	}
	s, err := parseSCRAM(sha256.New, p.value)
	return s, err == nil
}

// HasSCRAM reports whether SCRAM gives keys, without computing them.
func (p Password) HasSCRAM() bool {
	if _, plain := p.Plain(); plain {
		return true
	}
	_, ok := p.SCRAM(nil)
	return ok
}

// parseSCRAM reads "ITERATIONS,SALT,STOREDKEY,SERVERKEY", in base64 but for
// the first.
func parseSCRAM(hash func() hash.Hash, value string) (s SCRAM, err error) {
	f := strings.Split(value, ",")
	if len(f) != 4 {
		return s, errors.New("the value is not ITERATIONS,SALT,STOREDKEY,SERVERKEY")
	}
	if s.Iterations, err = strconv.Atoi(f[0]); err != nil || s.Iterations < 1 {
		return s, fmt.Errorf("%q is no number of iterations", f[0])
	}
	for i, p := range []*[]byte{&s.Salt, &s.StoredKey, &s.ServerKey} {
		if *p, err = decodeBase64(f[i+1]); err != nil {
			return s, err
		}
	}
	if size := hash().Size(); len(s.StoredKey) != size || len(s.ServerKey) != size || len(s.Salt) == 0 {
		return s, errors.New("salt or keys have a wrong length")
	}
	return s, nil
}

func newSCRAM(hash func() hash.Hash, plaintext string, salt []byte, iterations int) (SCRAM, error) {
	salted, err := pbkdf2.Key(hash, plaintext, salt, iterations, hash().Size())
	if err != nil {
		return SCRAM{}, err
	}
	mac := func(text string) []byte {
		m := hmac.New(hash, salted)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	h := hash()
	h.Write(mac("Client Key"))
	return SCRAM{Salt: salt, Iterations: iterations, StoredKey: h.Sum(nil), ServerKey: mac("Server Key")}, nil
}

func verifySCRAM(p Password, plaintext string) (bool, error) {
	hash := sha256.New
	if p.scheme == "SCRAM-SHA-1" {
		hash = sha1.New
	}
	want, err := parseSCRAM(hash, p.value)
	if err != nil {
		return false, err
	}
	got, err := newSCRAM(hash, prepare(plaintext), want.Salt, want.Iterations)
	if err != nil {
		return false, err
	}
	return equal(string(want.StoredKey), string(got.StoredKey)), nil
}

// prepare applies SASLprep (RFC 4013), which SCRAM clients apply too; what it
// forbids stays as it is.
func prepare(s string) string {
	if p, err := stringprep.SASLprep.Prepare(s); err == nil {
		return p
	}
	return s
}

// hashSCRAM makes a new stored value.
func hashSCRAM(plaintext string) (string, error) {
	salt := make([]byte, 16)
	rand.Read(salt)
	s, err := newSCRAM(sha256.New, prepare(plaintext), salt, SCRAMIterations)
	if err != nil {
		return "", err
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%d,%s,%s,%s", s.Iterations, b64(s.Salt), b64(s.StoredKey), b64(s.ServerKey)), nil
}
