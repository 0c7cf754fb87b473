package queue

import (
	"fmt"
	"iter"
	"sort"
	"time"
)

// Info is what a listing says about one message. The last answer for each
// recipient is in Message.Progress.
type Info struct {
	Message *Message  // as it was at that moment; only to be looked at
	Due     time.Time // when it is tried next
	Held    bool
	Active  bool // claimed: being delivered now
}

// All yields every message that was in the queue when the loop began and still
// is, in no order. One at a time is in memory.
func (q *Queue) All() iter.Seq[Info] {
	return func(yield func(Info) bool) {
		for _, e := range q.all() {
			if i, err := q.info(e); err == nil && !yield(i) {
				return
			}
		}
	}
}

// List returns all messages, in order of arrival.
func (q *Queue) List() []Info {
	var list []Info
	for i := range q.All() {
		list = append(list, i)
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i].Message, list[j].Message
		if !a.env.Arrived.Equal(b.env.Arrived) {
			return a.env.Arrived.Before(b.env.Arrived)
		}
		return a.e.order < b.e.order
	})
	return list
}

// Show returns one message. The error is ErrNotFound when it is not in the
// queue, ErrDamaged when it cannot be read.
func (q *Queue) Show(id string) (Info, error) {
	e := q.find(id)
	if e == nil {
		return Info{}, fmt.Errorf("%s: %w", id, ErrNotFound)
	}
	return q.info(e)
}

func (q *Queue) info(e *entry) (Info, error) {
	m, err := q.load(e, false) // a damaged one is found when it is due
	if err != nil {
		return Info{}, fmt.Errorf("%s: %w", e.id, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	i := Info{Message: m, Due: time.Unix(0, e.due), Held: e.held, Active: e.claimed}
	if e.hint && m.until.After(i.Due) {
		i.Due = m.until
	}
	return i, nil
}

// hintOf is what the file's time should say of a message.
func (q *Queue) hintOf(e *entry) time.Time {
	q.mu.Lock()
	defer q.mu.Unlock()
	if e.held {
		return heldTime
	}
	return time.Unix(0, e.due)
}
