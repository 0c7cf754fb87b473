package getopt_test

import (
	"fmt"
	"strings"
	"testing"

	"sekisho/internal/applet/getopt"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"a -n", "a -n"},
		{"-nx a", "n x | a"},
		{"-c DIR -n", "c=DIR n"},
		{"-nc DIR b", "n c=DIR | b"},
		{"-cDIR", "c=DIR"},
		{"-n -- -x", "n | -x"},
		{"-q -", "q=-"},
		{"- x", "- x"},
		{"-z", "invalid option -- 'z'"},
		{"-:", "invalid option -- ':'"},
		{"-nc", "option requires an argument -- 'c'"},
	} {
		options, operands, err := getopt.Parse(strings.Fields(c.args), "nxc:q:")
		var words []string
		for _, o := range options {
			w := string(o.Letter)
			if o.Value != "" {
				w += "=" + o.Value
			}
			words = append(words, w)
		}
		if len(options) > 0 && len(operands) > 0 {
			words = append(words, "|")
		}
		got := strings.Join(append(words, operands...), " ")
		if err != nil {
			got = fmt.Sprint(err)
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.args, got, c.want)
		}
	}
}
