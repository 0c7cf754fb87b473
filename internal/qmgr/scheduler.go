package qmgr

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
)

// scheduler decides which batch is delivered next. Each transport has as many
// deliveries at once as master.cf says, each destination as many as it bears.
// Free places go to senders in turn: first within a destination, then among the
// destinations of a transport that have room.
//
// Postfix reaches the same end by letting small jobs preempt large ones.
type scheduler struct {
	clock  clock.Clock
	deadly time.Duration // how long a dead destination stays so
	limits func(transport string) Limits
	room   func(transport string) int // deliveries at once; 0: no limit
	// flushes counts how often mail was to be tried now, dead destinations too.
	flushes func() int64
	// deliver delivers a batch and calls done; each call has a goroutine.
	deliver func(*batch)

	mu      sync.Mutex
	ctx     context.Context // ends when nothing more is to begin
	lanes   map[string]*lane
	serial  uint64
	stopped bool
}

// lane is a transport.
type lane struct {
	limits  Limits
	room    int
	busy    int
	resting bool // between two deliveries (transport_rate_delay)
	dests   map[string]*destination
	swept   int // size of dests at which dead ones are looked through
	ready   readies
	sharing fair
}

// start lets deliveries begin until stop; ctx ends then.
func (s *scheduler) start(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ctx, s.stopped, s.lanes = ctx, false, make(map[string]*lane)
}

// lane returns a transport; s.mu is held.
func (s *scheduler) lane(transport string) *lane {
	l := s.lanes[transport]
	if l == nil {
		l = &lane{limits: s.limits(transport), room: s.room(transport), dests: make(map[string]*destination), swept: 1024}
		s.lanes[transport] = l
	}
	return l
}

// limitsOf returns the limits of a transport.
func (s *scheduler) limitsOf(transport string) Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lane(transport).limits
}

// verdict is what becomes of a batch that was submitted.
type verdict uint8

const (
	queued  verdict = iota // it is delivered when its turn has come
	suspend                // its destination is dead
	dropped                // nothing is delivered any more
)

// submit has a batch delivered when its turn has come. If its destination is
// dead it says why.
func (s *scheduler) submit(b *batch) (verdict, deliver.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return dropped, deliver.Result{}
	}
	l := s.lane(b.transport)
	d := s.destination(l, b.queue)
	if d.dead {
		return suspend, d.why
	}
	s.serial++
	b.dest, b.serial = d, s.serial
	b.turn, b.laneTurn = d.sharing.tag(b.flow), l.sharing.tag(b.flow)
	heap.Push(&d.todo, b)
	l.place(d)
	s.begin(l)
	return queued, deliver.Result{}
}

// destination returns a destination, back from the dead if it is time or somebody
// asks for it.
func (s *scheduler) destination(l *lane, name string) *destination {
	d := l.dests[name]
	now := s.clock.Now()
	if d == nil {
		if len(l.dests) >= l.swept {
			l.sweep(now)
		}
		d = &destination{name: name, lane: l, window: l.limits.Initial, place: -1}
		l.dests[name] = d
	}
	if d.dead && (!now.Before(d.until) || s.flushes() != d.flush) {
		d.dead, d.cohorts, d.success, d.failure = false, 0, 0, 0
		d.window = max(d.busy, l.limits.Initial)
	}
	return d
}

// sweep forgets destinations whose death is over.
func (l *lane) sweep(now time.Time) {
	for name, d := range l.dests {
		if d.dead && d.busy == 0 && !now.Before(d.until) {
			delete(l.dests, name)
		}
	}
	l.swept = max(1024, 2*len(l.dests))
}

// place puts a destination where it belongs: among the ready ones or not.
func (l *lane) place(d *destination) {
	switch ready := d.ready(); {
	case ready && d.place >= 0:
		heap.Fix(&l.ready, d.place)
	case ready:
		heap.Push(&l.ready, d)
	case d.place >= 0:
		heap.Remove(&l.ready, d.place)
	}
	if d.idle() {
		delete(l.dests, d.name)
	}
	if len(l.dests) == 0 {
		l.sharing = fair{}
	}
}

// begin starts deliveries while there is room; s.mu is held.
func (s *scheduler) begin(l *lane) {
	for !s.stopped && !l.resting && len(l.ready) > 0 && (l.room <= 0 || l.busy < l.room) {
		d := heap.Pop(&l.ready).(*destination)
		b := heap.Pop(&d.todo).(*batch)
		d.sharing.served(b.turn)
		l.sharing.served(b.laneTurn)
		d.busy++
		l.busy++
		l.place(d)
		go s.deliver(b)
	}
}

// done ends a delivery. down is the result that says that the destination as a
// whole did not work, nil when it did. It returns the batches that will not be
// delivered because the destination is dead now, and why.
func (s *scheduler) done(b *batch, down *deliver.Result) (orphans []*batch, why deliver.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := b.dest
	l := d.lane
	if down != nil {
		d.failed(*down, s.clock.Now().Add(s.deadly), s.flushes())
	} else {
		d.worked()
	}
	d.busy--
	l.busy--
	if d.dead {
		orphans, why, d.todo = d.todo, d.why, nil
	}
	if l.limits.RateDelay > 0 && !d.dead && !d.resting {
		d.resting = true
		s.later(l.limits.RateDelay, func() { d.resting = false; l.place(d) }, l)
	}
	if l.limits.TransportRateDelay > 0 && !l.resting {
		l.resting = true
		s.later(l.limits.TransportRateDelay, func() { l.resting = false }, l)
	}
	l.place(d)
	s.begin(l)
	return orphans, why
}

// later does something after a pause and goes on with a transport.
func (s *scheduler) later(pause time.Duration, do func(), l *lane) {
	go func() {
		if s.clock.Sleep(s.ctx, pause) != nil {
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		do()
		s.begin(l)
	}()
}

// more reports whether another batch waits for the destination of b.
func (s *scheduler) more(b *batch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(b.dest.todo) > 0
}

// stop keeps anything more from beginning and returns what waits.
func (s *scheduler) stop() (left []*batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for _, l := range s.lanes {
		for _, d := range l.dests {
			left = append(left, d.todo...)
			d.todo = nil
		}
		l.ready = nil
	}
	return left
}
