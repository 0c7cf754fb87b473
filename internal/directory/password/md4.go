package password

import (
	"encoding/binary"
	"hash"
	"math/bits"
)

// md4 is RFC 1320's hash, for {PLAIN-MD4} only.
type md4 struct {
	data []byte
}

func newMD4() hash.Hash { return &md4{} }

func (m *md4) Write(p []byte) (int, error) {
	m.data = append(m.data, p...)
	return len(p), nil
}

func (m *md4) Reset()         { m.data = nil }
func (m *md4) Size() int      { return 16 }
func (m *md4) BlockSize() int { return 64 }

// Sum hashes what has been written; passwords are short enough to be kept.
func (m *md4) Sum(b []byte) []byte {
	d := append(append([]byte(nil), m.data...), 0x80)
	for len(d)%64 != 56 {
		d = append(d, 0)
	}
	d = binary.LittleEndian.AppendUint64(d, uint64(len(m.data))*8)
	s := [4]uint32{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476}
	for ; len(d) > 0; d = d[64:] {
		md4Block(&s, d[:64])
	}
	for _, v := range s {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	return b
}

// md4Block mixes one block into s (RFC 1320 section 3.4).
func md4Block(s *[4]uint32, block []byte) {
	var x [16]uint32
	for i := range x {
		x[i] = binary.LittleEndian.Uint32(block[4*i:])
	}
	a, b, c, d := s[0], s[1], s[2], s[3]
	step := func(f, word, add uint32, shift int) {
		a, b, c, d = d, bits.RotateLeft32(a+f+word+add, shift), b, c
	}
	for i := range 16 {
		step(b&c|^b&d, x[i], 0, [4]int{3, 7, 11, 19}[i%4])
	}
	for i := range 16 {
		step(b&c|b&d|c&d, x[i%4*4+i/4], 0x5a827999, [4]int{3, 5, 9, 13}[i%4])
	}
	order := [16]int{0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}
	for i := range 16 {
		step(b^c^d, x[order[i]], 0x6ed9eba1, [4]int{3, 9, 11, 15}[i%4])
	}
	s[0], s[1], s[2], s[3] = s[0]+a, s[1]+b, s[2]+c, s[3]+d
}
