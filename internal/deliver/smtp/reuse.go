package smtp

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/evidence"
)

// pool keeps connections open between deliveries, as scache(8) does, and knows
// which destinations are busy enough for that. The zero pool is empty. It is
// safe for concurrent use.
type pool struct {
	mu     sync.Mutex
	hosts  map[string][]*session // by host and what else must be the same, latest last
	dests  map[string][]*session // by next hop, latest last
	demand map[string]*demand

	closed  bool
	stop    context.CancelFunc // ends the cleaner; nil when there is none
	cleaner sync.WaitGroup
}

// demand is how busy a destination is.
type demand struct {
	busy        int
	done        int64 // Unix time when a delivery last ended
	load, store bool
}

// manyDemands is how many destinations are remembered before quiet ones are
// forgotten.
const manyDemands = 1000

// begin tells whether a delivery should look for an open connection, and
// whether it should leave one. Connections are kept for a destination that gets
// one delivery after the other (qmgr_entry_select).
func (p *pool) begin(dest string, now time.Time) (load, store bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.demand[dest]
	if d == nil {
		if len(p.demand) >= manyDemands {
			p.forget(now)
		}
		if p.demand == nil {
			p.demand = make(map[string]*demand)
		}
		d = &demand{}
		p.demand[dest] = d
	}
	d.busy++
	backToBack := d.done+1 >= now.Unix()
	switch {
	case !d.store && backToBack:
		d.load, d.store = true, true
	case d.store && !backToBack && d.busy <= 1:
		d.store = false
	}
	return d.load, d.store
}

// end tells that a delivery is over, and whether more of them wait. A
// destination that has no more mail is forgotten, as the queue manager of Postfix
// forgets its queue: messages that come one by one each get a connection.
func (p *pool) end(dest string, now time.Time, more bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.demand[dest]
	if d == nil {
		return
	}
	d.busy--
	d.done = now.Unix()
	if d.busy == 0 && !more {
		delete(p.demand, dest)
	}
}

// forget drops destinations that are quiet; p.mu is held.
func (p *pool) forget(now time.Time) {
	for name, d := range p.demand {
		if d.busy == 0 && d.done+1 < now.Unix() {
			delete(p.demand, name)
		}
	}
}

// put keeps a session for at most keep. Without a pool any more, it is closed.
func (p *pool) put(s *session, keep time.Duration, c clock.Clock) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.conn.Close()
		return
	}
	if p.hosts == nil {
		p.hosts, p.dests = make(map[string][]*session), make(map[string][]*session)
	}
	s.idleUntil = c.Now().Add(keep)
	p.hosts[s.hostKey] = append(p.hosts[s.hostKey], s)
	if s.destKey != "" {
		p.dests[s.destKey] = append(p.dests[s.destKey], s)
	}
	if p.stop == nil {
		var ctx context.Context
		ctx, p.stop = context.WithCancel(context.Background())
		p.cleaner.Go(func() { p.clean(ctx, c) })
	}
}

// byHost takes the latest connection to a host, nil when there is none.
func (p *pool) byHost(key string, now time.Time) *session { return p.take(&p.hosts, key, now) }

// byDest takes the latest connection that was left for a next hop.
func (p *pool) byDest(key string, now time.Time) *session { return p.take(&p.dests, key, now) }

func (p *pool) take(from *map[string][]*session, key string, now time.Time) *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := (*from)[key]
	if len(list) == 0 || !now.Before(list[len(list)-1].idleUntil) {
		return nil
	}
	s := list[len(list)-1]
	p.drop(s)
	return s
}

// drop takes a session out of the lists; p.mu is held.
func (p *pool) drop(s *session) {
	remove := func(m map[string][]*session, key string) {
		list := m[key]
		for i, o := range list {
			if o == s {
				list = append(list[:i], list[i+1:]...)
				break
			}
		}
		if len(list) == 0 {
			delete(m, key)
			return
		}
		m[key] = list
	}
	remove(p.hosts, s.hostKey)
	remove(p.dests, s.destKey)
}

// clean closes connections when their time is over, until none is left.
func (p *pool) clean(ctx context.Context, c clock.Clock) {
	for {
		wait, any := p.expire(c.Now())
		if !any || c.Sleep(ctx, wait) != nil {
			return
		}
	}
}

// expire closes what was kept long enough and tells how long the next one may
// stay. When there is none, the cleaner ends.
func (p *pool) expire(now time.Time) (wait time.Duration, any bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	var old []*session
	for _, list := range p.hosts {
		for _, s := range list {
			left := s.idleUntil.Sub(now)
			switch {
			case left <= 0:
				old = append(old, s)
			case !any || left < wait:
				wait, any = left, true
			}
		}
	}
	for _, s := range old {
		p.drop(s)
		s.conn.Close()
	}
	if !any {
		p.stop()
		p.stop = nil
	}
	return wait, any
}

// Close closes the connections that are kept, and those that would be kept from
// now on.
func (a *Agent) Close() error {
	p := &a.pool
	p.mu.Lock()
	p.closed = true
	for _, list := range p.hosts {
		for _, s := range list {
			s.conn.Close()
		}
	}
	p.hosts, p.dests = nil, nil
	if p.stop != nil {
		p.stop()
	}
	p.mu.Unlock()
	p.cleaner.Wait()
	return nil
}

// policy finds out whether this delivery uses open connections and leaves them
// (smtp_cache_policy).
func (d *delivery) policy(domain string) {
	always, err := d.a.cached(domain)
	if err != nil {
		d.a.Log.Warn(d.r.QueueID + ": " + err.Error())
	}
	d.load, d.store = always, always
	if !always && d.a.CacheOnDemand {
		d.load, d.store = d.loadOnDemand, d.storeOnDemand
	}
	d.named = d.load || d.store
}

// cached reports whether connections to a destination are always kept.
func (a *Agent) cached(domain string) (bool, error) {
	if a.CacheDestinations == nil {
		return false, nil
	}
	r := a.CacheDestinations.MatchString(evidence.NewSession(context.Background(), a.World), domain)
	if r.Failed {
		return false, fmt.Errorf("%s map lookup problem for %s", params{lmtp: a.LMTP}.name("smtp_connection_cache_destinations"), domain)
	}
	return r.Match, nil
}

// destKey is what two deliveries must have in common to share a connection that
// was left for the next hop.
func (d *delivery) destKey() string {
	return strings.Join([]string{d.senderKey(), d.r.Nexthop, d.utf8Key(), d.requireTLSKey()}, "\n")
}

// hostKey is what must be the same for a connection to a host to be used again.
func (s *session) key() string {
	d := s.d
	parts := []string{d.senderKey(), s.host.addr, strconv.Itoa(s.port), s.tls.level.String(), d.utf8Key(), d.requireTLSKey()}
	if s.tls.level.mustMatch() || d.a.SASL != nil {
		parts = append(parts, d.site, s.host.name)
	}
	return strings.Join(parts, "\n")
}

// senderKey is the sender where logins depend on him.
func (d *delivery) senderKey() string {
	if d.a.SASL != nil && d.a.SASL.SenderDependent {
		return d.r.Envelope.Sender
	}
	return ""
}

func (d *delivery) requireTLSKey() string { return strconv.Itoa(int(d.requireTLS)) }

func (d *delivery) utf8Key() string {
	if d.needsUTF8() {
		return "utf8"
	}
	return ""
}

// reuse takes over a connection that was kept, if it still works.
func (d *delivery) reuse(ctx context.Context, s *session) bool {
	s.d, s.ctx, s.reused = d, ctx, s.reused+1
	s.used, s.throttled = time.Time{}, false
	s.watch()
	t := &dialogue{session: s}
	if !t.run(probe) || s.rsetRejected {
		s.close()
		return false
	}
	d.usedHosts[s.host.addr] = true
	return true
}

// settle ends a delivery's use of a session: it is kept, or closed.
func (s *session) settle() {
	d := s.d
	if s.expired() {
		s.quit()
	}
	d.connected, d.uses = time.Time{}, 0
	named := d.named
	if !s.throttled {
		d.named = false
	}
	if !s.cacheable() || s.broken {
		s.close()
		return
	}
	s.destKey, s.hostKey = "", s.key()
	if named {
		s.destKey = d.destKey()
	}
	s.stop()
	s.d, s.ctx = nil, nil
	d.a.pool.put(s, d.a.CacheTime, d.a.Clock)
}

// cacheable reports whether the session may be kept for other deliveries.
func (s *session) cacheable() bool { return !s.expires.IsZero() }

// dontCache: something happened after which the session is not used again.
func (s *session) dontCache() { s.expires = time.Time{} }

// expired: the session has served long or often enough.
func (s *session) expired() bool {
	a := s.d.a
	return s.cacheable() && (a.Clock.Now().After(s.expires) || a.ReuseCount > 0 && s.reused >= a.ReuseCount)
}
