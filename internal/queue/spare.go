package queue

import (
	"errors"
	"fmt"
	"os"
	"sync"
)

// maxSpares is how many emptied files are kept: more than messages usually are
// on their way at once.
const maxSpares = 512

// spares are files in incoming/ that had a message and are empty again. Using
// one more time costs a file system less than removing it and creating another;
// ext4 for one looks at every file removed lately before it creates one.
type spares struct {
	mu    sync.Mutex
	paths []string
	last  int // number of the last name given
}

// take returns a spare file's path, "" when there is none.
func (s *spares) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.paths)
	if n == 0 {
		return ""
	}
	path := s.paths[n-1]
	s.paths = s.paths[:n-1]
	return path
}

// put adds an empty file; it reports whether there was room.
func (s *spares) put(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.paths) == maxSpares {
		return false
	}
	s.paths = append(s.paths, path)
	return true
}

func (s *spares) number() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return s.last
}

// newFile opens an empty file in incoming/ for a draft.
func (q *Queue) newFile(id string) (*os.File, error) {
	if path := q.spares.take(); path != "" {
		if f, err := os.OpenFile(path, os.O_WRONLY, 0); err == nil {
			return f, nil
		}
	}
	return os.OpenFile(q.path(incoming, id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
}

// recycle takes a file from where it is, empties it and keeps it for later. In
// this order, because an empty file in messages/ would look like a lost one.
func (q *Queue) recycle(path string) error {
	spare := q.path(incoming, fmt.Sprintf("spare%d", q.spares.number()))
	if err := os.Rename(path, spare); err != nil {
		return err
	}
	if err := os.Truncate(spare, 0); err != nil || !q.spares.put(spare) {
		return errors.Join(err, os.Remove(spare))
	}
	return nil
}
