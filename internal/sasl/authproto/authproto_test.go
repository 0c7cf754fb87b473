package authproto_test

import (
	"strings"
	"testing"

	"sekisho/internal/sasl"
	"sekisho/internal/sasl/authproto"
)

func TestEscape(t *testing.T) {
	for plain, escaped := range map[string]string{
		"":                    "",
		"user@example.com":    "user@example.com",
		"a\tb\nc\rd\x01e\x00": "a\x01tb\x01nc\x01rd\x011e\x010",
		"日本":                  "日本",
	} {
		if got := authproto.Escape(plain); got != escaped {
			t.Errorf("Escape(%q) = %q, want %q", plain, got, escaped)
		}
		if got := authproto.Unescape(escaped); got != plain {
			t.Errorf("Unescape(%q) = %q, want %q", escaped, got, plain)
		}
	}
	if got := authproto.Unescape("a\x01xb\x01"); got != "axb\x01" {
		t.Errorf("odd escapes: %q", got)
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("a\tb\x01")
	f.Fuzz(func(t *testing.T, s string) {
		e := authproto.Escape(s)
		if strings.ContainsAny(e, "\t\r\n\x00") {
			t.Errorf("%q escaped is %q", s, e)
		}
		if back := authproto.Unescape(e); back != s {
			t.Errorf("%q came back as %q", s, back)
		}
	})
}

func TestMechanism(t *testing.T) {
	for _, tt := range []struct {
		line  string
		want  sasl.Mechanism
		offer bool
	}{
		{"PLAIN\tplaintext", sasl.Mechanism{Name: "PLAIN", Plaintext: true}, true},
		{"X\tanonymous\tplaintext\tdictionary\tactive\tforward-secrecy\tmutual-auth",
			sasl.Mechanism{Name: "X", Anonymous: true, Plaintext: true, Dictionary: true, Active: true, ForwardSecrecy: true, MutualAuth: true}, true},
		{"bare", sasl.Mechanism{Name: "BARE"}, true},
		{"Y\tActive\tnovelty", sasl.Mechanism{Name: "Y", Active: true}, true},
		{"DOVECOT-TOKEN\tprivate", sasl.Mechanism{Name: "DOVECOT-TOKEN"}, false},
		{"SCRAM-SHA-1-PLUS\tmutual-auth\tchannel-binding", sasl.Mechanism{Name: "SCRAM-SHA-1-PLUS", MutualAuth: true}, false},
		{"", sasl.Mechanism{}, false},
	} {
		m, offer := authproto.ParseMechanism(strings.Split(tt.line, "\t"))
		if m != tt.want || offer != tt.offer {
			t.Errorf("%q: %+v, %v", tt.line, m, offer)
		}
		if again, _ := authproto.ParseMechanism(strings.Split(authproto.FormatMechanism(m), "\t")[1:]); again != m {
			t.Errorf("%q: formatted and read again: %+v", tt.line, again)
		}
	}
}
