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
	sched      *scheduler
	budget     budget
	jobs       sync.WaitGroup
	probes     atomic.Int64 // being delivered

	mu      sync.Mutex
	missing map[string]time.Time // transports that do not exist, and when that was said
}

// New returns a manager that does nothing until Run.
func New(o Options) *Manager {
	m := &Manager{
		o:          o,
		log:        o.Log.With(maillog.Service(o.SyslogName + "/qmgr")),
		rewriteLog: o.Log.With(maillog.Service(o.SyslogName + "/trivial-rewrite")),
		missing:    make(map[string]time.Time),
	}
	m.sched = &scheduler{
		clock: o.Clock, deadly: o.MinimalBackoff, limits: m.limits, flushes: o.Queue.Flushes,
		room:    func(transport string) int { return o.Transports[transport].Processes },
		deliver: func(b *batch) { b.job.deliver(b) },
	}
	m.budget.free = max(o.RecipientLimit, 1)
	return m
}

// limits returns the limits of a transport, when it is used first.
func (m *Manager) limits(transport string) Limits {
	l := m.o.Limits(transport)
	for _, p := range l.Problems {
		m.log.Warn(p)
	}
	return l
}

// Run works until ctx ends and then waits for the deliveries under way. When
// kill ends these are cut short, and what they had not done is done later. kill
// must not end before ctx.
func (m *Manager) Run(ctx, kill context.Context) {
	m.sched.start(ctx)
	defer m.jobs.Wait()
	defer m.stop()
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
		j := newJob(m, msg, ctx, kill)
		if !m.budget.take(ctx, j.weight()) {
			j.putBack()
			return
		}
		m.jobs.Add(1)
		j.ended = func() {
			m.budget.give(j.weight())
			<-room
			m.jobs.Done()
		}
		go j.run()
	}
}

// stop ends what has not begun.
func (m *Manager) stop() {
	for _, b := range m.sched.stop() {
		b.job.release(len(b.indexes))
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

// warnMissing says that a transport does not exist, every transport_retry_time.
func (m *Manager) warnMissing(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.o.Clock.Now()
	if last, warned := m.missing[name]; !warned || now.Sub(last) >= m.o.TransportRetry {
		m.missing[name] = now
		m.log.Warn(fmt.Sprintf("connect to transport private/%s: No such file or directory", name))
	}
}
