package errormail_test

import (
	"testing"

	"sekisho/internal/deliver"
	"sekisho/internal/deliver/discard"
	"sekisho/internal/deliver/errormail"
	"sekisho/internal/mail"
)

func TestTheNexthopIsTheReason(t *testing.T) {
	for _, c := range []struct {
		agent         deliver.Agent
		nexthop       string
		status        deliver.Status
		dsn, wantText string
	}{
		{errormail.Agent{}, "5.1.1 no such user", deliver.Bounced, "5.1.1", "no such user"},
		{errormail.Agent{}, "domain closed", deliver.Bounced, "5.0.0", "domain closed"},
		{errormail.Agent{Retry: true}, "4.3.2 deferred transport", deliver.Deferred, "4.3.2", "deferred transport"},
		{errormail.Agent{Retry: true}, "later", deliver.Deferred, "4.0.0", "later"},
		{discard.Agent{}, "nobody reads this", deliver.Sent, "2.0.0", "nobody reads this"},
	} {
		r := &deliver.Request{Nexthop: c.nexthop, Recipients: make([]mail.Recipient, 2)}
		got := c.agent.Deliver(t.Context(), r)
		want := deliver.Result{Status: c.status, DSN: c.dsn, Text: c.wantText, Relay: "none"}
		for i := range r.Recipients {
			want.Recipient = i
			if len(got) != 2 || got[i] != want {
				t.Errorf("%q: %+v, want %+v", c.nexthop, got, want)
			}
		}
	}
}
