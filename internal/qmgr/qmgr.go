package qmgr

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"sekisho/internal/bounce"
	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/queue"
	"sekisho/internal/rewrite"
)

// Transport is a delivery service of master.cf.
type Transport struct {
	Agent deliver.Agent
	Log   *slog.Logger // under the agent's name: postfix/virtual, postfix/smtp
	// Processes limits how many deliveries run at once, as master.cf's maxproc
	// column and default_process_limit do; 0 is no limit.
	Processes int
}

// Limits are the parameters that a transport can have of its own
// (TRANSPORT_destination_recipient_limit and so on).
type Limits struct {
	Concurrency int // deliveries at once to one destination; 0 is no limit
	Recipients  int // recipients in one delivery; 0 is no limit
}

// Options are what a Manager works with.
type Options struct {
	Settings
	Queue    *queue.Queue
	Resolver *rewrite.Resolver
	World    *evidence.World
	// Transports are the delivery services by name. "error" and "retry" should
	// be among them; without, their work is done under the name of the manager.
	Transports map[string]Transport
	Bouncer    *bounce.Bouncer
	// Probes resolves the recipients of address probes, as the parameters of
	// address verification say. Verified is told what became of a probe's
	// recipient, under the address that was asked for and under the one that
	// this stands for; it is called when the probe has left the queue.
	Probes   *rewrite.Resolver
	Verified func(original, address string, r deliver.Result)
	Clock    clock.Clock
	// Log writes for all of syslog_name's daemons: the manager chooses
	// SyslogName/qmgr and SyslogName/trivial-rewrite itself.
	Log        *slog.Logger
	SyslogName string
}

// Manager is a queue manager. Make a new one for a new configuration; two may
// run on the same queue while one of them ends.
type Manager struct {
	o          Options
	log        *slog.Logger
	rewriteLog *slog.Logger
	slots      slots
	missing    sync.Map     // transports that do not exist and were warned about
	probes     atomic.Int64 // being delivered
}

// New returns a manager that does nothing until Run.
func New(o Options) *Manager {
	return &Manager{
		o:          o,
		log:        o.Log.With(maillog.Service(o.SyslogName + "/qmgr")),
		rewriteLog: o.Log.With(maillog.Service(o.SyslogName + "/trivial-rewrite")),
		slots:      slots{busy: map[string]*slot{}},
	}
}

// Run works until ctx ends and then waits for the deliveries under way. When
// kill ends these are cut short, and what they had not done is done later. kill
// must not end before ctx.
func (m *Manager) Run(ctx, kill context.Context) {
	var active sync.WaitGroup
	defer active.Wait()
	room := make(chan struct{}, max(m.o.ActiveLimit, 1))
	for {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
			return
		}
		msg, err := m.o.Queue.Next(ctx)
		if err != nil {
			return
		}
		active.Go(func() {
			j := newJob(m, msg)
			j.run(ctx, kill)
			<-room
		})
	}
}

// backoff is how long a message waits that has been in the queue for age.
func (m *Manager) backoff(age time.Duration) time.Duration {
	return max(m.o.MinimalBackoff, min(age, m.o.MaximalBackoff))
}

// logOf is the log of the transport that has delivered.
func (m *Manager) logOf(r deliver.Result, asked Transport) *slog.Logger {
	if t, ok := m.o.Transports[r.Transport]; ok {
		return t.Log
	}
	return asked.Log
}

// logResult writes the line about one recipient in the name of the transport.
func (j *job) logResult(log *slog.Logger, to mail.Recipient, r deliver.Result, t deliver.Times) {
	line := deliver.LogLine(j.env.QueueID, to, r, t, j.m.o.DelayDigits)
	if j.env.Probe {
		line = deliver.ProbeLine(j.env.QueueID, to, r, t, j.m.o.DelayDigits, j.m.o.NegativeCache)
	}
	log.Info(line)
}

// warnMissing says once that a transport does not exist.
func (m *Manager) warnMissing(name string) {
	if _, warned := m.missing.LoadOrStore(name, true); !warned {
		m.log.Warn(fmt.Sprintf("connect to transport private/%s: No such file or directory", name))
	}
}
