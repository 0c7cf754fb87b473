package smtp

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
)

// caching returns an agent that keeps connections of busy destinations, and
// the clock that it lives by.
func caching(t *testing.T) (*Agent, *clock.Manual) {
	t.Helper()
	a, _ := newAgent(t)
	c := clock.NewManual(time.Unix(1e9, 0))
	a.Clock, a.CacheOnDemand, a.CacheTime, a.ReuseTime = c, true, 2*time.Second, 300*time.Second
	t.Cleanup(func() { a.Close() })
	return a, c
}

// oneOfMany is a request with others waiting behind it.
func oneOfMany(nexthop, content string) *deliver.Request {
	r := request(nexthop, content)
	r.More = func() bool { return true }
	return r
}

// Messages that come now and then, however short a time apart, each get a
// connection.
func TestNoReuseWithoutDemand(t *testing.T) {
	s := &server{}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := caching(t)
	for range 3 {
		if got := a.Deliver(t.Context(), request("s.test:"+port, "x\n")); got[0].Uses != 0 {
			t.Errorf("uses %d", got[0].Uses)
		}
	}
	if n := strings.Count(s.said(), "EHLO"); n != 3 {
		t.Errorf("%d connections", n)
	}
}

// A destination that gets one message after the other keeps its connection from
// the second on.
func TestReuseOnDemand(t *testing.T) {
	s := &server{}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := caching(t)
	for n, uses := range []int{0, 0, 2, 3} {
		got := a.Deliver(t.Context(), oneOfMany("s.test:"+port, "x\n"))
		if got[0].Status != deliver.Sent || got[0].Uses != uses || got[1].Uses != uses {
			t.Errorf("message %d: %s, uses %d, want %d", n, lines(got), got[0].Uses, uses)
		}
	}
	said := s.said()
	if n := strings.Count(said, "EHLO"); n != 2 {
		t.Errorf("%d connections: %s", n, said)
	}
	if n := strings.Count(said, "RSET|MAIL"); n != 2 {
		t.Errorf("%d connections were asked whether they still work: %s", n, said)
	}
	log := deliver.LogLine("QID", request("x", "").Recipients[0], deliver.Result{DSN: "2.0.0", Uses: 3}, deliver.Times{}, 2)
	if !strings.Contains(log, "relay=none, conn_use=3, delay=") {
		t.Error(log)
	}
}

// A connection ends when nobody wants it for a while, when it is too old, or
// when the agent is closed.
func TestReuseEnds(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*Agent)
		between func(*Agent, *clock.Manual)
		want    int // connections for four messages
	}{
		"kept":     {func(*Agent) {}, func(*Agent, *clock.Manual) {}, 2},
		"never":    {func(a *Agent) { a.CacheOnDemand = false }, func(*Agent, *clock.Manual) {}, 4},
		"idle":     {func(a *Agent) { a.CacheTime = time.Second }, func(_ *Agent, c *clock.Manual) { c.Advance(time.Second) }, 4},
		"too old":  {func(a *Agent) { a.ReuseTime = 500 * time.Millisecond }, func(_ *Agent, c *clock.Manual) { c.Advance(time.Second) }, 3},
		"too used": {func(a *Agent) { a.ReuseCount = 1 }, func(*Agent, *clock.Manual) {}, 3},
		"quiet":    {func(*Agent) {}, func(_ *Agent, c *clock.Manual) { c.Advance(5 * time.Second) }, 4},
		"closed":   {func(*Agent) {}, func(a *Agent, _ *clock.Manual) { a.Close() }, 4},
	} {
		s := &server{}
		port := s.listen(t, "127.0.0.1", "0")
		a, clock := caching(t)
		c.change(a)
		for range 4 {
			if got := a.Deliver(t.Context(), oneOfMany("s.test:"+port, "x\n")); got[0].Status != deliver.Sent {
				t.Errorf("%s: %s", name, lines(got))
			}
			c.between(a, clock)
		}
		if n := strings.Count(s.said(), "EHLO"); n != c.want {
			t.Errorf("%s: %d connections, want %d: %s", name, n, c.want, s.said())
		}
	}
}

// A connection that the server has closed meanwhile costs no message.
func TestReuseOfADeadConnection(t *testing.T) {
	for _, reset := range []string{"", "500 no", "421 4.4.2 idle too long"} {
		s := &server{replies: map[string]string{"RSET": reset}}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := caching(t)
		for range 4 {
			if got := a.Deliver(t.Context(), oneOfMany("s.test:"+port, "x\n")); got[0].Status != deliver.Sent || got[0].Uses != 0 {
				t.Errorf("%q: %s", reset, lines(got))
			}
		}
		if n := strings.Count(s.said(), "EHLO"); n != 4 {
			t.Errorf("%q: %d connections: %s", reset, n, s.said())
		}
	}
}

// A connection to a host that several domains share serves all of them.
func TestReuseByHost(t *testing.T) {
	s := &server{}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := caching(t)
	for _, domain := range []string{"s.test", "s.test", "two.test", "two.test"} {
		if got := a.Deliver(t.Context(), oneOfMany(domain+":"+port, "x\n")); got[0].Status != deliver.Sent {
			t.Errorf("%s: %s", domain, lines(got))
		}
	}
	if n := strings.Count(s.said(), "EHLO"); n != 3 { // the first of each domain, and the second that is kept
		t.Errorf("%d connections: %s", n, s.said())
	}
}

// Quiet destinations are forgotten.
func TestDemandIsBounded(t *testing.T) {
	var p pool
	now := time.Unix(1e9, 0)
	for i := range 3 * manyDemands {
		name := fmt.Sprint(i)
		p.begin(name, now)
		p.end(name, now, true)
		now = now.Add(time.Second)
	}
	if len(p.demand) > manyDemands {
		t.Errorf("%d destinations", len(p.demand))
	}
}

// With smtp_per_request_deadline a server cannot stretch its reply by sending
// it byte by byte.
func TestRequestDeadline(t *testing.T) {
	a, _ := newAgent(t)
	a.HeloTimeout, a.RequestDeadline = 100*time.Millisecond, true
	s := &server{drip: 30 * time.Millisecond}
	port := s.listen(t, "127.0.0.1", "0")
	got := lines(a.Deliver(t.Context(), oneOfMany("[127.0.0.1]:"+port, "x\n")))
	if want := "timed out while receiving the initial server greeting"; !strings.Contains(got, want) {
		t.Errorf("%swant %s", got, want)
	}
}
