package commitlog

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
)

const (
	magic    = "\xf5skL"
	headSize = 56
	page     = 4096
	align    = 8
	// MaxID is how long a record's ID may be.
	MaxID = 16
)

// kindEnd ends a segment that was closed in order: nothing follows.
const kindEnd = 0

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Record is one entry of the log. Kind is not 0.
type Record struct {
	Kind  byte
	Flags byte
	ID    string // at most MaxID bytes, without NUL
	Meta  []byte
	Body  []byte
}

// size returns what the record takes in a segment.
func (r *Record) size() int { return recordSize(len(r.Meta), len(r.Body)) }

func recordSize(meta, body int) int { return roundUp(headSize+meta+body, align) }

func roundUp[T int | int64](n, to T) T { return (n + to - 1) / to * to }

// head is the header of a record.
type head struct {
	kind, flags      byte
	id               string
	group            uint32 // page on which the group begins
	meta, body       uint32 // lengths
	metaSum, bodySum uint32
}

func (h *head) size() int { return recordSize(int(h.meta), int(h.body)) }

func (h *head) append(b []byte, salt [8]byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, h.kind, h.flags, 0, 0)
	b = append(b, h.id...)
	b = append(b, make([]byte, MaxID-len(h.id))...)
	b = append(b, salt[:]...)
	for _, n := range []uint32{h.group, h.meta, h.body, h.metaSum, h.bodySum} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// What may be found where a header is expected.
type finding int

const (
	nothing  finding = iota // not a record, or one of an earlier use of the file
	sound                   // a header
	suspects                // bytes that look like a header and are none
)

// parse reads a header.
func parse(b []byte, salt [8]byte) (h head, f finding) {
	ours := bytes.Equal(b[24:32], salt[:])
	whole := string(b[:4]) == magic && binary.BigEndian.Uint32(b[52:]) == crc32.Checksum(b[:52], castagnoli)
	switch {
	case ours && whole:
		id, _, _ := bytes.Cut(b[8:24], []byte{0})
		n := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
		return head{
			kind: b[4], flags: b[5], id: string(id),
			group: n(32), meta: n(36), body: n(40), metaSum: n(44), bodySum: n(48),
		}, sound
	case ours || string(b[:4]) == magic && !whole:
		return head{}, suspects
	}
	return head{}, nothing
}
