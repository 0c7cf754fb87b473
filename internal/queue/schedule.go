package queue

import (
	"container/heap"
	"sync"
	"time"
)

// entry is what is kept in memory of one message. There may be millions.
type entry struct {
	id string

	// Guarded by the queue's mutex.
	due     int64  // in nanoseconds since 1970
	order   uint64 // of arrival, among equal times
	index   int32  // place in the schedule; -1 while claimed or held
	held    bool
	claimed bool // being delivered
	hint    bool // due comes from the file's time, and may be too early
	deleted bool // while it was claimed

	// mu is held while the message's data is read, added to or moved. It is
	// locked before the queue's.
	mu   sync.Mutex
	hot  *hot // nil: the message has a file
	gone bool // the data is no more
}

// nanos is a time as entries have it.
func nanos(t time.Time) int64 {
	if y := t.Year(); y < 1970 {
		return 0
	} else if y > 2200 {
		return nanos(time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	return t.UnixNano()
}

// schedule is the messages that wait, the next one first.
type schedule []*entry

func (s *schedule) push(e *entry) { heap.Push((*byDue)(s), e) }
func (s *schedule) pop() *entry   { return heap.Pop((*byDue)(s)).(*entry) }

func (s *schedule) remove(e *entry) { heap.Remove((*byDue)(s), int(e.index)) }

func (s *schedule) move(e *entry, due int64) {
	e.due = due
	heap.Fix((*byDue)(s), int(e.index))
}

// byDue is the heap below schedule.
type byDue schedule

func (h byDue) Len() int { return len(h) }

func (h byDue) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].order < h[j].order
}

func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = int32(i), int32(j)
}

func (h *byDue) Push(x any) {
	e := x.(*entry)
	e.index = int32(len(*h))
	*h = append(*h, e)
}

func (h *byDue) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	e.index = -1
	return e
}
