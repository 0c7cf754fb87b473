package table

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// piece is a part of a rule's result: text, or the number of a group.
type piece struct {
	text  string
	group int // 0 for text
}

// errReplacement is what Postfix says after it has said what is wrong.
var errReplacement = errors.New("bad replacement syntax")

// parseResult reads a result with $n, ${n}, $(n) and $$, and returns the highest
// group it names. The error is what is wrong with it.
func parseResult(s string) (pieces []piece, highest int, err error) {
	text := ""
	for i := 0; i < len(s); {
		if s[i] != '$' {
			end := i + 1
			for end < len(s) && s[end] != '$' {
				end++
			}
			text, i = text+s[i:end], end
			continue
		}
		if strings.HasPrefix(s[i:], "$$") {
			text, i = text+"$", i+2
			continue
		}
		name, n, err := reference(s[i:], s)
		if err != nil {
			return nil, 0, err
		}
		group, err := groupNumber(name)
		if err != nil {
			return nil, 0, err
		}
		pieces = append(pieces, piece{text: text}, piece{group: group})
		highest = max(highest, group)
		text, i = "", i+n
	}
	return append(pieces, piece{text: text}), highest, nil
}

// reference reads the name of the reference at the start of s and returns how
// long it is.
func reference(s, whole string) (name string, n int, err error) {
	if len(s) > 1 && (s[1] == '{' || s[1] == '(') {
		end := strings.IndexByte(s, map[byte]byte{'{': '}', '(': ')'}[s[1]])
		switch {
		case end < 0:
			return "", 0, fmt.Errorf("truncated macro reference: %q", whole)
		case end == 2:
			return "", 0, fmt.Errorf("empty macro name: %q", whole)
		}
		return s[2:end], end + 1, nil
	}
	n = 1
	for n < len(s) && (isAlnum(s[n]) || s[n] == '_') {
		n++
	}
	if n == 1 {
		return "", 0, fmt.Errorf("empty macro name: %q", whole)
	}
	return s[1:n], n, nil
}

func groupNumber(name string) (int, error) {
	if strings.Trim(name, "0123456789") != "" {
		return 0, fmt.Errorf("non-numeric replacement index %q", name)
	}
	n, err := strconv.Atoi(name)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("out-of-range replacement index %q", name)
	}
	return n, nil
}

// expand fills the groups of a match into a result.
func expand(pieces []piece, groups []string) string {
	if len(pieces) == 1 {
		return pieces[0].text
	}
	var b strings.Builder
	for _, p := range pieces {
		switch {
		case p.group == 0:
			b.WriteString(p.text)
		case p.group < len(groups):
			b.WriteString(groups[p.group])
		}
	}
	return b.String()
}
