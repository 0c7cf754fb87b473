package evidence

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
)

// World is where live answers come from. Its fields are set once; all of them
// must be safe for concurrent use.
type World struct {
	// Query asks the DNS for records of one type.
	Query func(ctx context.Context, name, typ string) dns.Answer
	// Host asks for a host's addresses as the system resolver does: those of
	// the types given ("A", "AAAA"), of both if there is none.
	Host func(ctx context.Context, name string, types ...string) dns.Answer
	// Lookup asks a table.
	Lookup func(table, key string) (value string, found bool, err error)
	// Policy asks a policy service; nil: there is none.
	Policy func(ctx context.Context, service, request string) Answer
	// Verify tells whether an address can get mail, as the Value of an answer
	// says it, and why. It may wait for a probe. Empty: verification itself
	// fails. Nil: nobody knows.
	Verify func(ctx context.Context, addr string) (outcome, reason string)
	Clock  clock.Clock
}

// keep is how long a session keeps a temporary failure before it asks again.
const keep = time.Minute

// maxKept bounds what one session remembers.
const maxKept = 1000

// Session is the live Source of one SMTP session. DNS answers are kept for the
// session, as Postfix keeps those of block lists; tables are asked each time.
// It is safe for concurrent use.
type Session struct {
	world *World
	ctx   context.Context

	mu      sync.Mutex
	arrived *sync.Cond // an answer has come
	answers map[Question]*entry
}

type entry struct {
	done     chan struct{} // closed when answer is there
	answer   Answer
	repeated bool
}

// NewSession returns a Source that asks w until ctx ends.
func NewSession(ctx context.Context, w *World) *Session {
	s := &Session{world: w, ctx: ctx}
	s.arrived = sync.NewCond(&s.mu)
	return s
}

// Begin starts a new command: what is known from here on counts as repeated,
// and old temporary failures are forgotten.
func (s *Session) Begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) > maxKept {
		s.answers = nil
	}
	now := s.world.Clock.Now()
	for q, e := range s.answers {
		if !e.isDone() {
			continue
		}
		e.repeated = true
		if e.answer.Status.Temporary() && now.Sub(e.answer.Asked) > keep {
			delete(s.answers, q)
		}
	}
}

func (e *entry) isDone() bool {
	select {
	case <-e.done:
		return true
	default:
		return false
	}
}

func (e *entry) read() Answer {
	a := e.answer
	a.Repeated = e.repeated
	return a
}

// Ask answers q, waiting for the network if it must.
func (s *Session) Ask(q Question) Answer {
	if !q.Ahead() {
		return s.now(q)
	}
	e := s.start(q)
	<-e.done
	s.mu.Lock()
	defer s.mu.Unlock()
	return e.read()
}

// Peek is a Source that never waits for the DNS: what has no answer yet is
// Unknown. It does not ask anybody who would notice the question.
func (s *Session) Peek() Source { return SourceFunc(s.peek) }

func (s *Session) peek(q Question) Answer {
	if q.Kind == Table || q.Kind == Clock {
		return s.now(q)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.answers[q]; e != nil && e.isDone() {
		return e.read()
	}
	return Answer{}
}

// Start asks all questions at once that may be asked ahead, and does not wait.
func (s *Session) Start(qs []Question) {
	for _, q := range qs {
		if q.Ahead() {
			s.start(q)
		}
	}
}

// Await waits until one of the questions that Start has asked has an answer that
// is news, or all have one. The index that news gets is that in qs.
func (s *Session) Await(qs []Question, news func(i int, a Answer) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.pending(qs, news) {
		s.arrived.Wait()
	}
}

// pending reports whether there is no news, and still may be.
func (s *Session) pending(qs []Question, news func(i int, a Answer) bool) bool {
	open := false
	for i, q := range qs {
		switch e := s.answers[q]; {
		case e == nil:
		case !e.isDone():
			open = true
		case news(i, e.answer):
			return false
		}
	}
	return open
}

func (s *Session) start(q Question) *entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.answers[q]; e != nil {
		return e
	}
	e := &entry{done: make(chan struct{})}
	if s.answers == nil {
		s.answers = make(map[Question]*entry, 8)
	}
	s.answers[q] = e
	go func() {
		a := s.resolve(q)
		s.mu.Lock()
		defer s.mu.Unlock()
		e.answer = a
		close(e.done)
		s.arrived.Broadcast()
	}()
	return e
}

func (s *Session) resolve(q Question) Answer {
	if q.Kind == Host {
		return FromDNS(s.world.Host(s.ctx, q.Arg, strings.Fields(q.Name)...))
	}
	return FromDNS(s.world.Query(s.ctx, q.Arg, q.Name))
}

// now answers what is asked anew each time.
func (s *Session) now(q Question) Answer {
	switch q.Kind {
	case Table:
		return s.table(q)
	case Verify:
		return s.verify(q)
	case Clock:
		return Answer{Status: Found, Asked: s.world.Clock.Now()}
	case Sleep:
		return s.sleep(q)
	case Policy:
		if s.world.Policy == nil {
			return Answer{Status: Failed, Reason: "no policy service can be asked here"}
		}
		return s.world.Policy(s.ctx, q.Name, q.Arg)
	}
	return Answer{Status: Failed, Reason: "no such question"}
}

// maxSleep is the longest sleep in seconds; more would be no number of
// nanoseconds.
const maxSleep = 1 << 31

func (s *Session) sleep(q Question) Answer {
	n, err := strconv.Atoi(q.Arg)
	if err != nil || n > maxSleep {
		n = maxSleep
	}
	begun := s.world.Clock.Now()
	if err := s.world.Clock.Sleep(s.ctx, time.Duration(n)*time.Second); err != nil {
		return Answer{Status: Failed, Reason: err.Error()}
	}
	return Answer{Status: Found, Asked: begun, Took: s.world.Clock.Now().Sub(begun)}
}

func (s *Session) table(q Question) Answer {
	v, ok, err := s.world.Lookup(q.Name, q.Arg)
	switch {
	case err != nil:
		var p interface{ Permanent() bool }
		return Answer{Status: Failed, Reason: err.Error(), Permanent: errors.As(err, &p) && p.Permanent()}
	case !ok:
		return Answer{Status: NotFound}
	}
	return Answer{Status: Found, Value: v}
}

// verify is asked anew each time: a probe may have come back.
func (s *Session) verify(q Question) Answer {
	if s.world.Verify == nil {
		return Answer{Status: Failed, Reason: "no address verification here"}
	}
	outcome, reason := s.world.Verify(s.ctx, q.Arg)
	if outcome == "" {
		return Answer{Status: Failed, Reason: reason, Asked: s.world.Clock.Now()}
	}
	return Answer{Status: Found, Value: outcome, Reason: reason, Asked: s.world.Clock.Now()}
}

// FromDNS turns a resolver's answer into evidence.
func FromDNS(a dns.Answer) Answer {
	return Answer{
		Status: dnsStatus(a.Outcome), Records: a.Records, Reason: a.Reason, Warnings: a.Warnings,
		TTL: a.TTL, Asked: a.Asked, Took: a.Took,
	}
}

func dnsStatus(o dns.Outcome) Status {
	switch o {
	case dns.Success:
		return Found
	case dns.NXDomain:
		return NotFound
	case dns.NoData:
		return NoData
	case dns.ServFail:
		return ServFail
	case dns.Timeout:
		return Timeout
	case dns.Refused:
		return Refused
	case dns.Malformed:
		return Malformed
	}
	return Failed
}
