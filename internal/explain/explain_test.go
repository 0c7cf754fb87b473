package explain_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/config"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/explain"
	"sekisho/internal/mail"
	"sekisho/internal/matchlist"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
)

func program(t *testing.T, main string) *restrict.Program {
	t.Helper()
	dir := t.TempDir()
	main = "compatibility_level = 3.6\nmyhostname = mx.ours.test\nmydestination =\nvirtual_mailbox_domains = mailbox.test\nmynetworks = 127.0.0.0/8\n" + main + "\n"
	for name, text := range map[string]string{"main.cf": main, "master.cf": ""} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	partial := func(string) bool { return true }
	r, err := rewrite.Compile(cfg, rewrite.World{Partial: partial, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	networks, err := matchlist.Parse("mynetworks", cfg.Networks(), matchlist.Options{Partial: partial})
	if err != nil {
		t.Fatal(err)
	}
	p, _ := restrict.Compile(cfg, restrict.World{Resolver: r, Mynetworks: networks, Partial: partial})
	return p
}

func facts() mail.Facts {
	return mail.Facts{
		ProtocolName: "ESMTP", ClientAddress: "192.0.2.7", ClientName: "host.test", ClientNameStatus: mail.NameOK,
		ReverseClientName: "host.test", ReverseClientNameStatus: mail.NameOK, HeloName: "helo.test",
		SenderKnown: true, Sender: "s@a.test", RecipientKnown: true, Recipient: "x@mailbox.test",
	}
}

// nobody answers DNS questions; tables have no entries.
var nobody = evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
	if q.Kind == evidence.DNS {
		return evidence.Answer{}
	}
	return evidence.Answer{Status: evidence.NotFound}
})

func TestSessionStopsWhereItIsRefused(t *testing.T) {
	for _, c := range []struct {
		main, command string
		verdict       explain.Verdict
	}{
		{"smtpd_client_restrictions = reject", "RCPT", explain.Rejected},
		{"smtpd_delay_reject = no\nsmtpd_client_restrictions = reject", "CONNECT", explain.Rejected},
		{"smtpd_delay_reject = no\nsmtpd_helo_restrictions = defer", "EHLO", explain.Deferred},
		{"smtpd_delay_reject = no\nsmtpd_sender_restrictions = reject", "MAIL", explain.Rejected},
		{"smtpd_data_restrictions = defer_if_permit", "DATA", explain.Deferred},
		{"smtpd_end_of_data_restrictions = reject", "END-OF-MESSAGE", explain.Rejected},
		{"", "END-OF-MESSAGE", explain.Accepted},
		{"smtpd_sender_restrictions = check_sender_access static:DISCARD\nsmtpd_data_restrictions = reject", "END-OF-MESSAGE", explain.Discarded},
		{"smtpd_sender_restrictions = check_sender_access static:HANGUP", "RCPT", explain.Closed},
	} {
		src := evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
			if value, ok := strings.CutPrefix(q.Name, "static:"); ok {
				return evidence.Answer{Status: evidence.Found, Value: value}
			}
			return evidence.Answer{Status: evidence.NotFound}
		})
		rep := explain.Session(program(t, c.main), facts(), src)
		if rep.Verdict != c.verdict || rep.Command != c.command || !rep.Certain {
			t.Errorf("%s: %s at %s (certain: %v), want %s at %s", c.main, rep.Verdict, rep.Command, rep.Certain, c.verdict, c.command)
		}
	}
}

func TestUnansweredQuestions(t *testing.T) {
	p := program(t, "smtpd_client_restrictions = permit_mynetworks, reject_rbl_client rbl.test\nsmtpd_sender_restrictions = reject_unknown_sender_domain")
	rep := explain.Session(p, facts(), nobody)
	if rep.Certain || rep.Verdict != explain.Accepted {
		t.Errorf("certain %v, verdict %s", rep.Certain, rep.Verdict)
	}
	var got []string
	for _, o := range rep.Otherwise {
		got = append(got, string(o.Verdict)+" "+o.Question+" "+o.Answer)
	}
	want := []string{"rejected A 7.2.0.192.rbl.test 127.0.0.2", "rejected MX a.test null MX"}
	if !slices.Equal(got, want) {
		t.Errorf("otherwise %q, want %q", got, want)
	}
	f := facts()
	f.ClientAddress = "127.0.0.1"
	f.Sender = ""
	if rep := explain.Session(p, f, nobody); !rep.Certain {
		t.Errorf("a trusted client with the null sender needs no answer, but: %v", rep.Otherwise)
	}
}

// TestUnansweredHosts: the addresses of a host could be in a table.
func TestUnansweredHosts(t *testing.T) {
	src := evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		switch {
		case q.Kind == evidence.Host:
			return evidence.Answer{}
		case q.Name == "static:REJECT":
			return evidence.Answer{Status: evidence.Found, Value: "REJECT"}
		}
		return evidence.Answer{Status: evidence.NotFound}
	})
	rep := explain.Session(program(t, "inet_protocols = ipv4\nsmtpd_sender_restrictions = check_sender_a_access static:REJECT"), facts(), src)
	if rep.Certain || len(rep.Otherwise) != 1 || rep.Otherwise[0].Question != "host a.test A" || rep.Otherwise[0].Verdict != explain.Rejected {
		t.Errorf("certain %v, otherwise %+v", rep.Certain, rep.Otherwise)
	}
}

func TestAnswersInWords(t *testing.T) {
	answers := map[string]evidence.Answer{
		"A a.test":    {Status: evidence.ServFail},
		"MX a.test":   {Status: evidence.NoData},
		"AAAA a.test": {Status: evidence.Found, Records: []dns.Record{{Type: "AAAA", Data: "2001:db8::1"}}},
	}
	src := evidence.SourceFunc(func(q evidence.Question) evidence.Answer { return answers[q.Name+" "+q.Arg] })
	rep := explain.Session(program(t, "smtpd_sender_restrictions = reject_unknown_sender_domain"), facts(), src)
	var got []string
	for _, r := range rep.Ladder {
		for _, a := range r.Asked {
			if a.Kind == "dns" {
				got = append(got, a.Of+" "+a.Key+": "+a.Answer)
			}
		}
	}
	want := []string{"MX a.test: no such record", "A a.test: SERVFAIL", "AAAA a.test: 2001:db8::1"}
	if !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
}
