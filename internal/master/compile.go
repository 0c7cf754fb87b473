package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"

	"sekisho/internal/anvil"
	"sekisho/internal/cleanup"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/policyd"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/rewrite"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/penalty"
	"sekisho/internal/site"
	"sekisho/internal/smtpd"
	"sekisho/internal/table"
)

// begin builds what outlives reloads, and the first graph.
func begin(dir string, c clock.Clock, log *slog.Logger) (*shared, *graph, error) {
	st, err := site.Load(dir, site.Options{Clock: c, Log: log})
	if err != nil {
		return nil, nil, err
	}
	sh := &shared{clock: c, guesses: penalty.NewLedger(c)}
	sh.anvil = anvil.New(st.Config.Duration("anvil_rate_time_unit"), c)
	if err = sh.openQueue(st.Config, log); err != nil {
		return nil, nil, errors.Join(st.Err(), err, st.Close())
	}
	sh.probed = openProbed(st.Config, log)
	g, err := sh.build(st, log)
	if err != nil {
		return nil, nil, errors.Join(err, sh.close())
	}
	for _, w := range strangers(st.Config) {
		log.Warn(w)
	}
	return sh, g, nil
}

// compile builds the graph of the configuration as it is now. Everything that
// is wrong with it is in the error, one line each.
func (sh *shared) compile(dir string, log *slog.Logger) (*graph, error) {
	st, err := site.Load(dir, site.Options{Clock: sh.clock, Log: log})
	if err != nil {
		return nil, err
	}
	return sh.build(st, log)
}

// openQueue opens the spool, and the door for queue commands.
func (sh *shared) openQueue(cfg *config.Config, log *slog.Logger) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: sekisho_spool_directory: %w", cfg.Pos("sekisho_spool_directory"), err)
		}
	}()
	dir, o := control.Dir(cfg), queue.Options{Clock: sh.clock, Log: log}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if sh.queue, err = queue.Open(dir, o); err != nil {
		return err
	}
	if sh.control, err = control.Serve(sh.queue, dir, o); err != nil {
		return errors.Join(err, sh.queue.Close())
	}
	return nil
}

// builder puts a graph together and collects what stands against it.
type builder struct {
	*graph
	site    *site.Site
	world   *evidence.World
	dns     *dns.Resolver
	cleaner *cleanup.Cleaner
	tls     tlsKnowledge
	post    func(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error
	errs    []error

	backends map[string]sasl.Backend // by type and parameters; see accounts
}

// lists is what match lists of the parts need.
func (b *builder) lists() rewrite.World {
	return rewrite.World{OwnAddresses: b.site.Own, Partial: table.Partial, ReadFile: os.ReadFile}
}

// fail notes an error; several services may have the same.
func (b *builder) fail(err error) {
	if err == nil {
		return
	}
	for _, e := range b.errs {
		if e.Error() == err.Error() {
			return
		}
	}
	b.errs = append(b.errs, err)
}

// build makes a graph of a site, and takes the site over.
func (sh *shared) build(st *site.Site, log *slog.Logger) (*graph, error) {
	b := &builder{graph: newGraph(st.Config, sh, log), site: st, backends: make(map[string]sasl.Backend)}
	b.closers = append(b.closers, st.Close)
	b.fail(st.Err())
	b.openWorld()
	b.fail(b.listen(st))
	for _, v := range st.Services {
		if v.Config.Bool("smtpd_sasl_auth_enable") {
			b.accounts(v.Config)
		}
	}
	if b.world != nil {
		b.mail()
		b.servers()
	}
	if err := errors.Join(b.errs...); err != nil {
		b.end()
		return nil, err
	}
	warn(st, log)
	return b.graph, nil
}

// warn logs what is odd about a configuration that works.
func warn(st *site.Site, log *slog.Logger) {
	for _, w := range st.Warnings {
		log.Warn(w.String())
	}
	for _, p := range st.Problems {
		log.Warn(p.String())
	}
}

// openWorld is what decisions can ask.
func (b *builder) openWorld() {
	var err error
	b.dns, err = b.site.DNS(site.Options{Clock: b.shared.clock, Log: b.log})
	if err != nil {
		b.fail(err)
		return
	}
	b.closers = append(b.closers, func() error { b.dns.Close(); return nil })
	b.world = &evidence.World{Query: b.dns.Query, Host: b.dns.Host, Lookup: b.site.Tables.Lookup, Clock: b.shared.clock}
}

// mail makes what takes messages and delivers them.
func (b *builder) mail() {
	var problems []cleanup.Problem
	cfg := view(b.config, "cleanup")
	b.cleaner, problems = cleanup.New(cfg, cleanup.World{
		Resolver: b.site.Resolver, Lists: b.lists(), Mynetworks: b.site.Main.Mynetworks,
		Queue: b.shared.queue, Clock: b.shared.clock, Log: b.log, Verified: b.verified,
	})
	b.failAll(problems)
	own, problems := b.cleaner.For(internal(cfg), b.site.Main.Mynetworks)
	b.failAll(problems)
	p := &poster{cleaner: own, queue: b.shared.queue, world: b.world}
	b.post = p.post
	b.commandService = b.commands()
	b.verifier = b.newVerifier()
	b.tls = b.knowledge()
	b.manager = b.newManager()
}

func (b *builder) failAll(problems []cleanup.Problem) {
	for _, p := range problems {
		b.fail(errors.New(p.String()))
	}
}

// servers makes the SMTP servers.
func (b *builder) servers() {
	for _, svc := range b.services {
		v := svc.site
		o := smtpd.Options{
			Config: v.Config, Service: v.Entry.Name, Program: v.Program, Resolver: b.site.Resolver,
			World: b.asked(v), Lists: b.lists(), Peers: b.dns.System,
			Anvil: b.shared.anvil, Cleaner: b.cleaner, Queue: b.shared.queue, Lookup: b.site.Tables.Lookup,
			Post: b.post, Flush: func(domain string) { b.shared.queue.FlushSite(domain) }, Clock: b.shared.clock, Log: b.log,
		}
		if v.Config.Bool("smtpd_sasl_auth_enable") {
			backend := b.accounts(v.Config)
			if backend == nil {
				continue // said already
			}
			o.SASL = b.guard(backend, v.Config)
		}
		srv, err := smtpd.New(o)
		if err != nil {
			b.fail(err)
			continue
		}
		svc.server = srv
	}
}

// asked is the world with whom a service asks: the policy services that its
// lists name, and address verification with the patience it has.
func (b *builder) asked(v site.Service) *evidence.World {
	w := *b.world
	w.Verify = b.verification(v.Config)
	services := v.Program.PolicyServices()
	if len(services) == 0 {
		return &w
	}
	clients := policyd.New(services, policyd.Options{
		Dir: v.Config.Str("queue_directory"), Limit: v.Config.Int("default_process_limit"), Clock: b.shared.clock,
	})
	b.closers = append(b.closers, clients.Close)
	w.Policy = clients.Ask
	return &w
}
