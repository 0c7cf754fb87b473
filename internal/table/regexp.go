package table

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"sekisho/internal/table/pcre"
)

// parseRegexpRule reads one rule of a regexp or pcre table:
//
//	[!]/pattern/[flags] result
//	if [!]/pattern/[flags]
//	endif
func parseRegexpRule(typ, text string) (rule, error) {
	var r rule
	low := strings.ToLower(text)
	switch word, rest := cutSpace(low); {
	case word == "endif":
		return rule{kind: ruleEndif}, nil
	case strings.HasPrefix(low, "if") && len(low) > 2 && !isAlnum(low[2]):
		r.kind = ruleIf
		text = strings.TrimSpace(text[2:])
	case word == "if":
		return r, fmt.Errorf("no pattern after IF in %q", rest)
	}
	for strings.HasPrefix(text, "!") {
		r.negate = !r.negate
		text = strings.TrimLeft(text[1:], " \t")
	}
	pattern, flags, rest, err := cutPattern(text)
	if err != nil {
		return r, err
	}
	var groups int
	if typ == "pcre" {
		r.match, groups, err = compilePCRE(pattern, flags)
	} else {
		r.match, groups, err = compileRegexp(pattern, flags)
	}
	if err != nil {
		return r, fmt.Errorf("/%s/: %w", pattern, err)
	}
	if typ == "regexp" && r.kind == ruleMatch && strings.HasPrefix(rest, "!") {
		if rest, err = r.butNot(rest); err != nil {
			return r, err
		}
	}
	r.result, r.groups = rest, groups
	return r, r.checkReferences()
}

// butNot reads the second half of the older form "/a/!/b/ result": a matches
// and b does not.
func (r *rule) butNot(text string) (rest string, err error) {
	pattern, flags, rest, err := cutPattern(strings.TrimLeft(text[1:], " \t"))
	if err != nil {
		return "", err
	}
	not, _, err := compileRegexp(pattern, flags)
	if err != nil {
		return "", err
	}
	match := r.match
	r.match = func(key string) ([]string, bool, error) {
		g, ok, err := match(key)
		if !ok || err != nil {
			return g, ok, err
		}
		_, hit, err := not(key)
		return g, !hit, err
	}
	return rest, nil
}

// checkReferences refuses a result that names a group the pattern has not.
func (r *rule) checkReferences() error {
	return eachReference(r.result, func(_ string, n int) error {
		switch {
		case n >= 0 && r.negate:
			return errors.New("$number found in negative match replacement text")
		case n > r.groups:
			return fmt.Errorf("text substitution $%d: the pattern has only %d groups", n, r.groups)
		}
		return nil
	})
}

// cutPattern splits "/pattern/flags rest"; any character that is neither a
// letter, a digit nor white space delimits.
func cutPattern(text string) (pattern, flags, rest string, err error) {
	if text == "" {
		return "", "", "", errors.New("no regexp pattern (write /pattern/flags result)")
	}
	delim := text[0]
	if isAlnum(delim) || delim == ' ' || delim == '\t' {
		return "", "", "", fmt.Errorf("the pattern %q does not begin with a delimiter such as /", text)
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && i+1 < len(text):
			if text[i+1] != delim {
				b.WriteByte('\\')
			} else if strings.IndexByte(`.^$*+?()[]{}|`, delim) >= 0 {
				b.WriteByte('\\')
			}
			i++
			b.WriteByte(text[i])
		case text[i] == delim:
			rest = text[i+1:]
			n := 0
			for n < len(rest) && isAlnum(rest[n]) {
				n++
			}
			return b.String(), rest[:n], strings.TrimSpace(rest[n:]), nil
		default:
			b.WriteByte(text[i])
		}
	}
	return "", "", "", fmt.Errorf("no closing delimiter %q", string(delim))
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func compilePCRE(pattern, flags string) (matcher, int, error) {
	opts := pcre.Caseless | pcre.DotAll
	for _, f := range flags {
		switch f {
		case 'i':
			opts ^= pcre.Caseless
		case 's':
			opts ^= pcre.DotAll
		case 'm':
			opts ^= pcre.MultiLine
		case 'x':
			opts ^= pcre.Extended
		case 'A':
			opts ^= pcre.Anchored
		case 'E':
			opts ^= pcre.DollarEndOnly
		case 'U':
			opts ^= pcre.Ungreedy
		case 'X': // PCRE2 is always that strict
		default:
			return nil, 0, fmt.Errorf("unknown regexp option %q (use some of i s m x A E U X)", string(f))
		}
	}
	re, err := pcre.Compile(pattern, opts)
	if err != nil {
		return nil, 0, err
	}
	return re.Match, re.Groups(), nil
}

// compileRegexp compiles a POSIX pattern as the C library would read it:
// leftmost-longest, extended unless flag x. What Go's regexp can't do (back
// references, word boundaries, basic syntax) goes to PCRE.
func compileRegexp(pattern, flags string) (matcher, int, error) {
	fold, multi, basic := true, false, false
	for _, f := range flags {
		switch f {
		case 'i':
			fold = !fold
		case 'm':
			multi = !multi
		case 'x':
			basic = !basic
		default:
			return nil, 0, fmt.Errorf("unknown regexp option %q (use some of i m x)", string(f))
		}
	}
	perl, plain, err := fromPOSIX(pattern, basic)
	if err != nil {
		return nil, 0, err
	}
	if plain {
		if m, n, err := compileGo(perl, fold, multi); err == nil {
			return m, n, nil
		}
	}
	opts := pcre.DollarEndOnly | pcre.DotAll
	if fold {
		opts |= pcre.Caseless
	}
	if multi {
		opts = opts&^pcre.DotAll | pcre.MultiLine
	}
	re, err := pcre.Compile(perl, opts)
	if err != nil {
		return nil, 0, err
	}
	return re.Match, re.Groups(), nil
}

func compileGo(pattern string, fold, multi bool) (matcher, int, error) {
	f := syntax.ClassNL
	if fold {
		f |= syntax.FoldCase
	}
	if !multi {
		f |= syntax.DotNL | syntax.OneLine
	}
	tree, err := syntax.Parse(pattern, f)
	if err != nil {
		return nil, 0, err
	}
	re, err := regexp.Compile(tree.String())
	if err != nil {
		return nil, 0, err
	}
	re.Longest()
	return func(key string) ([]string, bool, error) {
		g := re.FindStringSubmatch(key)
		return g, g != nil, nil
	}, re.NumSubexp(), nil
}

// fromPOSIX writes a POSIX pattern in Perl's syntax. plain is false when the
// result needs more than Go's regexp offers.
func fromPOSIX(p string, basic bool) (perl string, plain bool, err error) {
	var b strings.Builder
	plain = true
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '[':
			class, n, err := bracket(p[i:])
			if err != nil {
				return "", false, err
			}
			b.WriteString(class)
			i += n - 1
		case c == '\\' && i+1 == len(p):
			return "", false, errors.New("Trailing backslash")
		case c == '\\':
			i++
			s, ok := escaped(p[i], basic)
			plain = plain && ok
			b.WriteString(s)
		case basic && strings.IndexByte("+?(){}|", c) >= 0:
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '{' && i+1 < len(p) && p[i+1] == ',':
			b.WriteString("{0")
		case !basic && c == '(' && i+1 < len(p) && p[i+1] == '?':
			return "", false, errors.New("Invalid preceding regular expression")
		case strings.IndexByte("*+?}", c) >= 0 && i+1 < len(p) && strings.IndexByte("?+", p[i+1]) >= 0 && !basic:
			// a*? is a nested repetition here, not a lazy one
			return "(?:" + b.String() + string(c) + ")" + p[i+1:], false, nil
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), plain, nil
}

// escaped writes \c; ok is false when only PCRE understands the result.
func escaped(c byte, basic bool) (s string, ok bool) {
	if basic && strings.IndexByte("(){}|+?", c) >= 0 {
		return string(c), true
	}
	switch c {
	case 'w':
		return "[[:alnum:]_]", true
	case 'W':
		return "[^[:alnum:]_]", true
	case 's':
		return "[[:space:]]", true
	case 'S':
		return "[^[:space:]]", true
	case 'b', 'B':
		return `\` + string(c), false
	case '<':
		return `\b(?=\w)`, false
	case '>':
		return `\b(?<=\w)`, false
	case '`':
		return `\A`, false
	case '\'':
		return `\z`, false
	}
	if '1' <= c && c <= '9' {
		return `\` + string(c), false
	}
	if isAlnum(c) {
		return string(c), true // an escaped letter is that letter
	}
	return `\` + string(c), true
}

// bracket copies a bracket expression, where POSIX takes a backslash
// literally, and returns how long it is.
func bracket(p string) (class string, n int, err error) {
	var b strings.Builder
	b.WriteByte('[')
	i := 1
	if i < len(p) && p[i] == '^' {
		b.WriteByte('^')
		i++
	}
	for first := true; i < len(p); first = false {
		switch c := p[i]; {
		case c == ']' && !first:
			b.WriteByte(']')
			return b.String(), i + 1, nil
		case c == '[' && i+1 < len(p) && strings.IndexByte(":.=", p[i+1]) >= 0:
			end := strings.Index(p[i+2:], string(p[i+1])+"]")
			if end < 0 {
				return "", 0, errors.New("Unmatched [, [^, [:, [., or [=")
			}
			if p[i+1] == ':' {
				b.WriteString(p[i : i+2+end+2])
			} else {
				b.WriteString(regexp.QuoteMeta(p[i+2 : i+2+end]))
			}
			i += end + 4
			continue
		case c == '\\' || c == '[' || c == ']':
			b.WriteByte('\\')
			b.WriteByte(c)
		default:
			b.WriteByte(c)
		}
		i++
	}
	return "", 0, errors.New("Unmatched [, [^, [:, [., or [=")
}
