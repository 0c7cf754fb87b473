package pcre_test

import (
	"strings"
	"sync"
	"testing"

	"sekisho/internal/table/pcre"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		opts    pcre.Option
		subject string
		want    string // groups joined by "|", "-" for no match
	}{
		{"a(b*)c", 0, "xabbc", "abbc|bb"},
		{"a(b*)c", 0, "xab", "-"},
		{"", 0, "x", ""},
		{"^$", 0, "", ""},
		{"(?!x)a", 0, "a", "a"},
		{"A", pcre.Caseless, "a", "a"},
		{"a.b", pcre.DotAll, "a\nb", "a\nb"},
		{"a.b", 0, "a\nb", "-"},
		{"^b", pcre.MultiLine, "a\nb", "b"},
		{"(a)|(b)", 0, "b", "b||b"},
		{"(a)|(b)", 0, "a", "a|a|"},
		{"\\xe3", 0, "\xe3\x81\x82", "\xe3"},
		{"(?<n>x)\\k<n>", 0, "xx", "xx|x"},
	} {
		re, err := pcre.Compile(c.pattern, c.opts)
		if err != nil {
			t.Fatalf("%q: %v", c.pattern, err)
		}
		g, ok, err := re.Match(c.subject)
		got := strings.Join(g, "|")
		if err != nil || !ok {
			got = "-"
		}
		if got != c.want {
			t.Errorf("%q against %q: %q, want %q (%v)", c.pattern, c.subject, got, c.want, err)
		}
	}
}

func TestErrors(t *testing.T) {
	if _, err := pcre.Compile("a(b", 0); err == nil || !strings.Contains(err.Error(), "offset 3") {
		t.Errorf("got %v", err)
	}
	re, err := pcre.Compile("(a+)+$", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := re.Match(strings.Repeat("a", 60) + "b"); ok || err == nil {
		t.Errorf("catastrophic pattern: ok %v, err %v; want it given up", ok, err)
	}
}

func TestConcurrentUse(t *testing.T) {
	re, err := pcre.Compile("(x+)y", 0)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				if g, ok, err := re.Match("aaxxxy"); err != nil || !ok || g[1] != "xxx" {
					t.Errorf("got %q %v %v", g, ok, err)
					return
				}
			}
		})
	}
	wg.Wait()
}
