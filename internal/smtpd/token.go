package smtpd

import "strings"

// token is one word of a command.
type token struct {
	text   string
	broken bool // a quote or bracket in it is not closed
}

// tokenize cuts a command into words (Postfix's smtpd_token). Quotes and
// brackets keep blanks together; "to:" and "from:" end a word, so that the
// address may follow at once.
func tokenize(line string) []token {
	t := tokenizer{s: line}
	var out []token
	for {
		tok, ok := t.next()
		if !ok {
			return out
		}
		out = append(out, tok)
	}
}

type tokenizer struct {
	s      string
	i      int
	b      []byte
	broken bool
}

func (t *tokenizer) next() (token, bool) {
	t.b, t.broken = nil, false
	for t.i < len(t.s) {
		c := t.s[t.i]
		t.i++
		switch {
		case c == '<':
			t.quoted(c, '>')
		case c == '"':
			t.quoted(c, c)
		case c == '\\':
			t.b = append(t.b, c)
			if t.i < len(t.s) {
				t.b = append(t.b, t.s[t.i])
				t.i++
			}
		case isSpace(c):
			if len(t.b) > 0 {
				return token{string(t.b), t.broken}, true
			}
		default:
			t.b = append(t.b, c)
			if c == ':' && isKeyword(string(t.b)) {
				return token{string(t.b), t.broken}, true
			}
		}
	}
	return token{string(t.b), t.broken}, len(t.b) > 0
}

func isKeyword(s string) bool { return strings.EqualFold(s, "to:") || strings.EqualFold(s, "from:") }

func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// quoted reads up to the closing quote. Quotes nest: strings in brackets and
// in one another.
func (t *tokenizer) quoted(open, end byte) {
	t.b = append(t.b, open)
	wanted := []byte{end}
	for t.i < len(t.s) {
		c := t.s[t.i]
		t.i++
		t.b = append(t.b, c)
		last := wanted[len(wanted)-1]
		switch {
		case c == '\\':
			if t.i < len(t.s) {
				t.b = append(t.b, t.s[t.i])
				t.i++
			}
		case c == last:
			if wanted = wanted[:len(wanted)-1]; len(wanted) == 0 {
				return
			}
		case c == '"' || c == '<' && last == '>':
			if c == '<' {
				c = '>'
			}
			wanted = append(wanted, c)
		}
	}
	t.broken = true
}

// join puts words back together with single blanks.
func join(words []token) string {
	s := make([]string, len(words))
	for i, w := range words {
		s[i] = w.text
	}
	return strings.Join(s, " ")
}

// printable replaces what must not reach a log line or a header by '?'.
// Well-formed UTF-8 stays.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// neuter replaces the characters of bad in s by '?'.
func neuter(s, bad string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 || r < 128 && strings.ContainsRune(bad, r) {
			return '?'
		}
		return r
	}, s)
}

// short cuts s at n bytes, as the %.100s of Postfix's messages does.
func short(s string, n int) string { return s[:min(n, len(s))] }

// allDigits reports whether s is a number without sign.
func allDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
