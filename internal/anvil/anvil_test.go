package anvil

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
)

func TestRatesBeginAnewAfterTheUnit(t *testing.T) {
	c := clock.NewManual(time.Unix(1000, 0))
	a := New(time.Minute, c)
	k := KeyOf("smtp", netip.MustParseAddr("192.0.2.7"), 32, 84)
	for want := 1; want <= 3; want++ {
		if open, rate := a.Connect(k); open != want || rate != want {
			t.Errorf("connection %d: open %d, rate %d", want, open, rate)
		}
	}
	a.Disconnect(k)
	c.Advance(time.Minute)
	if _, rate := a.Connect(k); rate != 4 {
		t.Errorf("the unit is not over: rate %d", rate)
	}
	c.Advance(time.Second)
	if open, rate := a.Connect(k); open != 4 || rate != 1 {
		t.Errorf("after the unit: open %d, rate %d", open, rate)
	}
}

func TestKindsAndServicesAreCountedApart(t *testing.T) {
	a := New(time.Minute, clock.NewManual(time.Unix(1000, 0)))
	addr := netip.MustParseAddr("192.0.2.7")
	smtp, submission := KeyOf("smtp", addr, 32, 84), KeyOf("submission", addr, 32, 84)
	a.Count(smtp, Messages)
	a.Count(smtp, Messages)
	if n := a.Count(smtp, Auths); n != 1 {
		t.Errorf("logins: %d", n)
	}
	if n := a.Count(submission, Messages); n != 1 {
		t.Errorf("messages by another service: %d", n)
	}
	if n := a.Rate(smtp, Messages); n != 2 {
		t.Errorf("messages: %d", n)
	}
}

func TestKeyOfMasks(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.7", "192.0.2.8", false},
		{"192.0.2.7", "::ffff:192.0.2.7", true},
		{"2001:db8::1", "2001:db8::ffff:1", true},
		{"2001:db8:0:0:1000::", "2001:db8:0:0:f000::", false},
	} {
		a := KeyOf("smtp", netip.MustParseAddr(c.a), 32, 84)
		b := KeyOf("smtp", netip.MustParseAddr(c.b), 32, 84)
		if (a == b) != c.same {
			t.Errorf("%s and %s: %v and %v", c.a, c.b, a, b)
		}
	}
}

func TestIdleClientsAreForgotten(t *testing.T) {
	c := clock.NewManual(time.Unix(1000, 0))
	a := New(time.Minute, c)
	busy := KeyOf("smtp", netip.MustParseAddr("192.0.2.1"), 32, 84)
	idle := KeyOf("smtp", netip.MustParseAddr("192.0.2.2"), 32, 84)
	a.Connect(busy)
	a.Connect(idle)
	a.Disconnect(idle)
	c.Advance(3 * time.Minute)
	a.Rate(KeyOf("smtp", netip.MustParseAddr("192.0.2.3"), 32, 84), Messages)
	if a.clients[idle] != nil || a.clients[busy] == nil {
		t.Errorf("kept: %v", a.clients)
	}
}

func TestCountsFromManyGoroutines(t *testing.T) {
	a := New(time.Minute, clock.System{})
	k := KeyOf("smtp", netip.MustParseAddr("192.0.2.7"), 32, 84)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a.Connect(k)
			a.Count(k, Recipients)
			a.Disconnect(k)
		})
	}
	wg.Wait()
	if open, _ := a.Connect(k); open != 1 {
		t.Errorf("open: %d", open)
	}
	if n := a.Rate(k, Recipients); n != 50 {
		t.Errorf("recipients: %d", n)
	}
}
