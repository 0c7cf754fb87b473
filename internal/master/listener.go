package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/maillog"
)

// acceptPause is how long a listener waits when the system has no room for
// another connection.
const acceptPause = time.Second

// listener is an open port with the service that its connections go to now.
type listener struct {
	endpoint
	ln      net.Listener
	current atomic.Pointer[service] // nil when the port is given up
	clock   clock.Clock
	log     *slog.Logger
}

// open begins to listen. The error says what to do about the usual reasons.
func open(e endpoint) (net.Listener, error) {
	ln, err := net.Listen(e.network, e.addr)
	switch {
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("cannot listen at %s: %w; ports below 1024 are for root", e, syscall.EACCES)
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("cannot listen at %s: %w; stop the server that has it", e, syscall.EADDRINUSE)
	case err != nil:
		return nil, fmt.Errorf("cannot listen at %s: %w", e, err)
	}
	return ln, nil
}

// unavailable tells that the machine lacks the address or its whole family.
func unavailable(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)
}

// accept hands connections to the current service until the listener is closed.
func (l *listener) accept(ctx context.Context, sessions *sessions) {
	for {
		conn, err := l.ln.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			l.log.Warn(fmt.Sprintf("accept connection at %s: %v", l, err))
			if l.clock.Sleep(ctx, acceptPause) != nil {
				return
			}
			continue
		}
		if svc := l.begin(); svc != nil {
			go l.serve(ctx, svc, conn, sessions)
			continue
		}
		_ = conn.Close() // it came while the port was given up
	}
}

// begin registers a user of the current service; nil when there is none any
// more.
func (l *listener) begin() *service {
	for {
		svc := l.current.Load()
		if svc == nil || svc.graph.begin() {
			return svc
		}
		// The service was replaced between the two calls.
	}
}

// serve runs one session with the configuration it begins with. A bug in it
// ends this session only.
func (l *listener) serve(ctx context.Context, svc *service, conn net.Conn, sessions *sessions) {
	defer svc.graph.end()
	defer conn.Close()
	sessions.add(conn)
	defer sessions.remove(conn)
	defer func() {
		if p := recover(); p != nil {
			l.log.Log(ctx, maillog.LevelFatal, fmt.Sprintf("session of %s at %s: %v: %s", conn.RemoteAddr(), l, p, debug.Stack()))
		}
	}()
	if svc.slots != nil {
		select {
		case svc.slots <- struct{}{}:
			defer func() { <-svc.slots }()
		case <-ctx.Done():
			return
		}
	}
	svc.serve(ctx, conn)
}
