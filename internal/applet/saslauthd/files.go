package saslauthd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

// files are what the daemon has in its folder: the socket mux, open to all,
// and the number of its process, which is locked as the real daemon locks its.
type files struct {
	listener net.Listener
	pid      *os.File
	lock     *os.File
}

// claim takes the folder, unless another daemon has it.
func claim(folder string) (*files, error) {
	f := &files{}
	var err error
	pidPath := filepath.Join(folder, "saslauthd.pid")
	if f.lock, err = lock(pidPath + ".lock"); err != nil {
		return nil, fmt.Errorf("cannot start: %w", err)
	}
	if f.pid, err = lock(pidPath); err != nil {
		f.release()
		return nil, fmt.Errorf("cannot start: %w", err)
	}
	if err := f.listen(filepath.Join(folder, "mux")); err != nil {
		f.release()
		return nil, err
	}
	if err := f.writePID(); err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// lock opens a file that one process at a time may have.
func lock(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.FcntlFlock(file.Fd(), syscall.F_SETLK, &syscall.Flock_t{Type: syscall.F_WRLCK, Whence: io.SeekStart, Len: 1})
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EACCES) {
		err = errRunning
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return file, nil
}

// listen makes the socket anew: with the lock, an old one is a dead daemon's.
func (f *files) listen(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	f.listener = l
	return os.Chmod(path, 0o777)
}

func (f *files) writePID() error {
	if err := f.pid.Truncate(0); err != nil {
		return err
	}
	_, err := f.pid.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	return err
}

// release removes the files. It is the last thing that is done: that a file
// stays behind would only be tidied up by the next daemon.
func (f *files) release() {
	if f.listener != nil {
		_ = f.listener.Close() // removes mux
	}
	for _, file := range []*os.File{f.pid, f.lock} {
		if file != nil {
			_ = os.Remove(file.Name())
			_ = file.Close()
		}
	}
}
