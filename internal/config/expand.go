package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// maxNesting bounds parameters that name each other.
const maxNesting = 100

// Expand replaces $name, ${name}, $(name), ${name?text}, ${name:text} and
// ${{left} op {right}?{a}:{b}} in s with what lookup says of the names
// (postconf(5)). A name that lookup does not know is empty. The values that
// lookup returns are not expanded again.
func Expand(s string, lookup func(name string) (string, bool)) (string, error) {
	x := expander{lookup: lookup}
	return x.expand(s, 0)
}

// ExpandUsing is Expand, and tells of the names whose values became part of the
// result whether lookup knew them; a name that is only tested, as in
// ${name?text}, is not among them.
func ExpandUsing(s string, lookup func(name string) (string, bool)) (value string, used map[string]bool, err error) {
	x := expander{lookup: lookup, used: make(map[string]bool)}
	value, err = x.expand(s, 0)
	return value, x.used, err
}

// References calls f with every name that s refers to, in all branches.
func References(s string, f func(name string)) error {
	x := expander{lookup: func(n string) (string, bool) { f(n); return "", false }, branches: true}
	_, err := x.expand(s, 0)
	return err
}

type expander struct {
	lookup   func(string) (string, bool)
	recurse  bool // values are expanded too
	branches bool // go into all branches, for what they refer to
	// used has the names whose values were taken, and whether they were known; nil:
	// nobody asks.
	used map[string]bool
}

func (x *expander) expand(s string, depth int) (string, error) {
	if depth > maxNesting {
		return "", fmt.Errorf("unreasonable macro call nesting: %q", s)
	}
	if !strings.Contains(s, "$") {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '$' {
			b.WriteByte(s[i])
			i++
			continue
		}
		v, n, err := x.macro(s[i:], depth)
		if err != nil {
			return "", err
		}
		b.WriteString(v)
		i += n
	}
	return b.String(), nil
}

// macro expands the one at the start of s and returns how long it is there.
func (x *expander) macro(s string, depth int) (value string, n int, err error) {
	if len(s) < 2 {
		return "", 0, fmt.Errorf("empty macro name: %q", s)
	}
	switch s[1] {
	case '$':
		return "$", 2, nil
	case '{', '(':
		end := matching(s[1:])
		if end < 0 {
			return "", 0, fmt.Errorf("truncated macro reference: %q", s)
		}
		v, err := x.body(s[2:1+end], depth)
		return v, end + 2, err
	}
	n = 1
	for n < len(s) && isNameByte(s[n]) {
		n++
	}
	if n == 1 {
		return "", 0, fmt.Errorf("empty macro name: %q", s)
	}
	v, err := x.value(s[1:n], depth)
	return v, n, err
}

// matching returns the index of the bracket that closes the one at s[0].
func matching(s string) int {
	closing := map[byte]byte{'{': '}', '(': ')'}[s[0]]
	depth := 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case s[0]:
			depth++
		case closing:
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return -1
}

func isNameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

func (x *expander) value(name string, depth int) (string, error) {
	v, known := x.lookup(name)
	if x.used != nil {
		x.used[name] = known
	}
	if !x.recurse {
		return v, nil
	}
	return x.expand(v, depth+1)
}

// body expands what stands between the brackets of ${...}.
func (x *expander) body(s string, depth int) (string, error) {
	s = strings.TrimSpace(s)
	if strings.HasPrefix(s, "{") {
		return x.comparison(s, depth)
	}
	n := 0
	for n < len(s) && (isNameByte(s[n]) || s[n] == '.') {
		n++
	}
	if n == 0 {
		return "", fmt.Errorf("empty macro name: %q", "${"+s+"}")
	}
	rest := strings.TrimLeft(s[n:], " \t")
	if rest == "" {
		return x.value(s[:n], depth)
	}
	test := *x
	test.used = nil
	v, err := test.value(s[:n], depth)
	if err != nil {
		return "", err
	}
	return x.choose(v != "", rest, depth)
}

// choose reads "?text", ":text" or "?{a}:{b}".
func (x *expander) choose(yes bool, rest string, depth int) (string, error) {
	then, otherwise := "", ""
	switch rest[0] {
	case '?':
		text, more, err := operand(rest[1:])
		if err != nil {
			return "", err
		}
		then = text
		if more != "" {
			if more[0] != ':' {
				return "", fmt.Errorf("\":\" expected at: %q", more)
			}
			if otherwise, more, err = operand(more[1:]); err != nil || more != "" {
				return "", fmt.Errorf("unexpected input at: %q", more)
			}
		}
	case ':':
		text, more, err := operand(rest[1:])
		if err != nil || more != "" {
			return "", fmt.Errorf("unexpected input at: %q", more)
		}
		otherwise = text
	default:
		return "", fmt.Errorf("attribute name syntax error at: %q", rest)
	}
	if x.branches {
		_, err1 := x.expand(then, depth+1)
		_, err2 := x.expand(otherwise, depth+1)
		return "", errors.Join(err1, err2)
	}
	if yes {
		return x.expand(then, depth+1)
	}
	return x.expand(otherwise, depth+1)
}

// operand takes "{text}" with its outer white space removed, or everything.
func operand(s string) (text, rest string, err error) {
	t := strings.TrimLeft(s, " \t\r\n")
	if !strings.HasPrefix(t, "{") {
		return s, "", nil
	}
	end := matching(t)
	if end < 0 {
		return "", "", fmt.Errorf("unbalanced {} in attribute expression: %q", s)
	}
	return strings.TrimSpace(t[1:end]), strings.TrimSpace(t[end+1:]), nil
}

// comparison expands {left} op {right}, then an optional choice.
func (x *expander) comparison(s string, depth int) (string, error) {
	left, rest, err := operand(s)
	if err != nil {
		return "", err
	}
	i := strings.IndexByte(rest, '{')
	if i < 0 {
		return "", fmt.Errorf("\"{expression}\" expected at: %q", rest)
	}
	op := strings.TrimSpace(rest[:i])
	right, rest, err := operand(rest[i:])
	if err != nil {
		return "", err
	}
	if left, err = x.expand(left, depth+1); err != nil {
		return "", err
	}
	if right, err = x.expand(right, depth+1); err != nil {
		return "", err
	}
	yes, err := compare(left, op, right)
	if err != nil {
		return "", err
	}
	if rest == "" {
		if yes {
			return "true", nil
		}
		return "", nil
	}
	return x.choose(yes, rest, depth)
}

func compare(left, op, right string) (bool, error) {
	order := strings.Compare(left, right)
	if base, ok := strings.CutSuffix(op, "level"); ok {
		op, order = base, compareLevels(left, right)
	} else if isDigits(left) && isDigits(right) {
		l, _ := strconv.ParseInt(left, 10, 64)
		r, _ := strconv.ParseInt(right, 10, 64)
		order = int(max(min(l-r, 1), -1))
	}
	switch op {
	case "==":
		return order == 0, nil
	case "!=":
		return order != 0, nil
	case "<":
		return order < 0, nil
	case "<=":
		return order <= 0, nil
	case ">":
		return order > 0, nil
	case ">=":
		return order >= 0, nil
	}
	return false, fmt.Errorf(`"==" or "!=" or "<" or "<=" or ">=" or ">" expected at: %q`, op)
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// compareLevels compares dotted compatibility levels.
func compareLevels(a, b string) int {
	pa, pb := strings.Split(a, "."), strings.Split(b, ".")
	for i := range max(len(pa), len(pb)) {
		var x, y int
		if i < len(pa) {
			x, _ = strconv.Atoi(pa[i])
		}
		if i < len(pb) {
			y, _ = strconv.Atoi(pb[i])
		}
		if x != y {
			return max(min(x-y, 1), -1)
		}
	}
	return 0
}
