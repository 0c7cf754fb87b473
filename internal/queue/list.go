package queue

import (
	"errors"
	"fmt"
	"sort"
	"time"
)

// Info is what a listing says about one message.
type Info struct {
	Message *Message  // as it was at that moment; only to be looked at
	Due     time.Time // when it is tried next
	Held    bool
	Active  bool // claimed: being delivered now
}

// ErrBusy is the error of Hold and Release for a message that is being
// delivered, or is not in the queue.
var ErrBusy = errors.New("not waiting in the queue")

// List returns all messages, in order of arrival.
func (q *Queue) List() []Info {
	list := q.snapshot()
	found := list[:0]
	for _, s := range list {
		m, err := q.load(s.id, false)
		if err != nil {
			continue // gone by now, or found damaged when it is due
		}
		s.info.Message = m
		found = append(found, s)
	}
	sort.SliceStable(found, func(i, j int) bool {
		return found[i].info.Message.env.Arrived.Before(found[j].info.Message.env.Arrived)
	})
	infos := make([]Info, len(found))
	for i, s := range found {
		infos[i] = s.info
	}
	return infos
}

type listed struct {
	id    string
	order uint64
	info  Info
}

func (q *Queue) snapshot() []listed {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]listed, 0, len(q.entries))
	for id, e := range q.entries {
		list = append(list, listed{id, e.order, Info{Due: e.due, Held: e.held, Active: e.index < 0 && !e.held}})
	}
	sort.Slice(list, func(i, j int) bool { return list[i].order < list[j].order })
	return list
}

// Hold keeps a waiting message from being delivered, durably, until Release.
func (q *Queue) Hold(id string) error { return q.setHeld(id, true) }

// Release makes a held message due now.
func (q *Queue) Release(id string) error { return q.setHeld(id, false) }

func (q *Queue) setHeld(id string, held bool) error {
	if !q.take(id, !held) {
		return fmt.Errorf("%s: %w", id, ErrBusy)
	}
	now := q.clock.Now()
	m, err := q.load(id, true)
	if err == nil {
		err = m.append(update{Held: &held, Until: &now})
	}
	if err != nil {
		q.giveBack(id, now.Add(retryLoad), !held)
		return fmt.Errorf("%s: %w", id, err)
	}
	q.giveBack(id, now, held)
	return nil
}

// take claims a message out of turn, if it is held as the caller expects.
func (q *Queue) take(id string, held bool) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	e := q.entries[id]
	if e == nil || e.held != held || (!held && e.index < 0) {
		return false
	}
	if held {
		e.held = false // claimed until given back
	} else {
		q.due.remove(e)
	}
	return true
}
