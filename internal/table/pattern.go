package table

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// A pattern table is a list of rules that are tried in order: regexp_table(5),
// pcre_table(5), cidr_table(5).

// matcher tests one pattern; groups[0] is the whole match.
type matcher func(key string) (groups []string, ok bool, err error)

type ruleKind uint8

const (
	ruleMatch ruleKind = iota
	ruleIf
	ruleEndif
)

type rule struct {
	kind   ruleKind
	negate bool
	match  matcher
	groups int
	result string
	line   int
	end    int // index of the endif that closes an if
}

type patternTable struct{ rules []rule }

func openPattern(typ, name, path string, o Options) (Table, error) {
	if strings.HasPrefix(name, "{") {
		t, err := parsePatterns(typ, name, inlineRules(name), o)
		if err != nil {
			return nil, err
		}
		return fixed{t}, nil
	}
	return openReloading(path, o, func(content string) (lookuper, error) {
		return parsePatterns(typ, path, logicalLines(content), o)
	})
}

// fixed is a table without a file.
type fixed struct{ lookuper }

func (f fixed) Lookup(key string) (string, bool, error) { return f.lookup(key) }
func (fixed) Close() error                              { return nil }

// inlineRules reads "{{/pattern/ result}, {...}}".
func inlineRules(name string) []logicalLine {
	var out []logicalLine
	for i, w := range splitWords(inner(name)) {
		out = append(out, logicalLine{text: inner(w), line: i + 1})
	}
	return out
}

// parsePatterns reads all rules. Patterns that cannot be compiled are errors:
// Postfix skips such a rule with a warning, and what it was to stop gets
// through.
func parsePatterns(typ, path string, lines []logicalLine, o Options) (*patternTable, error) {
	t := &patternTable{}
	var errs []error
	var open []int
	for _, l := range lines {
		where := fmt.Sprintf("%s, line %d: ", path, l.line)
		if l.stray {
			o.Log.Warn(where + "logical line must not start with whitespace; ignored")
			continue
		}
		r, err := parseRule(typ, l.text)
		if err != nil {
			errs = append(errs, errors.New(where+err.Error()))
			continue
		}
		r.line = l.line
		switch r.kind {
		case ruleIf:
			open = append(open, len(t.rules))
		case ruleEndif:
			if len(open) == 0 {
				o.Log.Warn(where + "ignoring ENDIF without matching IF")
				continue
			}
			t.rules[open[len(open)-1]].end = len(t.rules)
			open = open[:len(open)-1]
		default:
			if r.result == "" {
				o.Log.Warn(where + "no replacement text: using empty string")
			}
		}
		t.rules = append(t.rules, r)
	}
	for _, i := range open {
		o.Log.Warn(fmt.Sprintf("%s, line %d: IF has no matching ENDIF", path, t.rules[i].line))
		t.rules[i].end = len(t.rules)
	}
	return t, errors.Join(errs...)
}

func parseRule(typ, text string) (rule, error) {
	if typ == "cidr" {
		return parseCIDR(text)
	}
	return parseRegexpRule(typ, text)
}

func (t *patternTable) lookup(key string) (string, bool, error) {
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		if r.kind == ruleEndif {
			continue
		}
		groups, ok, err := r.match(key)
		if err != nil {
			return "", false, fmt.Errorf("line %d: %w", r.line, err)
		}
		if ok == r.negate {
			if r.kind == ruleIf {
				i = r.end
			}
			continue
		}
		if r.kind == ruleMatch {
			return substitute(r.result, groups), true, nil
		}
	}
	return "", false, nil
}

// substitute replaces $n, ${n} and $(n) by groups and $$ by a dollar sign.
func substitute(s string, groups []string) string {
	if !strings.Contains(s, "$") {
		return s
	}
	var b strings.Builder
	_ = eachReference(s, func(text string, n int) error {
		b.WriteString(text)
		if n >= 0 && n < len(groups) {
			b.WriteString(groups[n])
		}
		return nil
	})
	return b.String()
}

// eachReference calls f with the text before each reference and its number,
// and with the rest and -1.
func eachReference(s string, f func(text string, n int) error) error {
	text := ""
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			text += s[i : i+1]
			continue
		}
		i++
		if s[i] == '$' {
			text += "$"
			continue
		}
		digits := s[i:]
		closing := map[byte]byte{'{': '}', '(': ')'}[s[i]]
		if closing != 0 {
			end := strings.IndexByte(digits, closing)
			if end < 0 {
				return fmt.Errorf("%q is not closed", "$"+digits)
			}
			digits = digits[1:end]
			i += end
		} else {
			digits = digits[:len(digits)-len(strings.TrimLeft(digits, "0123456789"))]
			i += len(digits) - 1
		}
		n := 0
		if digits == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 3 {
			return fmt.Errorf("bad substitution %q (use $number, or $$ for a dollar sign)", "$"+digits)
		}
		for _, d := range digits {
			n = 10*n + int(d-'0')
		}
		if err := f(text, n); err != nil {
			return err
		}
		text = ""
	}
	return f(text, -1)
}

// parseCIDR reads one rule of a cidr table.
func parseCIDR(text string) (rule, error) {
	var r rule
	word, rest := cutSpace(text)
	switch strings.ToLower(word) {
	case "endif":
		return rule{kind: ruleEndif}, nil
	case "if":
		r.kind = ruleIf
		word, rest = cutSpace(rest)
	default:
		if bare, ok := strings.CutPrefix(strings.ToLower(word), "if!"); ok {
			r.kind, word = ruleIf, "!"+bare
		}
	}
	for strings.HasPrefix(word, "!") {
		r.negate = !r.negate
		if word = word[1:]; word == "" {
			word, rest = cutSpace(rest)
		}
	}
	p, err := parsePrefix(strings.NewReplacer("[", "", "]", "").Replace(word))
	if err != nil {
		return r, fmt.Errorf("%q: %w", word, err)
	}
	r.result = rest
	r.match = func(key string) ([]string, bool, error) {
		a, err := netip.ParseAddr(key)
		return nil, err == nil && p.Contains(a.Unmap()), nil
	}
	if r.negate {
		r.match = negatable(r.match)
	}
	return r, nil
}

// negatable makes a test whose negation holds for addresses only: a host name
// is not "outside the network".
func negatable(m matcher) matcher {
	return func(key string) ([]string, bool, error) {
		if _, err := netip.ParseAddr(key); err != nil {
			return nil, true, nil
		}
		return m(key)
	}
}

func parsePrefix(s string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, errors.New("bad address or network pattern (use address, or network/length)")
	}
	if m := p.Masked(); m.Addr() != p.Addr() {
		return p, fmt.Errorf("non-null host address bits, perhaps you should use %q instead", m)
	}
	return p, nil
}

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimSpace(s[i:])
}
