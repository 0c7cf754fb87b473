package restrict_test

import (
	"context"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
)

// background and fixed are the surroundings of evaluations that need none.
var (
	background = context.Background()
	fixed      = clock.NewManual(time.Unix(1_000_000_000, 0))
)

// asking makes a scripted answer a resolver.
func asking(query func(name, typ string) dns.Answer) func(context.Context, string, string) dns.Answer {
	return func(_ context.Context, name, typ string) dns.Answer {
		a := query(name, typ)
		a.Asked = fixed.Now()
		return a
	}
}
