// Package discard throws messages away and says so in the log, as Postfix's
// discard(8) does. The next hop is the reason.
package discard

import (
	"context"

	"sekisho/internal/deliver"
)

// Agent discards.
type Agent struct{}

// Deliver reports success for every recipient.
func (Agent) Deliver(_ context.Context, r *deliver.Request) []deliver.Result {
	dsn, text := deliver.SplitStatus(r.Nexthop, "2.0.0")
	return r.All(deliver.Result{Status: deliver.Sent, DSN: dsn, Relay: "none", Text: text})
}
