package mail

import "testing"

func TestParseNotify(t *testing.T) {
	for _, c := range []struct {
		in, out string
		ok      bool
	}{
		{"never", "NEVER", true},
		{"SUCCESS", "SUCCESS", true},
		{"delay,Failure,SUCCESS", "SUCCESS,FAILURE,DELAY", true},
		{"NEVER,DELAY", "", false},
		{"", "", false},
		{"SUCCESS,", "", false},
		{"x", "", false},
	} {
		n, ok := ParseNotify(c.in)
		if ok != c.ok || n.String() != c.out {
			t.Errorf("ParseNotify(%q) = %q, %v; want %q, %v", c.in, n, ok, c.out, c.ok)
		}
	}
}
