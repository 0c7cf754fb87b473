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
func fromPOSIX(p string, basic, fold bool) (perl string, plain bool, err error) {
	t := &translator{in: p, basic: basic, fold: fold, plain: true, atom: -1, open: []group{{}}}
	for t.at < len(t.in) {
		if err := t.step(); err != nil {
			return "", false, err
		}
	}
	if len(t.open) > 1 {
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
	fold  bool
	plain bool
	open  []group // the whole pattern and the groups that are open
	last  int     // number of the group that began last
	whole uint    // bit n: group n can be referred to here
	atom  int     // where in out begins what can be repeated; -1: nothing

}

// group is one that is open.
type group struct {
	number int
	start  int  // where in out it begins
	before uint // translator.whole at its beginning
	others uint // the same at the end of its branches so far
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
	case c == '^' && t.basic && !t.beginsHere(), c == '$' && t.basic && !t.endsHere():
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

// beginsHere reports whether the character just read begins a basic pattern or
// group.
func (t *translator) beginsHere() bool {
	before := t.in[:t.at-1]
	return before == "" || strings.HasSuffix(before, `\(`) || strings.HasSuffix(before, `\|`)
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
		if t.fold && 'a' <= c && c <= 'z' {
			// The C library folds keys to upper case, but not this.
			t.plain = false
			t.literal("(?!)")
			return nil
		}
		t.literal(quote(c))
	}
	return nil
}

func (t *translator) backReference(c byte) error {
	if t.whole&(1<<(c-'0')) == 0 {
		return errReference
	}
	t.plain = false
	t.literal(`(?:\` + string(rune(c)) + `)`)
	return nil
}

func (t *translator) operator(c byte) error {
	switch c {
	case '(':
		t.last++
		t.open = append(t.open, group{number: t.last, start: len(t.out), before: t.whole})
		t.anchor("(")
	case ')':
		if len(t.open) == 1 {
			if t.basic {
				return errParens
			}
			t.literal(`\)`)
			return nil
		}
		g := t.open[len(t.open)-1]
		t.open = t.open[:len(t.open)-1]
		t.whole |= g.others | 1<<g.number
		t.out = append(t.out, ')')
		t.atom = g.start
	case '|':
		g := &t.open[len(t.open)-1]
		g.others |= t.whole
		t.whole = g.before
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

// count reads what follows the brace of a repetition: "m}", "m,}", "m,n}" or
// ",n}".
func (t *translator) count() (string, error) {
	m, stop := t.bound()
	if m == none && stop != ',' {
		return "", errRepeat
	}
	n := m
	if m != invalid && stop == ',' {
		m = max(m, 0)
		n, stop = t.bound()
	}
	switch {
	case (m == invalid || n == invalid) && stop == 0:
		return "", errBraces
	case m == invalid || n == invalid || stop != '}' || n != none && m > n:
		return "", errRepeat
	case max(m, n) > maxRepeat:
		return "", errTooBig
	case n == none:
		return "{" + strconv.Itoa(m) + ",}", nil
	}
	return "{" + strconv.Itoa(m) + "," + strconv.Itoa(n) + "}", nil
}

// What stands for a number that is missing or is none.
const (
	none    = -1
	invalid = -2
)

// bound reads a number up to a comma, the closing brace ('}') or the end (0).
func (t *translator) bound() (n int, stop byte) {
	n = none
	for t.at < len(t.in) {
		c := t.in[t.at]
		t.at++
		switch {
		case c == ',', c == '}' && !t.basic:
			return n, c
		case c == '\\' && t.at < len(t.in):
			t.at++
			if t.basic && t.in[t.at-1] == '}' {
				return n, '}'
			}
			n = invalid
		case c < '0' || c > '9' || n == invalid:
			n = invalid
		default:
			n = min(10*max(n, 0)+int(c-'0'), maxRepeat+1)
		}
	}
	return invalid, 0
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
