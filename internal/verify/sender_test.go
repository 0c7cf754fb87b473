package verify

import (
	"strings"
	"testing"
	"time"
)

// complete is a rewrite service whose $myorigin is here.test.
func complete(addr string) string {
	if !strings.Contains(addr, "@") {
		addr += "@here.test"
	}
	return addr
}

func TestSender(t *testing.T) {
	hour := time.Hour
	at := func(epoch int64) time.Time { return time.Unix(epoch*3600+17, 0) }
	for _, c := range []struct {
		addr  string
		ttl   time.Duration
		now   time.Time
		sends string
		ours  string // addresses, by blanks
		not   string
	}{
		{"double-bounce", 0, at(1), "double-bounce@here.test", "double-bounce@here.test Double-Bounce@HERE.test",
			"double-bounce double-bounce1@here.test double-bounce@there.test double-bounc@here.test x@here.test"},
		{"p@else.test", 0, at(1), "p@else.test", "p@else.test", "p p@here.test @else.test"},
		{"", 0, at(1), "", "", "a@here.test"},
		{"<>", hour, at(1), "", "", "a@here.test"},
		{"p", hour, at(30), "pZ@here.test", "pZ@here.test PZ@here.test pY@here.test p10@here.test p0Z@here.test",
			"pX@here.test p11@here.test pz@here.test p@here.test pZ@there.test pA@here.test p10x@here.test pZZZZZZZZZZZZZZZZZZZZ@here.test"},
		{"p", hour, at(31*31 + 2), "p102@here.test", "p101@here.test p102@here.test p103@here.test", "p100@here.test p104@here.test"},
		{"p", hour, at(1), "p1@here.test", "p@here.test p0@here.test p2@here.test", "p3@here.test"},
	} {
		s := NewSender(c.addr, c.ttl, complete)
		if got := s.At(c.now); got != c.sends {
			t.Errorf("%q: sends as %q, want %q", c.addr, got, c.sends)
		}
		for _, a := range strings.Fields(c.ours) {
			if base, ok := s.Base(a, c.now); !ok || base != complete(c.addr) {
				t.Errorf("%q: %s is ours, but it says %q, %v", c.addr, a, base, ok)
			}
		}
		for _, a := range append(strings.Fields(c.not), "") {
			if base, ok := s.Base(a, c.now); ok {
				t.Errorf("%q: %s is not ours, but it says %q", c.addr, a, base)
			}
		}
	}
}
