package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// ErrNoResult is a statement that returned no result set, not even an empty
// one.
var ErrNoResult = errors.New("the statement returned no result set")

// Query runs a statement with its parameters ("?" or "$1", the engine's own) by
// a prepared statement and returns all columns of all rows as the server
// writes them; NULL is not Valid.
func (h *Host) Query(ctx context.Context, query string, args ...string) ([][]sql.NullString, error) {
	anys := make([]any, len(args))
	for i, a := range args {
		anys[i] = a
	}
	if h.engine == PostgreSQL {
		return h.pgsqlText(ctx, query, anys)
	}
	stmt, err := h.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, anys...)
	if err != nil {
		return nil, err
	}
	return readAll(rows)
}

// prepare returns the prepared statement of a query; database/sql prepares it
// on each connection that it is used on.
func (h *Host) prepare(ctx context.Context, query string) (*sql.Stmt, error) {
	h.mu.Lock()
	stmt := h.stmts[query]
	h.mu.Unlock()
	if stmt != nil {
		return stmt, nil
	}
	stmt, err := h.DB.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if faster := h.stmts[query]; faster != nil {
		return faster, stmt.Close()
	}
	h.stmts[query] = stmt
	return stmt, nil
}

func readAll(rows *sql.Rows) ([][]sql.NullString, error) {
	defer rows.Close()
	cols, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	if len(cols) == 0 {
		return nil, errors.Join(ErrNoResult, rows.Err())
	}
	var out [][]sql.NullString
	for rows.Next() {
		row := make([]sql.NullString, len(cols))
		into := make([]any, len(cols))
		for i := range row {
			into[i] = &row[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	if rows.NextResultSet() {
		if cols, err := rows.Columns(); err != nil || len(cols) > 0 {
			return nil, errors.Join(errors.New("the statement returned more than one result set"), err)
		}
	}
	return out, rows.Err()
}

// pgsqlText asks past database/sql, which would make values of another form
// of what the server writes: true of "t".
func (h *Host) pgsqlText(ctx context.Context, query string, args []any) ([][]sql.NullString, error) {
	conn, err := h.DB.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var out [][]sql.NullString
	err = conn.Raw(func(driverConn any) error {
		c, ok := driverConn.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("a connection of type %T", driverConn)
		}
		formats := append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)
		rows, err := c.Conn().Query(ctx, query, formats...)
		if err != nil {
			return err
		}
		defer rows.Close()
		out, err = readRaw(rows)
		return err
	})
	return out, err
}

func readRaw(rows pgx.Rows) ([][]sql.NullString, error) {
	var out [][]sql.NullString
	for rows.Next() {
		raw := rows.RawValues()
		row := make([]sql.NullString, len(raw))
		for i, v := range raw {
			row[i] = sql.NullString{String: string(v), Valid: v != nil}
		}
		out = append(out, row)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	if len(rows.FieldDescriptions()) == 0 && !rows.CommandTag().Select() {
		return nil, ErrNoResult
	}
	return out, nil
}
