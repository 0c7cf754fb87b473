package restrict_test

import (
	"fmt"
	"strings"
	"testing"

	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// atoms are restrictions without conditions, each by its effect.
var atoms = []string{
	"permit", "reject", "defer", "defer_if_permit", "defer_if_reject", "warn_if_reject reject",
	"warn_if_reject defer_if_permit", "warn_if_reject defer_if_reject", "reject_multi_recipient_bounce", // no opinion
}

// ledger is the algebra of SMTPD_ACCESS_README in a dozen lines: what a list
// leaves, said another way than the engine does it.
type ledger struct {
	code           int // 0: not refused
	permit, reject string
}

func (l *ledger) list(who string, items []string) {
	for _, it := range items {
		switch it {
		case "permit":
			return
		case "reject", "defer":
			l.refuse(map[string]int{"reject": 554, "defer": 450}[it])
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

func (l *ledger) refuse(code int) {
	if code >= 500 && l.reject != "" {
		code = 450
	}
	l.code = code
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
		l.refuse(450)
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
		if want.code == 450 && !strings.Contains(out.Reply.Text, want.cause(out.Reply)) {
			t.Errorf("sender: %q relay: %q recipient: %q: reply %q does not name %q", sender, relay, rcpt, out.Reply, want.cause(out.Reply))
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

// cause is whose deferral a reply tells of.
func (l *ledger) cause(r mail.Reply) string {
	switch {
	case strings.Contains(r.Text, "defer_if_permit requested"):
		return l.permit
	case strings.Contains(r.Text, "defer_if_reject requested"):
		return l.reject
	}
	return "Try again later"
}

// programs keeps one compiled program for each combination of lists.
func algebraProgram(t *testing.T, w *bench, sender, relay, rcpt []string) *restrict.Program {
	t.Helper()
	w.configure(t, fmt.Sprintf("smtpd_sender_restrictions = %s\nsmtpd_relay_restrictions = %s\nsmtpd_recipient_restrictions = %s",
		strings.Join(sender, ", "), strings.Join(relay, ", "), strings.Join(rcpt, ", ")))
	return w.program()
}
