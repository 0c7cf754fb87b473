package table

import (
	"fmt"
	"strconv"
	"strings"
)

// statement is a query whose quoted texts with %-escapes have become bind
// parameters, so that a key is never part of the SQL.
type statement struct {
	sql    string
	cast   string   // the same with a cast to text around each parameter
	params []string // templates, one for each parameter
}

// dialect is how a database's SQL differs from another's.
type dialect struct {
	dollars   bool // parameters are $1, $2, ...; E'...' is a text with backslashes
	backslash bool // a backslash in any text means something
	names     bool // "..." is a name, never a text
	function  bool // there is select_function
}

// compileQuery turns '...%s...', "...%s..." and bare %s into parameters.
func compileQuery(q string, d dialect) (statement, error) {
	w := queryWriter{d: d}
	for i := 0; i < len(q); {
		n, err := w.next(q, i)
		if err != nil {
			return statement{}, err
		}
		i += n
	}
	for _, p := range w.st.params {
		if err := checkTemplate(p); err != nil {
			return statement{}, err
		}
	}
	w.st.sql, w.st.cast = w.plain.String(), w.cast.String()
	return w.st, nil
}

type queryWriter struct {
	d           dialect
	st          statement
	plain, cast strings.Builder
}

// next writes what begins at q[i] and returns its length.
func (w *queryWriter) next(q string, i int) (int, error) {
	switch c := q[i]; {
	case c == '\'' || c == '"' || c == '`':
		return w.quote(q, i)
	case c == '%' && i+1 < len(q) && q[i+1] == '%':
		w.write("%")
		return 2, nil
	case c == '%' && i+1 < len(q):
		if i > 0 && isName(q[i-1]) || i+2 < len(q) && isName(q[i+2]) {
			return 0, fmt.Errorf("a key cannot be part of a name: %s", q[i:])
		}
		w.parameter(q[i : i+2])
		return 2, nil
	}
	w.write(q[i : i+1])
	return 1, nil
}

// quote writes the quoted text that begins at q[i].
func (w *queryWriter) quote(q string, i int) (int, error) {
	prefix := w.prefix(q[:i])
	backslash := w.d.backslash || prefix == 'E'
	text, n, err := quoted(q[i:], backslash && q[i] != '`')
	if err != nil {
		return 0, err
	}
	if !strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
		if prefix != 0 {
			w.write(string(prefix))
		}
		w.write(strings.ReplaceAll(q[i:i+n], "%%", "%"))
		return n, nil
	}
	if q[i] == '`' || q[i] == '"' && w.d.names {
		return 0, fmt.Errorf("a key cannot be part of a name: %s", q[i:i+n])
	}
	if i > 0 && isName(q[i-1]) && prefix == 0 {
		return 0, fmt.Errorf("a parameter cannot follow a word directly: %s", q[:i+n])
	}
	w.parameter(text)
	return n, nil
}

// prefix takes back the letter that says of a text that it has backslashes
// (PostgreSQL's E) or is national (MySQL's N): neither may stand before a
// parameter.
func (w *queryWriter) prefix(before string) byte {
	n := len(before)
	if n == 0 || n > 1 && isName(before[n-2]) {
		return 0
	}
	c := before[n-1] &^ 0x20
	if c == 'E' && w.d.dollars || c == 'N' && w.d.backslash {
		for _, b := range []*strings.Builder{&w.plain, &w.cast} {
			s := b.String()
			b.Reset()
			b.WriteString(s[:len(s)-1])
		}
		return c
	}
	return 0
}

func (w *queryWriter) parameter(template string) {
	w.st.params = append(w.st.params, template)
	mark := "?"
	if w.d.dollars {
		mark = "$" + strconv.Itoa(len(w.st.params))
	}
	w.plain.WriteString(mark)
	w.cast.WriteString("CAST(" + mark + " AS text)")
}

func (w *queryWriter) write(s string) {
	w.plain.WriteString(s)
	w.cast.WriteString(s)
}

func isName(c byte) bool {
	return c == '_' || c == '$' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z' || c >= 0x80
}

// quoted returns the contents of a quoted text and its length with quotes.
func quoted(s string, backslash bool) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteString(unescape(s[i]))
		case s[i] != s[0]:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == s[0]:
			b.WriteByte(s[i])
			i++
		default:
			return b.String(), i + 1, nil
		}
	}
	return "", 0, fmt.Errorf("the query has an open quote: %s", s)
}

// unescape is what a backslash and c stand for. LIKE sees the backslash before
// a percent sign or an underscore, here too.
func unescape(c byte) string {
	switch c {
	case 'n':
		return "\n"
	case 't':
		return "\t"
	case 'r':
		return "\r"
	case 'b':
		return "\b"
	case '0':
		return "\x00"
	case 'Z':
		return "\x1a"
	case '%', '_':
		return "\\" + string(c)
	}
	return string(c)
}
