package cleanup

import "testing"

// TestFromValue: the names were given to Postfix 3.7's sendmail -F.
func TestFromValue(t *testing.T) {
	for name, want := range map[string][2]string{
		"":               {"x@y.test", "x@y.test"},
		" ":              {"x@y.test", "x@y.test"},
		"root":           {"root <x@y.test>", "x@y.test (root)"},
		" sp ":           {"sp <x@y.test>", "x@y.test (sp)"},
		"tab\tx":         {"tab x <x@y.test>", "x@y.test (tab x)"},
		"O'Neil":         {"O'Neil <x@y.test>", "x@y.test (O'Neil)"},
		"a.b":            {`"a.b" <x@y.test>`, "x@y.test (a.b)"},
		"John Q. Public": {`"John Q. Public" <x@y.test>`, "x@y.test (John Q. Public)"},
		`x\y`:            {`"x\\y" <x@y.test>`, `x@y.test (x\\y)`},
		`A "B" C, (D)`:   {`"A \"B\" C, (D)" <x@y.test>`, `x@y.test (A "B" C, \(D\))`},
		"日本":             {"日本 <x@y.test>", "x@y.test (日本)"},
	} {
		m := &Message{c: &Cleaner{}, fullName: name}
		if got := m.fromValue("x@y.test"); got != want[0] {
			t.Errorf("%q: %s, want %s", name, got, want[0])
		}
		m.c.set.fromObsolete = true
		if got := m.fromValue("x@y.test"); got != want[1] {
			t.Errorf("%q, obsolete: %s, want %s", name, got, want[1])
		}
	}
}
