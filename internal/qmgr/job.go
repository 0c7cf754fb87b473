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
	m         *Manager
	msg       *queue.Message
	env       *mail.Envelope
	active    time.Time
	seen      bool            // not the first attempt
	ctx, kill context.Context // see Manager.Run
	src       evidence.Source
	ended     func() // when the message has been given back

	mu      sync.Mutex
	results map[int]deliver.Result // of this attempt, by recipient
	unread  []int                  // recipients that were not looked at
	reading bool                   // somebody looks at some
	open    int                    // recipients in batches without an outcome
	damaged error                  // the content cannot be read
}

func newJob(m *Manager, msg *queue.Message, ctx, kill context.Context) *job {
	j := &job{m: m, msg: msg, env: msg.Envelope(), active: m.o.Clock.Now(), ctx: ctx, kill: kill, results: map[int]deliver.Result{}}
	for i, p := range msg.Progress() {
		j.seen = j.seen || p.Told || p.Result != (deliver.Result{})
		if !p.Done() {
			j.unread = append(j.unread, i)
		}
	}
	return j
}

// readAtOnce is how many recipients of one message are worked on at once: a
// quarter of all, so that others have room beside a very large message.
func (j *job) readAtOnce() int { return max(j.m.o.RecipientLimit/4, 1) }

// weight is how much of the limit for recipients the job takes.
func (j *job) weight() int { return min(len(j.env.Recipients), j.readAtOnce()) }

// flow names whom the message shares its turns with: others of the sender. Null
// senders have nothing to do with each other.
func (j *job) flow() string {
	if j.env.Sender == "" {
		return "\x00" + j.env.QueueID
	}
	return j.env.Sender
}

// run begins to deliver the message. The end is complete's.
func (j *job) run() {
	j.m.log.Info(fmt.Sprintf("%s: from=<%s>, size=%d, nrcpt=%d (queue active)",
		j.env.QueueID, mail.Quote(j.env.Sender), j.env.Size, len(j.unread)+j.env.Redirected))
	if j.env.Probe {
		j.m.probes.Add(1)
	}
	j.src = evidence.NewSession(j.kill, j.m.o.World)
	if j.msg.Expired() {
		j.unread = nil // returned without another attempt
	}
	j.release(0)
}

// release takes recipients from those under way. When few are left it looks at
// more, and when there are none it completes the job. Whoever looks at some counts
// as one himself.
func (j *job) release(n int) {
	for {
		j.mu.Lock()
		j.open -= n
		if j.ctx.Err() != nil {
			j.unread = nil // they stay as they are
		}
		chunk := j.chunk()
		if chunk != nil {
			j.reading = true
			j.open++
		}
		last := j.open == 0
		j.mu.Unlock()
		switch {
		case chunk != nil:
			j.read(chunk)
			n = 1
		case last:
			j.complete()
			return
		default:
			return
		}
	}
}

// chunk takes the next recipients that are to be looked at; j.mu is held.
func (j *job) chunk() []int {
	most := j.readAtOnce()
	if len(j.unread) == 0 || j.reading || j.open > most/2 {
		return nil
	}
	n := min(len(j.unread), most-j.open)
	chunk := j.unread[:n]
	j.unread = j.unread[n:]
	return chunk
}

// read finds the ways of recipients and has them delivered.
func (j *job) read(chunk []int) {
	list := j.batches(j.src, chunk)
	j.mu.Lock()
	for _, b := range list {
		j.open += len(b.indexes)
	}
	j.mu.Unlock()
	for _, b := range list {
		j.submit(b)
	}
	j.mu.Lock()
	j.reading = false
	j.mu.Unlock()
}

// submit hands a batch to the scheduler.
func (j *job) submit(b *batch) {
	switch v, why := j.m.sched.submit(b); v {
	case suspend:
		j.suspend(b, why)
	case dropped:
		j.release(len(b.indexes))
	}
}

// suspend has a batch for a dead destination put off, by the retry transport as
// in Postfix.
func (j *job) suspend(b *batch, why deliver.Result) {
	b.transport, b.nexthop = retryTransport, why.DSN+" delivery temporarily suspended: "+why.Text
	b.queue = b.nexthop
	j.submit(b)
}

// complete is the end of the attempt, when all recipients have been tried.
func (j *job) complete() {
	defer j.ended()
	if j.env.Probe {
		defer j.m.probes.Add(-1)
	}
	switch {
	case j.damaged != nil:
		j.msg.SetAside(j.damaged)
	case j.env.Probe:
		j.finishProbe(j.kill)
	default:
		j.finish(j.ctx, j.kill)
	}
}

// putBack gives back a message that nothing was done about.
func (j *job) putBack() {
	if err := j.msg.Defer(j.m.o.Clock.Now(), nil); err != nil {
		j.m.log.Error(err.Error())
	}
}

// deliver delivers a batch whose turn has come.
func (j *job) deliver(b *batch) {
	m := j.m
	t, exists := m.transport(b)
	req := &deliver.Request{
		QueueID: j.env.QueueID, Envelope: j.env, Recipients: b.recipients,
		Nexthop: b.nexthop, Size: j.msg.Size(), Content: j.content, Probe: j.env.Probe,
		More: func() bool { return m.sched.more(b) },
	}
	times := deliver.Times{Arrived: j.env.Arrived, Active: j.active, Handoff: m.o.Clock.Now()}
	var results []deliver.Result
	switch {
	case exists:
		results = t.Agent.Deliver(j.kill, req)
	case b.transport == retryTransport:
		dsn, text := deliver.SplitStatus(b.nexthop, "4.3.0")
		results = req.Defer(dsn, "none", text)
	default:
		m.warnMissing(b.transport)
		results = req.Defer("4.3.0", "none", "mail transport unavailable")
	}
	orphans, why := m.sched.done(b, down(results))
	j.done(b, t, times, results)
	for _, o := range orphans {
		o.job.suspend(o, why)
	}
	j.release(len(b.indexes))
}

// down returns the result that says that the whole destination is in trouble.
func down(results []deliver.Result) *deliver.Result {
	for i := range results {
		if results[i].Down && results[i].Status == deliver.Deferred {
			return &results[i]
		}
	}
	return nil
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
	others := j.open - len(outcomes)
	if j.reading {
		others--
	}
	if (others > 0 || len(j.unread) > 0) && j.damaged == nil {
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
	j.mu.Lock()
	j.results[i] = r
	j.mu.Unlock()
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
