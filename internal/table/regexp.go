package table

import (
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	"sekisho/internal/table/pcre"
)

// parseRegexpRule reads one rule of a regexp or pcre table:
//
//	[!]/pattern/[flags] result
//	[!]/pattern/[flags]![!]/pattern/[flags] result     (regexp only)
//	if [!]/pattern/[flags]
//	endif
func parseRegexpRule(r *ruleReader, text string) (rule, bool) {
	if rest, ok := keyword(text, "endif"); ok {
		if rest != "" {
			r.odd(r.line, "ignoring extra text after ENDIF")
		}
		return r.endif()
	}
	if rest, ok := keyword(text, "if"); ok {
		return r.condition(rest)
	}
	if text == "" || isAlnum(text[0]) {
		return r.reject("ignoring unrecognized request")
	}
	return r.replacement(text)
}

func (r *ruleReader) condition(text string) (rule, bool) {
	p, rest, ok := r.pattern(text)
	if !ok {
		return rule{}, false
	}
	if rest != "" {
		r.odd(r.line, "ignoring extra text after IF")
	}
	match, _, err := p.compile(r.typ)
	if err != nil {
		return r.reject(err.Error())
	}
	return rule{kind: ruleIf, match: match}, true
}

func (r *ruleReader) replacement(text string) (rule, bool) {
	first, rest, ok := r.pattern(text)
	if !ok {
		return rule{}, false
	}
	second := pattern{}
	if strings.HasPrefix(rest, "!") && first.adjoined {
		if second, rest, ok = r.pattern(rest); !ok {
			return rule{}, false
		}
	}
	if rest == "" {
		r.odd(r.line, "no replacement text: using empty string")
	}
	result, highest, ok := r.result(rest)
	if !ok {
		return rule{}, false
	}
	if highest > 0 && first.negate {
		return r.skip("$number found in negative match replacement text")
	}
	match, groups, err := first.compile(r.typ)
	if err == nil && second.adjoined {
		match, err = both(match, second, r.typ)
	}
	if err != nil {
		return r.reject(err.Error())
	}
	if highest > groups {
		return r.skip(fmt.Sprintf("out of range replacement index \"%d\"", highest))
	}
	return rule{match: match, result: result}, true
}

// result reads the replacement text.
func (r *ruleReader) result(text string) (pieces []piece, highest int, ok bool) {
	pieces, highest, err := parseResult(text)
	if err == nil {
		return pieces, highest, true
	}
	problem := err.Error()
	if !r.o.Tolerant {
		_, ok = r.reject(problem)
		return nil, 0, ok
	}
	if strings.Contains(problem, "replacement index") {
		if r.typ == "pcre" {
			problem = strings.Replace(problem, "out-of-range", "out of range", 1)
		}
		r.odd(r.line, problem)
	} else {
		r.o.Log.Warn(problem)
	}
	_, ok = r.skip(errReplacement.Error())
	return nil, 0, ok
}

// both is a match of the first pattern together with what the second one says.
func both(first matcher, p pattern, typ string) (matcher, error) {
	second, _, err := p.compile(typ)
	if err != nil {
		return nil, err
	}
	return func(key string) ([]string, bool, error) {
		groups, ok, err := first(key)
		if !ok || err != nil {
			return nil, false, err
		}
		_, ok, err = second(key)
		return groups, ok, err
	}, nil
}

// pattern is "[!]/text/flags" as written.
type pattern struct {
	text     string
	flags    string
	negate   bool
	adjoined bool // a second pattern may follow, or this is it
}

// flagsOf are the flags of each kind of table.
var flagsOf = map[string]string{"regexp": "imx", "pcre": "imsxAEUX"}

// pattern cuts one pattern off the front of a rule. Any character may delimit.
func (r *ruleReader) pattern(text string) (p pattern, rest string, ok bool) {
	p.negate, text = negation(text)
	if text == "" {
		_, ok = r.skip("no regexp")
		return p, "", ok
	}
	delimiter := text[0]
	end := 1
	for end < len(text) && text[end] != delimiter {
		if text[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(text) {
		verb := "skipping"
		if r.typ == "pcre" {
			verb = "ignoring"
		}
		r.lost(r.line, fmt.Sprintf("no closing regexp delimiter %q", string(delimiter)), ": "+verb+" this rule")
		return p, "", false
	}
	p.text, rest = text[1:end], text[end+1:]
	stop := blank
	if r.typ == "regexp" {
		stop += "!"
	}
	if n := strings.IndexAny(rest, stop); n >= 0 {
		p.flags, rest = rest[:n], rest[n:]
	} else {
		p.flags, rest = rest, ""
	}
	p.adjoined = r.typ == "regexp"
	if strings.HasPrefix(rest, " ") || strings.HasPrefix(rest, "\t") {
		p.adjoined = false
	}
	for _, f := range []byte(p.flags) {
		if strings.IndexByte(flagsOf[r.typ], f) < 0 {
			_, ok = r.skip(fmt.Sprintf("unknown regexp option \"%c\"", f))
			return p, "", ok
		}
		if f == 'X' {
			r.odd(r.line, `ignoring obsolete regexp option "X"`)
		}
	}
	return p, strings.Trim(rest, blank), true
}

// compile returns the matcher, with the negation in it, and how many groups the
// pattern has.
func (p pattern) compile(typ string) (matcher, int, error) {
	m, groups, err := compileRegexp(p.text, p.flags)
	if typ == "pcre" {
		m, groups, err = compilePCRE(p.text, p.flags)
	}
	if err != nil || !p.negate {
		return m, groups, err
	}
	return func(key string) ([]string, bool, error) {
		_, ok, err := m(key)
		return nil, !ok && err == nil, err
	}, groups, nil
}

func compilePCRE(text, flags string) (matcher, int, error) {
	opts := pcre.Caseless | pcre.DotAll
	for _, f := range flags {
		opts ^= map[rune]pcre.Option{
			'i': pcre.Caseless, 's': pcre.DotAll, 'm': pcre.MultiLine, 'x': pcre.Extended,
			'A': pcre.Anchored, 'E': pcre.DollarEndOnly, 'U': pcre.Ungreedy,
		}[f]
	}
	re, err := pcre.Compile(text, opts)
	if err != nil {
		return nil, 0, err
	}
	return re.Match, re.Groups(), nil
}

// compileRegexp compiles a POSIX pattern as the C library reads it: bytes,
// leftmost-longest, extended unless flag x. What Go's regexp can't do (back
// references, word boundaries, bytes above 127) goes to PCRE.
func compileRegexp(text, flags string) (matcher, int, error) {
	fold, multi, basic := true, false, false
	for _, f := range flags {
		switch f {
		case 'i':
			fold = !fold
		case 'm':
			multi = !multi
		case 'x':
			basic = !basic
		}
	}
	perl, plain, err := fromPOSIX(text, basic, fold)
	if err != nil {
		return nil, 0, err
	}
	if plain && isASCII(text) {
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

// compileGo compiles an ASCII pattern with Go's engine, whose time is linear in
// the key's length.
func compileGo(text string, fold, multi bool) (matcher, int, error) {
	f := syntax.PerlX // for (?: )
	if fold {
		f |= syntax.FoldCase
	}
	if !multi {
		f |= syntax.DotNL | syntax.OneLine | syntax.ClassNL
	}
	tree, err := syntax.Parse(text, f)
	if err != nil {
		return nil, 0, err
	}
	re, err := regexp.Compile(tree.String())
	if err != nil {
		return nil, 0, err
	}
	re.Longest()
	return func(key string) ([]string, bool, error) {
		if isASCII(key) {
			g := re.FindStringSubmatch(key)
			return g, g != nil, nil
		}
		g := re.FindStringSubmatch(widen(key))
		for i := range g {
			g[i] = narrow(g[i])
		}
		return g, g != nil, nil
	}, re.NumSubexp(), nil
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// widen makes a character of each byte, so that "." matches one of them.
func widen(s string) string {
	r := make([]rune, len(s))
	for i := range r {
		r[i] = rune(s[i])
	}
	return string(r)
}

// narrow undoes widen.
func narrow(s string) string {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		b = append(b, byte(r))
	}
	return string(b)
}
