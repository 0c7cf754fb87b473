package restrict_test

import (
	"slices"
	"strings"
	"testing"

	"sekisho/internal/restrict"
	"sekisho/internal/site"
)

// TestMustRefuseRelaying: a server does not start unless something is certain
// to refuse strangers.
func TestMustRefuseRelaying(t *testing.T) {
	for _, c := range []struct {
		relay, rcpt string
		safe        bool
	}{
		{"", "", false},
		{"", "reject_unauth_destination", true},
		{"defer_unauth_destination", "permit", true},
		{"", "permit_mynetworks, Reject", true},
		{"", "defer", true},
		{"", "defer_if_permit", true},
		{"", "permit, reject_unauth_destination", false},
		{"permit_mynetworks", "check_recipient_access inline:{x=REJECT}", false},
		{"", "warn_if_reject, reject_unauth_destination", false},
		{"", "warn_if_reject permit_mynetworks, reject", true},
		{"", "warn_if_reject, refuse", false},
		{"", "refuse", true},
		{"", "refuse_not, reject", true},
		{"", "reject_unknown_recipient_domain, loop", false},
	} {
		w := newBench(t)
		w.configure(t, "smtpd_restriction_classes = refuse, refuse_not, loop\nrefuse = permit_mynetworks, reject_unauth_destination\n"+
			"refuse_not = permit, reject\nloop = loop\nsmtpd_relay_restrictions = "+c.relay+"\nsmtpd_recipient_restrictions = "+c.rcpt)
		found := slices.ContainsFunc(w.site.Problems, func(p site.Problem) bool {
			return p.Fatal && strings.Contains(p.What, "specify at least one working instance of: reject_unauth_destination")
		})
		if found == c.safe {
			t.Errorf("relay: %q recipient: %q: problem %v, want %v", c.relay, c.rcpt, found, !c.safe)
		}
	}
}

// TestLists: what tools see of a program.
func TestLists(t *testing.T) {
	w := newBench(t)
	w.configure(t, "smtpd_restriction_classes = c\nc = reject_unknown_client, c\n"+
		"smtpd_recipient_restrictions = permit_mynetworks,\n inline:{ x=y }, warn_if_reject c, check_recipient_access fail:x")
	var got []string
	for _, l := range w.program().Lists() {
		got = append(got, show(l.Param, l.Entries)...)
	}
	want := []string{
		"smtpd_recipient_restrictions permit_mynetworks ", "smtpd_recipient_restrictions  inline:{ x=y }",
		"smtpd_recipient_restrictions c  warn", "smtpd_recipient_restrictions.c reject_unknown_client_hostname ",
		"smtpd_recipient_restrictions.c c ", "smtpd_recipient_restrictions check_recipient_access fail:x",
	}
	if !slices.Equal(got, want) {
		t.Errorf("lists:\n%q\nwant:\n%q", got, want)
	}
	var tables []string
	for spec := range w.program().Tables() {
		tables = append(tables, spec)
	}
	slices.Sort(tables)
	if want := []string{"fail:x", "inline:{ x=y }"}; !slices.Equal(tables, want) {
		t.Errorf("tables %q, want %q", tables, want)
	}
}

func show(list string, entries []restrict.Entry) []string {
	var out []string
	for _, e := range entries {
		line := list + " " + e.Name + " " + e.Arg
		if e.Warn {
			line += " warn"
		}
		out = append(out, line)
		out = append(out, show(list+"."+e.Name, e.Class)...)
	}
	return out
}
