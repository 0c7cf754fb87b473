package sqldb

import (
	"fmt"
	"strconv"
	"strings"
)

// SQLite is the engine without a server. Open does not know it, only Compile.
const SQLite = "sqlite"

// Statement is a query of a configuration file whose places for values have
// become bind parameters, so that a value is never part of the SQL.
type Statement struct {
	SQL string
	// Cast is the same with a cast to text around each parameter, for servers
	// that ask for it; see Untyped.
	Cast   string
	Params []string // a template for each parameter
}

// Compile makes a statement of a query with escapes, a percent sign and one of
// letters, and "%%" for a percent sign. A quoted text with escapes in it
// becomes one parameter, an escape outside of quotes as well.
func Compile(engine, query, letters string) (Statement, error) {
	w := statementWriter{engine: engine, letters: letters}
	for i := 0; i < len(query); {
		n, err := w.next(query, i)
		if err != nil {
			return Statement{}, err
		}
		i += n
	}
	w.st.SQL, w.st.Cast = w.plain.String(), w.cast.String()
	return w.st, nil
}

// Values returns the parameters' values; part is what an escape's letter
// stands for.
func (s Statement) Values(part func(letter byte) string) []string {
	values := make([]string, len(s.Params))
	for i, template := range s.Params {
		var b strings.Builder
		for j := 0; j < len(template); j++ {
			switch {
			case template[j] != '%':
				b.WriteByte(template[j])
				continue
			case template[j+1] == '%':
				b.WriteByte('%')
			default:
				b.WriteString(part(template[j+1]))
			}
			j++
		}
		values[i] = b.String()
	}
	return values
}

type statementWriter struct {
	engine, letters string
	st              Statement
	plain, cast     strings.Builder
}

// next writes what begins at q[i] and returns its length.
func (w *statementWriter) next(q string, i int) (int, error) {
	switch q[i] {
	case '\'', '"', '`':
		return w.quote(q, i)
	case '%':
		if i+1 < len(q) && q[i+1] == '%' {
			w.write("%")
			return 2, nil
		}
		if i > 0 && isName(q[i-1]) || i+2 < len(q) && isName(q[i+2]) {
			return 0, fmt.Errorf("a value cannot be part of a name: %s", q[i:])
		}
		return 2, w.parameter(q[i:min(i+2, len(q))])
	}
	w.write(q[i : i+1])
	return 1, nil
}

// quote writes the quoted text that begins at q[i].
func (w *statementWriter) quote(q string, i int) (int, error) {
	prefix := w.prefix(q[:i])
	backslash := w.engine == MySQL || prefix == 'E'
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
	if q[i] == '`' || q[i] == '"' && w.engine == PostgreSQL {
		return 0, fmt.Errorf("a value cannot be part of a name: %s", q[i:i+n])
	}
	if i > 0 && isName(q[i-1]) && prefix == 0 {
		return 0, fmt.Errorf("a parameter cannot follow a word directly: %s", q[:i+n])
	}
	return n, w.parameter(text)
}

// prefix takes back the letter that says of a text that it has backslashes
// (PostgreSQL's E) or is national (MySQL's N): neither may stand before a
// parameter.
func (w *statementWriter) prefix(before string) byte {
	n := len(before)
	if n == 0 || n > 1 && isName(before[n-2]) {
		return 0
	}
	c := before[n-1] &^ 0x20
	if c == 'E' && w.engine == PostgreSQL || c == 'N' && w.engine == MySQL {
		for _, b := range []*strings.Builder{&w.plain, &w.cast} {
			s := b.String()
			b.Reset()
			b.WriteString(s[:len(s)-1])
		}
		return c
	}
	return 0
}

func (w *statementWriter) parameter(template string) error {
	for i := 0; i < len(template); i++ {
		if template[i] != '%' {
			continue
		}
		i++
		if i == len(template) || template[i] != '%' && strings.IndexByte(w.letters, template[i]) < 0 {
			return fmt.Errorf("bad %% escape in %q (there are the letters %s, and %%%% for a percent sign)", template, w.letters)
		}
	}
	w.st.Params = append(w.st.Params, template)
	mark := "?"
	if w.engine == PostgreSQL {
		mark = "$" + strconv.Itoa(len(w.st.Params))
	}
	w.plain.WriteString(mark)
	w.cast.WriteString("CAST(" + mark + " AS text)")
	return nil
}

func (w *statementWriter) write(s string) {
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
