// Package idle watches connections on which nothing happens, so that none of
// them needs a goroutine, whose stack would be most of what the connection
// costs. It reads nothing and closes nothing. epoll(7).
package idle

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Watch is a set of silent connections. It is safe for concurrent use.
type Watch struct {
	file *os.File // the epoll instance, itself watched by the runtime
	fd   int      // of file; valid until mu.closed

	mu      sync.Mutex
	next    uint64
	parked  map[uint64]*parked
	tidied  int  // connections when memory was last given back
	tidying bool // it is about to be
	drained bool // nobody is to wait any more
	closed  bool
}

// parked is a connection that waits.
type parked struct {
	conn  syscall.RawConn
	timer *time.Timer // nil: there is no hurry
	wake  func()
}

// New returns an empty Watch.
func New() (*Watch, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("idle: epoll_create1: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // what the runtime watches
		unix.Close(fd)
		return nil, fmt.Errorf("idle: fcntl: %w", err)
	}
	w := &Watch{file: os.NewFile(uintptr(fd), "epoll"), fd: fd, parked: make(map[uint64]*parked)}
	raw, err := w.file.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("idle: %w", err)
	}
	go w.listen(raw)
	return w, nil
}

// Park calls wake in a goroutine of its own, once: when conn has something to
// read or has ended, when until has come (zero: never), or when Drain is called.
// conn must not be closed before.
func (w *Watch) Park(conn syscall.RawConn, until time.Time, wake func()) error {
	p := &parked{conn: conn, wake: wake}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.drained {
		go wake()
		return nil
	}
	w.next++
	id := w.next
	if err := w.control(conn, unix.EPOLL_CTL_ADD, id); err != nil {
		return fmt.Errorf("idle: epoll_ctl: %w", err)
	}
	if !until.IsZero() {
		p.timer = time.AfterFunc(time.Until(until), func() { w.take(id) })
	}
	w.parked[id] = p
	w.tidy()
	return nil
}

// When and how many more connections than the last time make it worth while to
// give memory back.
const (
	tidyAfter = 2 * time.Second
	tidyFrom  = 200
)

// tidy gives back to the system what connections needed before they fell
// silent: stacks and garbage. The runtime would do so with its next collection,
// which in a quiet server is two minutes away. mu is held.
func (w *Watch) tidy() {
	if w.tidying || len(w.parked) < w.tidied+w.tidied/32+tidyFrom {
		return
	}
	w.tidying = true
	time.AfterFunc(tidyAfter, func() {
		w.mu.Lock()
		w.tidying, w.tidied = false, len(w.parked)
		w.mu.Unlock()
		debug.FreeOSMemory()
	})
}

// control changes what epoll knows of a connection.
func (w *Watch) control(conn syscall.RawConn, op int, id uint64) error {
	event := unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT,
		Fd:     int32(id), Pad: int32(id >> 32),
	}
	var failed error
	if err := conn.Control(func(fd uintptr) { failed = unix.EpollCtl(w.fd, op, int(fd), &event) }); err != nil {
		return err
	}
	return failed
}

// take wakes a connection that is still parked.
func (w *Watch) take(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.parked[id]
	if p == nil {
		return // somebody else was faster
	}
	delete(w.parked, id)
	if len(w.parked) < w.tidied/2 {
		w.tidied = len(w.parked)
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	if !w.closed {
		// An error means that the connection was closed, which ends the watch as well.
		_ = w.control(p.conn, unix.EPOLL_CTL_DEL, id)
	}
	go p.wake()
}

// listen wakes what has something to read.
func (w *Watch) listen(raw syscall.RawConn) {
	events := make([]unix.EpollEvent, 128)
	for {
		n := 0
		err := raw.Read(func(fd uintptr) bool {
			var err error
			n, err = unix.EpollWait(int(fd), events, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err != nil { // closed
			return
		}
		for _, e := range events[:max(n, 0)] {
			w.take(uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32)
		}
	}
}

// Drain wakes all that is parked. Whoever is parked later is woken at once.
func (w *Watch) Drain() {
	w.mu.Lock()
	w.drained = true
	ids := make([]uint64, 0, len(w.parked))
	for id := range w.parked {
		ids = append(ids, id)
	}
	w.mu.Unlock()
	for _, id := range ids {
		w.take(id)
	}
}

// Close drains and ends the watch.
func (w *Watch) Close() error {
	w.Drain()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	if err := w.file.Close(); err != nil {
		return fmt.Errorf("idle: %w", err)
	}
	return nil
}
