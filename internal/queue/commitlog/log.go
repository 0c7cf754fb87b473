package commitlog

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/clock"
)

// Options are what a Log works with. All but Found and Clock have defaults
// when zero.
type Options struct {
	Clock clock.Clock
	// Found gets every record that is in the log when it is opened, in the order
	// in which they were appended. Meta and Body are only valid during the call.
	// Every record counts as needed until its place is released.
	Found func(Record, Place)
	// Damaged gets what makes no sense in the log when it is opened.
	Damaged func(Damage)
	// Trouble gets errors that nobody waits for: segments that cannot be given
	// up, records without anybody waiting that could not be written.
	Trouble func(error)
	// Evacuate is called, on a goroutine of its own and never twice at once, when
	// the records of the segment of that number should be moved elsewhere and be
	// released, because what else was in it has gone long ago, or because there
	// are many segments.
	Evacuate func(segment uint64)

	// Sync makes what was written to a segment durable; default fdatasync(2).
	Sync func(*os.File) error

	SegmentSize int64 // bytes; default 64 MiB
	Segments    int   // full segments that may stay; default 16
	Spares      int   // files kept to be written again; default 2
}

// Evacuation of a segment that has hardly anything left begins after this time:
// what is on its way to be delivered should not be moved.
const evacuateAfter = 30 * time.Second

// ErrClosed is the error of a log that has been closed.
var ErrClosed = errors.New("the log is closed")

// ErrChanged is the error of a record that is not any more what was written.
var ErrChanged = errors.New("the record has changed since it was written")

// Log is an open log. It is safe for concurrent use.
type Log struct {
	dir  string
	o    Options
	sync func(*os.File) error

	mu         sync.Mutex
	work       sync.Cond // signalled when there is something for the writer
	waiting    []*entry
	segments   []*segment // full ones, oldest first
	evacuating bool
	patience   time.Time // no evacuation before this
	closed     bool
	released   bool // since the writer looked last

	ended chan struct{} // closed when the writer has ended

	// The writer's own.
	current *segment
	number  uint64   // of the newest segment
	spares  []string // paths of files to be written again
	buf     []byte
	retry   time.Time // when to try again to give up a segment
}

// entry is a record on its way into the log.
type entry struct {
	Record
	metaSum, bodySum uint32
	done             chan error // nil: nobody waits, and no sync is needed
	place            Place
}

// Open opens the log in dir, which has to be there, and reads all of it. What
// is appended goes into a new segment.
func Open(dir string, o Options) (*Log, error) {
	l := &Log{dir: dir, o: o, sync: o.Sync, ended: make(chan struct{})}
	l.work.L = &l.mu
	if l.sync == nil {
		l.sync = datasync
	}
	if l.o.SegmentSize == 0 {
		l.o.SegmentSize = 64 << 20
	}
	if l.o.Segments == 0 {
		l.o.Segments = 16
	}
	if l.o.Spares == 0 {
		l.o.Spares = 2
	}
	segments, err := l.openSegments()
	if err == nil {
		err = l.recover(segments)
	}
	if err != nil {
		for _, s := range segments {
			s.f.Close()
		}
		return nil, err
	}
	go l.write()
	return l, nil
}

func datasync(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); err != syscall.EINTR {
			return err
		}
	}
}

// recover reads the segments.
func (l *Log) recover(segments []*segment) error {
	now := l.o.Clock.Now()
	var window []byte
	for _, s := range segments {
		st, err := s.f.Stat()
		if err != nil {
			return err
		}
		c := scanner{seg: s, size: st.Size(), window: window[:0], found: func(r Record, p Place) {
			s.live++
			s.liveBytes += p.Size()
			l.o.Found(r, p)
		}}
		if s.end, err = c.scan(); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		if err := c.report(l.o.Damaged); err != nil {
			return fmt.Errorf("%s: %w", s.path, err)
		}
		s.sealed, window = now, c.window
		l.number = max(l.number, s.number)
	}
	l.segments = segments
	return nil
}

// Append writes a record and returns when it is on disk. After an error it may
// be assumed that it is not, and will not be.
func (l *Log) Append(r Record) (Place, error) {
	a := &entry{
		Record: r, metaSum: crc32.Checksum(r.Meta, castagnoli), bodySum: crc32.Checksum(r.Body, castagnoli),
		done: make(chan error, 1),
	}
	if int64(r.size()) > l.o.SegmentSize-2*page {
		return Place{}, fmt.Errorf("a record of %d bytes does not fit into a segment: %w", r.size(), syscall.EFBIG)
	}
	if !l.enqueue(a) {
		return Place{}, ErrClosed
	}
	err := <-a.done
	return a.place, err
}

// Note writes a record soon, without waiting for it to be on disk: it gets
// there with the next one that is waited for. Nobody has to release it.
func (l *Log) Note(r Record) {
	l.enqueue(&entry{Record: r, metaSum: crc32.Checksum(r.Meta, castagnoli), bodySum: crc32.Checksum(r.Body, castagnoli)})
}

func (l *Log) enqueue(a *entry) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.waiting = append(l.waiting, a)
	if len(l.waiting) == 1 {
		l.work.Signal()
	}
	return true
}

// Release says that records are not needed any more.
func (l *Log) Release(places ...Place) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range places {
		p.seg.live--
		p.seg.liveBytes -= p.Size()
		if p.seg.live == 0 && !l.released {
			l.released = true
			l.work.Signal()
		}
	}
}

// Crowded reports whether the log has grown far beyond what it should be, so
// that new data had better go elsewhere.
func (l *Log) Crowded() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.segments) > 2*l.o.Segments
}

// ReadMeta returns the first part of a record that was not released.
func (l *Log) ReadMeta(p Place) ([]byte, error) {
	meta, _, err := l.read(p, int(p.meta), false)
	return meta, err
}

// Read returns a record that was not released. Its parts belong to the caller.
func (l *Log) Read(p Place) (meta, body []byte, err error) {
	return l.read(p, int(p.meta)+int(p.body), true)
}

func (l *Log) read(p Place, n int, all bool) (meta, body []byte, err error) {
	b := make([]byte, headSize+n)
	if _, err := p.seg.f.ReadAt(b, p.off); err != nil {
		if err == io.EOF {
			err = ErrChanged
		}
		return nil, nil, fmt.Errorf("%s at %d: %w", p.seg.path, p.off, err)
	}
	h, f := parse(b, p.seg.salt)
	meta, body = b[headSize:][:p.meta], b[headSize+int(p.meta):]
	if f != sound || h.meta != p.meta || h.body != p.body ||
		crc32.Checksum(meta, castagnoli) != h.metaSum || all && crc32.Checksum(body, castagnoli) != h.bodySum {
		return nil, nil, fmt.Errorf("%s at %d: %w", p.seg.path, p.off, ErrChanged)
	}
	return meta, body, nil
}

// Raw returns the bytes of a record as they are on disk, for looking at what
// is wrong with it.
func (l *Log) Raw(p Place) ([]byte, error) {
	b := make([]byte, p.Size())
	n, err := p.seg.f.ReadAt(b, p.off)
	if err == io.EOF {
		err = nil
	}
	return b[:n], err
}

// Close writes what is waiting, ends the segment in order and closes the log.
// Nothing may be read any more.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.work.Signal()
	l.mu.Unlock()
	<-l.ended
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.evacuating {
		l.work.Wait()
	}
	var errs []error
	if l.current != nil {
		errs = append(errs, l.end())
	}
	for _, s := range l.segments {
		errs = append(errs, s.f.Close())
	}
	return errors.Join(errs...)
}

// end seals the segment that is written, so that nobody takes its last group
// for something unfinished.
func (l *Log) end() error {
	s := l.current
	l.current = nil
	if s.end == 0 {
		return errors.Join(s.f.Close(), os.Remove(s.path))
	}
	return errors.Join(l.endMark(s), s.f.Close())
}

func (l *Log) endMark(s *segment) error {
	s.group = roundUp(s.end, page)
	h := head{kind: kindEnd, group: uint32(s.group / page)}
	b := h.append(nil, s.salt)
	b = slices.Grow(b, page)[:page]
	if _, err := s.f.WriteAt(b, s.group); err != nil {
		return err
	}
	return l.sync(s.f)
}
