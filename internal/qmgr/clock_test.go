package qmgr

import (
	"strings"
	"testing"
	"time"
)

// A clock that is set, back or forward, keeps no message waiting for more than a
// minute longer than it had to, loses none and delivers none twice.
func TestClockJumps(t *testing.T) {
	for name, jump := range map[string]time.Duration{"back": -24 * time.Hour, "forward": 2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "")
			s.put("s@x.test", "later@example.com", "ok@example.com")
			s.start()
			tried := func() int { return strings.Count(s.log.String(), "to=<later@example.com>") }
			asleep := func() bool { return s.clock.Sleepers() == 1 && !s.queue.List()[0].Active }
			s.await(func() bool { return tried() == 1 && asleep() })
			s.clock.Set(start.Add(jump))
			for range 6 { // minutes; it has to wait for five
				s.await(asleep)
				if jump < 0 && tried() > 1 {
					t.Fatal("tried before its time")
				}
				s.clock.Advance(time.Minute)
			}
			s.await(func() bool { return tried() == 2 })
			s.end()
			list := s.queue.List()
			if len(list) != 1 || list[0].Due.After(s.clock.Now().Add(4000*time.Second)) {
				t.Errorf("in the queue: %v", list)
			}
			log := s.log.String()
			if n := strings.Count(log, "to=<ok@example.com>"); n != 1 {
				t.Errorf("delivered %d times", n)
			}
			if told := strings.Contains(log, "the clock was set back by 23h59m"); told != (jump < 0) {
				t.Errorf("log\n%s", log)
			}
		})
	}
}

// A clock set far ahead makes mail too old, as with Postfix: the sender is told,
// so nothing disappears.
func TestClockJumpExpires(t *testing.T) {
	s := newSite(t, "")
	s.put("s@x.test", "later@example.com")
	s.settle()
	s.clock.Set(start.Add(6 * 24 * time.Hour))
	if got := s.settle(); !strings.Contains(got, "status=expired, returned to sender") || len(s.notices) != 1 {
		t.Errorf("%d notices, log\n%s", len(s.notices), got)
	}
}
