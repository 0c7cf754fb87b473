package mail

import "strings"

// Wrap breaks a text at white space into lines of at most width bytes, all but
// the first indented by 4 (Postfix's line_wrap(3)). A longer word stays whole;
// blanks at the end go.
func Wrap(s string, width int) []string {
	const indent = "    "
	s = strings.TrimRight(s, " \t")
	var lines []string
	prefix, room := "", width
	for {
		if len(s) <= room {
			return append(lines, prefix+s)
		}
		cut := strings.LastIndexAny(s[:room+1], " \t")
		if cut <= 0 {
			cut = strings.IndexAny(s, " \t")
		}
		if cut <= 0 {
			return append(lines, prefix+s)
		}
		lines = append(lines, prefix+strings.TrimRight(s[:cut], " \t"))
		s = strings.TrimLeft(s[cut:], " \t")
		prefix, room = indent, width-len(indent)
	}
}
