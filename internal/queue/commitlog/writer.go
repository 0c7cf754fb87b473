package commitlog

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// maxBatch is about how many bytes are written at once.
const maxBatch = 4 << 20

// write is the goroutine that writes. Only it touches the current segment.
func (l *Log) write() {
	defer close(l.ended)
	var left []*entry // nobody waits for them, and they could not be written
	for {
		batch, more := l.take()
		batch = append(left, batch...)
		left = nil
		for len(batch) > 0 {
			n, err := l.writeSome(batch)
			if err != nil {
				left = l.fail(batch[n:], err)
				break
			}
			batch = batch[n:]
		}
		if !more {
			if len(left) > 0 {
				l.o.Trouble(errors.New("records of deliveries could not be written: some mail may be delivered again"))
			}
			return
		}
		l.tidy()
	}
}

// take waits for work and takes all of it. more is false when the log has been
// closed and this is the last.
func (l *Log) take() (batch []*entry, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.waiting) == 0 && !l.closed && !l.released {
		l.work.Wait()
	}
	batch, l.waiting, l.released = l.waiting, nil, false
	return batch, !l.closed
}

// fail tells those who wait and returns the others.
func (l *Log) fail(batch []*entry, err error) (left []*entry) {
	for _, a := range batch {
		if a.done == nil {
			left = append(left, a)
			continue
		}
		a.done <- err
	}
	return left
}

// writeSome writes as many records as fit into the segment and into one write,
// makes them durable if somebody waits for one, and tells those. After an error
// none of them, and nothing after what was durable before, is in the log.
func (l *Log) writeSome(batch []*entry) (n int, err error) {
	if err := l.room(batch[0].size()); err != nil {
		return 0, err
	}
	s := l.current
	n, durable := l.encode(batch)
	if _, err = s.f.WriteAt(l.buf, s.end); err == nil && durable {
		err = l.sync(s.f)
	}
	if err != nil {
		return 0, errors.Join(err, l.abandon())
	}
	s.end += int64(l.used(batch[:n]))
	if durable {
		s.end = roundUp(s.end, page)
		s.synced, s.group = s.end, s.end
	}
	l.settle(s, batch[:n])
	return n, nil
}

// used returns how many bytes the records take.
func (l *Log) used(batch []*entry) (n int) {
	for _, a := range batch {
		n += a.size()
	}
	return n
}

// settle counts the records that were written, and tells whoever waits.
func (l *Log) settle(s *segment, batch []*entry) {
	l.mu.Lock()
	for _, a := range batch {
		if a.done != nil {
			s.live++
			s.liveBytes += int64(a.size())
		}
	}
	l.mu.Unlock()
	for _, a := range batch {
		if a.done != nil {
			a.done <- nil
		}
	}
}

// encode puts records into the buffer, up to the end of a page, and says how
// many of them and whether somebody waits for one.
func (l *Log) encode(batch []*entry) (n int, durable bool) {
	s := l.current
	b, pos := l.buf[:0], s.end
	if cap(b) > maxBatch && batch[0].size() < maxBatch {
		b = nil // grown for once
	}
	for _, a := range batch {
		size := int64(a.size())
		if n > 0 && (int64(len(b))+size > maxBatch || pos+size > s.size-2*page) {
			break
		}
		h := head{
			kind: a.Kind, flags: a.Flags, id: a.ID, group: uint32(s.group / page),
			meta: uint32(len(a.Meta)), body: uint32(len(a.Body)), metaSum: a.metaSum, bodySum: a.bodySum,
		}
		a.place = Place{seg: s, off: pos, meta: h.meta, body: h.body}
		b = h.append(b, s.salt)
		b = append(b, a.Meta...)
		b = append(b, a.Body...)
		pos += size
		b = appendZeros(b, int(pos-s.end)-len(b))
		durable = durable || a.done != nil
		n++
	}
	l.buf = appendZeros(b, int(roundUp(pos, page)-pos))
	return n, durable
}

func appendZeros(b []byte, n int) []byte {
	b = slices.Grow(b, n)
	clear(b[len(b) : len(b)+n])
	return b[:len(b)+n]
}

// room sees to it that there is a segment with room for a record.
func (l *Log) room(size int) error {
	if l.current != nil && l.current.end+int64(size) > l.current.size-2*page {
		if err := l.endMark(l.current); err != nil {
			return errors.Join(err, l.abandon())
		}
		l.seal()
	}
	if l.current == nil {
		s, err := l.create()
		if err != nil {
			return fmt.Errorf("new segment: %w", err)
		}
		l.current = s
	}
	return nil
}

// seal puts the current segment among the full ones.
func (l *Log) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current.sealed = l.o.Clock.Now()
	l.segments = append(l.segments, l.current)
	l.current = nil
}

// abandon gives up writing to the current segment after an error: what the
// disk has of an unfinished write nobody knows. It is cut off, so that it does
// not come back.
func (l *Log) abandon() error {
	s := l.current
	err := s.f.Truncate(s.synced)
	if err == nil {
		err = l.sync(s.f)
	}
	if s.synced == 0 && s.live == 0 && os.Remove(s.path) == nil {
		l.current = nil
		return errors.Join(err, s.f.Close())
	}
	l.seal()
	return err
}

// tidy gives up the oldest segments as far as nobody needs them, and has the
// oldest evacuated that is left if it is time.
func (l *Log) tidy() {
	now := l.o.Clock.Now()
	for {
		s := l.unneeded()
		if s == nil || now.Before(l.retry) {
			break
		}
		if err := l.drop(s); err != nil {
			l.retry = now.Add(time.Minute)
			l.o.Trouble(fmt.Errorf("%s: cannot be given up: %w", s.path, err))
			return
		}
		l.mu.Lock()
		l.segments = l.segments[1:]
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.evacuating || len(l.segments) == 0 || l.o.Evacuate == nil || l.closed {
		return
	}
	oldest := l.segments[0]
	hardly := oldest.liveBytes < l.o.SegmentSize/8 && now.Sub(oldest.sealed) > evacuateAfter
	if oldest.live == 0 || now.Before(l.patience) || !hardly && len(l.segments) <= l.o.Segments {
		return
	}
	l.evacuating = true
	go l.evacuate(oldest)
}

func (l *Log) unneeded() *segment {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.segments) == 0 || l.segments[0].live > 0 {
		return nil
	}
	return l.segments[0]
}

func (l *Log) evacuate(s *segment) {
	l.o.Evacuate(s.number)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.evacuating = false
	if s.live > 0 { // it did not succeed
		l.patience = l.o.Clock.Now().Add(time.Minute)
	}
	l.released = true
	l.work.Broadcast()
}
