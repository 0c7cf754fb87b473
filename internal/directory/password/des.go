package password

import (
	"errors"
	"strings"
)

// desCrypt computes crypt(3)'s oldest forms with the salt of setting: two
// letters of salt and 25 rounds of DES over the first eight bytes ("ab..."),
// or BSDi's "_CCCCSSSS..." with count, longer salt and the whole password. The
// salt exchanges bits of DES's expansion, so crypto/des does not serve. FIPS
// 46-3, crypt(5).
func desCrypt(plaintext, setting string) (string, error) {
	if !strings.HasPrefix(setting, "_") {
		salt, ok := crypt64(setting[:2])
		if !ok {
			return "", errors.New("bad salt")
		}
		key := plaintext[:min(len(plaintext), 8)]
		return setting[:2] + desText(newDES(desKey(key), salt).repeat(25)), nil
	}
	count, okCount := crypt64(setting[1:5])
	salt, okSalt := crypt64(setting[5:9])
	if !okCount || !okSalt || count == 0 {
		return "", errors.New("bad count or salt")
	}
	key := desKey(plaintext[:min(len(plaintext), 8)])
	for rest := plaintext[min(len(plaintext), 8):]; rest != ""; {
		n := min(len(rest), 8)
		key = newDES(key, 0).encrypt(key) ^ desKey(rest[:n])
		rest = rest[n:]
	}
	return setting[:9] + desText(newDES(key, salt).repeat(int(count))), nil
}

const cryptAlphabet = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// crypt64 reads a number, low digit first.
func crypt64(s string) (n uint32, ok bool) {
	for i := range len(s) {
		d := strings.IndexByte(cryptAlphabet, s[i])
		if d < 0 {
			return 0, false
		}
		n |= uint32(d) << (6 * i)
	}
	return n, true
}

// desText writes a block as eleven letters.
func desText(block uint64) string {
	var b [11]byte
	for i := range 10 {
		b[i] = cryptAlphabet[block>>(58-6*i)&63]
	}
	b[10] = cryptAlphabet[block<<2&63]
	return string(b[:])
}

// desKey takes seven bits of each byte, as crypt(3) does.
func desKey(s string) uint64 {
	var k uint64
	for i := range len(s) {
		k |= uint64(s[i]<<1) << (56 - 8*i)
	}
	return k
}

// saltedDES is DES with a key and a salt.
type saltedDES struct {
	subkeys [16]uint64 // 48 bits each
	salt    uint64     // of the expansion's two halves: bits to exchange
}

func newDES(key uint64, salt uint32) *saltedDES {
	d := &saltedDES{}
	for i := range 24 { // salt bit i exchanges bits i and i+24, counted from the left
		d.salt |= uint64(salt>>i&1) << (23 - i)
	}
	cd := permute(key, 64, keyChoice1[:])
	c, right := cd>>28, cd&(1<<28-1)
	for i, shift := range keyShifts {
		c = (c<<shift | c>>(28-shift)) & (1<<28 - 1)
		right = (right<<shift | right>>(28-shift)) & (1<<28 - 1)
		d.subkeys[i] = permute(c<<28|right, 56, keyChoice2[:])
	}
	return d
}

// repeat encrypts a block of zeros n times over.
func (d *saltedDES) repeat(n int) uint64 {
	var block uint64
	for range n {
		block = d.encrypt(block)
	}
	return block
}

func (d *saltedDES) encrypt(block uint64) uint64 {
	block = permute(block, 64, initialPermutation[:])
	l, r := block>>32, block&(1<<32-1)
	for _, k := range d.subkeys {
		l, r = r, l^d.round(r, k)
	}
	return permute(r<<32|l, 64, finalPermutation[:])
}

func (d *saltedDES) round(r, subkey uint64) uint64 {
	e := permute(r, 32, expansion[:])
	swap := (e>>24 ^ e) & d.salt
	e ^= swap<<24 | swap ^ subkey
	var out uint64
	for i := range sBoxes {
		six := e >> (42 - 6*i) & 63
		row, col := six>>4&2|six&1, six>>1&15
		out = out<<4 | uint64(sBoxes[i][row*16+col])
	}
	return permute(out, 32, roundPermutation[:])
}

// permute picks bits of a value of the given width; tables count from 1 at the
// left, as the standard does.
func permute(v uint64, width int, table []byte) uint64 {
	var out uint64
	for _, bit := range table {
		out = out<<1 | v>>(width-int(bit))&1
	}
	return out
}
