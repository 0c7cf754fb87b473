package table

import (
	"errors"
	"regexp"
	"strconv"
	"strings"
)

// What the C library says of a bad pattern (regerror(3)).
var (
	errPreceding = errors.New("Invalid preceding regular expression")
	errParens    = errors.New(`Unmatched ( or \(`)
	errBrackets  = errors.New("Unmatched [, [^, [:, [., or [=")
	errRange     = errors.New("Invalid range end")
	errClass     = errors.New("Invalid character class name")
	errBraces    = errors.New(`Unmatched \{`)
	errRepeat    = errors.New(`Invalid content of \{\}`)
	errTooBig    = errors.New("Regular expression too big")
	errReference = errors.New("Invalid back reference")
	errBackslash = errors.New("Trailing backslash")
	errPattern   = errors.New("Invalid regular expression")
)

// maxRepeat is the C library's RE_DUP_MAX.
const maxRepeat = 0x7fff

// fromPOSIX writes a POSIX pattern (regex(7), with GNU's additions) in Perl's
// syntax. plain is false when the result needs more than Go's regexp offers.
func fromPOSIX(p string, basic bool) (perl string, plain bool, err error) {
	t := &translator{in: p, basic: basic, plain: true, atom: -1}
	for t.at < len(t.in) {
		if err := t.step(); err != nil {
			return "", false, err
		}
	}
	if len(t.open) > 0 {
		return "", false, errParens
	}
	return string(t.out), t.plain, nil
}

// translator is one walk through a pattern.
type translator struct {
	in    string
	at    int
	out   []byte
	basic bool
	plain bool
	open  []int // where in out the open groups begin
	done  int   // groups that are closed or open
	atom  int   // where in out begins what can be repeated; -1: nothing

}

func (t *translator) step() error {
	c := t.in[t.at]
	switch {
	case c == '\\' && t.at+1 == len(t.in):
		return errBackslash
	case c == '\\':
		c = t.in[t.at+1]
		t.at += 2
		return t.escaped(c)
	case c == '[':
		class, n, err := bracket(t.in[t.at:])
		t.at += n
		t.literal(class)
		return err
	}
	t.at++
	switch {
	case c == '*', !t.basic && strings.IndexByte("+?{()|", c) >= 0:
		return t.operator(c)
	case c == '^' && t.basic && t.atom >= 0, c == '$' && t.basic && !t.endsHere():
		t.literal(`\` + string(c))
	case c == '^', c == '$':
		t.anchor(string(c))
	case c == '.':
		t.literal(".")
	default:
		t.literal(quote(c))
	}
	return nil
}

// endsHere reports whether a basic pattern or group ends.
func (t *translator) endsHere() bool {
	rest := t.in[t.at:]
	return rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`)
}

// quote writes a character that stands for itself.
func quote(c byte) string {
	if c >= 0x80 {
		return `\x` + strconv.FormatUint(uint64(c), 16)
	}
	return regexp.QuoteMeta(string(rune(c)))
}

func (t *translator) literal(s string) {
	t.atom = len(t.out)
	t.out = append(t.out, s...)
}

// anchor writes something that cannot be repeated.
func (t *translator) anchor(s string) {
	t.out = append(t.out, s...)
	t.atom = -1
}

func (t *translator) escaped(c byte) error {
	if t.basic && strings.IndexByte("(){|+?", c) >= 0 {
		return t.operator(c)
	}
	switch c {
	case 'w':
		t.literal("[[:alnum:]_]")
	case 'W':
		t.literal("[^[:alnum:]_]")
	case 's':
		t.literal("[[:space:]]")
	case 'S':
		t.literal("[^[:space:]]")
	case 'b', 'B', '<', '>', '`', '\'':
		t.plain = false
		t.anchor(map[byte]string{'b': `\b`, 'B': `\B`, '<': `\b(?=\w)`, '>': `\b(?<=\w)`, '`': `\A`, '\'': `\z`}[c])
	default:
		if '1' <= c && c <= '9' {
			return t.backReference(c)
		}
		t.literal(quote(c))
	}
	return nil
}

func (t *translator) backReference(c byte) error {
	if int(c-'0') > t.done-len(t.open) {
		return errReference
	}
	t.plain = false
	t.literal(`(?:\` + string(rune(c)) + `)`)
	return nil
}

func (t *translator) operator(c byte) error {
	switch c {
	case '(':
		t.open = append(t.open, len(t.out))
		t.done++
		t.anchor("(")
	case ')':
		if len(t.open) == 0 {
			if t.basic {
				return errParens
			}
			t.literal(`\)`)
			return nil
		}
		last := len(t.open) - 1
		t.out = append(t.out, ')')
		t.atom, t.open = t.open[last], t.open[:last]
	case '|':
		t.anchor("|")
	default:
		return t.repeat(c)
	}
	return nil
}

// repeat applies * + ? {m,n} to what stands before it.
func (t *translator) repeat(c byte) error {
	if t.atom < 0 {
		if t.basic && c != '{' {
			t.literal(quote(c))
			return nil
		}
		return errPreceding
	}
	op := string(rune(c))
	if c == '{' {
		var err error
		if op, err = t.count(); err != nil {
			return err
		}
	}
	// A repetition of a repetition would be something else in Perl's syntax.
	inner := string(t.out[t.atom:])
	t.out = append(append(t.out[:t.atom], "(?:"+inner+op...), ')')
	return nil
}

// count reads what follows the brace of a repetition.
func (t *translator) count() (string, error) {
	closing := "}"
	if t.basic {
		closing = `\}`
	}
	end := strings.Index(t.in[t.at:], closing)
	text := t.in[t.at:]
	if end >= 0 {
		text = text[:end]
	}
	if strings.Trim(text, "0123456789,") != "" {
		return "", errRepeat
	}
	if end < 0 {
		return "", errBraces
	}
	t.at += end + len(closing)
	lowest, highest, two := strings.Cut(text, ",")
	if lowest == "" {
		lowest = "0"
		if !two || highest == "" {
			return "", errRepeat
		}
	}
	m, err1 := strconv.Atoi(lowest)
	n, err2 := m, error(nil)
	if two && highest != "" {
		n, err2 = strconv.Atoi(highest)
	}
	switch {
	case strings.Contains(highest, ","):
		return "", errRepeat
	case err1 != nil || err2 != nil || m > maxRepeat || n > maxRepeat:
		return "", errTooBig
	case n < m:
		return "", errRepeat
	}
	if two {
		return "{" + lowest + "," + highest + "}", nil
	}
	return "{" + lowest + "}", nil
}

var classes = map[string]bool{
	"alnum": true, "alpha": true, "blank": true, "cntrl": true, "digit": true, "graph": true,
	"lower": true, "print": true, "punct": true, "space": true, "upper": true, "xdigit": true,
}

// bracket rewrites a bracket expression, in which POSIX takes a backslash
// literally, and returns how long it is.
func bracket(p string) (class string, n int, err error) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(p) && p[i] == '^' {
		b.WriteByte('^')
		i++
	}
	if i == len(p) {
		return "", 0, errPattern
	}
	for first := true; i < len(p); first = false {
		if p[i] == ']' && !first {
			b.WriteByte(']')
			return b.String(), i + 1, nil
		}
		from, n, err := element(p[i:])
		if err != nil {
			return "", 0, err
		}
		i += n
		if len(from) > 1 { // a class
			b.WriteString(from)
			continue
		}
		b.WriteString(inBracket(from[0]))
		if !strings.HasPrefix(p[i:], "-") || strings.HasPrefix(p[i:], "-]") {
			continue
		}
		if i+1 == len(p) {
			return "", 0, errBrackets
		}
		to, n, err := element(p[i+1:])
		if err != nil {
			return "", 0, err
		}
		if len(to) > 1 || to < from {
			return "", 0, errRange
		}
		b.WriteString("-" + inBracket(to[0]))
		i += 1 + n
	}
	return "", 0, errBrackets
}

// element reads one character, [.x.], [=x=] or [:class:].
func element(p string) (s string, n int, err error) {
	if len(p) < 2 || p[0] != '[' || strings.IndexByte(":.=", p[1]) < 0 {
		return p[:1], 1, nil
	}
	end := strings.Index(p[2:], p[1:2]+"]")
	if end < 0 {
		return "", 0, errBrackets
	}
	name, n := p[2:2+end], end+4
	switch {
	case p[1] == ':' && classes[name]:
		return p[:n], n, nil
	case p[1] == ':':
		return "", 0, errClass
	case len(name) != 1:
		return "", 0, errors.New("Invalid collation character")
	}
	return name, n, nil
}

func inBracket(c byte) string {
	switch {
	case c >= 0x80:
		return quote(c)
	case strings.IndexByte(`\[]^-&~|`, c) >= 0:
		return `\` + string(rune(c))
	}
	return string(rune(c))
}
