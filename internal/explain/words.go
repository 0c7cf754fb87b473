package explain

import (
	"fmt"
	"strings"

	"sekisho/internal/dns"
	"sekisho/internal/evidence"
)

// kind names a kind of question.
func kind(k evidence.Kind) string {
	switch k {
	case evidence.DNS:
		return "dns"
	case evidence.Host:
		return "host"
	case evidence.Table:
		return "table"
	case evidence.Policy:
		return "policy"
	case evidence.Verify:
		return "verify"
	case evidence.Clock:
		return "clock"
	case evidence.Sleep:
		return "sleep"
	}
	return "unknown"
}

// NoEntry is the answer of a table that does not have the key.
const NoEntry = "no entry"

// question says what is asked: "A 2.0.0.127.list.example", `hash:/f "key"`.
func question(q evidence.Question) string {
	switch q.Kind {
	case evidence.DNS:
		return q.Name + " " + q.Arg
	case evidence.Host:
		return strings.TrimRight("host "+q.Arg+" "+q.Name, " ")
	case evidence.Table:
		return fmt.Sprintf("%s %q", q.Name, q.Arg)
	case evidence.Policy: // the request says what is known anyway
		return "policy service " + q.Name
	}
	return strings.TrimRight(kind(q.Kind)+" "+q.Name+q.Arg, " ")
}

// answer says what came back.
func answer(q evidence.Question, a evidence.Answer) string {
	switch a.Status {
	case evidence.Unknown:
		return "not asked"
	case evidence.Found:
		return found(q, a)
	case evidence.NotFound:
		if q.Kind == evidence.DNS {
			return "NXDOMAIN"
		}
		return NoEntry
	case evidence.NoData:
		return "no such record"
	case evidence.ServFail:
		return "SERVFAIL"
	case evidence.Timeout:
		return "no answer in time"
	case evidence.Refused:
		return "REFUSED"
	case evidence.Malformed:
		return "malformed answer"
	}
	return "failed: " + a.Reason
}

func found(q evidence.Question, a evidence.Answer) string {
	switch q.Kind {
	case evidence.DNS, evidence.Host:
	case evidence.Sleep:
		return "waits so many seconds"
	case evidence.Clock:
		return a.Asked.Format("2006-01-02 15:04:05 -0700")
	case evidence.Verify:
		return a.Value + " (" + a.Reason + ")"
	default:
		return fmt.Sprintf("%q", a.Value)
	}
	var parts []string
	for _, r := range a.Records {
		switch {
		case r.Type == "MX" && r.Data == "":
			parts = append(parts, "null MX")
		case r.Type == "MX":
			parts = append(parts, fmt.Sprintf("%d %s", r.Pref, r.Data))
		case r.Type == "TXT":
			parts = append(parts, fmt.Sprintf("%q", r.Text()))
		default:
			parts = append(parts, r.Data)
		}
	}
	return strings.Join(parts, ", ")
}

// possible lists answers that a question could have, one of each kind that
// restrictions tell apart.
func possible(q evidence.Question) []evidence.Answer {
	if q.Kind == evidence.Verify {
		var out []evidence.Answer
		for _, outcome := range []string{evidence.Deliverable, evidence.Undeliverable, evidence.Deferred} {
			out = append(out, evidence.Answer{Status: evidence.Found, Value: outcome, Reason: "assumed"})
		}
		return out
	}
	if q.Kind == evidence.Policy {
		return []evidence.Answer{
			{Status: evidence.Found, Value: "DUNNO"}, {Status: evidence.Found, Value: "OK"}, {Status: evidence.Found, Value: "REJECT"},
			{Status: evidence.Found, Value: "DEFER_IF_PERMIT"}, {Status: evidence.Failed, Reason: "it does not answer"},
		}
	}
	out := []evidence.Answer{{Status: evidence.NotFound}, {Status: evidence.ServFail, Reason: "assumed"}}
	switch q.Kind {
	case evidence.DNS:
	case evidence.Host:
		return append(out, evidence.Answer{Status: evidence.Found, Records: []dns.Record{{Type: "A", Data: "192.0.2.1"}}})
	default:
		return out
	}
	some := map[string]dns.Record{
		"A":    {Type: "A", Data: "127.0.0.2"},
		"AAAA": {Type: "AAAA", Data: "2001:db8::1"},
		"MX":   {Type: "MX", Data: "mx.example", Pref: 10},
		"NS":   {Type: "NS", Data: "ns.example"},
		"TXT":  {Type: "TXT", Data: "some reason"},
	}
	out = append(out, evidence.Answer{Status: evidence.Found, Records: []dns.Record{some[q.Name]}})
	if q.Name == "MX" {
		out = append(out, evidence.Answer{Status: evidence.Found, Records: []dns.Record{{Type: "MX"}}})
	}
	return out
}
