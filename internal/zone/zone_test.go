package zone_test

import (
	"strings"
	"testing"

	"sekisho/internal/dns"
	"sekisho/internal/zone"
)

func TestQuery(t *testing.T) {
	z, err := zone.Parse("z", strings.NewReader(`
# comment
Host.example.    A 192.0.2.7
host.example     AAAA 2001:DB8::7
d.example        MX 10 mx1.d.example
d.example        MX 20 mx2.d.example
null.example     MX 0 .
alias.example    CNAME host.example
broken.example   SERVFAIL
*.broken.example SERVFAIL
silent.example   DROP
closed.example   REFUSED
empty.example    EXISTS
deep.in.example  A 192.0.2.9
*.wild.example   A 192.0.2.8
x.wild.example   EXISTS
text.example     TXT "two  words"
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, typ string
		outcome   dns.Outcome
		data      string
	}{
		{"host.example", "A", dns.Success, "192.0.2.7"},
		{"HOST.example", "AAAA", dns.Success, "2001:db8::7"},
		{"host.example", "MX", dns.NoData, ""},
		{"d.example", "MX", dns.Success, "mx1.d.example mx2.d.example"},
		{"null.example", "MX", dns.Success, ""},
		{"alias.example", "A", dns.Success, "192.0.2.7"},
		{"alias.example", "MX", dns.NoData, ""},
		{"broken.example", "A", dns.ServFail, ""},
		{"a.broken.example", "TXT", dns.ServFail, ""},
		{"silent.example", "A", dns.Timeout, ""},
		{"closed.example", "A", dns.Refused, ""},
		{"empty.example", "A", dns.NoData, ""},
		{"in.example", "A", dns.NoData, ""},
		{"example", "A", dns.NoData, ""},
		{"none.example", "A", dns.NXDomain, ""},
		{"a.b.wild.example", "A", dns.Success, "192.0.2.8"},
		{"x.wild.example", "A", dns.NoData, ""},
		{"text.example", "TXT", dns.Success, "two words"},
	} {
		a := z.Query(t.Context(), tt.name, tt.typ)
		var data []string
		for _, r := range a.Records {
			data = append(data, r.Data)
		}
		if a.Outcome != tt.outcome || strings.Join(data, " ") != tt.data {
			t.Errorf("%s %s: %d %q, want %d %q", tt.name, tt.typ, a.Outcome, data, tt.outcome, tt.data)
		}
	}
}

func TestParseErrorsSayWhere(t *testing.T) {
	for text, want := range map[string]string{
		"a.example":                "f:1: a line is NAME TYPE VALUE",
		"a.example A 1.2.3":        `f:1: "1.2.3" is no address of type A`,
		"\na.example AAAA 1.2.3.4": `f:2: "1.2.3.4" is no address of type AAAA`,
		"a.example MX mx.example":  "f:1: MX takes 2 values, not 1",
		"a.example MX x mx":        `f:1: "x" is no MX preference`,
		"a.example SRV 1 2 3 b":    `f:1: unknown type "SRV"`,
	} {
		if _, err := zone.Parse("f", strings.NewReader(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
	}
	if _, err := zone.Load("/nonexistent/zone"); err == nil || !strings.Contains(err.Error(), "/nonexistent/zone") {
		t.Errorf("err = %v", err)
	}
}
