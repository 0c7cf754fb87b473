package mailbox

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Quota is what a Maildir may hold, 0 being any amount. It is counted as Maildir++
// has it, in the file maildirsize that Dovecot and others keep too.
type Quota struct{ Bytes, Messages int64 }

// ParseQuota reads a number of bytes, or Maildir++'s "1000000S,1000C".
func ParseQuota(s string) (q Quota, err error) {
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		number, unit := part, byte('S')
		if n := len(part); n > 0 && (part[n-1] == 'S' || part[n-1] == 'C') {
			number, unit = part[:n-1], part[n-1]
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 {
			return Quota{}, fmt.Errorf("bad quota %q: give bytes, or for example 1000000S,1000C", s)
		}
		if unit == 'S' {
			q.Bytes = n
		} else {
			q.Messages = n
		}
	}
	return q, nil
}

// String returns q as the first line of maildirsize.
func (q Quota) String() string {
	var parts []string
	if q.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%dS", q.Bytes))
	}
	if q.Messages > 0 {
		parts = append(parts, fmt.Sprintf("%dC", q.Messages))
	}
	return strings.Join(parts, ",")
}

const (
	sizeFile     = "maildirsize"
	maxSizeFile  = 5120 // bytes after which the sums are made anew
	trustedFor   = 15 * time.Minute
	leftoverLife = 36 * time.Hour
)

// usage is what a Maildir holds.
type usage struct{ bytes, messages int64 }

func (u usage) fits(q Quota, size int64) bool {
	return (q.Bytes == 0 || u.bytes+size <= q.Bytes) && (q.Messages == 0 || u.messages < q.Messages)
}

// withinQuota reports whether a message of that size may still come in. Before
// it says no, it counts.
func (s *Store) withinQuota(b Box, size int64) (bool, error) {
	u, fresh, err := s.recorded(b)
	if err != nil {
		return false, err
	}
	if u.fits(b.Quota, size) || fresh {
		return u.fits(b.Quota, size), nil
	}
	u, err = s.count(b)
	return err == nil && u.fits(b.Quota, size), err
}

// recorded returns what maildirsize says. fresh: it was counted just now.
func (s *Store) recorded(b Box) (u usage, fresh bool, err error) {
	name := b.Path + sizeFile
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		u, err = s.count(b)
		return u, true, err
	}
	if err != nil {
		return u, false, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return u, false, err
	}
	lines := bufio.NewScanner(f)
	known := lines.Scan() && lines.Text() == b.Quota.String() && st.Size() <= maxSizeFile
	records := 0
	for known && lines.Scan() {
		var bytes, messages int64
		if _, err := fmt.Sscan(lines.Text(), &bytes, &messages); err != nil {
			known = false
		}
		u.bytes, u.messages, records = u.bytes+bytes, u.messages+messages, records+1
	}
	if !known || lines.Err() != nil || u.bytes < 0 || u.messages < 0 {
		u, err = s.count(b)
		return u, true, err
	}
	return u, records <= 1 && s.Clock.Now().Sub(st.ModTime()) < trustedFor, nil
}

// count adds up all messages of a Maildir and its folders, and writes the sum
// down.
func (s *Store) count(b Box) (u usage, err error) {
	entries, err := os.ReadDir(b.Path)
	if err != nil {
		return u, err
	}
	dirs := []string{b.Path}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") && e.IsDir() { // a folder
			dirs = append(dirs, b.Path+e.Name())
		}
	}
	for _, dir := range dirs {
		for _, sub := range []string{"cur", "new"} {
			if err := u.add(filepath.Join(dir, sub)); err != nil {
				return u, err
			}
		}
	}
	return u, s.writeSum(b, u)
}

// add counts the messages of one directory. What is removed meanwhile does not
// count.
func (u *usage) add(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		size, ok := namedSize(e.Name())
		if !ok {
			st, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			size = st.Size()
		}
		u.bytes, u.messages = u.bytes+size, u.messages+1
	}
	return nil
}

// namedSize is the size that a message's name tells: "unique,S=123:2,S".
func namedSize(name string) (size int64, ok bool) {
	base, _, _ := strings.Cut(name, ":")
	for _, part := range strings.Split(base, ",")[1:] {
		if number, found := strings.CutPrefix(part, "S="); found {
			n, err := strconv.ParseInt(number, 10, 64)
			return n, err == nil && n >= 0
		}
	}
	return 0, false
}

// writeSum makes maildirsize anew.
func (s *Store) writeSum(b Box, u usage) error {
	if err := makeDirs(b.Path + "tmp"); err != nil {
		return err
	}
	tmp := fmt.Sprintf("%stmp/%d.P%dQ%d.%s", b.Path, s.Clock.Now().Unix(), os.Getpid(), s.sequence.Add(1), s.hostname())
	text := fmt.Sprintf("%s\n%d %d\n", b.Quota, u.bytes, u.messages)
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, b.Path+sizeFile)
}

// recordSize notes a delivered message. Without the note the sums are wrong until
// they are made anew, which is no reason to deliver again.
func (s *Store) recordSize(b Box, size int64) {
	f, err := os.OpenFile(b.Path+sizeFile, os.O_WRONLY|os.O_APPEND, 0)
	if err == nil {
		_, err = fmt.Fprintf(f, "%d 1\n", size)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		s.Log.Warn(b.Path + sizeFile + ": " + Reason(err))
	}
}

// sweep removes what killed deliveries have left in tmp (maildir(5)).
func (s *Store) sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return // there is none yet, or it may not be read
	}
	for _, e := range entries {
		st, err := e.Info()
		if err == nil && st.Mode().IsRegular() && s.Clock.Now().Sub(st.ModTime()) > leftoverLife {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.Log.Warn("remove " + filepath.Join(dir, e.Name()) + ": " + Reason(err))
			}
		}
	}
}
