package table

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/mail"
)

// sqlConfig is the file behind a SQL table (mysql_table(5), sqlite_table(5)).
type sqlConfig struct {
	get          func(name string) string
	query        statement
	resultFormat string
	domains      []string
	limit        int
}

// statement is a query whose quoted texts with %-escapes have become bind
// parameters, so that a key is never part of the SQL.
type statement struct {
	sql    string
	params []string // templates, one for each "?"
}

func readSQL(get func(string) string) (*sqlConfig, error) {
	c := &sqlConfig{get: get, resultFormat: get("result_format")}
	if c.resultFormat == "" {
		c.resultFormat = "%s"
	}
	q := get("query")
	if q == "" {
		var err error
		if q, err = legacyQuery(get); err != nil {
			return nil, err
		}
	}
	st, err := compileQuery(q)
	if err != nil {
		return nil, err
	}
	c.query = st
	c.domains = splitWords(get("domain"))
	if l := get("expansion_limit"); l != "" {
		if c.limit, err = strconv.Atoi(l); err != nil || c.limit < 0 {
			return nil, fmt.Errorf("expansion_limit = %s is no number", l)
		}
	}
	return c, nil
}

// legacyQuery builds the query of tables configured before there was "query".
func legacyQuery(get func(string) string) (string, error) {
	sel, tab, where := get("select_field"), get("table"), get("where_field")
	if sel == "" || tab == "" || where == "" {
		return "", errors.New("no query (set query, or select_field, table and where_field)")
	}
	return "SELECT " + sel + " FROM " + tab + " WHERE " + where + " = '%s' " + get("additional_conditions"), nil
}

// compileQuery turns '...%s...', "...%s..." and bare %s into "?".
func compileQuery(q string) (statement, error) {
	var st statement
	var b strings.Builder
	for i := 0; i < len(q); i++ {
		switch c := q[i]; {
		case c == '\'' || c == '"':
			text, n, err := quoted(q[i:])
			if err != nil {
				return st, err
			}
			if strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
				b.WriteByte('?')
				st.params = append(st.params, text)
			} else {
				b.WriteString(strings.ReplaceAll(q[i:i+n], "%%", "%"))
			}
			i += n - 1
		case c == '%' && i+1 < len(q):
			i++
			if q[i] == '%' {
				b.WriteByte('%')
				continue
			}
			b.WriteByte('?')
			st.params = append(st.params, "%"+string(q[i]))
		default:
			b.WriteByte(c)
		}
	}
	for _, p := range st.params {
		if err := checkTemplate(p); err != nil {
			return st, err
		}
	}
	st.sql = b.String()
	return st, nil
}

// quoted returns the contents of a quoted text and its length with quotes.
func quoted(s string) (text string, n int, err error) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		if s[i] != s[0] {
			b.WriteByte(s[i])
			continue
		}
		if i+1 < len(s) && s[i+1] == s[0] {
			b.WriteByte(s[i])
			i++
			continue
		}
		return b.String(), i + 1, nil
	}
	return "", 0, fmt.Errorf("the query has an open quote: %s", s)
}

func checkTemplate(t string) error {
	for i := 0; i < len(t); i++ {
		if t[i] != '%' {
			continue
		}
		i++
		if i == len(t) || strings.IndexByte("suSUdD123456789%", t[i]) < 0 {
			return fmt.Errorf("bad %% escape in %q (use %%s %%u %%d %%1 to %%9, or %%%% for a percent sign)", t)
		}
	}
	return nil
}

// expandTemplate replaces the escapes of a template by parts of value; the
// upper case ones and %1 to %9 by parts of key. ok is false when a part is
// missing: the query or the result is then left out.
func expandTemplate(t, value, key string) (s string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] != '%' || i+1 == len(t) {
			b.WriteByte(t[i])
			continue
		}
		i++
		part, ok := templatePart(t[i], value, key)
		if !ok {
			return "", false
		}
		b.WriteString(part)
	}
	return b.String(), true
}

func templatePart(c byte, value, key string) (string, bool) {
	from := value
	if 'A' <= c && c <= 'Z' {
		from = key
	}
	local, domain, _ := mail.SplitAddress(from)
	switch c {
	case '%':
		return "%", true
	case 's', 'S':
		return from, true
	case 'u', 'U':
		return local, local != ""
	case 'd', 'D':
		return domain, domain != ""
	}
	return domainLabel(key, int(c-'0'))
}

// domainLabel is the nth label of the key's domain, counted from the right.
func domainLabel(key string, n int) (string, bool) {
	_, domain, _ := mail.SplitAddress(key)
	labels := strings.FieldsFunc(domain, func(r rune) bool { return r == '.' })
	if n > len(labels) {
		return "", false
	}
	return labels[len(labels)-n], true
}

// args returns the bind parameters for a key; ok is false when the key lacks a
// part that the query needs.
func (c *sqlConfig) args(key string) (args []any, ok bool) {
	for _, p := range c.query.params {
		s, ok := expandTemplate(p, key, key)
		if !ok {
			return nil, false
		}
		args = append(args, s)
	}
	return args, true
}

// result joins the rows of a query as result_format says.
func (c *sqlConfig) result(rows []string, key string) (string, bool, error) {
	var parts []string
	for _, v := range rows {
		if v == "" {
			continue
		}
		if s, ok := expandTemplate(c.resultFormat, v, key); ok {
			parts = append(parts, s)
		}
		if c.limit > 0 && len(parts) > c.limit {
			return "", false, fmt.Errorf("more than expansion_limit = %d results for %q", c.limit, key)
		}
	}
	return strings.Join(parts, ","), len(parts) > 0, nil
}

// wants reports whether the table's domain list lets a key through.
func (c *sqlConfig) wants(key string) bool {
	if len(c.domains) == 0 {
		return true
	}
	local, domain, has := mail.SplitAddress(key)
	if !has || local == "" {
		return false
	}
	for _, d := range c.domains {
		if strings.EqualFold(d, domain) {
			return true
		}
	}
	return false
}
