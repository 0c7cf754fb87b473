package master

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"sekisho/internal/anvil"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/qmgr"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/sasl/penalty"
	"sekisho/internal/site"
	"sekisho/internal/smtpd"
	"sekisho/internal/verify"
)

// shared is what outlives a reload.
type shared struct {
	clock   clock.Clock
	queue   *queue.Queue
	control *control.Server
	probed  *verify.Cache
	anvil   *anvil.Anvil
	guesses *penalty.Ledger
	web     web
	graphs  sync.WaitGroup // graphs that are in use
}

// idle returns a channel that is closed when no graph is in use.
func (s *shared) idle() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		s.graphs.Wait()
		close(c)
	}()
	return c
}

func (s *shared) close() error {
	s.web.close()
	return errors.Join(s.probed.Close(), s.control.Close(), s.queue.Close())
}

// service is an inet service of master.cf, ready to serve.
type service struct {
	graph     *graph
	site      site.Service // the smtpd service that answers
	name      string
	pos       config.Pos
	endpoints []endpoint
	server    *smtpd.Server
	slots     chan struct{} // one for each session at a time; nil: no limit
}

// graph is everything that one configuration makes. It is in use until it was
// retired and whoever uses it has ended; then it is closed.
type graph struct {
	config   *config.Config
	services []*service
	manager  *qmgr.Manager
	verifier *verify.Verifier

	commandService control.Service // for whoever comes over the control socket

	log     *slog.Logger
	shared  *shared
	closers []func() error

	stopManager context.CancelFunc

	mu    sync.Mutex
	users int
}

func newGraph(cfg *config.Config, sh *shared, log *slog.Logger) *graph {
	sh.graphs.Add(1)
	return &graph{config: cfg, shared: sh, log: log, users: 1}
}

// begin registers a user; false when the graph is closed.
func (g *graph) begin() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == 0 {
		return false
	}
	g.users++
	return true
}

// end takes a user away; after the last one the graph is closed.
func (g *graph) end() {
	g.mu.Lock()
	g.users--
	last := g.users == 0
	g.mu.Unlock()
	if !last {
		return
	}
	defer g.shared.graphs.Done()
	var errs []error
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	if err := errors.Join(errs...); err != nil {
		g.log.Warn("closing the configuration: " + err.Error())
	}
}

// start begins delivering, and cleaning the cache of address verification. It
// goes on until the graph is retired; deliveries under way then go on until kill
// ends.
func (g *graph) start(kill context.Context) {
	g.shared.control.Use(g.commandService)
	var ctx context.Context
	ctx, g.stopManager = context.WithCancel(kill)
	g.begin()
	go func() {
		defer g.end()
		g.manager.Run(ctx, kill)
	}()
	g.begin()
	go func() {
		defer g.end()
		g.verifier.Run(ctx)
	}()
}

// retire begins the end: another configuration takes over, or none.
func (g *graph) retire() {
	g.stopManager()
	g.end()
}
