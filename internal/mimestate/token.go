package mimestate

import "strings"

// specials are the tspecials of RFC 2045; mailSpecials those of RFC 822.
const (
	specials     = `()<>@,;:\"/[]?=`
	mailSpecials = `()<>@,;:\".[]`
)

// item is one word of a structured header: a token, a quoted string, or a
// special.
type item struct {
	text    string
	special bool
	quoted  bool
}

// equals reports whether the item is the token word in any case.
func (i item) equals(word string) bool {
	return !i.special && !i.quoted && strings.EqualFold(i.text, word)
}

// contentType heeds a Content-Type header.
func (w *Walker) contentType(header, value string) {
	r := reader{s: value, specials: specials, end: ';'}
	items, _ := r.items(3)
	if len(items) == 0 {
		w.part.major = ""
		return
	}
	sub := func(word string) bool {
		return len(items) >= 3 && items[1].special && items[1].text == "/" && items[2].equals(word)
	}
	p := &w.part
	switch {
	case items[0].equals("text"):
		p.major, p.minor = "text", ""
	case items[0].equals("message"):
		p.major, p.minor = "message", ""
		for _, m := range []string{"rfc822", "partial", "external-body", "global"} {
			if sub(m) {
				p.minor = m
			}
		}
	case items[0].equals("multipart"):
		p.major = "multipart"
		inner := plainText
		if sub("digest") {
			inner.major, inner.minor = "message", "rfc822"
		}
		w.boundaries(header, &r, inner)
	default:
		p.major = ""
	}
}

// boundaries takes every boundary parameter: with several, each of them may
// separate parts.
func (w *Walker) boundaries(header string, r *reader, inner part) {
	for {
		items, ok := r.items(3)
		if !ok {
			return
		}
		if len(items) < 3 || !items[0].equals("boundary") || !items[1].special || items[1].text != "=" {
			continue
		}
		if len(w.stack)-1 > w.o.NestingLimit {
			if w.o.Report&TooDeep != 0 {
				w.report(TooDeep, header)
			}
			continue
		}
		b := items[2].text
		if len(b) > w.o.BoundaryLimit {
			b = b[:w.o.BoundaryLimit]
		}
		w.stack = append(w.stack, level{boundary: b, inner: inner})
	}
}

// contentEncoding heeds a Content-Transfer-Encoding header.
func (w *Walker) contentEncoding(value string) {
	r := reader{s: value, specials: mailSpecials}
	items, _ := r.items(1)
	if len(items) == 0 {
		return
	}
	for _, e := range []string{"7bit", "8bit", "binary"} {
		if items[0].equals(e) {
			w.part.encoding, w.part.domain = e, e
		}
	}
	for _, e := range []string{"base64", "quoted-printable"} {
		if items[0].equals(e) {
			w.part.encoding, w.part.domain = e, "7bit"
		}
	}
}

// reader reads a structured header up to each end character; without one it
// stops when it has what it needs.
type reader struct {
	s        string
	i        int
	specials string
	end      byte // 0: none
}

// items returns up to n items before the next end character. ok is false at
// the end of the header.
func (r *reader) items(n int) (out []item, ok bool) {
	for r.i < len(r.s) && (r.end != 0 || len(out) < n) {
		c := r.s[r.i]
		if r.end != 0 && c == r.end {
			r.i++
			return out, true
		}
		it, found := r.item(c)
		if found && len(out) < n {
			out = append(out, it)
		}
	}
	return out, len(out) > 0
}

func (r *reader) item(c byte) (it item, found bool) {
	switch {
	case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		r.i++
		return item{}, false
	case c == '(':
		r.comment()
		return item{}, false
	case c == '"':
		return item{text: r.quoted(), quoted: true}, true
	case r.isSpecial(c):
		r.i++
		return item{text: string(c), special: true}, true
	}
	start := r.i
	for r.i < len(r.s) && !r.isSpecial(r.s[r.i]) && r.s[r.i] != ' ' {
		r.i++
	}
	return item{text: r.s[start:r.i]}, true
}

func (r *reader) isSpecial(c byte) bool {
	return c < ' ' || c == 127 || strings.IndexByte(r.specials, c) >= 0
}

func (r *reader) comment() {
	level := 0
	for r.i < len(r.s) {
		c := r.s[r.i]
		r.i++
		switch c {
		case '\\':
			if r.i < len(r.s) {
				r.i++
			}
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				return
			}
		}
	}
}

// quoted reads a quoted string; a line break in it goes with the white space
// before it.
func (r *reader) quoted() string {
	var b []byte
	for r.i++; r.i < len(r.s); r.i++ {
		switch c := r.s[r.i]; c {
		case '"':
			r.i++
			return string(b)
		case '\n':
			for len(b) > 0 && strings.IndexByte(" \t\r\n", b[len(b)-1]) >= 0 {
				b = b[:len(b)-1]
			}
		case '\\':
			if r.i++; r.i < len(r.s) {
				b = append(b, r.s[r.i])
			}
		default:
			b = append(b, c)
		}
	}
	return string(b)
}
