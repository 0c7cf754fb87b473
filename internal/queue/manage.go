package queue

import (
	"errors"
	"fmt"
	"strings"

	"sekisho/internal/mail"
)

// ErrNotFound is the error for a message that is not in the queue.
var ErrNotFound = errors.New("not in the queue")

// ErrNotHeld is the error of Release for a message that is not on hold.
var ErrNotHeld = errors.New("not on hold")

// Hold keeps a message from being delivered, durably, until Release. One that
// is being delivered is kept when this attempt has ended.
func (q *Queue) Hold(id string) error {
	held := true
	return q.change(id, update{Held: &held}, nil, func(e *entry) {
		e.held = true
		if e.index >= 0 {
			q.due.remove(e)
		}
	})
}

// Release makes a held message due now.
func (q *Queue) Release(id string) error {
	return q.requeue(id, func(e *entry) error {
		if !e.held {
			return ErrNotHeld
		}
		return nil
	})
}

// Requeue makes a message due now, durably, whether it waits or is on hold.
func (q *Queue) Requeue(id string) error { return q.requeue(id, nil) }

func (q *Queue) requeue(id string, allowed func(*entry) error) error {
	held, now := false, q.clock.Now()
	return q.change(id, update{Held: &held, Until: &now}, allowed, func(e *entry) {
		e.held = false
		if e.claimed {
			return // it is tried right now
		}
		if e.index >= 0 {
			q.due.move(e, nanos(now))
		} else {
			e.due = nanos(now)
		}
		q.enter(e)
		q.announce()
	})
}

// Expire has a message returned to its sender at the next attempt, as if it had
// been in the queue for too long.
func (q *Queue) Expire(id string) error {
	return q.change(id, update{Expired: true}, nil, func(*entry) {})
}

// Delete takes a message out of the queue. If it is being delivered, deliveries
// that have its content already go on.
func (q *Queue) Delete(id string) error {
	e := q.find(id)
	if e == nil {
		return fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	if err := q.discard(e); err != nil {
		return fmt.Errorf("%s: delete: %w", id, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.index >= 0 {
		q.due.remove(e)
	}
	if e.claimed { // its id is in use until it is given back
		e.deleted = true
	} else if q.entries[id] == e {
		delete(q.entries, id)
	}
	return nil
}

// change records an update of a message that anybody may have claimed, and then
// does to its entry what follows; the queue's mutex is held meanwhile.
func (q *Queue) change(id string, u update, allowed func(*entry) error, then func(*entry)) error {
	e := q.find(id)
	if e == nil {
		return fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	if allowed != nil {
		q.mu.Lock()
		err := allowed(e)
		q.mu.Unlock()
		if err != nil {
			return fmt.Errorf("%s: %w", id, err)
		}
	}
	if err := q.record(e, u); err != nil {
		return fmt.Errorf("%s: %w", id, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	then(e)
	return nil
}

// Flushes returns how often somebody has asked for mail to be tried now: what
// was known about destinations that do not work is to be forgotten then.
func (q *Queue) Flushes() int64 { return q.flushes.Load() }

// Flush makes all messages due now that are neither held nor claimed.
func (q *Queue) Flush() {
	q.flushes.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	now := nanos(q.clock.Now())
	for _, e := range q.entries {
		q.hasten(e, now)
	}
	q.announce()
}

// FlushMessage makes one message due now, if it is neither held nor claimed.
func (q *Queue) FlushMessage(id string) error {
	q.flushes.Add(1)
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil {
		return fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	q.hasten(e, nanos(q.clock.Now()))
	q.announce()
	return nil
}

// FlushSite makes the messages due now that wait for a recipient in a domain,
// and returns how many there are.
func (q *Queue) FlushSite(domain string) int {
	n := 0
	for i := range q.All() {
		if !i.Held && !i.Active && i.waitsFor(domain) && q.FlushMessage(i.Message.e.id) == nil {
			n++
		}
	}
	return n
}

// waitsFor reports whether a recipient in the domain is still to be tried.
func (i Info) waitsFor(domain string) bool {
	for n, p := range i.Message.progress {
		_, d, _ := mail.SplitAddress(i.Message.env.Recipients[n].Address)
		if !p.Done() && strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}

// hasten makes a waiting message due now; q.mu is held.
func (q *Queue) hasten(e *entry, now int64) {
	e.hint = false // it is to be tried whatever its file says
	if e.index >= 0 && e.due > now {
		q.due.move(e, now)
	}
}
