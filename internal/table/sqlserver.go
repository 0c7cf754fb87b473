package table

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"unicode/utf8"

	"sekisho/internal/sqldb"
)

// serverTable asks a database server (mysql_table(5), pgsql_table(5)). What the
// server says against a statement concerns the key in it, and no other key and
// no other table: a key of which the column's character set knows nothing is
// not found, another error is this lookup's alone.
type serverTable struct {
	c        *sqlConfig
	servers  *sqldb.Servers // the Set's
	needRows bool           // require_result_set
	cast     atomic.Bool    // the parameters need a cast
}

// openServer reads the table's file, or parameters of main.cf that begin with
// the table's name. It makes no connection.
func (s *Set) openServer(engine, name string, depth int) (Table, error) {
	get, err := s.settings(name)
	if err != nil {
		return nil, err
	}
	t := &serverTable{needRows: true}
	if t.c, err = s.readSQL(engine, get, depth); err != nil {
		return nil, err
	}
	if v := get("require_result_set"); engine == sqldb.MySQL && v != "" {
		if t.needRows, err = yesNo(v); err != nil {
			return nil, fmt.Errorf("require_result_set: %w", err)
		}
	}
	t.servers, err = s.database(engine, get)
	return t, err
}

// database returns the connections of the database that a table's file
// describes. Tables of one database share them.
func (s *Set) database(engine string, get func(string) string) (*sqldb.Servers, error) {
	settings, err := sqldb.Read(engine, get)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := s.databases[settings]; d != nil {
		return d, nil
	}
	d, err := sqldb.Open(settings, s.o.Clock)
	if err == nil {
		s.databases[settings] = d
	}
	return d, err
}

func (t *serverTable) Lookup(key string) (string, bool, error) {
	if !utf8.ValidString(key) {
		return "", false, nil // the text of no connection could carry it
	}
	return t.c.lookup(key, func(ctx context.Context, args []string) ([]string, error) {
		values, err := t.values(ctx, args)
		if sqldb.Unrepresentable(err, key) {
			return nil, nil
		}
		return values, err
	})
}

// values returns the values of all columns of all rows, NULL as "".
func (t *serverTable) values(ctx context.Context, args []string) ([]string, error) {
	var rows [][]sql.NullString
	err := t.servers.Do(ctx, func(ctx context.Context, h *sqldb.Host) (err error) {
		rows, err = t.rows(ctx, h, args)
		return err
	})
	if errors.Is(err, sqldb.ErrNoResult) && !t.needRows {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("query failed: %w", err)
	}
	var values []string
	for _, row := range rows {
		for _, v := range row {
			values = append(values, v.String)
		}
	}
	return values, nil
}

// rows runs the query; with casts when the server asks for them, and from then
// on.
func (t *serverTable) rows(ctx context.Context, h *sqldb.Host, args []string) ([][]sql.NullString, error) {
	if !t.cast.Load() {
		rows, err := h.Query(ctx, t.c.query.SQL, args...)
		if !sqldb.Untyped(err) {
			return rows, err
		}
	}
	rows, err := h.Query(ctx, t.c.query.Cast, args...)
	if err == nil {
		t.cast.Store(true)
	}
	return rows, err
}

// Close closes what is the table's own; connections are the Set's.
func (t *serverTable) Close() error { return t.c.domains.Close() }
