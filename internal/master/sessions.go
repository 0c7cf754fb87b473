package master

import (
	"net"
	"sync"

	"sekisho/internal/idle"
)

// sessions are the connections being served, of all configurations. It is safe
// for concurrent use.
type sessions struct {
	silent *idle.Watch // those whose client says nothing

	mu    sync.Mutex
	conns map[net.Conn]struct{}
}

func (s *sessions) add(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns == nil {
		s.conns = make(map[net.Conn]struct{})
	}
	s.conns[c] = struct{}{}
}

func (s *sessions) remove(c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

// cut closes all connections and returns how many there were.
func (s *sessions) cut() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		_ = c.Close() // whoever serves it sees the error
	}
	return len(s.conns)
}
