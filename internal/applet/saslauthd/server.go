package saslauthd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl/saslauthd"
)

const (
	// requestTimeout bounds the sending of a request.
	requestTimeout = 30 * time.Second
	// maxLength of each string of a request; the real daemon takes 256.
	maxLength = 4096
	// maxRequests that are worked at; further clients wait in the socket's queue.
	maxRequests = 1000
)

// server answers requests.
type server struct {
	ask       check
	mechanism string
	realm     bool
	verbose   bool
	cache     *cache // nil: none
	log       *slog.Logger
	clock     clock.Clock
}

// serve answers the clients of l until ctx ends. Whoever has no answer then
// gets none.
func (s *server) serve(ctx context.Context, l net.Listener) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	places := make(chan struct{}, maxRequests)
	var clients sync.WaitGroup
	defer clients.Wait()
	for {
		places <- struct{}{}
		conn, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, net.ErrClosed):
			return err
		case err != nil: // out of files: some are closed soon
			s.log.Error(err.Error())
			<-places
			if err := s.clock.Sleep(ctx, 100*time.Millisecond); err != nil {
				return nil
			}
			continue
		}
		clients.Go(func() {
			defer func() { <-places }()
			s.client(ctx, conn)
		})
	}
}

// client answers one request.
func (s *server) client(ctx context.Context, conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(requestTimeout)) // cannot fail while open
	r, err := saslauthd.ReadRequest(conn, math.MaxUint16)
	if err != nil {
		return // whoever does not ask gets no answer
	}
	answer, err := s.answer(ctx, r)
	if err != nil {
		s.log.Error("auth failure: " + s.describe(r) + " [reason=" + err.Error() + "]")
		return
	}
	_ = conn.SetDeadline(time.Now().Add(requestTimeout))
	_, _ = conn.Write(saslauthd.AppendAnswer(nil, answer)) // who has gone needs none
}

// describe names a request as the real daemon's log does.
func (s *server) describe(r saslauthd.Request) string {
	return fmt.Sprintf("[user=%s] [service=%s] [realm=%s] [mech=%s]", r.Login, r.Service, r.Realm, s.mechanism)
}

// answer decides a request. An error: it could not be decided.
func (s *server) answer(ctx context.Context, r saslauthd.Request) (string, error) {
	switch {
	case len(r.Login) > maxLength || len(r.Password) > maxLength || len(r.Service) > maxLength || len(r.Realm) > maxLength:
		s.log.Error(fmt.Sprintf("request with a string of more than %d bytes", maxLength))
		return "NO ", nil
	case r.Login == "":
		return "NO NULL login received", nil
	case r.Password == "":
		return "NO NULL password received", nil
	}
	if s.realm && r.Realm != "" {
		r.Login += "@" + r.Realm
	}
	ok, reason, err := s.cached(ctx, r)
	switch {
	case err != nil:
		return "", err
	case !ok:
		s.log.Info("auth failure: " + s.describe(r) + " [reason=" + reason + "]")
		return s.refusal(), nil
	}
	if s.verbose {
		s.log.Info("auth success: " + s.describe(r))
	}
	return s.success(), nil
}

// cached asks the cache first. Only right passwords are remembered.
func (s *server) cached(ctx context.Context, r saslauthd.Request) (ok bool, reason string, err error) {
	if s.cache == nil {
		return s.ask(ctx, r.Login, r.Password, r.Service, r.Realm)
	}
	if s.cache.has(r) {
		return true, "", nil
	}
	if ok, reason, err = s.ask(ctx, r.Login, r.Password, r.Service, r.Realm); ok {
		s.cache.put(r)
	}
	return ok, reason, err
}

// refusal and success are the real daemon's words with rimap, and what programs
// look at, the first two letters, with accounts that it does not know.
func (s *server) refusal() string {
	if s.mechanism == "rimap" {
		return "NO remote server rejected your credentials"
	}
	return "NO authentication failed"
}

func (s *server) success() string {
	if s.mechanism == "rimap" {
		return "OK remote authentication successful"
	}
	return "OK"
}
