package commitlog

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sekisho/internal/safefile"
)

// segment is one file of the log. Its fields are guarded by Log.mu, but for
// those that never change and what the writer alone uses.
type segment struct {
	number uint64
	salt   [8]byte
	path   string
	f      *os.File

	live      int   // records that are needed
	liveBytes int64 // what they take
	sealed    time.Time

	// The writer's own.
	size   int64 // bytes that fit
	end    int64 // of what was written
	synced int64 // of what is durable
	group  int64 // where the group begins that is being written
}

// Place is where a record is. The zero Place is nowhere.
type Place struct {
	seg        *segment
	off        int64
	meta, body uint32
}

// Segment returns the number of the segment.
func (p Place) Segment() uint64 { return p.seg.number }

// Size returns how many bytes the record takes.
func (p Place) Size() int64 { return int64(recordSize(int(p.meta), int(p.body))) }

// Body returns the length of the record's body.
func (p Place) Body() int64 { return int64(p.body) }

const sparePrefix = "spare"

// name returns the name of a segment's file.
func name(number uint64, salt [8]byte) string { return fmt.Sprintf("%016x-%x", number, salt) }

func parseName(s string) (number uint64, salt [8]byte, ok bool) {
	a, b, ok := strings.Cut(s, "-")
	if !ok || len(a) != 16 || len(b) != 16 {
		return 0, salt, false
	}
	number, err := strconv.ParseUint(a, 16, 64)
	if err == nil {
		_, err = hex.Decode(salt[:], []byte(b))
	}
	return number, salt, err == nil
}

// openSegments opens what is in the directory, oldest first. Spare files are
// noted; strangers are left alone.
func (l *Log) openSegments() ([]*segment, error) {
	files, err := os.ReadDir(l.dir)
	if err != nil {
		return nil, err
	}
	var list []*segment
	for _, file := range files {
		path := filepath.Join(l.dir, file.Name())
		if number, ok := strings.CutPrefix(file.Name(), sparePrefix); ok {
			if err := l.adopt(path, number); err != nil {
				return list, err
			}
			continue
		}
		number, salt, ok := parseName(file.Name())
		if !ok {
			continue
		}
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			return list, err
		}
		list = append(list, &segment{number: number, salt: salt, path: path, f: f})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].number < list[j].number })
	return list, nil
}

// adopt keeps a spare file, or removes it when there are enough.
func (l *Log) adopt(path, number string) error {
	if n, err := strconv.ParseUint(number, 16, 64); err == nil {
		l.number = max(l.number, n) // names of spares do not repeat
	}
	if len(l.spares) >= l.o.Spares {
		return os.Remove(path)
	}
	l.spares = append(l.spares, path)
	return nil
}

// create makes the segment that is written next. Its name is on disk.
func (l *Log) create() (*segment, error) {
	s := &segment{number: l.number + 1, size: l.o.SegmentSize}
	if _, err := rand.Read(s.salt[:]); err != nil {
		return nil, err
	}
	s.path = filepath.Join(l.dir, name(s.number, s.salt))
	err := l.makeFile(s)
	if err == nil {
		err = l.syncDir()
	}
	if err != nil {
		if s.f != nil {
			s.f.Close()
		}
		os.Remove(s.path)
		return nil, err
	}
	l.number = s.number
	return s, nil
}

// makeFile takes a spare file or makes one. Space is allocated if the file
// system can; if not, or if there is not as much, the file grows as it is
// written.
func (l *Log) makeFile(s *segment) (err error) {
	if n := len(l.spares); n > 0 {
		spare := l.spares[n-1]
		l.spares = l.spares[:n-1]
		if os.Rename(spare, s.path) == nil {
			s.f, err = os.OpenFile(s.path, os.O_RDWR, 0)
			return err
		}
	}
	if s.f, err = os.OpenFile(s.path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return err
	}
	err = syscall.Fallocate(int(s.f.Fd()), 0, 0, s.size)
	for err == syscall.EINTR {
		err = syscall.Fallocate(int(s.f.Fd()), 0, 0, s.size)
	}
	if err != nil {
		return s.f.Truncate(0) // what was allocated before the disk was full
	}
	return nil
}

// drop gives a segment up, durably, so that nothing of it comes back when
// later segments have gone.
func (l *Log) drop(s *segment) error {
	spare := ""
	var err error
	if len(l.spares) < l.o.Spares {
		spare = filepath.Join(l.dir, fmt.Sprintf("%s%016x", sparePrefix, s.number))
		err = os.Rename(s.path, spare)
	} else {
		err = os.Remove(s.path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) { // renamed by an attempt whose sync failed
		return err
	}
	if err := l.syncDir(); err != nil {
		return err
	}
	if spare != "" {
		l.spares = append(l.spares, spare)
	}
	return s.f.Close()
}

func (l *Log) syncDir() error { return safefile.SyncDir(l.dir) }
