package directory

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/sqldb"
)

// dialect is what the databases write differently.
type dialect struct {
	dollars bool   // parameters are $1, $2, ... instead of ?
	stamp   string // how a moment is written, for time.Time.Format
}

const localTime = "2006-01-02 15:04:05"

var dialects = map[string]dialect{
	sqlite:           {stamp: localTime},
	sqldb.MySQL:      {stamp: localTime},
	sqldb.PostgreSQL: {stamp: localTime + "Z07:00", dollars: true},
}

// bind writes the parameters of a query, which has "?" for nothing else, as
// the database wants them.
func (d dialect) bind(query string) string {
	if !d.dollars {
		return query
	}
	var b strings.Builder
	n := 0
	for part, rest, more := strings.Cut(query, "?"); ; part, rest, more = strings.Cut(rest, "?") {
		b.WriteString(part)
		if !more {
			return b.String()
		}
		n++
		b.WriteString("$" + strconv.Itoa(n))
	}
}

// scanner is a row or rows.
type scanner interface{ Scan(...any) error }

// one reads a single row; what names it in the error.
func one[T any](ctx context.Context, d *Directory, what string, scan func(scanner) (T, error), query string, args ...any) (T, error) {
	var v T
	err := d.ask(ctx, func(ctx context.Context, db *sql.DB) (err error) {
		v, err = scan(db.QueryRowContext(ctx, d.dialect.bind(query), args...))
		return err
	})
	if absent(err, what) {
		return v, fmt.Errorf("%s %w", what, ErrNotFound)
	}
	if err != nil {
		return v, fmt.Errorf("directory: %s: %w", what, err)
	}
	return v, nil
}

// collect reads all rows.
func collect[T any](ctx context.Context, d *Directory, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	var list []T
	err := d.ask(ctx, func(ctx context.Context, db *sql.DB) error {
		list = []T{}
		rows, err := db.QueryContext(ctx, d.dialect.bind(query), args...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			v, err := scan(rows)
			if err != nil {
				return err
			}
			list = append(list, v)
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return list, nil
}

// text scans a date as it is written, whatever the driver makes of the
// column's type; no date is "".
type text struct{ to *string }

// Scan implements sql.Scanner.
func (s text) Scan(v any) error {
	switch v := v.(type) {
	case nil:
		*s.to = ""
	case string:
		*s.to = v
	case []byte:
		*s.to = string(v)
	case interface{ Format(string) string }:
		*s.to = v.Format(localTime)
	default:
		return fmt.Errorf("a date of type %T", v)
	}
	return nil
}
