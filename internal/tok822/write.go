package tok822

import (
	"strings"

	"sekisho/internal/mail"
)

// maxNonAddress is how many bytes of names and comments may go with one
// address: more has crashed other mail systems (CERT advisory CA-2003-07).
const maxNonAddress = 250

// Header returns the list as the value of a header: a line break after each
// comma, for the caller to fold as it likes. An address with too much text
// around it is reduced to itself in angle brackets; stripped holds the text
// of each such element as it was.
func (l *List) Header() (value string, stripped []string) {
	w := headerWriter{}
	for i, t := range l.nodes {
		w.token(t, next(l.nodes, i))
	}
	w.enforce()
	return w.b.String(), w.stripped
}

// headerWriter writes a list; since the last comma it keeps where the element
// began and its address.
type headerWriter struct {
	b        strings.Builder
	start    int
	addr     *Address
	empty    bool // the address is <>
	addrLen  int
	stripped []string
}

func (w *headerWriter) token(t node, after *node) {
	switch {
	case t.is(','):
		w.enforce()
		w.b.WriteString(",\n")
		w.start, w.addr, w.addrLen, w.empty = w.b.Len(), nil, 0, false
		return
	case t.addr != nil:
		s := quote(t.addr.Internal())
		w.b.WriteString(s)
		w.addr, w.addrLen = t.addr, len(s)
	case t.is('<') && after != nil && after.is('>'):
		w.addr, w.addrLen = nil, 0
		w.empty = true
		w.b.WriteByte('<')
	case t.group:
		w.b.WriteByte(':')
	default:
		write(&w.b, t.Token)
	}
	if after != nil && spaced(t, *after) {
		w.b.WriteByte(' ')
	}
}

// enforce reduces the element just written to its address if it is too long.
func (w *headerWriter) enforce() {
	if w.addr == nil && !w.empty || w.b.Len()-w.addrLen <= w.start+maxNonAddress {
		return
	}
	all := w.b.String()
	w.stripped = append(w.stripped, all[w.start:])
	w.b.Reset()
	w.b.WriteString(all[:w.start] + "<")
	if w.addr != nil {
		w.b.WriteString(quote(w.addr.Internal()))
	}
	w.b.WriteByte('>')
}

func next(nodes []node, i int) *node {
	if i+1 < len(nodes) {
		return &nodes[i+1]
	}
	return nil
}

// spaced reports whether a blank stands between two nodes.
func spaced(a, b node) bool {
	return a.group || b.is('<') || !a.isOperator() && !b.isOperator() && !b.group
}

// write writes a token in external form.
func write(b *strings.Builder, t mail.Token) {
	switch t.Kind {
	case mail.QuotedString:
		b.WriteByte('"')
		writeQuoted(b, t.Text, "\"\\\r\n")
		b.WriteByte('"')
	case mail.Literal:
		b.WriteByte('[')
		writeQuoted(b, t.Text, "\\\r\n")
		b.WriteByte(']')
	default:
		b.WriteString(t.Text)
	}
}

func writeQuoted(b *strings.Builder, s, specials string) {
	for i := 0; i < len(s); i++ {
		if strings.IndexByte(specials, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
}
