// Package tok822 reads and writes lists of addresses as they stand in message
// headers and in the results of address tables: "Name <a@b> (comment), c@d".
// Whatever it does not understand it keeps, and it supplies missing commas, so
// that a list with one address rewritten is otherwise the list it was.
//
// It judges no address and rewrites none. RFC 822 section 6; the name and the
// behaviour are those of Postfix's tok822(3).
package tok822

import (
	"slices"
	"strings"

	"sekisho/internal/mail"
)

// List is a parsed list of addresses. It belongs to one goroutine.
type List struct {
	nodes []node
}

// node is a token of a list, or an address in place of its tokens.
type node struct {
	mail.Token
	addr  *Address // nil: a token
	group bool     // the ':' after the name of a group
}

var comma = node{Token: mail.Token{Kind: mail.Operator, Text: ","}}

// is reports whether n is the operator op.
func (n node) is(op byte) bool { return n.addr == nil && !n.group && n.Is(op) }

// isOperator reports whether n is any operator.
func (n node) isOperator() bool { return n.addr == nil && !n.group && n.Kind == mail.Operator }

// Address is one address of a list.
type Address struct {
	tokens   []mail.Token
	internal string
	set      bool
}

// Internal returns the address in internal form, without quotes and comments.
func (a *Address) Internal() string {
	if a.set {
		return a.internal
	}
	var b strings.Builder
	for _, t := range a.tokens {
		if t.Kind == mail.Literal {
			b.WriteString("[" + t.Text + "]")
		} else {
			b.WriteString(t.Text)
		}
	}
	return b.String()
}

// External returns the address as it was written, with a blank after a comma and
// no other white space.
func (a *Address) External() string {
	if a.set {
		return quote(a.internal)
	}
	var b strings.Builder
	for _, t := range a.tokens {
		write(&b, t)
		if t.Is(',') {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// quote is mail.Quote, with the empty address as a quoted string.
func quote(addr string) string {
	if addr == "" {
		return `""`
	}
	return mail.Quote(addr)
}

// Set replaces the address by one in internal form.
func (a *Address) Set(internal string) { a.internal, a.set = internal, true }

// Addresses returns the addresses of the list in order.
func (l *List) Addresses() []*Address {
	var out []*Address
	for _, n := range l.nodes {
		if n.addr != nil {
			out = append(out, n.addr)
		}
	}
	return out
}

// Others returns how many tokens of the list, angle brackets aside, belong to
// no address: names, comments, commas.
func (l *List) Others() int {
	count := 0
	for _, n := range l.nodes {
		if n.addr == nil && !n.is('<') && !n.is('>') {
			count++
		}
	}
	return count
}

// Parse reads a list. At most limit tokens are read, the rest is lost; 0 is no
// limit.
func Parse(s string, limit int) *List {
	if i := strings.IndexByte(s, 0); i >= 0 {
		s = s[:i]
	}
	toks := mail.ScanAddress(s)
	if limit > 0 && len(toks) > limit {
		toks = toks[:limit]
	}
	p := parser{word: true}
	p.parse(toks)
	slices.Reverse(p.out)
	return &List{nodes: p.out}
}

// parser groups tokens into addresses. It goes from right to left because only
// the right side tells whether words are an address or the name before one:
// both lists are in reverse order.
type parser struct {
	out     []node       // done
	pending []mail.Token // not yet known whether an address
	word    bool         // a word here begins nothing new
	inGroup bool         // a ';' was seen: ':' ends a group's name
}

func (p *parser) parse(toks []mail.Token) {
	i := len(toks) - 1
	edge := false // toks[i] ends what is done and belongs to no address
	for i >= 0 {
		t := toks[i]
		switch {
		case t.Kind == mail.Comment: // comments step out of the way, to the right
			p.out = append(p.out, node{Token: t})
		case t.Is(';'):
			p.close(node{Token: t}, true)
			p.inGroup, p.word = true, true
		case t.Is(':') && p.inGroup:
			p.close(node{group: true}, false)
			i = p.skip(toks, i-1, ",")
			edge = true
			continue
		case t.Is('>'):
			i = p.skip(toks, p.route(toks, i), ">;,:")
			edge, p.word = true, true
			continue
		case t.Kind != mail.Operator:
			if !p.word {
				p.flush(true)
			}
			p.word = false
			p.pending = append(p.pending, t)
		case t.Is(',') || edge:
			p.close(node{Token: t}, false)
			p.word = true
		default:
			p.word = true
			p.pending = append(p.pending, t)
		}
		edge = false
		i--
	}
	p.flush(false)
}

// flush makes an address of what is pending; if sep, a comma is put before it.
func (p *parser) flush(sep bool) {
	if len(p.pending) == 0 {
		return
	}
	slices.Reverse(p.pending)
	p.out = append(p.out, node{addr: &Address{tokens: p.pending}})
	p.pending = nil
	if sep {
		p.out = append(p.out, comma)
	}
}

// close ends what is pending at n.
func (p *parser) close(n node, sep bool) {
	p.flush(sep)
	p.out = append(p.out, n)
}

// route reads "<address>" from its end at i and returns the index of the '<',
// or -1 when there is none.
func (p *parser) route(toks []mail.Token, i int) int {
	p.close(node{Token: toks[i]}, true)
	for i--; i >= 0 && !toks[i].Is('<'); i-- {
		if toks[i].Kind == mail.Comment {
			p.out = append(p.out, node{Token: toks[i]})
		} else {
			p.pending = append(p.pending, toks[i])
		}
	}
	p.flush(false)
	return i
}

// skip takes tokens as they are until one of the operators in stop, and
// returns its index, or -1.
func (p *parser) skip(toks []mail.Token, i int, stop string) int {
	for i >= 0 && (toks[i].Kind != mail.Operator || !strings.Contains(stop, toks[i].Text)) {
		p.out = append(p.out, node{Token: toks[i]})
		i--
	}
	return i
}
