package qmgr

import "testing"

// A delivery knows whether others wait for its destination.
func TestMore(t *testing.T) {
	s := newSite(t, "")
	s.agent.gate = make(chan struct{})
	for range 3 { // two at a time
		s.put("s@x.test", "ok@multi.test")
	}
	s.start()
	s.await(func() bool {
		s.agent.mu.Lock()
		defer s.agent.mu.Unlock()
		return s.agent.now == 2 && s.agent.requests[0].More() && s.agent.requests[1].More()
	})
	s.agent.gate <- struct{}{}
	s.await(func() bool {
		s.agent.mu.Lock()
		defer s.agent.mu.Unlock()
		return len(s.agent.requests) == 3 && !s.agent.requests[2].More()
	})
	close(s.agent.gate)
	s.await(func() bool { return len(s.queue.List()) == 0 })
}
