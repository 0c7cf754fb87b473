package mailbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maildir writes a message into tmp, has it on disk, and gives it its name in
// new. Missing directories are made, with all above them.
func (s *Store) maildir(_ context.Context, b Box, c Copy, content io.Reader) error {
	now, host := s.Clock.Now(), s.hostname()
	number := s.sequence.Add(1)
	tmp := fmt.Sprintf("%stmp/%d.P%dQ%d.%s", b.Path, now.Unix(), os.Getpid(), number, host)
	if number%sweepEvery == 1 {
		s.sweep(b.Path + "tmp")
	}
	f, err := create(tmp)
	if err != nil {
		return s.maildirFailure(b, fail(b, err, "create maildir file %s", tmp))
	}
	left := true
	defer func() {
		if !left {
			return
		}
		if err := os.Remove(tmp); err != nil {
			s.Log.Warn("remove " + tmp + ": " + Reason(err))
		}
	}()
	name, size, err := s.fill(f, c.headers(), content)
	if err != nil {
		return s.maildirFailure(b, copyFailure(err))
	}
	name = fmt.Sprintf("%snew/%d.%sM%d.%s", b.Path, now.Unix(), name, now.Nanosecond()/1000, host)
	if b.Quota != (Quota{}) {
		name += fmt.Sprintf(",S=%d", size)
		switch fits, err := s.withinQuota(b, size); {
		case err != nil:
			return s.maildirFailure(b, fail(b, err, "count the messages of %s", b.Path))
		case !fits:
			return &Failure{DSN: "5.2.2", Text: "mailbox is full", Full: true}
		}
	}
	if left, err = move(tmp, name, b.Path); err != nil {
		return s.maildirFailure(b, fail(b, err, "create maildir file %s", name))
	}
	if b.Quota != (Quota{}) {
		s.recordSize(b, size)
	}
	return nil
}

// sweepEvery is after how many deliveries one looks for leftovers where it is.
const sweepEvery = 64

// fill writes the message and returns the part of its name that makes it
// unique: where the file is on disk.
func (s *Store) fill(f *os.File, headers string, content io.Reader) (name string, size int64, err error) {
	defer func() { err = errors.Join(err, f.Close()) }()
	w := s.writer(&limited{f, s.limit(0)})
	defer s.writers.Put(w)
	if _, err := w.WriteString(headers); err != nil {
		return "", 0, err
	}
	if _, err := w.ReadFrom(marked{content}); err != nil {
		return "", 0, err
	}
	if err := errors.Join(w.Flush(), f.Sync()); err != nil {
		return "", 0, err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return "", 0, err
	}
	return fmt.Sprintf("V%xI%x", st.Dev, st.Ino), st.Size, nil
}

// writer returns a buffer to w, which goes back to s.writers.
func (s *Store) writer(w io.Writer) *bufio.Writer {
	if b, ok := s.writers.Get().(*bufio.Writer); ok {
		b.Reset(w)
		return b
	}
	return bufio.NewWriterSize(w, 32<<10)
}

// marked is a reader whose errors say that reading was what failed.
type marked struct{ io.Reader }

// Read reads on.
func (m marked) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	if err != nil && err != io.EOF {
		err = readError{err}
	}
	return n, err
}

func (s *Store) maildirFailure(b Box, err error) error {
	var f *Failure
	errors.As(err, &f)
	if errors.Is(f.err, syscall.EACCES) {
		s.Log.Warn(fmt.Sprintf("maildir access problem for UID/GID=%d/%d: %s", b.UID, b.GID, f.Text))
		s.Log.Warn("perhaps you need to create the maildirs in advance")
	}
	f.Text = "maildir delivery failed: " + f.Text
	return f
}

// create makes a file, and its directory if there is none.
func create(name string) (*os.File, error) {
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	f, err := os.OpenFile(name, flags, 0o600)
	if !errors.Is(err, os.ErrNotExist) {
		return f, err
	}
	if err := makeDirs(filepath.Dir(name)); err != nil {
		return nil, err
	}
	return os.OpenFile(name, flags, 0o600)
}

// move gives a file its name in the directory new, which is made with its
// sister cur if need be, and has the name on disk. left: tmp is still there.
func move(tmp, name, maildir string) (left bool, err error) {
	// Before there is a name: a message that has one and cannot be synced for
	// want of a descriptor would come twice.
	d, err := openDir(filepath.Dir(name))
	if errors.Is(err, os.ErrNotExist) {
		if err := errors.Join(makeDirs(maildir+"cur"), makeDirs(maildir+"new")); err != nil {
			return true, err
		}
		d, err = openDir(filepath.Dir(name))
	}
	if err != nil {
		return true, err
	}
	if left, err = rename(tmp, name); err != nil {
		return left, errors.Join(err, d.close())
	}
	return left, d.sync()
}

// rename gives a file another name that nobody has. Where the file system
// cannot do that at once the old one is left.
func rename(from, to string) (left bool, err error) {
	err = unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	switch err {
	case nil:
		return false, nil
	case unix.EINVAL, unix.ENOSYS:
		return true, os.Link(from, to)
	}
	return true, &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
}

// makeDirs makes a directory and those above it that are missing, each of them
// on disk before the next. Another delivery may be making them too, and not
// have synced them yet.
func makeDirs(dir string) error {
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, os.ErrNotExist) && dir != "/" && dir != "." {
		if err := makeDirs(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, os.ErrExist) {
		var st os.FileInfo
		if st, err = os.Stat(dir); err == nil && !st.IsDir() {
			err = syscall.ENOTDIR
		}
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func syncDir(dir string) error {
	d, err := openDir(dir)
	if err != nil {
		return err
	}
	return d.sync()
}

// directory is an open directory, nil if it may be written to, not read: there is
// no way to sync that.
type directory struct{ f *os.File }

func openDir(dir string) (directory, error) {
	f, err := os.Open(dir)
	if errors.Is(err, os.ErrPermission) {
		return directory{}, nil
	}
	return directory{f}, err
}

// sync has the names in it on disk, and closes it.
func (d directory) sync() error {
	if d.f == nil {
		return nil
	}
	return errors.Join(d.f.Sync(), d.f.Close())
}

func (d directory) close() error {
	if d.f == nil {
		return nil
	}
	return d.f.Close()
}

// hostname is the last part of a file's name; maildir(5) has two characters
// replaced.
func (s *Store) hostname() string {
	s.hostOnce.Do(func() {
		h, err := os.Hostname()
		if err != nil {
			h = "localhost"
		}
		s.host = strings.NewReplacer("/", `\057`, ":", `\072`).Replace(h)
	})
	return s.host
}
