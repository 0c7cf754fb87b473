package mail

import "strings"

// TokenKind is the kind of a lexical token of an address.
type TokenKind uint8

const (
	Operator TokenKind = iota // one of | % ! ( ) < > @ , ; : \ " . [ ]
	Atom
	QuotedString
	Comment // with its parentheses
	Literal // address literal, without its brackets
)

// Token is one lexical token of an address in external form (RFC 822 section
// 3.3), with quoting removed.
type Token struct {
	Kind TokenKind
	Text string
	// Tight: JoinTokens puts no blank after it.
	Tight bool
}

// Is reports whether t is the operator op.
func (t Token) Is(op byte) bool { return t.Kind == Operator && t.Text[0] == op }

const operators = `|%!()<>@,;:\".[]`

// ScanAddress cuts an address in external form into tokens. Everything is a
// sequence of tokens: what is not closed ends with the string.
func ScanAddress(s string) []Token {
	out := make([]Token, 0, 6) // user@host.example
	for sc := (scanner{s: s}); sc.s != ""; {
		switch c := sc.s[0]; {
		case isBlank(c):
			sc.s = sc.s[1:]
		case c == '(':
			out = append(out, Token{Kind: Comment, Text: sc.comment()})
		case c == '[':
			out = append(out, Token{Kind: Literal, Text: sc.until(']')})
		case c == '"':
			out = append(out, Token{Kind: QuotedString, Text: sc.until('"')})
		case c != '\\' && strings.IndexByte(operators, c) >= 0:
			out = append(out, Token{Kind: Operator, Text: sc.s[:1]})
			sc.s = sc.s[1:]
		default:
			out = append(out, sc.atom())
		}
	}
	return out
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

type scanner struct{ s string }

// until reads what stands between the first byte and an unescaped end.
func (sc *scanner) until(end byte) string {
	sc.s = sc.s[1:]
	text := sc.collect(func(c byte) bool { return c != end })
	if sc.s != "" {
		sc.s = sc.s[1:]
	}
	return text
}

// collect reads as long as the bytes belong; a backslash lets any byte belong.
// White space becomes a blank.
func (sc *scanner) collect(belongs func(byte) bool) string {
	var b strings.Builder
	for sc.s != "" {
		c := sc.s[0]
		if c == '\\' {
			if sc.s = sc.s[1:]; sc.s == "" {
				break
			}
			c = sc.s[0]
		} else if !belongs(c) {
			break
		}
		if isBlank(c) {
			c = ' '
		}
		b.WriteByte(c)
		sc.s = sc.s[1:]
	}
	return b.String()
}

// atom reads an atom; one with escaped bytes in it is as good as a quoted
// string.
func (sc *scanner) atom() Token {
	text := sc.collect(func(c byte) bool { return !isBlank(c) && strings.IndexByte(operators, c) < 0 })
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c == 127 || strings.IndexByte(operators, c) >= 0 {
			return Token{Kind: QuotedString, Text: text}
		}
	}
	return Token{Kind: Atom, Text: text}
}

// comment reads a comment with those inside it.
func (sc *scanner) comment() string {
	level := 0
	for i := 0; i < len(sc.s); i++ {
		switch sc.s[i] {
		case '(':
			level++
		case ')':
			level--
		case '\\':
			i++
		}
		if level == 0 {
			text := sc.s[:i+1]
			sc.s = sc.s[i+1:]
			return text
		}
	}
	text := sc.s
	sc.s = ""
	return text
}

// JoinTokens returns tokens in internal form: without quotes. Words that
// follow each other are set apart by a blank.
func JoinTokens(ts []Token) string {
	var b strings.Builder
	for i, t := range ts {
		if t.Kind == Literal {
			b.WriteString("[" + t.Text + "]")
		} else {
			b.WriteString(t.Text)
		}
		if i+1 < len(ts) && needsSpace(t, ts[i+1]) {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

func needsSpace(t, next Token) bool {
	return !t.Tight && (t.Is(',') || next.Is('<') || t.Kind != Operator && next.Kind != Operator)
}
