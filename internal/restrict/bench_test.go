package restrict_test

import (
	"testing"

	"sekisho/internal/evidence"
	"sekisho/internal/restrict"
)

// memo is the configuration that Sekisho is modelled on.
const memo = `smtpd_helo_restrictions = permit_mynetworks, check_helo_access $access, permit
smtpd_client_restrictions = permit_mynetworks, check_client_access $access,
  reject_rbl_client all.rbl.jp, reject_rbl_client bl.spamcop.net, reject_rbl_client sbl-xbl.spamhaus.org,
  reject_unauth_pipelining, reject_unknown_reverse_client_hostname, permit
smtpd_recipient_restrictions = permit_mynetworks, check_recipient_access $access,
  permit_sasl_authenticated, reject_non_fqdn_recipient, reject_unknown_recipient_domain, reject_unauth_destination, permit
smtpd_sender_restrictions = check_sender_access $access, reject_non_fqdn_sender,
  reject_unknown_sender_domain, permit
access = inline:{ bad.test=REJECT }
`

// BenchmarkEval decides about an honest stranger under the memo's lists, with
// every answer at hand.
func BenchmarkEval(b *testing.B) {
	w := newBench(b)
	w.configure(b, memo)
	src := remembered(w.session())
	f := stranger("RCPT")
	p := w.program()
	if out := p.Eval(restrict.StageRcpt, &f, src, restrict.Carry{}); out.Reply.Code != 0 {
		b.Fatal(out.Reply)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Eval(restrict.StageRcpt, &f, src, restrict.Carry{})
	}
}

// BenchmarkEvalRelay decides about a relay attempt, which is refused.
func BenchmarkEvalRelay(b *testing.B) {
	w := newBench(b)
	w.configure(b, memo)
	src := remembered(w.session())
	f := stranger("RCPT")
	f.Recipient = "x@a.test"
	p := w.program()
	if out := p.Eval(restrict.StageRcpt, &f, src, restrict.Carry{}); out.Reply.Code != 554 {
		b.Fatal(out.Reply)
	}
	b.ReportAllocs()
	for b.Loop() {
		p.Eval(restrict.StageRcpt, &f, src, restrict.Carry{})
	}
}

// remembered keeps answers in a map, the cheapest Source there is.
func remembered(s evidence.Source) evidence.Source {
	m := make(map[evidence.Question]evidence.Answer)
	return evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		a, ok := m[q]
		if !ok {
			a = s.Ask(q)
			m[q] = a
		}
		return a
	})
}

// BenchmarkDecideTrusted decides about a client of mynetworks, as a server does.
func BenchmarkDecideTrusted(b *testing.B) {
	w := newBench(b)
	w.configure(b, memo)
	f := stranger("RCPT")
	f.ClientAddress = "127.0.0.1"
	s, p := w.session(), w.program()
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(restrict.StageRcpt, &f, s, restrict.Carry{})
	}
}

// BenchmarkDecideStranger decides about an honest stranger whose DNS answers at
// once, a new session each time.
func BenchmarkDecideStranger(b *testing.B) {
	w := newBench(b)
	w.configure(b, memo)
	f := stranger("RCPT")
	p := w.program()
	b.ReportAllocs()
	for b.Loop() {
		p.Decide(restrict.StageRcpt, &f, w.session(), restrict.Carry{})
	}
}
