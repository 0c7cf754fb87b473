package table

import (
	"errors"
	"fmt"
	"strings"

	"sekisho/internal/config"
)

// A pattern table is a list of rules that are tried in order: regexp_table(5),
// pcre_table(5), cidr_table(5).

// matcher tests one pattern; groups[0] is the whole match. ok includes the
// rule's negation.
type matcher func(key string) (groups []string, ok bool, err error)

type ruleKind uint8

const (
	ruleMatch ruleKind = iota
	ruleIf
	ruleEndif
)

type rule struct {
	kind   ruleKind
	match  matcher
	net    *network // of a cidr table, instead of match
	result []piece
	line   int
	end    int // index of the endif that closes an if
}

// patternTable is a list of rules; it never changes.
type patternTable struct {
	rules []rule
	cidr  bool // every rule but endif has a network
}

func openPattern(typ, name, path string, o Options) (Table, error) {
	parse := parseRegexpRule
	if typ == "cidr" {
		parse = parseCIDRRule
	}
	read := func(name string, lines []config.Line) (*patternTable, error) {
		return parsePatterns(&ruleReader{notes: &notes{kind: typ + " map", path: name, o: o}, typ: typ}, parse, lines)
	}
	if strings.HasPrefix(name, "{") {
		lines, err := inlineRules(name)
		if err != nil {
			return nil, fmt.Errorf("%s map: %w", typ, err)
		}
		t, err := read(name, lines)
		return fixed{t}, err
	}
	return openReloading(path, o, func(content string) (lookuper, error) {
		lines, stray, err := config.Lines(strings.NewReader(content))
		if err != nil {
			return nil, err
		}
		(&notes{path: path, o: o}).stray(stray)
		return read(path, lines)
	})
}

// fixed is a table without a file.
type fixed struct{ lookuper }

func (fixed) Close() error { return nil }

// inlineRules reads "{{/pattern/ result}, {...}}".
func inlineRules(name string) ([]config.Line, error) {
	body, err := braced(name)
	if err != nil {
		return nil, err
	}
	words := splitWords(body)
	out := make([]config.Line, len(words))
	for i, w := range words {
		text, err := braced(w)
		if err != nil {
			return nil, err
		}
		out[i] = config.Line{Text: strings.Trim(text, blank), Number: i + 1}
	}
	return out, nil
}

// ruleReader is what reading one rule needs to know and to say.
type ruleReader struct {
	*notes
	typ   string
	line  int
	depth int // ifs that are open
}

// skip says why the rule at hand is left out.
func (r *ruleReader) skip(text string) (rule, bool) {
	r.lost(r.line, text, ": skipping this rule")
	return rule{}, false
}

// reject is skip in those cases where Postfix does not say what it does.
func (r *ruleReader) reject(text string) (rule, bool) {
	r.lost(r.line, text, "")
	return rule{}, false
}

// parsePatterns reads all rules; a rule that makes no sense is an error, unless
// the set is tolerant. Postfix skips it with a warning, and what it was to stop
// gets through.
func parsePatterns(r *ruleReader, parse func(*ruleReader, string) (rule, bool), lines []config.Line) (*patternTable, error) {
	t := &patternTable{cidr: r.typ == "cidr"}
	var open []int
	for _, l := range lines {
		r.line, r.depth = l.Number, len(open)
		rule, ok := parse(r, strings.Trim(l.Text, blank))
		if !ok {
			continue
		}
		rule.line = l.Number
		switch rule.kind {
		case ruleIf:
			open = append(open, len(t.rules))
		case ruleEndif:
			t.rules[open[len(open)-1]].end = len(t.rules)
			open = open[:len(open)-1]
		}
		t.rules = append(t.rules, rule)
	}
	for i := len(open) - 1; i >= 0; i-- {
		r.odd(t.rules[open[i]].line, "IF has no matching ENDIF")
		t.rules[open[i]].end = len(t.rules)
	}
	return t, errors.Join(r.errs...)
}

// endif checks that there is something to end.
func (r *ruleReader) endif() (rule, bool) {
	if r.depth == 0 {
		r.odd(r.line, "ignoring ENDIF without matching IF")
		return rule{}, false
	}
	return rule{kind: ruleEndif}, true
}

// Lookup tries the rules in order.
func (t *patternTable) Lookup(key string) (string, bool, error) {
	if t.cidr {
		return t.lookupAddress(key)
	}
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		if r.kind == ruleEndif {
			continue
		}
		groups, ok, err := r.match(key)
		switch {
		case err != nil:
			return "", false, fmt.Errorf("line %d: %w", r.line, err)
		case ok && r.kind == ruleMatch:
			return expand(r.result, groups), true, nil
		case !ok && r.kind == ruleIf:
			i = r.end
		}
	}
	return "", false, nil
}

// keyword cuts a leading "if" or "endif" off a rule; letters and digits must
// not follow.
func keyword(text, word string) (rest string, ok bool) {
	if len(text) < len(word) || !strings.EqualFold(text[:len(word)], word) {
		return text, false
	}
	rest = text[len(word):]
	if rest != "" && isAlnum(rest[0]) {
		return text, false
	}
	return strings.TrimLeft(rest, blank), true
}

// negation cuts exclamation marks and white space off the front of a pattern.
func negation(text string) (negate bool, rest string) {
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '!':
			negate = !negate
		case strings.IndexByte(blank, text[i]) < 0:
			return negate, text[i:]
		}
	}
	return negate, ""
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}
