// Package errormail returns or defers every message it is given, as Postfix's
// error(8) does: the services "error" and "retry" of master.cf. The next hop is
// the reason, which may begin with an enhanced status code.
package errormail

import (
	"context"

	"sekisho/internal/deliver"
)

// Agent bounces, or with Retry defers. master.cf tells the two services apart
// by their name: "retry" is the one that defers.
type Agent struct{ Retry bool }

// Deliver gives every recipient the same answer.
func (a Agent) Deliver(_ context.Context, r *deliver.Request) []deliver.Result {
	result := deliver.Result{Status: deliver.Bounced, Relay: "none"}
	fallback := "5.0.0"
	if a.Retry {
		result.Status, fallback = deliver.Deferred, "4.0.0"
	}
	result.DSN, result.Text = deliver.SplitStatus(r.Nexthop, fallback)
	return r.All(result)
}
