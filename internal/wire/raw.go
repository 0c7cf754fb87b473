package wire

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// rawConn is a socket that can be looked at before it is read.
type rawConn struct{ c syscall.RawConn }

// newRawConn returns nil when c is no plain socket.
func newRawConn(c net.Conn) *rawConn {
	s, ok := c.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := s.SyscallConn()
	if err != nil {
		return nil
	}
	return &rawConn{rc}
}

// read waits until there is input and reads it into a buffer of the pool. It
// holds none while it waits.
func (r *rawConn) read() (buf *[readSize]byte, n int, err error) {
	var sysErr error
	err = r.c.Read(func(fd uintptr) bool {
		buf = readers.Get().(*[readSize]byte)
		for {
			n, sysErr = syscall.Read(int(fd), buf[:])
			if !errors.Is(sysErr, syscall.EINTR) {
				break
			}
		}
		if n <= 0 {
			readers.Put(buf)
			buf = nil
		}
		return !errors.Is(sysErr, syscall.EAGAIN)
	})
	switch {
	case err != nil:
		return nil, 0, err
	case sysErr != nil:
		return nil, 0, sysErr
	case n == 0:
		return nil, 0, io.EOF
	}
	return buf, n, nil
}

// readable reports whether a read would give at least one byte now.
func (r *rawConn) readable() bool {
	var one [1]byte
	var n int
	r.c.Control(func(fd uintptr) { // an error leaves n at 0: nothing to read
		n, _, _ = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return n > 0
}
