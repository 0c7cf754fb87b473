package restrict_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// pool is every restriction that can stand in a list, with its argument.
func pool() []string {
	var out []string
	for _, n := range restrict.Names() {
		switch {
		case strings.HasPrefix(n, "check_") && n != "check_recipient_maps":
			out = append(out, n+" inline:{ host.test=REJECT, {s@a.test=defer_if_permit}, {x@mailbox.test=warn_if_reject reject}, alice=OK }", n+" fail:x")
		case strings.Contains(n, "rbl") || strings.Contains(n, "rhsbl") || strings.Contains(n, "wl_client"):
			out = append(out, n+" rbl.test", n+" rhsbl.test=127.0.0.2")
		default:
			out = append(out, n)
		}
	}
	return append(out, "cls", "nonsense", "inline:{ host.test=DISCARD, s@a.test=HOLD }")
}

// drawProgram compiles random lists.
func drawProgram(rt *rapid.T, w *bench, t *testing.T) *restrict.Program {
	items := pool()
	list := func(name string) string {
		return strings.Join(rapid.SliceOfN(rapid.SampledFrom(items), 0, 6).Draw(rt, name), ", ")
	}
	var b strings.Builder
	b.WriteString("smtpd_restriction_classes = cls\ncls = " + list("cls") + "\nsmtpd_sender_login_maps = inline:{ s@a.test=alice }\n")
	for _, l := range []string{"client", "helo", "sender", "relay", "recipient", "data", "end_of_data", "etrn"} {
		fmt.Fprintf(&b, "smtpd_%s_restrictions = %s\n", l, list(l))
	}
	for _, p := range []string{"smtpd_delay_reject", "smtpd_sasl_auth_enable", "smtpd_reject_unlisted_sender", "soft_bounce"} {
		fmt.Fprintf(&b, "%s = %s\n", p, rapid.SampledFrom([]string{"yes", "no"}).Draw(rt, p))
	}
	w.configure(t, b.String())
	return w.program()
}

func drawFacts(rt *rapid.T) mail.Facts {
	state := rapid.SampledFrom([]string{"RCPT", "VRFY", "MAIL", "DATA", "CONNECT", "EHLO", "ETRN", "END-OF-MESSAGE"}).Draw(rt, "state")
	f := stranger(state)
	f.ClientAddress = rapid.SampledFrom([]string{"198.51.100.1", "127.0.0.1", "192.0.2.2", "2001:db8::1", "unknown"}).Draw(rt, "client")
	f.ClientName = rapid.SampledFrom([]string{"host.test", "unknown", "a.test"}).Draw(rt, "name")
	f.ClientNameStatus = rapid.SampledFrom([]mail.NameStatus{mail.NameOK, mail.NamePerm, mail.NameTemp}).Draw(rt, "status")
	f.HeloName = rapid.SampledFrom([]string{"", "host.test", "[192.0.2.1]", "a..b", "servfail.test"}).Draw(rt, "helo")
	f.SASLUsername = rapid.SampledFrom([]string{"", "alice"}).Draw(rt, "login")
	if f.SenderKnown {
		f.Sender = drawAddress(rt, "from")
	}
	if f.RecipientKnown {
		f.Recipient = drawAddress(rt, "to")
	}
	return f
}

func drawAddress(rt *rapid.T, label string) string {
	return rapid.OneOf(
		rapid.SampledFrom([]string{"", "s@a.test", "x@mailbox.test", "x@elsewhere.test", "n@nx.test", "a@null.test", "z@servfail.test", "bad@relay.test", "later@a.test", "broken@mailbox.test", "postmaster"}),
		rapid.StringMatching(`[ab"\\@%!. +:\[\]]{0,8}@?[ab.\[\]-]{0,6}`),
		rapid.String(),
	).Draw(rt, label)
}

var stageOf = map[string]restrict.Stage{
	"CONNECT": restrict.StageConnect, "EHLO": restrict.StageHelo, "MAIL": restrict.StageMail, "RCPT": restrict.StageRcpt,
	"VRFY": restrict.StageVrfy, "ETRN": restrict.StageETRN, "DATA": restrict.StageData, "END-OF-MESSAGE": restrict.StageEndOfData,
}

// answers is a world in which every DNS question has a random answer, the same
// whenever it is asked.
func answers(seed uint64) func(name, typ string) dns.Answer {
	return func(name, typ string) dns.Answer {
		h := seed
		for _, c := range typ + " " + name {
			h = (h ^ uint64(c)) * 1099511628211
		}
		switch h >> 7 % 6 {
		case 0:
			return dns.Answer{Outcome: dns.NXDomain}
		case 1:
			return dns.Answer{Outcome: dns.ServFail, Reason: "server failure"}
		case 2:
			return dns.Answer{Outcome: dns.NoData}
		case 3:
			return dns.Answer{Outcome: dns.Success, Records: []dns.Record{{Type: typ}}}
		}
		data := map[string]string{"A": "127.0.0.2", "AAAA": "::1", "MX": "mx.test", "TXT": "why"}[typ]
		return dns.Answer{Outcome: dns.Success, Records: []dns.Record{{Type: typ, Data: data}}}
	}
}

func TestProperties(t *testing.T) {
	w := newBench(t)
	rapid.Check(t, func(rt *rapid.T) {
		p, f := drawProgram(rt, w, t), drawFacts(rt)
		stage := stageOf[f.ProtocolState]
		seed := rapid.Uint64().Draw(rt, "answers")
		query := answers(seed)
		src := evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
			switch q.Kind {
			case evidence.DNS:
				return evidence.FromDNS(query(q.Arg, q.Name))
			case evidence.Host:
				return evidence.FromDNS(dns.NewSystem(asking(query), "").Host(background, q.Arg, strings.Fields(q.Name)...))
			}
			return w.session().Ask(q)
		})
		want := p.Eval(stage, &f, src, restrict.Carry{})
		if again := p.Eval(stage, &f, src, restrict.Carry{}); cmp.Diff(want, again) != "" {
			rt.Fatalf("Eval is not deterministic: %s", cmp.Diff(want, again))
		}
		if told, _ := p.Explain(stage, &f, src, restrict.Carry{}); cmp.Diff(want, told) != "" {
			rt.Fatalf("Explain decides otherwise: %s", cmp.Diff(want, told))
		}
		if got := decide(w, p, stage, &f, query); cmp.Diff(want, got) != "" {
			rt.Fatalf("Decide decides otherwise: %s", cmp.Diff(want, got))
		}
		if want.Reply.Code != 0 && (want.Reply.Code < 400 || want.Reply.Code > 599) {
			rt.Fatalf("reply %s", want.Reply)
		}
		if s := want.Reply.String(); strings.ContainsAny(s, "\r\n") {
			rt.Fatalf("reply %q", s)
		}
	})
}

// decide asks in parallel.
func decide(w *bench, p *restrict.Program, stage restrict.Stage, f *mail.Facts, query func(name, typ string) dns.Answer) restrict.Outcome {
	world := evidence.World{
		Lookup: w.site.Tables.Lookup, Clock: fixed, Verify: probed, Query: asking(query), Host: dns.NewSystem(asking(query), "").Host,
	}
	return p.Decide(stage, f, evidence.NewSession(background, &world), restrict.Carry{})
}

// FuzzCompile: no list makes compiling or evaluating panic.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"permit", "check_client_access", "warn_if_reject", "reject_rbl_client x=[1;2..3].4.5.6", "inline:{", "{ a b }, c", "sleep x", "reject_rbl_client =",
		"check_sender_access inline:{ s@a.test=permit }, permit_dnswl_client x=1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		list = strings.NewReplacer("\n", " ", "\r", " ", "$", "", "\x00", "", "#", "").Replace(list)
		w := newBench(t)
		w.configure(t, "smtpd_recipient_restrictions = "+list)
		facts := stranger("RCPT")
		w.program().Explain(restrict.StageRcpt, &facts, w.session(), restrict.Carry{})
	})
}
