package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authserver"
)

// slowBackend takes its time and then lets everybody in.
type slowBackend time.Duration

func (slowBackend) Mechanisms(bool) ([]sasl.Mechanism, error) {
	return []sasl.Mechanism{{Name: "PLAIN", Plaintext: true}}, nil
}

func (d slowBackend) Start(ctx context.Context, _ sasl.Client, _, _ string, _ bool) (sasl.Exchange, sasl.Step) {
	if err := wait(ctx, time.Duration(d)); err != nil {
		return nil, sasl.Step{Kind: sasl.TempFailed}
	}
	return nil, sasl.Step{Kind: sasl.Done, User: account(0), UserKnown: true}
}

// slowWay is the name of the way to the slow backend.
const slowWay = "slow"

// openSlow offers a slow backend by Dovecot's protocol.
func (b *backends) openSlow(context.Context) ([]way, error) {
	dir, err := b.folder("slow")
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "auth")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	b.closers = append(b.closers, serve(l, slowBackend(delay)))
	return []way{dovecotAt(slowWay, socket)}, os.Chmod(socket, 0o666)
}

// serve serves until stop is called.
func serve(l net.Listener, backend sasl.Backend) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	server := authserver.New(backend, clock.System{}, slog.New(slog.DiscardHandler))
	var clients sync.WaitGroup
	clients.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			clients.Go(func() { server.Serve(ctx, conn) })
		}
	})
	return func() {
		l.Close()
		cancel()
		clients.Wait()
	}
}

// delay is how long the slow backend takes.
const delay = 200 * time.Millisecond

// slow measures n logins at once against the slow backend: of clients that come
// all at once, and of clients that have said EHLO before. Logins that fail are
// counted, not an error: one server or the other may not manage.
func slow(ctx context.Context, s subject, n int, res *results) error {
	c := s.site().client()
	if err := atOnce(ctx, s, "connect, EHLO, AUTH", n, res, c.login); err != nil {
		return err
	}
	held, err := hold(ctx, s.name(), n, c.open)
	defer held.close()
	if err != nil {
		return err
	}
	return atOnce(ctx, s, "AUTH after EHLO", n, res, func(i int) error { return held[i].authenticate(i) })
}

// atOnce runs n logins at the same time and adds their figures.
func atOnce(ctx context.Context, s subject, what string, n int, res *results, login func(i int) error) error {
	var failed atomic.Int64
	var first atomic.Pointer[error]
	waits := make([]float64, n)
	took, err := repeat(ctx, fmt.Sprintf("%s: slow, %s", s.name(), what), n, n, func(i int) error {
		began := time.Now()
		if err := login(i); err != nil {
			failed.Add(1)
			first.CompareAndSwap(nil, &err)
		}
		waits[i] = time.Since(began).Seconds()
		return nil
	})
	if err != nil {
		return err
	}
	if e := first.Load(); e != nil {
		fmt.Fprintf(os.Stderr, "bench: %s: %d of %d logins failed, one of them: %v\n", s.name(), failed.Load(), n, *e)
	}
	slices.Sort(waits)
	res.add("slow", n, what+": logged in", s.name(), float64(n-int(failed.Load())))
	res.add("slow", n, what+": s until the last was answered", s.name(), took.Seconds())
	res.add("slow", n, what+": s a client waited, median", s.name(), median(waits))
	return nil
}
