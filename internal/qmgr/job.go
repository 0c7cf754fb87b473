package qmgr

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"sekisho/internal/bounce"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

// job is one message being delivered.
type job struct {
	m      *Manager
	msg    *queue.Message
	env    *mail.Envelope
	active time.Time
	seen   bool // not the first attempt

	mu      sync.Mutex
	results map[int]deliver.Result // of this attempt, by recipient
	open    int                    // batches without an outcome
	damaged error                  // the content cannot be read
}

func newJob(m *Manager, msg *queue.Message) *job {
	j := &job{m: m, msg: msg, env: msg.Envelope(), active: m.o.Clock.Now(), results: map[int]deliver.Result{}}
	for _, p := range msg.Progress() {
		j.seen = j.seen || p.Told || p.Result != (deliver.Result{})
	}
	return j
}

// run delivers the message as far as it can be and gives it back.
func (j *job) run(ctx, kill context.Context) {
	j.m.log.Info(fmt.Sprintf("%s: from=<%s>, size=%d, nrcpt=%d (queue active)",
		j.env.QueueID, mail.Quote(j.env.Sender), j.env.Size, len(j.pending())+j.env.Redirected))
	if j.env.Probe {
		j.m.probes.Add(1)
		defer j.m.probes.Add(-1)
	}
	src := evidence.NewSession(kill, j.m.o.World)
	batches := j.batches(src, j.pending())
	j.open = len(batches)
	var all sync.WaitGroup
	for _, b := range batches {
		all.Go(func() { j.batch(ctx, kill, b) })
	}
	all.Wait()
	if j.damaged != nil {
		j.msg.SetAside(j.damaged)
		return
	}
	if j.env.Probe {
		j.finishProbe(kill)
		return
	}
	j.finish(ctx, kill)
}

// pending are the recipients that are not done.
func (j *job) pending() []int {
	var list []int
	for i, p := range j.msg.Progress() {
		if !p.Done() {
			list = append(list, i)
		}
	}
	return list
}

// batch delivers one batch when there is room for it. Without an outcome, its
// recipients stay as they are.
func (j *job) batch(ctx, kill context.Context, b *batch) {
	m := j.m
	t, exists := m.transport(b)
	limit := m.o.Limits(b.transport).Concurrency
	name := b.transport + "\x00" + b.queue
	if m.slots.take(ctx, name, limit) != nil {
		return
	}
	defer m.slots.give(name, limit)
	if m.slots.take(ctx, b.transport, t.Processes) != nil {
		return
	}
	defer m.slots.give(b.transport, t.Processes)
	req := &deliver.Request{
		QueueID: j.env.QueueID, Envelope: j.env, Recipients: b.recipients,
		Nexthop: b.nexthop, Size: j.msg.Size(), Content: j.content, Probe: j.env.Probe,
		More: func() bool { return m.slots.wanted(name) },
	}
	times := deliver.Times{Arrived: j.env.Arrived, Active: j.active, Handoff: m.o.Clock.Now()}
	if !exists {
		m.warnMissing(b.transport)
		j.done(b, t, times, req.Defer("4.3.0", "none", "mail transport unavailable"))
		return
	}
	j.done(b, t, times, t.Agent.Deliver(kill, req))
}

// transport returns the service that delivers a batch, or the one that defers
// it.
func (m *Manager) transport(b *batch) (t Transport, exists bool) {
	if t, exists = m.o.Transports[b.transport]; exists {
		return t, true
	}
	if t, ok := m.o.Transports[retryTransport]; ok {
		return t, false
	}
	return Transport{Log: m.log}, false
}

// done logs the outcomes of a batch and takes them down, unless it was the
// last: then finish does.
func (j *job) done(b *batch, t Transport, times deliver.Times, results []deliver.Result) {
	times.Done = j.m.o.Clock.Now()
	outcomes := make([]deliver.Result, len(b.indexes))
	for i := range outcomes {
		outcomes[i] = deliver.Result{DSN: "4.3.0", Relay: "none", Text: "unknown mail transport error"} // the agent said nothing
	}
	for _, r := range results {
		outcomes[r.Recipient] = r
	}
	for i := range outcomes {
		r := &outcomes[i]
		if j.m.o.SoftBounce && !j.env.Probe {
			soften(r)
			if r.Expansion != nil {
				for k := range r.Expansion.Parts {
					soften(&r.Expansion.Parts[k].Result)
				}
			}
		}
		r.Recipient = b.indexes[i]
		r.Each(b.recipients[i], func(p deliver.Part) { j.logResult(j.m.logOf(p.Result, t), p.To, p.Result, times) })
	}
	j.collect(outcomes)
}

// soften makes a failure temporary (soft_bounce).
func soften(r *deliver.Result) {
	if r.Status == deliver.Bounced {
		r.Status, r.DSN, r.SoftBounced = deliver.Deferred, "4"+strings.TrimPrefix(r.DSN, "5"), true
	}
}

func (j *job) collect(outcomes []deliver.Result) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, r := range outcomes {
		j.results[r.Recipient] = r
	}
	j.open--
	if j.open > 0 && j.damaged == nil {
		if err := j.msg.Record(outcomes); err != nil {
			j.m.log.Error(err.Error()) // finish tries again
		}
	}
}

// discarded is a recipient that nobody reads: the sender of our own bounces.
func (j *job) discarded(i int, to mail.Recipient) {
	r := deliver.Result{Recipient: i, Status: deliver.Sent, DSN: "2.0.0", Relay: "none",
		Text: "undeliverable postmaster notification discarded"}
	j.logResult(j.m.log, to, r,
		deliver.Times{Arrived: j.env.Arrived, Active: j.active, Done: j.m.o.Clock.Now()})
	j.results[i] = r
}

// content opens the message and remembers when it turns out to be damaged.
func (j *job) content() (io.ReadCloser, error) {
	r, err := j.msg.Open()
	if err != nil {
		j.watch(err)
		return nil, err
	}
	return &watched{r, j}, nil
}

// watch remembers an error that says the content is damaged.
func (j *job) watch(err error) {
	if errors.Is(err, queue.ErrDamaged) {
		j.mu.Lock()
		j.damaged = err
		j.mu.Unlock()
	}
}

// watched is content that tells its job of damage.
type watched struct {
	io.ReadCloser
	j *job
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if err != nil {
		w.j.watch(err)
	}
	return n, err
}

// entries are the recipients, with their latest outcome, that want says.
func (j *job) entries(want func(i int, r deliver.Result, told bool) bool) (list []bounce.Entry, indexes []int) {
	for i, p := range j.msg.Progress() {
		r, tried := j.results[i]
		if !tried {
			r = p.Result
		}
		if want(i, r, p.Told) {
			list = append(list, entriesOf(j.env.Recipients[i], r)...)
			indexes = append(indexes, i)
		}
	}
	return list, indexes
}

// entriesOf is what there is to tell about a recipient: of one that stood for
// others, which of them failed, or that it was expanded.
func entriesOf(to mail.Recipient, r deliver.Result) (list []bounce.Entry) {
	if r.Status == deliver.Sent {
		return []bounce.Entry{{Recipient: to, Result: r}}
	}
	r.Each(to, func(p deliver.Part) {
		if p.Result.Status != deliver.Sent {
			list = append(list, bounce.Entry{Recipient: p.To, Result: p.Result, Owner: p.Owner})
		}
	})
	return list
}
