package tok822

import (
	"slices"
	"strings"
	"testing"

	"sekisho/internal/mail"
)

// TestRewritten shows lists in which every address was set to itself, as they
// go into a header. They were compared with what Postfix 3.7.11 makes of them.
func TestRewritten(t *testing.T) {
	for _, c := range []struct {
		in        string
		addresses string // internal form, separated by blanks and bars
		want      string // | stands for a line break
	}{
		{"a@b.c", "a@b.c", "a@b.c"},
		{"Foo <a@b>", "a@b", "Foo <a@b>"},
		{"<a@b> x@y", "a@b | x@y", "<a@b>,|x@y"},
		{"foo bar", "foo | bar", "foo,|bar"},
		{`"Foo, Bar" <a@b> (c)`, "a@b", `"Foo, Bar" <a@b>(c)`},
		{"(c1) foo (c2) @ (c3) a.b", "foo@a.b", "foo@a.b (c1) (c2) (c3)"},
		{"group: a, b; , c", "a | b | c", "group: a,|b;,|c"},
		{"empty:;", "", "empty: ;"},
		{"<>", "", "<>"},
		{"", "", ""},
		{"a..b@c", "a..b@c", `"a..b"@c`},
		{`"a b"@c`, "a b@c", `"a b"@c`},
		{`a\ b@c`, "a b@c", `"a b"@c`},
		{"J. R. Doe <j>", "j", "J.R.Doe <j>"},
		{"a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]"},
		{`"unclosed`, "unclosed", "unclosed"},
		{"a;b", "a | b", "a;,|b"},
		{"x:y", "x:y", `"x:y"`},
	} {
		l := Parse(c.in, 0)
		var got []string
		for _, a := range l.Addresses() {
			got = append(got, a.Internal())
			a.Set(a.Internal())
		}
		text, stripped := l.Header()
		if strings.Join(got, " | ") != c.addresses {
			t.Errorf("%q: addresses %q, want %q", c.in, got, c.addresses)
		}
		if strings.ReplaceAll(text, "\n", "|") != c.want || len(stripped) > 0 {
			t.Errorf("%q: %q %q, want %q", c.in, text, stripped, c.want)
		}
	}
}

func TestTooMuchAroundAnAddress(t *testing.T) {
	long := "(" + strings.Repeat("x", 260) + ") "
	for _, c := range []struct{ in, want string }{
		{long + "a@b, c", "<a@b>,\nc"},
		{"c, " + long + "N <a@b>", "c,\n<a@b>"},
		{long + "<>", "<>"},
		{long, strings.TrimSpace(long)},
	} {
		got, stripped := Parse(c.in, 0).Header()
		if got != c.want || len(stripped) != strings.Count(c.want, "<") {
			t.Errorf("%.20q: %q (%d stripped), want %q", c.in, got, len(stripped), c.want)
		}
	}
}

func TestLimitAndNUL(t *testing.T) {
	var got []string
	for _, a := range append(Parse("a, b, c", 3).Addresses(), Parse("d\x00, e", 0).Addresses()...) {
		got = append(got, a.External())
	}
	if want := []string{"a", "b", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOthers(t *testing.T) {
	for in, want := range map[string]int{"<a@b>": 0, "a@b": 0, "N <a@b>": 1, "<a@b> (c)": 1, "a,": 1, "<>": 0} {
		if got := Parse(in, 0).Others(); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

// TestExternal: an unopened '>' leaves a list in one address.
func TestExternal(t *testing.T) {
	for in, want := range map[string]string{
		"<u @ far . test>,x>": "u@far.test>, x", "a b>": "ab", `"a b" @ c`: `"a b"@c`,
	} {
		if a := Parse(in, 0).Addresses(); len(a) != 1 || a[0].External() != want {
			t.Errorf("%s: %d addresses, want %q", in, len(a), want)
		}
	}
}

// FuzzParse: no input breaks the parser, and what it writes it reads as the
// same addresses.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a@b", "N <a@b> (c), d", "g: a, b;", `"q\"`, "(", "<", "[", `\`, ":;,<>", "a b c", "@,:", `"@<>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := Parse(s, 0)
		for _, a := range l.Addresses() {
			if a.Internal() == "" && a.External() != `""` && !strings.ContainsAny(s, `\"([`) {
				t.Errorf("%q has an address of nothing", s)
			}
			a.Set(a.Internal())
		}
		if slices.ContainsFunc(l.Addresses(), unwritable) {
			return
		}
		text, stripped := l.Header()
		if n := len(Parse(text, 0).Addresses()); n == 0 && len(stripped) == 0 && len(l.Addresses()) > 0 {
			t.Errorf("%q became %q, which has no address", s, text)
		}
	})
}

// unwritable: behind an open quote anything can become a domain, but quotes
// are put around local parts only.
func unwritable(a *Address) bool {
	_, domain, _ := mail.SplitAddress(a.Internal())
	return strings.ContainsAny(domain, `<>()@,;:\"[] `)
}
