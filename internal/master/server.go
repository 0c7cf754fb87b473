package master

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/idle"
	"sekisho/internal/maillog"
	"sekisho/internal/sandbox"
)

// Time that a stopping server gives its sessions and deliveries, and then those
// that it had to cut off.
const (
	drainTime = 30 * time.Second
	cutTime   = 5 * time.Second
)

// Options are what Run needs besides the configuration.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger
	// Reopen opens the log file anew, on SIGUSR1.
	Reopen func() error
	// Signals are those that the process gets: SIGHUP reloads, SIGUSR1 reopens
	// the log, SIGTERM and SIGINT drain and stop.
	Signals <-chan os.Signal
	// ShutIn puts the whole process into a sandbox, for good, before the first
	// connection, and tells what is in force. nil: there is none.
	ShutIn func(sandbox.Paths) (inForce string, err error)
	// Ready is called once, when all ports are open; nil: nobody wants to know.
	Ready func()
}

// server is the running process.
type server struct {
	Options
	dir       string
	shared    *shared
	graph     *graph
	listeners map[string]*listener // by address
	accepting sync.WaitGroup
	sessions  sessions
	within    *sandbox.Paths // nil: there is no sandbox

	// ctx ends when the server drains; sessions see it at their next command.
	ctx   context.Context
	drain context.CancelFunc
	// kill ends when deliveries and sessions have had their time.
	kill context.Context
	cut  context.CancelFunc
}

// Run serves the configuration directory dir until SIGTERM, SIGINT or the end
// of ctx, and drains then. The error is why it could not start: everything that
// is wrong, one line each.
func Run(ctx context.Context, dir string, o Options) error {
	s := &server{Options: o, dir: dir, listeners: make(map[string]*listener)}
	s.kill, s.cut = context.WithCancel(context.WithoutCancel(ctx))
	defer s.cut()
	s.ctx, s.drain = context.WithCancel(s.kill)
	if err := s.start(); err != nil {
		return err
	}
	if o.Ready != nil {
		o.Ready()
	}
	s.watch(ctx)
	return s.stop()
}

func (s *server) start() (err error) {
	if s.sessions.silent, err = idle.New(); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.sessions.silent.Close())
		}
	}()
	shared, g, err := begin(s.dir, s.Clock, s.Log)
	if err != nil {
		return err
	}
	s.shared = shared
	if err = s.shutIn(g.config); err == nil {
		err = s.swap(g)
	}
	if err != nil {
		g.end()
		return errors.Join(err, shared.close())
	}
	s.Log.Info("daemon started -- " + identity(g.config))
	s.announce(slices.Sorted(maps.Keys(s.listeners)))
	return nil
}

// identity is what Postfix's master says of itself.
func identity(cfg *config.Config) string {
	return "version " + cfg.Str("mail_version") + ", configuration " + cfg.Dir
}

func (s *server) announce(addrs []string) {
	for _, a := range addrs {
		svc := s.listeners[a].current.Load()
		s.Log.Info("listening on " + a + " for service " + svc.name)
	}
}

// watch obeys signals until one of them, or ctx, ends the server.
func (s *server) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-s.Signals:
			switch sig {
			case syscall.SIGHUP:
				s.reload()
			case syscall.SIGUSR1:
				s.reopen()
			case syscall.SIGTERM, syscall.SIGINT:
				s.Log.Info("terminating on signal " + signalNumber(sig))
				return
			}
		}
	}
}

func signalNumber(sig os.Signal) string {
	if n, ok := sig.(syscall.Signal); ok {
		return fmt.Sprint(int(n))
	}
	return sig.String()
}

func (s *server) reopen() {
	if s.Reopen == nil {
		return
	}
	if err := s.Reopen(); err != nil {
		s.Log.Error(err.Error())
	}
}

// reload compiles the configuration as it is now and swaps it in, or says why
// it does not.
func (s *server) reload() {
	old := s.graph
	var g *graph
	err := s.beyond()
	if err == nil {
		g, err = s.shared.compile(s.dir, s.Log)
	}
	if err == nil {
		err = s.swapLogged(g)
	}
	if err != nil {
		for _, line := range lines(err) {
			s.Log.Error(line)
		}
		s.Log.Error("not reloaded; the configuration from before stays in use")
		return
	}
	for _, p := range restartOnly(old.config, g.config) {
		s.Log.Warn(p)
	}
	s.Log.Info("reload -- " + identity(g.config))
}

// swapLogged is swap for a reload: it logs the ports that come.
func (s *server) swapLogged(g *graph) error {
	before := slices.Collect(maps.Keys(s.listeners))
	if err := s.swap(g); err != nil {
		g.end()
		return err
	}
	var fresh []string
	for a := range s.listeners {
		if !slices.Contains(before, a) {
			fresh = append(fresh, a)
		}
	}
	slices.Sort(fresh)
	s.announce(fresh)
	return nil
}

// restartOnly tells of parameters that a reload cannot change.
func restartOnly(old, now *config.Config) []string {
	var out []string
	for _, p := range []string{"sekisho_spool_directory", "mail_owner", "maillog_file", "syslog_facility", "anvil_rate_time_unit", "address_verify_map", "sekisho_sandbox"} {
		if old.Str(p) != now.Str(p) {
			out = append(out, fmt.Sprintf("%s: %s has changed: that takes effect when the server is started anew", now.Pos(p), p))
		}
	}
	return out
}

// swap makes g the current configuration: ports that are new are opened first,
// then every port gets its service, then ports that are not named any more are
// closed. With an error nothing has changed.
func (s *server) swap(g *graph) error {
	fresh, err := s.open(g)
	if err != nil {
		return err
	}
	wanted := make(map[string]*service)
	for _, svc := range g.services {
		for _, e := range svc.endpoints {
			wanted[e.addr] = svc
		}
	}
	for addr, l := range s.listeners {
		if svc, ok := wanted[addr]; ok {
			l.current.Store(svc)
			continue
		}
		s.Log.Info("no longer listening on " + addr)
		l.current.Store(nil)
		_ = l.ln.Close() // there is nothing to be done about a port that does not close
		delete(s.listeners, addr)
	}
	for addr, l := range fresh {
		l.current.Store(wanted[addr])
		s.listeners[addr] = l
		s.accepting.Go(func() { l.accept(s.ctx, &s.sessions) })
	}
	old := s.graph
	s.graph = g
	if old != nil {
		old.retire()
	}
	g.start(s.kill)
	return nil
}

// open opens the ports of g that are not open yet, all or none.
func (s *server) open(g *graph) (map[string]*listener, error) {
	fresh := make(map[string]*listener)
	var errs []error
	for _, svc := range g.services {
		for _, e := range svc.endpoints {
			if s.listeners[e.addr] != nil || fresh[e.addr] != nil {
				continue
			}
			ln, err := open(e)
			if err != nil && e.optional && unavailable(err) {
				continue
			}
			if err != nil {
				errs = append(errs, fmt.Errorf("%s: service %s: %w", svc.pos, svc.name, err))
				continue
			}
			fresh[e.addr] = &listener{endpoint: e, ln: ln, clock: s.Clock, log: s.Log}
		}
	}
	if len(errs) == 0 {
		return fresh, nil
	}
	for _, l := range fresh {
		_ = l.ln.Close()
	}
	return nil, errors.Join(errs...)
}

// stop drains: no new connections, sessions end at their next command,
// deliveries under way are waited for, for a while.
func (s *server) stop() error {
	for _, l := range s.listeners {
		_ = l.ln.Close()
	}
	s.drain()
	s.sessions.silent.Drain()
	s.accepting.Wait()
	s.graph.retire()
	if !s.wait(drainTime) {
		s.cut()
		s.Log.Warn(fmt.Sprintf("closing %d connections that did not end within %v", s.sessions.cut(), drainTime))
		if !s.wait(cutTime) {
			s.Log.Log(context.Background(), maillog.LevelFatal, "stopping in the middle of deliveries; their mail is in the queue")
			return nil // the queue cannot be closed while they use it; it recovers
		}
	}
	return errors.Join(s.sessions.silent.Close(), s.shared.close())
}

// wait waits until nothing uses any configuration, at most d.
func (s *server) wait(d time.Duration) bool {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	late := make(chan struct{})
	go func() {
		if s.Clock.Sleep(ctx, d) == nil {
			close(late)
		}
	}()
	select {
	case <-s.shared.idle():
		return true
	case <-late:
		return false
	}
}

// lines splits joined errors.
func lines(err error) []string { return strings.Split(err.Error(), "\n") }
