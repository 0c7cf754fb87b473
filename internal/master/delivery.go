package master

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"

	"sekisho/internal/bounce"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/discard"
	"sekisho/internal/deliver/errormail"
	"sekisho/internal/deliver/local"
	"sekisho/internal/deliver/maildir"
	"sekisho/internal/deliver/pipe"
	"sekisho/internal/deliver/smtp"
	"sekisho/internal/maillog"
	"sekisho/internal/qmgr"
)

// passer has another transport deliver to one recipient.
type passer func(ctx context.Context, transport string, r *deliver.Request) (res deliver.Result, ok bool)

// transports are the delivery services of master.cf by name.
func (b *builder) transports() map[string]qmgr.Transport {
	out := make(map[string]qmgr.Transport)
	pass := func(ctx context.Context, transport string, r *deliver.Request) (res deliver.Result, ok bool) {
		t, ok := out[transport]
		if !ok {
			return res, false
		}
		return t.Agent.Deliver(ctx, r)[0], true
	}
	for _, e := range b.config.Services {
		if e.Type != "unix" && e.Type != "inet" {
			continue
		}
		cfg := b.config.Service(e)
		daemon := filepath.Base(e.Command)
		log := b.log.With(maillog.Service(cfg.Str("syslog_name") + "/" + daemon))
		agent, err := b.agent(daemon, e, cfg, log, pass)
		b.fail(err)
		if agent != nil {
			agent = b.filtered(agent, daemon, cfg, log)
			out[e.Name] = qmgr.Transport{Agent: agent, Log: log, Processes: processes(cfg, e)}
		}
	}
	return out
}

// statusFilters are the parameters with tables that edit what came of
// deliveries; the agents that speak SMTP have their own.
var statusFilters = map[string]string{
	"pipe": "pipe_delivery_status_filter", "local": "local_delivery_status_filter", "virtual": "virtual_delivery_status_filter",
	"error": "default_delivery_status_filter", "discard": "default_delivery_status_filter",
}

// filtered is the agent with the daemon's status filter, if there is one.
func (b *builder) filtered(a deliver.Agent, daemon string, cfg *config.Config, log *slog.Logger) deliver.Agent {
	param, has := statusFilters[daemon]
	if !has || cfg.Str(param) == "" {
		return a
	}
	return deliver.Filtered{Agent: a, StatusFilter: deliver.StatusFilter{
		Param: param, Tables: cfg.Strings(param), Lookup: b.world.Lookup, Log: log,
	}}
}

// agent makes the delivery agent that a daemon's name stands for; nil when it
// is none.
func (b *builder) agent(daemon string, e config.Service, cfg *config.Config, log *slog.Logger, pass passer) (deliver.Agent, error) {
	switch daemon {
	case "error":
		return errormail.Agent{Retry: e.Name == "retry"}, nil
	case "discard":
		return discard.Agent{}, nil
	case "virtual":
		if transport, _, _ := strings.Cut(b.config.Str("virtual_transport"), ":"); transport != e.Name && cfg.Str("virtual_mailbox_base") == "" {
			return nil, nil // mailboxes are elsewhere, and this service is there by habit
		}
		return maildir.New(maildir.Options{
			Name: e.Name, Config: cfg, Resolver: b.site.Resolver, World: b.world, Clock: b.shared.clock, Log: log,
		})
	case "local":
		return local.New(local.Options{
			Name: e.Name, Config: cfg, Resolver: b.site.Resolver, World: b.world, Post: b.post, Pass: pass,
			Clock: b.shared.clock, Log: log,
		})
	case "pipe":
		return pipe.New(pipe.Options{
			Name: e.Name, Args: e.Args, Config: cfg, Resolver: b.site.Resolver, Clock: b.shared.clock, Log: log,
		}), nil
	case "smtp", "lmtp":
		return b.client(daemon == "lmtp", e, cfg, log)
	}
	return nil, nil
}

// client makes the agent that speaks SMTP or LMTP.
func (b *builder) client(lmtp bool, e config.Service, cfg *config.Config, log *slog.Logger) (deliver.Agent, error) {
	settings, err := smtp.FromConfig(cfg, lmtp)
	if err != nil {
		return nil, err
	}
	flags, err := smtp.ParseFlags(e.Args)
	if err != nil {
		return nil, fmt.Errorf("%s: service %s: %w", e.Pos, e.Name, err)
	}
	a := &smtp.Agent{
		Settings: settings, Name: e.Name, Flags: flags, Chroot: e.Chroot == "y", World: b.world, Resolver: b.site.Resolver,
		OwnAddresses: b.site.Own, STS: b.tls.sts, STSRoots: b.tls.roots, Reports: b.tls.reports, Clock: b.shared.clock, Log: log,
	}
	b.closers = append(b.closers, a.Close)
	return a, nil
}

// processes is how many deliveries a service makes at a time; 0 is no limit.
func processes(cfg *config.Config, e config.Service) int {
	if n, err := strconv.Atoi(e.MaxProc); err == nil {
		return n
	}
	return cfg.Int("default_process_limit")
}

// view is the configuration as the service with that command sees it; main.cf
// alone when master.cf has none.
func view(cfg *config.Config, daemon string) *config.Config {
	for _, e := range cfg.Services {
		if filepath.Base(e.Command) == daemon {
			return cfg.Service(e)
		}
	}
	return cfg
}

// bouncer sends notifications through the cleanup service.
func (b *builder) bouncer() *bounce.Bouncer {
	cfg := view(b.config, "bounce")
	log := b.log.With(maillog.Service(cfg.Str("syslog_name") + "/bounce"))
	templates, warnings, err := bounce.LoadTemplates(cfg)
	b.fail(err)
	for _, w := range warnings {
		log.Warn(w)
	}
	return bounce.New(bounce.Options{
		Myhostname:         cfg.Str("myhostname"),
		Myorigin:           cfg.Str("myorigin"),
		MailName:           cfg.Str("mail_name"),
		DoubleBounceSender: cfg.Str("double_bounce_sender"),
		NotifyClasses:      cfg.Strings("notify_classes"),
		BounceNotice:       cfg.Str("bounce_notice_recipient"),
		DoubleBounceNotice: cfg.Str("2bounce_notice_recipient"),
		DelayNotice:        cfg.Str("delay_notice_recipient"),
		SizeLimit:          int64(cfg.Int("bounce_size_limit")),
		QueueLifetime:      cfg.Duration("maximal_queue_lifetime"),
		Templates:          templates,
		Post:               b.post,
		Clock:              b.shared.clock,
		Log:                log,
	})
}

// newManager makes the queue manager.
func (b *builder) newManager() *qmgr.Manager {
	return qmgr.New(qmgr.Options{
		Settings:   qmgr.FromConfig(view(b.config, "qmgr")),
		Queue:      b.shared.queue,
		Resolver:   b.site.Resolver,
		World:      b.world,
		Transports: b.transports(),
		Bouncer:    b.bouncer(),
		Probes:     b.site.Probes,
		Verified:   b.verified,
		Clock:      b.shared.clock,
		Log:        b.log,
		SyslogName: view(b.config, "qmgr").Str("syslog_name"),
	})
}
