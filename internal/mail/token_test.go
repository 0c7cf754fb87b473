package mail

import (
	"strings"
	"testing"
)

func TestScanAddress(t *testing.T) {
	for _, c := range []struct{ in, tokens, joined string }{
		{`user@host.example`, `a:user @ a:host . a:example`, `user@host.example`},
		{`"a b"@x`, `q:a b @ a:x`, `a b@x`},
		{`"a\"b"@x`, `q:a"b @ a:x`, `a"b@x`},
		{`a\@b@x`, `q:a@b @ a:x`, `a@b@x`},
		{`user@[192.0.2.1]`, `a:user @ l:192.0.2.1`, `user@[192.0.2.1]`},
		{`@a,@b:u@c`, `@ a:a , @ a:b : a:u @ a:c`, `@a, @b:u@c`},
		{`u%h!x`, `a:u % a:h ! a:x`, `u%h!x`},
		{`a b`, `a:a a:b`, `a b`},
		{`u(c(d)e)@x`, `a:u c:(c(d)e) @ a:x`, `u (c(d)e)@x`},
		{`"open`, `q:open`, `open`},
		{`[open`, `l:open`, `[open]`},
		{`(open`, `c:(open`, `(open`},
		{`\`, `a:`, ``},
		{``, ``, ``},
	} {
		var words []string
		for _, tok := range ScanAddress(c.in) {
			words = append(words, [...]string{"", "a:", "q:", "c:", "l:"}[tok.Kind]+tok.Text)
		}
		if got := strings.Join(words, " "); got != c.tokens {
			t.Errorf("ScanAddress(%q) = %s, want %s", c.in, got, c.tokens)
		}
		if got := JoinTokens(ScanAddress(c.in)); got != c.joined {
			t.Errorf("JoinTokens(%q) = %q, want %q", c.in, got, c.joined)
		}
	}
}

func FuzzScanAddress(f *testing.F) {
	for _, s := range []string{`"a b"@x`, `@a:b@c`, `a\`, `(((`, "\xff@\xfe", `[`, `x(\`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, tok := range ScanAddress(s) {
			if tok.Kind == Operator && (len(tok.Text) != 1 || !strings.Contains(operators, tok.Text)) {
				t.Errorf("ScanAddress(%q): operator %q", s, tok.Text)
			}
		}
	})
}
