package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"sekisho/internal/config"
)

// sqlTimeout bounds one query: a table that doesn't answer is a temporary
// failure, not a session that hangs.
const sqlTimeout = 30 * time.Second

// sqlTable asks a database (sqlite_table(5)).
type sqlTable struct {
	c    *sqlConfig
	db   *sql.DB
	stmt *sql.Stmt
}

// openSQLite reads the table's file, or parameters of main.cf that begin with
// the table's name, and prepares the query.
func openSQLite(path, name string, o Options) (Table, error) {
	get, err := sqlParams(path, name, o)
	if err != nil {
		return nil, err
	}
	file := get("dbpath")
	if file == "" {
		return nil, errors.New("dbpath is not set")
	}
	c, err := readSQL(get)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil {
		return nil, fmt.Errorf("dbpath: %w", err)
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	stmt, err := db.Prepare(c.query.sql)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("query %q: %w", c.query.sql, err), db.Close())
	}
	return &sqlTable{c, db, stmt}, nil
}

// sqlParams reads the table's file; a name that is no path stands before
// parameters of main.cf.
func sqlParams(path, name string, o Options) (func(string) string, error) {
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		return func(p string) string { return o.Param(name + "_" + p) }, nil
	}
	m, err := config.ReadSettings(path)
	if err != nil {
		return nil, err
	}
	return func(p string) string { return m[p] }, nil
}

func (t *sqlTable) Lookup(key string) (string, bool, error) {
	key = strings.ToLower(key)
	if !t.c.wants(key) {
		return "", false, nil
	}
	args, ok := t.c.args(key)
	if !ok {
		return "", false, nil
	}
	rows, err := t.rows(args)
	if err != nil {
		return "", false, err
	}
	return t.c.result(rows, key)
}

// rows returns the first column of all rows, NULL as "".
func (t *sqlTable) rows(args []any) ([]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sqlTimeout)
	defer cancel()
	rs, err := t.stmt.QueryContext(ctx, args...)
	if err != nil {
		return nil, fmt.Errorf("query failed: %w", err)
	}
	defer rs.Close()
	cols, err := rs.Columns()
	if err != nil {
		return nil, err
	}
	value := new(sql.NullString)
	into := make([]any, len(cols))
	for i := range into {
		into[i] = new(any)
	}
	into[0] = value
	var out []string
	for rs.Next() {
		if err := rs.Scan(into...); err != nil {
			return nil, err
		}
		out = append(out, value.String)
	}
	return out, rs.Err()
}

func (t *sqlTable) Close() error { return errors.Join(t.stmt.Close(), t.db.Close()) }
