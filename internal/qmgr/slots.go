package qmgr

import (
	"context"
	"sync"
)

// slots bounds how many deliveries go to one destination, or by one transport,
// at the same time. Whoever asked first gets the next free place.
type slots struct {
	mu   sync.Mutex
	busy map[string]*slot
}

type slot struct {
	used    int
	waiting []chan struct{} // closed when a place is handed over
}

// take waits for one of limit places under a name; limit 0 is none. It fails
// when ctx ends first.
func (s *slots) take(ctx context.Context, name string, limit int) error {
	if limit <= 0 {
		return ctx.Err()
	}
	s.mu.Lock()
	at := s.busy[name]
	if at == nil {
		at = &slot{}
		s.busy[name] = at
	}
	if at.used < limit {
		at.used++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	at.waiting = append(at.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		s.leave(name, at, turn)
		return ctx.Err()
	}
}

// wanted reports whether somebody waits for a place.
func (s *slots) wanted(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.busy[name]
	return at != nil && len(at.waiting) > 0
}

// leave gives up waiting; a place that came at the same moment is passed on.
func (s *slots) leave(name string, at *slot, turn chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, w := range at.waiting {
		if w == turn {
			at.waiting = append(at.waiting[:i], at.waiting[i+1:]...)
			return
		}
	}
	s.pass(name, at)
}

// give frees a place taken with the same name and limit.
func (s *slots) give(name string, limit int) {
	if limit <= 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pass(name, s.busy[name])
}

// pass hands a place to whoever waits, or frees it; s.mu is held.
func (s *slots) pass(name string, at *slot) {
	if len(at.waiting) > 0 {
		close(at.waiting[0])
		at.waiting = at.waiting[1:]
		return
	}
	at.used--
	if at.used == 0 {
		delete(s.busy, name)
	}
}
