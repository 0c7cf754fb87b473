package commitlog

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
)

// Damage is a stretch of a segment that makes no sense.
type Damage struct {
	Path   string // of the segment
	Offset int64
	Length int64
	ID     string // of the record whose content is damaged; "" when even that is unknown
	// Tail: it is at the end of the log, and may be the rest of something that
	// was being written when the machine stopped, and never was acknowledged.
	Tail bool
	Data []byte // the damaged bytes, at most maxKept; only valid during the call
}

// String says where the damage is.
func (d Damage) String() string {
	where := fmt.Sprintf("%s: %d bytes at %d", d.Path, d.Length, d.Offset)
	if d.ID != "" {
		where += ", record of " + d.ID
	}
	if d.Tail {
		where += ", at the end of the log: maybe never acknowledged"
	}
	return where
}

// maxKept is how much of one damaged stretch is handed out.
const maxKept = 1 << 20

// scanner reads a segment from its beginning.
type scanner struct {
	seg  *segment
	size int64
	// found gets every sound record, with its place.
	found func(Record, Place)

	window []byte // bytes of the file from base on
	base   int64

	group  int64 // offset of the latest group
	closed bool  // the segment was closed in order
	hurt   []wound
}

// wound is damage with the group in which it is: -1 when a later one has been
// seen.
type wound struct {
	Damage
	group int64
}

const windowSize = 1 << 20

// at returns up to n bytes at an offset; less only at the end of the file.
// Pages that cannot be read are zeros: their checksums will tell.
func (s *scanner) at(off int64, n int) ([]byte, error) {
	n = int(min(int64(n), s.size-off))
	if n <= 0 {
		return nil, nil
	}
	if off >= s.base && off+int64(n) <= s.base+int64(len(s.window)) {
		return s.window[off-s.base:][:n], nil
	}
	want := int(min(int64(max(n, windowSize)), s.size-off))
	if cap(s.window) < want {
		s.window = make([]byte, want)
	}
	s.window, s.base = s.window[:want], off
	if got, err := s.seg.f.ReadAt(s.window, off); err != nil && err != io.EOF {
		if err := s.salvage(got); err != nil {
			return nil, err
		}
	}
	return s.window[:n], nil
}

// salvage reads the window page by page after reading it at once has failed.
func (s *scanner) salvage(from int) error {
	failed, last := 0, error(nil)
	clear(s.window[from:])
	for from < len(s.window) {
		to := min(from+page-int((s.base+int64(from))%page), len(s.window))
		if _, err := s.seg.f.ReadAt(s.window[from:to], s.base+int64(from)); err != nil && err != io.EOF {
			clear(s.window[from:to])
			failed, last = failed+1, err
		}
		from = to
	}
	if failed*page >= len(s.window) && failed > 1 {
		return last // not a bad page: nothing can be read
	}
	return nil
}

// scan reads all of the segment. It returns where its records end.
func (s *scanner) scan() (end int64, err error) {
	pos := int64(0)
	for {
		b, err := s.at(pos, headSize)
		if err != nil {
			return 0, err
		}
		var h head
		f := nothing
		if len(b) == headSize {
			h, f = parse(b, s.seg.salt)
		}
		if f == sound {
			if pos, err = s.record(pos, h); err != nil {
				return 0, err
			}
			continue
		}
		next, h, err := s.next(pos + align)
		if err != nil {
			return 0, err
		}
		if next < 0 {
			return pos, s.tail(pos)
		}
		if err := s.gap(pos, next, int64(h.group)*page); err != nil {
			return 0, err
		}
		pos = next
	}
}

// record hands out the record at pos, if its content is sound, and returns
// where it ends.
func (s *scanner) record(pos int64, h head) (int64, error) {
	s.group = int64(h.group) * page
	if h.kind == kindEnd {
		s.closed = true
		return pos + int64(h.size()), nil
	}
	n := h.size()
	b, err := s.at(pos, n)
	if err != nil {
		return 0, err
	}
	if len(b) < headSize+int(h.meta)+int(h.body) {
		s.wounded(pos, int64(len(b)), h.id, s.group)
		return s.size, nil
	}
	meta := b[headSize:][:h.meta]
	body := b[headSize+int(h.meta):][:h.body]
	if crc32.Checksum(meta, castagnoli) != h.metaSum || crc32.Checksum(body, castagnoli) != h.bodySum {
		s.wounded(pos, int64(n), h.id, s.group)
		return pos + int64(n), nil
	}
	s.found(
		Record{Kind: h.kind, Flags: h.flags, ID: h.id, Meta: meta, Body: body},
		Place{seg: s.seg, off: pos, meta: h.meta, body: h.body},
	)
	return pos + int64(n), nil
}

// next finds the next sound header from an offset on; -1 if there is none.
func (s *scanner) next(from int64) (int64, head, error) {
	for from+headSize <= s.size {
		b, err := s.at(from, windowSize)
		if err != nil {
			return 0, head{}, err
		}
		for i := 0; i+headSize <= len(b); {
			j := bytes.Index(b[i:len(b)-headSize+len(magic)], []byte(magic))
			if j < 0 {
				break
			}
			i += j
			if (from+int64(i))%align == 0 {
				if h, f := parse(b[i:i+headSize], s.seg.salt); f == sound {
					return from + int64(i), h, nil
				}
			}
			i++
		}
		from += int64(max(len(b)-headSize+1, 1))
	}
	return -1, head{}, nil
}

// gap looks at what is between two records. Zeros up to the next page are what
// a group ends with.
func (s *scanner) gap(pos, next, group int64) error {
	b, err := s.at(pos, page)
	if err != nil {
		return err
	}
	if end := roundUp(pos, page); end <= next && zeros(b[:end-pos]) {
		if pos = end; pos == next {
			return nil
		}
	}
	if group > pos {
		group = -1
	}
	s.wounded(pos, next-pos, "", group)
	return nil
}

// tail looks at what follows the last record: nothing, or the beginning of
// something that cannot be read.
func (s *scanner) tail(pos int64) error {
	for _, at := range []int64{pos, roundUp(pos, page)} {
		b, err := s.at(at, headSize)
		if err != nil {
			return err
		}
		if len(b) < headSize {
			if !zeros(b) {
				s.wounded(at, int64(len(b)), "", max(at, s.group))
			}
			return nil
		}
		if _, f := parse(b, s.seg.salt); f == suspects {
			group := s.group
			if at != pos {
				group = at
			}
			s.wounded(at, min(s.size-at, page), "", group)
			return nil
		}
	}
	return nil
}

func (s *scanner) wounded(off, n int64, id string, group int64) {
	s.hurt = append(s.hurt, wound{Damage{Path: s.seg.path, Offset: off, Length: n, ID: id}, group})
}

// report hands out the damage, once all of the segment was seen.
func (s *scanner) report(damaged func(Damage)) error {
	for _, w := range s.hurt {
		w.Tail = !s.closed && w.group >= s.group
		b, err := s.at(w.Offset, int(min(w.Length, maxKept)))
		if err != nil {
			return err
		}
		w.Data = b
		damaged(w.Damage)
	}
	return nil
}

func zeros(b []byte) bool { return bytes.Count(b, []byte{0}) == len(b) }
