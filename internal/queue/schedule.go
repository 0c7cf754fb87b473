package queue

import (
	"container/heap"
	"time"
)

// entry is what is kept in memory of one message.
type entry struct {
	id    string
	due   time.Time
	order uint64 // of arrival, among equal times
	held  bool
	index int // place in the schedule; -1 while claimed or held
}

// schedule is the messages that wait, the next one first.
type schedule []*entry

func (s *schedule) push(e *entry) { heap.Push((*byDue)(s), e) }
func (s *schedule) pop() *entry   { return heap.Pop((*byDue)(s)).(*entry) }

func (s *schedule) remove(e *entry) { heap.Remove((*byDue)(s), e.index) }

func (s *schedule) move(e *entry, due time.Time) {
	e.due = due
	heap.Fix((*byDue)(s), e.index)
}

// byDue is the heap below schedule.
type byDue schedule

func (h byDue) Len() int { return len(h) }

func (h byDue) Less(i, j int) bool {
	if !h[i].due.Equal(h[j].due) {
		return h[i].due.Before(h[j].due)
	}
	return h[i].order < h[j].order
}

func (h byDue) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *byDue) Push(x any) {
	e := x.(*entry)
	e.index = len(*h)
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
