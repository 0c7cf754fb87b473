package qmgr

import (
	"context"
	"sync"
)

// budget bounds how much is in memory. One caller at a time may wait in take.
type budget struct {
	mu    sync.Mutex
	free  int
	freed chan struct{} // somebody waits for this to be closed
}

// take waits until n are free; false when ctx ends first.
func (b *budget) take(ctx context.Context, n int) bool {
	for {
		b.mu.Lock()
		if b.free >= n {
			b.free -= n
			b.mu.Unlock()
			return true
		}
		freed := make(chan struct{})
		b.freed = freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return false
		}
	}
}

func (b *budget) give(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	if b.freed != nil {
		close(b.freed)
		b.freed = nil
	}
}
