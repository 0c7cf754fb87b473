package config

import (
	"bufio"
	"io"
	"strings"
)

// physical is one line of a file that belongs to a logical line.
type physical struct {
	text string
	line int
}

// logical is a logical line: the first physical line and those that continue
// it (postconf(5): lines that begin with white space). Comments and blank
// lines between them are gone.
type logical []physical

// text joins the physical lines as Postfix does: the white space that begins
// a continuation stays.
func (l logical) text() string {
	parts := make([]string, len(l))
	for i, p := range l {
		parts[i] = p.text
	}
	return strings.Join(parts, "")
}

// at returns the line number of a byte offset in text.
func (l logical) at(offset int) int {
	for _, p := range l {
		if offset < len(p.text) {
			return p.line
		}
		offset -= len(p.text)
	}
	return l[len(l)-1].line
}

// readLogical reads the logical lines of a file. A line that begins with white
// space before there is anything to continue is reported by its number.
func readLogical(r io.Reader) (lines []logical, stray []int, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, 1<<24)
	for n := 1; sc.Scan(); n++ {
		t := sc.Text()
		trimmed := strings.TrimLeft(t, " \t\r\n\v\f")
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		switch {
		case len(trimmed) == len(t):
			lines = append(lines, logical{{t, n}})
		case len(lines) == 0:
			stray = append(stray, n)
		default:
			last := len(lines) - 1
			lines[last] = append(lines[last], physical{t, n})
		}
	}
	return lines, stray, sc.Err()
}
