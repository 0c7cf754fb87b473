package penalty

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
)

func TestRecentKeepsWhatWasWrittenLast(t *testing.T) {
	r := newRecent[string, int](2)
	r.put("a", 1)
	r.put("b", 2)
	r.put("a", 3)
	r.put("c", 4)
	if a, b, c := r.get("a"), r.get("b"), r.get("c"); a != 3 || b != 0 || c != 4 || len(r.byKey) != 2 || r.order.Len() != 2 {
		t.Errorf("a=%d b=%d c=%d, %d entries", a, b, c, len(r.byKey))
	}
}

// TestLedgerIsBounded tries to fill it with names and networks.
func TestLedgerIsBounded(t *testing.T) {
	const limit = 50
	l := newLedger(clock.NewManual(time.Unix(0, 0)), limit)
	s := Settings{Delay: time.Second, Max: time.Second, Forget: time.Minute}
	for i := range 1000 {
		address := fmt.Sprintf("10.%d.%d.1", i/256, i%256)
		l.failed(s, address, fmt.Sprint(i, strings.Repeat("x", 10_000)))
		l.succeeded(address, fmt.Sprint(i))
	}
	if n, a, p := len(l.networks.byKey), len(l.accounts.byKey), len(l.pairs.byKey); n != limit || a != limit || p != limit {
		t.Errorf("%d networks, %d accounts, %d pairs", n, a, p)
	}
	for name := range l.accounts.byKey {
		if len(name) > longest {
			t.Errorf("a name of %d bytes", len(name))
		}
	}
}
