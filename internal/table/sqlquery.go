package table

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/mail"
	"sekisho/internal/sqldb"
)

// escapes are the letters behind a percent sign, in queries and results.
const escapes = "suSUdD123456789"

// sqlConfig is the file behind a SQL table (mysql_table(5), pgsql_table(5),
// sqlite_table(5)).
type sqlConfig struct {
	query        sqldb.Statement
	resultFormat string
	domains      domainList
	limit        int
}

func (s *Set) readSQL(engine string, get func(string) string, depth int) (*sqlConfig, error) {
	c := &sqlConfig{resultFormat: get("result_format")}
	if c.resultFormat == "" {
		c.resultFormat = "%s"
	}
	q := get("query")
	if q == "" {
		var err error
		if q, err = legacyQuery(engine, get); err != nil {
			return nil, err
		}
	}
	var err error
	if c.query, err = sqldb.Compile(engine, q, escapes); err != nil {
		return nil, err
	}
	if err := checkTemplate(c.resultFormat); err != nil {
		return nil, fmt.Errorf("result_format: %w", err)
	}
	if c.domains, err = s.openDomains(get("domain"), depth); err != nil {
		return nil, fmt.Errorf("domain: %w", err)
	}
	if l := get("expansion_limit"); l != "" {
		if c.limit, err = strconv.Atoi(l); err != nil || c.limit < 0 {
			return nil, fmt.Errorf("expansion_limit = %s is no number", l)
		}
	}
	return c, nil
}

// legacyQuery builds the query of tables configured before there was "query".
func legacyQuery(engine string, get func(string) string) (string, error) {
	if f := get("select_function"); f != "" && engine == sqldb.PostgreSQL {
		return "SELECT " + f + "('%s')", nil
	}
	sel, tab, where := get("select_field"), get("table"), get("where_field")
	if sel == "" || tab == "" || where == "" {
		return "", errors.New("no query (set query, or select_field, table and where_field)")
	}
	return "SELECT " + sel + " FROM " + tab + " WHERE " + where + " = '%s' " + get("additional_conditions"), nil
}

func checkTemplate(t string) error {
	for i := 0; i < len(t); i++ {
		if t[i] != '%' {
			continue
		}
		i++
		if i == len(t) || t[i] != '%' && strings.IndexByte(escapes, t[i]) < 0 {
			return fmt.Errorf("bad %% escape in %q (use %%s %%u %%d %%1 to %%9, or %%%% for a percent sign)", t)
		}
	}
	return nil
}

// expandTemplate replaces the escapes of a template by parts of value; the
// upper case ones and %1 to %9 by parts of key. ok is false when a part is
// missing: the query or the result is then left out.
func expandTemplate(t, value, key string) (s string, ok bool) {
	return expandQuoted(t, value, key, func(part string) string { return part })
}

// expandQuoted is expandTemplate for places where the parts have to be quoted.
func expandQuoted(t, value, key string, quote func(string) string) (s string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(t); i++ {
		if t[i] != '%' || i+1 == len(t) {
			b.WriteByte(t[i])
			continue
		}
		i++
		if t[i] == '%' {
			b.WriteByte('%')
			continue
		}
		part, ok := templatePart(t[i], value, key)
		if !ok {
			return "", false
		}
		b.WriteString(quote(part))
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

// sqlTimeout bounds one lookup: a table that doesn't answer is a temporary
// failure, not a session that hangs.
const sqlTimeout = 30 * time.Second

// lookup asks for a key, which is folded to lower case, by query, which returns
// the values of the result.
func (c *sqlConfig) lookup(key string, query func(context.Context, []string) ([]string, error)) (string, bool, error) {
	key = strings.ToLower(key)
	if wants, err := c.domains.wants(key); err != nil || !wants {
		return "", false, err
	}
	args, ok := c.args(key)
	if !ok {
		return "", false, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	values, err := query(ctx, args)
	if err != nil {
		return "", false, err
	}
	return c.result(values, key)
}

// args returns the bind parameters for a key; ok is false when the key lacks a
// part that the query needs.
func (c *sqlConfig) args(key string) (args []string, ok bool) {
	for _, p := range c.query.Params {
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
