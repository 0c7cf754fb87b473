package config

import "testing"

func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"plain": "plain", `a\tb\n`: "a\tb\n", `\40!`: " !", `\0`: "\x00", `\1234`: "S4", `\777`: "\xff",
		`\"\\`: `"\`, `\8`: "8", `end\`: "end", "": "",
	} {
		if got := Unescape(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
