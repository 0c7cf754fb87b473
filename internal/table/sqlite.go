package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"sekisho/internal/sqldb"
)

// sqlTable asks a database (sqlite_table(5)).
type sqlTable struct {
	c    *sqlConfig
	db   *sql.DB
	stmt *sql.Stmt
}

// openSQLite reads the table's file, or parameters of main.cf that begin with
// the table's name, and prepares the query.
func (s *Set) openSQLite(name string, depth int) (Table, error) {
	get, err := s.settings(name)
	if err != nil {
		return nil, err
	}
	file := get("dbpath")
	if file == "" {
		return nil, errors.New("dbpath is not set")
	}
	c, err := s.readSQL(sqldb.SQLite, get, depth)
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
	stmt, err := db.Prepare(c.query.SQL)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("query %q: %w", c.query.SQL, err), db.Close())
	}
	return &sqlTable{c, db, stmt}, nil
}

func (t *sqlTable) Lookup(key string) (string, bool, error) {
	return t.c.lookup(key, t.rows)
}

// rows returns the first column of all rows, NULL as "".
func (t *sqlTable) rows(ctx context.Context, args []string) ([]string, error) {
	params := make([]any, len(args))
	for i, a := range args {
		params[i] = a
	}
	rs, err := t.stmt.QueryContext(ctx, params...)
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

func (t *sqlTable) Close() error {
	return errors.Join(t.stmt.Close(), t.db.Close(), t.c.domains.Close())
}
