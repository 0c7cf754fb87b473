package restrict_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"sekisho/internal/evidence"
	"sekisho/internal/restrict"
)

// TestPolicyServicesAreAskedInTurn: whatever else is asked ahead, a policy
// service hears of a client only when evaluation has got to it, and once.
func TestPolicyServicesAreAskedInTurn(t *testing.T) {
	for _, c := range []struct {
		name, list string
		client     string
		asked      []string
		slept      time.Duration
	}{
		{"one", "check_policy_service unix:a", "192.0.2.77", []string{"unix:a"}, 0},
		{"behind a permit", "permit_mynetworks, check_policy_service unix:a, sleep 7", "127.0.0.1", nil, 0},
		{"behind a list that refuses", "reject_rbl_client rbl.test, check_policy_service unix:a, sleep 7", "192.0.2.2", nil, 0},
		{"behind lists that do not", "reject_rbl_client rbl.test, sleep 2, check_policy_service unix:a, reject_rbl_client rhsbl.test, check_policy_service unix:b",
			"192.0.2.77", []string{"unix:a", "unix:b"}, 2 * time.Second},
		{"behind one that refuses", "check_policy_service unix:no, check_policy_service unix:a", "192.0.2.77", []string{"unix:no"}, 0},
		{"twice", "check_policy_service unix:a, check_policy_service unix:a", "192.0.2.77", []string{"unix:a", "unix:a"}, 0},
		{"under warn_if_reject", "warn_if_reject check_policy_service unix:no, reject_unknown_sender_domain, check_policy_service unix:a",
			"192.0.2.77", []string{"unix:no", "unix:a"}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newBench(t)
			w.policies = []string{"unix:no -> REJECT"}
			if problems := w.configure(t, "smtpd_recipient_restrictions = "+c.list); problems != "" {
				t.Fatal(problems)
			}
			f := stranger("RCPT")
			f.ClientAddress = c.client
			w.program().Decide(restrict.StageRcpt, &f, w.session(), restrict.Carry{})
			var asked []string
			for _, r := range w.requests {
				service, _, _ := strings.Cut(r, " is asked")
				asked = append(asked, service)
			}
			if !slices.Equal(asked, c.asked) || w.slept != c.slept {
				t.Errorf("asked %q and slept %s, want %q and %s", asked, w.slept, c.asked, c.slept)
			}
		})
	}
}

// TestSleepEndsWithTheSession: nobody sleeps for a client that is gone.
func TestSleepEndsWithTheSession(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := evidence.NewSession(ctx, &evidence.World{Clock: fixed})
	for _, arg := range []string{"3", "99999999999999999999999"} {
		if a := s.Ask(evidence.Question{Kind: evidence.Sleep, Arg: arg}); a.Status != evidence.Failed {
			t.Errorf("sleep %s: status %v", arg, a.Status)
		}
	}
	if a := s.Ask(evidence.Question{Kind: evidence.Policy, Name: "unix:a"}); a.Status != evidence.Failed {
		t.Errorf("a policy service where there is none: status %v", a.Status)
	}
}
