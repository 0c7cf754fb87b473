package dnsfilter_test

import (
	"fmt"
	"testing"
	"time"

	"sekisho/internal/dns"
	"sekisho/internal/dnsfilter"
	"sekisho/internal/evidence"
)

func TestText(t *testing.T) {
	for _, tt := range []struct {
		r    dns.Record
		want string
	}{
		{dns.Record{Type: "A", Name: "a.test", Data: "192.0.2.1", TTL: time.Hour}, "a.test. 3600 IN A 192.0.2.1"},
		{dns.Record{Type: "AAAA", Name: "a.test", Data: "2001:db8::1"}, "a.test. 0 IN AAAA 2001:db8::1"},
		{dns.Record{Type: "MX", Name: "a.test", Pref: 10, Data: "mx.a.test", TTL: time.Minute}, "a.test. 60 IN MX 10 mx.a.test."},
		{dns.Record{Type: "NS", Name: "a.test", Data: "ns.a.test"}, "a.test. 0 IN NS ns.a.test."},
		{dns.Record{Type: "PTR", Name: "a.test", Data: "b.test"}, "a.test. 0 IN PTR b.test."},
		{dns.Record{Type: "TXT", Name: "a.test", Data: "one\ttwo", First: 4}, "a.test. 0 IN TXT one "},
	} {
		if got := dnsfilter.Text(tt.r); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestApply(t *testing.T) {
	src := evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		key := map[string]string{"a. 0 IN A 1": "first", "a. 0 IN A 2": "second", "a. 0 IN A 3": "third"}[q.Arg]
		switch q.Name + " " + key {
		case "T first":
			return evidence.Answer{Status: evidence.Found, Value: "ignore\tthat"}
		case "U second":
			return evidence.Answer{Status: evidence.Found, Value: "IGNORED"}
		case "V first":
			return evidence.Answer{Status: evidence.Failed}
		case "W first":
			return evidence.Answer{Status: evidence.Found}
		}
		return evidence.Answer{Status: evidence.NotFound}
	})
	a := func(data string) dns.Record { return dns.Record{Type: "A", Name: "a", Data: data} }
	const ignoring = "{false ignoring DNS RR: a. 0 IN A 1}"
	for _, tt := range []struct {
		tables  []string
		records []dns.Record
		want    string
	}{
		{nil, []dns.Record{a("1")}, "[1] 0 []"},
		{[]string{"T"}, nil, "[] 0 []"},
		{[]string{"T"}, []dns.Record{a("1"), a("2"), a("3")}, "[2 3] 0 [" + ignoring + "]"},
		{[]string{"T"}, []dns.Record{a("1")}, "[] 1 [" + ignoring + "]"},
		{[]string{"T", "U"}, []dns.Record{a("1"), a("2"), a("3")}, "[] 2 [" + ignoring + " {true p: unknown DNS filter action: \"IGNORED\"}]"},
		{[]string{"T", "V"}, []dns.Record{a("1")}, "[] 1 [" + ignoring + "]"},
		{[]string{"V", "T"}, []dns.Record{a("1")}, "[] 2 [{true V lookup error for \"a. 0 IN A 1\"}]"},
		{[]string{"W"}, []dns.Record{a("1")}, "[] 2 [{true p lookup of a. 0 IN A 1 returns an empty string result} {true p should return NO RESULT in case of NOT FOUND}]"},
	} {
		kept, o, log := dnsfilter.Filter{Param: "p", Tables: tt.tables}.Apply(src, tt.records)
		data := []string{}
		for _, r := range kept {
			data = append(data, r.Data)
		}
		if got := fmt.Sprint(data, o, log); got != tt.want {
			t.Errorf("%v %v:\n%s, want\n%s", tt.tables, tt.records, got, tt.want)
		}
		if (o.Reason("n", "A") == "") != (o == dnsfilter.Kept) {
			t.Errorf("%v: reason %q", tt.tables, o.Reason("n", "A"))
		}
	}
}
