package deliver_test

import (
	"strings"
	"testing"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

func TestProbeLine(t *testing.T) {
	for _, c := range []struct {
		status deliver.Status
		cached bool
		want   string
	}{
		{deliver.Sent, true, "dsn=2.0.0, status=deliverable (why)"},
		{deliver.Sent, false, "dsn=2.0.0, status=deliverable (why)"},
		{deliver.Deferred, true, "dsn=2.0.0, status=undeliverable (why)"},
		{deliver.Bounced, true, "dsn=2.0.0, status=undeliverable (why)"},
		{deliver.Bounced, false, "dsn=2.0.0, status=undeliverable-but-not-cached (why)"},
	} {
		r := deliver.Result{Status: c.status, DSN: "2.0.0", Text: "why", Relay: "virtual"}
		got := deliver.ProbeLine("QID", mail.Recipient{Address: "a@b.test"}, r, deliver.Times{}, 2, c.cached)
		if !strings.HasPrefix(got, "QID: to=<a@b.test>, relay=virtual, ") || !strings.HasSuffix(got, c.want) {
			t.Errorf("%s, want ... %s", got, c.want)
		}
	}
}
