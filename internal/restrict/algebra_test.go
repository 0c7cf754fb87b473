package restrict_test

import (
	"fmt"
	"strings"
	"testing"

	"sekisho/internal/restrict"
)

// atoms are restrictions without conditions, each by its effect.
var atoms = []string{
	"permit", "reject", "defer", "defer_if_permit", "defer_if_reject", "warn_if_reject reject", "warn_if_reject defer_if_reject",
}

// ledger is the algebra of SMTPD_ACCESS_README in a dozen lines: what a list
// leaves, said another way than the engine does it.
type ledger struct {
	code           int    // 0: not refused
	says           string // part of the reply
	permit, reject string // whose deferral is armed
}

func (l *ledger) list(who string, items []string) {
	for _, it := range items {
		switch it {
		case "permit":
			return
		case "reject", "defer":
			l.code, l.says = 450, who+" rejected: Try again later"
			if it == "reject" {
				l.code, l.says = 554, who+" rejected: Access denied"
			}
			if l.code == 554 && l.reject != "" {
				l.code, l.says = 450, l.reject+" rejected: defer_if_reject requested"
			}
			return
		case "defer_if_permit":
			l.permit = first(l.permit, who)
		case "defer_if_reject", "warn_if_reject defer_if_reject":
			l.reject = first(l.reject, who)
		}
		if l.permit != "" && l.reject != "" {
			return
		}
	}
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// recipient is the whole of RCPT: three lists in two stages.
func (l *ledger) recipient(sender, relay, rcpt []string) {
	l.list("Sender address", sender)
	if l.code == 0 {
		l.reject = ""
		l.list("Recipient address", relay)
	}
	if l.code == 0 {
		l.list("Recipient address", rcpt)
	}
	if l.code == 0 && l.permit != "" {
		l.code, l.says = 450, l.permit+" rejected: defer_if_permit requested"
	}
}

// TestAlgebra tries all lists of up to three atoms, and all ways to spread two
// atoms each over the sender, relay and recipient lists.
func TestAlgebra(t *testing.T) {
	w := newBench(t)
	try := func(sender, relay, rcpt []string) {
		var want ledger
		want.recipient(sender, relay, rcpt)
		f := stranger("RCPT")
		f.Recipient = "x@elsewhere.test" // not listed anywhere, and need not be
		out := algebraProgram(t, w, sender, relay, rcpt).Eval(restrict.StageRcpt, &f, w.session(), restrict.Carry{})
		if out.Reply.Code != want.code {
			t.Errorf("sender: %q relay: %q recipient: %q: reply %q, want code %d", sender, relay, rcpt, out.Reply, want.code)
		}
		if !strings.Contains(out.Reply.Text, want.says) {
			t.Errorf("sender: %q relay: %q recipient: %q: reply %q, want %q", sender, relay, rcpt, out.Reply, want.says)
		}
	}
	for _, a := range atoms {
		for _, b := range atoms {
			for _, c := range atoms {
				try(nil, nil, []string{a, b, c})
				try([]string{a}, []string{b}, []string{c})
			}
			try([]string{a, b}, nil, []string{"reject"})
			try([]string{a, b}, []string{"permit"}, nil)
			try(nil, []string{a, b}, []string{"reject"})
		}
	}
}

// algebraProgram compiles the three lists.
func algebraProgram(t *testing.T, w *bench, sender, relay, rcpt []string) *restrict.Program {
	t.Helper()
	w.configure(t, fmt.Sprintf("smtpd_sender_restrictions = %s\nsmtpd_relay_restrictions = %s\nsmtpd_recipient_restrictions = %s",
		strings.Join(sender, ", "), strings.Join(relay, ", "), strings.Join(rcpt, ", ")))
	return w.program()
}
