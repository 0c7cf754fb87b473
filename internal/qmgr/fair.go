package qmgr

import "container/heap"

// fair shares something among flows by self-clocked fair queueing: an entry's tag
// is its turn, the one after the turn that is served now or after the last of its
// flow, whichever is later. So somebody with one entry waits for one of everybody
// else's, however many they have, and somebody with many always gets on.
type fair struct {
	turn  uint64            // of what was served last
	last  map[string]uint64 // of each flow; those in the past are missing or of no meaning
	prune int               // size of last at which old flows are forgotten
}

// tag returns the turn of a flow's new entry.
func (f *fair) tag(flow string) uint64 {
	if f.last == nil {
		f.last, f.prune = make(map[string]uint64), 1024
	}
	t := max(f.turn, f.last[flow]) + 1
	f.last[flow] = t
	if len(f.last) >= f.prune {
		for flow, last := range f.last {
			if last <= f.turn {
				delete(f.last, flow)
			}
		}
		f.prune = max(1024, 2*len(f.last))
	}
	return t
}

// served notes that an entry with a tag had its turn.
func (f *fair) served(tag uint64) { f.turn = max(f.turn, tag) }

// batches is a heap of batches that wait for one destination.
type batches []*batch

func (h batches) Len() int { return len(h) }
func (h batches) Less(i, j int) bool {
	if h[i].turn != h[j].turn {
		return h[i].turn < h[j].turn
	}
	return h[i].serial < h[j].serial
}
func (h batches) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push is part of heap.Interface.
func (h *batches) Push(x any) { *h = append(*h, x.(*batch)) }

// Pop is part of heap.Interface.
func (h *batches) Pop() any {
	last := len(*h) - 1
	b := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return b
}

// readies is a heap of destinations that may get a delivery, by the turn at the
// transport of the batch that would go next.
type readies []*destination

func (h readies) Len() int { return len(h) }
func (h readies) Less(i, j int) bool {
	a, b := h[i].todo[0], h[j].todo[0]
	if a.laneTurn != b.laneTurn {
		return a.laneTurn < b.laneTurn
	}
	return a.serial < b.serial
}
func (h readies) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i, j
}

// Push is part of heap.Interface.
func (h *readies) Push(x any) {
	d := x.(*destination)
	d.place = len(*h)
	*h = append(*h, d)
}

// Pop is part of heap.Interface.
func (h *readies) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	d.place = -1
	return d
}

var (
	_ heap.Interface = (*batches)(nil)
	_ heap.Interface = (*readies)(nil)
)
