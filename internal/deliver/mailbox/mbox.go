package mailbox

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/mail"
)

// mbox appends a message to a file that others may read and change at the same
// time: it is locked, and after a failure as long as it was.
func (s *Store) mbox(ctx context.Context, b Box, c Copy, content io.Reader) error {
	m, _ := s.files.LoadOrStore(b.Path, new(sync.Mutex))
	mu := m.(*sync.Mutex)
	mu.Lock()
	defer mu.Unlock()
	if s.Dotlock && ordinary(b.Path) {
		lock := b.Path + ".lock"
		switch err := s.dotlock(ctx, lock); {
		case err == nil:
			defer os.Remove(lock)
		case !b.Named || errors.Is(err, syscall.EEXIST):
			return fail(b, err, "unable to create lock file %s", lock)
		default:
			s.Log.Warn("unable to create lock file " + lock + ": " + Reason(err))
		}
	}
	f, err := os.OpenFile(b.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		if _, e := os.Lstat(b.Path); errors.Is(e, os.ErrNotExist) {
			return fail(b, err, "cannot create file exclusively")
		}
		return fail(b, err, "cannot open file")
	}
	defer f.Close()
	device, err := s.usable(f, b)
	if err != nil {
		return err
	}
	if device {
		return toDevice(f, fromLine(c.Sender, s.Clock.Now())+c.headers(), content)
	}
	if err := s.lock(ctx, f); err != nil {
		return fail(b, err, "unable to lock for exclusive access")
	}
	return s.appendMessage(f, fromLine(c.Sender, s.Clock.Now())+c.headers(), content)
}

// ordinary reports whether path is a file or is yet to be one.
func ordinary(path string) bool {
	st, err := os.Stat(path)
	return err != nil || st.Mode().IsRegular()
}

// usable refuses files that are no mailbox of the owner. device reports that it
// is no file of that kind at all, and need not be.
func (s *Store) usable(f *os.File, b Box) (device bool, err error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return false, fail(b, err, "cannot open mailbox %s", b.Path)
	}
	regular := st.Mode&syscall.S_IFMT == syscall.S_IFREG
	switch {
	case b.Named && !regular:
		return true, nil
	case b.Named && st.Mode&0o111 != 0:
		return false, &Failure{DSN: "5.7.1", Text: "file is executable"}
	case !regular:
		return false, &Failure{DSN: "5.3.5", Text: "destination " + b.Path + " is not a regular file"}
	case st.Nlink != 1:
		return false, &Failure{DSN: "4.2.0", Text: "target file status changed unexpectedly"}
	case !b.Named && s.StrictOwner && Privileged() && int(st.Uid) != b.UID:
		s.Log.Warn(`specify "strict_mailbox_ownership = no" to ignore mailbox ownership mismatch`)
		return false, &Failure{DSN: "4.2.0", Text: "destination " + b.Path + " is not owned by recipient"}
	}
	return false, nil
}

// toDevice writes a message to something that can neither be locked nor synced.
func toDevice(f *os.File, headers string, content io.Reader) error {
	w := bufio.NewWriterSize(f, 32<<10)
	_, err := w.WriteString(headers)
	if err == nil {
		err = quoteFrom(w, content)
	}
	if err = errors.Join(err, w.Flush()); err != nil {
		return copyFailure(err)
	}
	return nil
}

// dotlock makes the file that all programs agree to be a lock.
func (s *Store) dotlock(ctx context.Context, name string) error {
	for n := 1; ; n++ {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, os.ErrExist) || n >= s.Attempts {
			return err
		}
		if st, err := os.Stat(name); err == nil && s.Clock.Now().Sub(st.ModTime()) > s.Stale {
			os.Remove(name)
			continue
		}
		if err := s.Clock.Sleep(ctx, s.Delay); err != nil {
			return syscall.EAGAIN
		}
	}
}

// lock takes the kernel's locks.
func (s *Store) lock(ctx context.Context, f *os.File) error {
	try := func() error {
		if s.Flock {
			if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
				return err
			}
		}
		if s.Fcntl {
			return syscall.FcntlFlock(f.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart})
		}
		return nil
	}
	for n := 1; ; n++ {
		err := try()
		if err == nil || n >= s.Attempts || !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EACCES) {
			return err
		}
		if err := s.Clock.Sleep(ctx, s.Delay); err != nil {
			return syscall.EAGAIN
		}
	}
}

// appendMessage writes the message at the end and has it on disk.
func (s *Store) appendMessage(f *os.File, headers string, content io.Reader) error {
	st, err := f.Stat()
	if err != nil {
		return copyFailure(err)
	}
	w := bufio.NewWriterSize(&limited{f, s.limit(st.Size())}, 32<<10)
	_, err = w.WriteString(headers)
	if err == nil {
		err = quoteFrom(w, content)
	}
	if err == nil {
		err = errors.Join(w.Flush(), f.Sync())
	}
	if err == nil {
		return nil
	}
	if undo := f.Truncate(st.Size()); undo != nil {
		s.Log.Warn(fmt.Sprintf("%s: cannot take back an unfinished message: %s", f.Name(), Reason(undo)))
	}
	return copyFailure(err)
}

// fromLine begins a message in an mbox.
func fromLine(sender string, now time.Time) string {
	if sender == "" {
		sender = "MAILER-DAEMON"
	}
	return "From " + mail.Quote(sender) + "  " + now.Local().Format(time.ANSIC) + "\n"
}

// quoteFrom copies a message and puts '>' before the lines that would begin
// another one; a blank line follows it.
func quoteFrom(w *bufio.Writer, content io.Reader) error {
	r := bufio.NewReaderSize(content, 32<<10)
	start := true // at the beginning of a line
	for {
		piece, err := r.ReadSlice('\n')
		if start && bytes.HasPrefix(piece, []byte("From ")) {
			if err := w.WriteByte('>'); err != nil {
				return err
			}
		}
		if _, werr := w.Write(piece); werr != nil {
			return werr
		}
		if len(piece) > 0 {
			start = piece[len(piece)-1] == '\n'
		}
		switch {
		case err == nil || errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			if !start {
				if err := w.WriteByte('\n'); err != nil {
					return err
				}
			}
			return w.WriteByte('\n')
		default:
			return readError{err}
		}
	}
}
