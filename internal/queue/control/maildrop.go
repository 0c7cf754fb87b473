package control

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// The folder maildrop of the spool takes what local users submit while no server
// runs. Everybody may put files there, as into /tmp, but only the server can
// list it. A file is a line of JSON, the Submission, and the content; whose it
// is is who submitted it, and it is complete when its owner may execute it.
const maildrop = "maildrop"

const (
	dropMode     = 0o1733
	writingMode  = 0o644
	completeMode = 0o744
)

// pickupTime is how often the server looks there, and staleTime how old a file
// may get without becoming complete.
const (
	pickupTime = time.Minute
	staleTime  = 24 * time.Hour
)

func (s *Server) openMaildrop() error {
	path := filepath.Join(s.dir, maildrop)
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return syscall.Chmod(path, dropMode) // os.Chmod has other bits
}

// Drop puts a message where the next server finds it. It is on disk when Drop
// returns nil.
func Drop(dir string, m Submission, content io.Reader) (err error) {
	path := filepath.Join(dir, maildrop, rand.Text())
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, writingMode)
	if err != nil {
		return fmt.Errorf("the server does not run, and mail cannot wait for it: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, f.Close(), os.Remove(path))
		}
	}()
	w := bufio.NewWriter(f)
	if err := json.NewEncoder(w).Encode(m); err != nil {
		return err
	}
	if _, err := io.Copy(w, content); err != nil {
		return err
	}
	if err := errors.Join(w.Flush(), f.Chmod(completeMode), f.Sync()); err != nil {
		return err
	}
	return f.Close()
}

// pickUp takes what was put into the maildrop folder, now and every minute.
func (s *Server) pickUp() {
	select {
	case <-s.used:
	case <-s.ctx.Done():
	}
	for s.ctx.Err() == nil {
		if err := s.pickUpAll(); err != nil {
			s.o.Log.Warn("maildrop: " + err.Error())
		}
		_ = s.o.Clock.Sleep(s.ctx, pickupTime)
	}
}

func (s *Server) pickUpAll() error {
	dir := filepath.Join(s.dir, maildrop)
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if s.ctx.Err() != nil {
			return nil
		}
		if err := s.pickUpFile(filepath.Join(dir, f.Name())); err != nil {
			s.o.Log.Warn(fmt.Sprintf("maildrop: %s: %v", f.Name(), err))
		}
	}
	return nil
}

// pickUpFile takes one file, which anybody may have made. When it cannot be
// taken for want of something it stays.
func (s *Server) pickUpFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) || errors.Is(err, os.ErrPermission) {
		return s.keep(path, err)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	st := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.Mode().IsRegular() || st.Nlink != 1:
		return s.keep(path, errors.New("no file of its own"))
	case info.Mode()&0o100 == 0 && time.Since(info.ModTime()) > staleTime:
		return os.Remove(path)
	case info.Mode()&0o100 == 0:
		return nil // being written
	}
	in := bufio.NewReader(f)
	line, err := readRequest(in)
	var m Submission
	if err == nil {
		err = json.Unmarshal(line, &m)
	}
	if err != nil {
		return s.keep(path, fmt.Errorf("no submission: %w", err))
	}
	return s.takeDrop(path, int(st.Uid), m, in)
}

func (s *Server) takeDrop(path string, uid int, m Submission, in io.Reader) error {
	service, name := s.service.Load(), userName(uid)
	ok, err := service.Allowed(Submit, name)
	if err != nil {
		return err
	}
	if !ok {
		return s.keep(path, &DeniedError{name, uid, Submit})
	}
	refused, err := service.Submit(context.WithoutCancel(s.ctx), uid, m, &whole{io.LimitReader(in, m.Length), m.Length})
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return s.keep(path, errors.New("cut off"))
	case err != nil:
		return err
	case !refused.IsZero():
		return s.keep(path, fmt.Errorf("message of user %s(%d) refused: %s", name, uid, refused.Text))
	}
	return os.Remove(path)
}

// keep moves a file that cannot become a message to corrupt/, because why.
func (s *Server) keep(path string, why error) error {
	err := os.Rename(path, filepath.Join(s.dir, "corrupt", "maildrop-"+filepath.Base(path)))
	return errors.Join(fmt.Errorf("%w; kept in corrupt/", why), err)
}

// readRequest reads the line of JSON before content.
func readRequest(in *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := in.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxRequest {
			return nil, errors.New("too long")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
