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
	"sekisho/internal/idle"
	"sekisho/internal/maillog"
	"sekisho/internal/smtpd"
)

// acceptPause is how long a listener waits when the system has no room for
// another connection.
const acceptPause = time.Second

// shortSilence is how long a session whose client is silent keeps its goroutine:
// longer than most clients take for an answer.
const shortSilence = time.Second

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
	// smtpd_timeout ends a session whose client is gone; keepalives would cost
	// every session four system calls.
	ln, err := (&net.ListenConfig{KeepAlive: -1}).Listen(context.Background(), e.network, e.addr)
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

// serve runs one session with the configuration it begins with.
func (l *listener) serve(ctx context.Context, svc *service, conn net.Conn, sessions *sessions) {
	end := func() {
		sessions.remove(conn)
		_ = conn.Close() // the session has done so, unless that has a bug
		svc.graph.end()
	}
	sessions.add(conn)
	if svc.slots != nil {
		select {
		case svc.slots <- struct{}{}:
		case <-ctx.Done():
			end()
			return
		}
		free := end
		end = func() { <-svc.slots; free() }
	}
	l.run(visit{svc.server.Begin(ctx, conn), conn, end}, sessions.silent)
}

// visit is a session with what is to be done when it is over.
type visit struct {
	*smtpd.Session
	conn net.Conn
	end  func()
}

// run goes on with a session. When its client is silent nobody waits but the
// watch, and run is called again. A bug in the session ends this one only.
func (l *listener) run(v visit, silent *idle.Watch) {
	over := true
	defer func() {
		if p := recover(); p != nil {
			l.log.Log(context.Background(), maillog.LevelFatal, fmt.Sprintf("session of %s at %s: %v: %s", v.conn.RemoteAddr(), l, p, debug.Stack()))
		}
		if over {
			v.Close()
			v.end()
		}
	}()
	for !v.Run(shortSilence) {
		socket, until := v.Silence()
		if socket == nil {
			continue
		}
		err := silent.Park(socket, until, func() { l.run(v, silent) })
		if err == nil {
			over = false
			return
		}
		l.log.Warn(err.Error()) // it keeps its goroutine
	}
}
