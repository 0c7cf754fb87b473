package cyrus

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"sekisho/internal/sqldb"
)

// sqliteTimeout bounds one lookup in a file.
const sqliteTimeout = 10 * time.Second

// engineOf reads sql_engine; Cyrus's default is MySQL.
func engineOf(f *File) (string, error) {
	switch e := strings.ToLower(f.Get("sql_engine")); e {
	case "", "mysql":
		return sqldb.MySQL, nil
	case "pgsql", "postgresql", "postgres":
		return sqldb.PostgreSQL, nil
	case "sqlite", "sqlite3":
		return sqldb.SQLite, nil
	default:
		return "", f.fail("sql_engine", "%s is unknown here: there are mysql, pgsql and sqlite", e)
	}
}

func openDatabase(engine string, f *File, o Options) (database, error) {
	name := f.Get("sql_database")
	if name == "" {
		return nil, f.fail("sql_database", "it is not set")
	}
	if engine == sqldb.SQLite {
		if _, err := os.Stat(name); err != nil {
			return nil, f.fail("sql_database", "%w", err)
		}
		db, err := sql.Open("sqlite", "file:"+name+"?_pragma=busy_timeout(5000)&_pragma=query_only(1)")
		if err != nil {
			return nil, f.fail("sql_database", "%w", err)
		}
		return sqliteFile{db}, nil
	}
	settings := sqldb.Settings{
		Engine: engine, User: f.Get("sql_user"), Password: f.Get("sql_passwd"), Database: name,
		Idle: time.Minute, Retry: time.Minute,
	}
	settings.Hosts = hosts(f, settings.Engine, Yes(f.Get("sql_usessl")))
	settings.TLS.Require = Yes(f.Get("sql_usessl"))
	servers, err := sqldb.Open(settings, o.Clock)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Path, err)
	}
	return serverDatabase{servers}, nil
}

// hosts reads sql_hostnames, host or host:port, as sqldb's list of hosts. The
// port that Cyrus adds to an address in brackets is left to be there.
func hosts(f *File, engine string, tls bool) string {
	list := words(f.Get("sql_hostnames"))
	if len(list) == 0 {
		list = words(f.Get("sql_hostname"))
	}
	if len(list) == 0 {
		list = []string{"localhost"}
	}
	for i, h := range list {
		if engine == sqldb.PostgreSQL && tls && !strings.HasPrefix(h, "/") {
			if strings.Count(h, ":") > 1 && net.ParseIP(h) != nil {
				h = "[" + h + "]"
			}
			list[i] = "postgresql://" + h + "/?sslmode=require"
		}
	}
	return strings.Join(list, " ")
}

// sqliteFile is a SQLite database.
type sqliteFile struct{ db *sql.DB }

func (d sqliteFile) ask(ctx context.Context, st sqldb.Statement, values []string) (string, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, sqliteTimeout)
	defer cancel()
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = v
	}
	rows, err := d.db.QueryContext(ctx, st.SQL, args...)
	if err != nil {
		return "", false, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil || len(columns) == 0 || !rows.Next() {
		return "", false, errors.Join(err, rows.Err())
	}
	var value sql.NullString
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(any)
	}
	into[0] = &value
	err = rows.Scan(into...)
	return value.String, value.Valid && err == nil, err
}

func (d sqliteFile) close() error { return d.db.Close() }

// serverDatabase is a database behind a server.
type serverDatabase struct{ servers *sqldb.Servers }

func (d serverDatabase) ask(ctx context.Context, st sqldb.Statement, values []string) (string, bool, error) {
	var rows [][]sql.NullString
	err := d.servers.Do(ctx, func(ctx context.Context, h *sqldb.Host) (err error) {
		rows, err = h.Query(ctx, st.SQL, values...)
		if sqldb.Untyped(err) {
			rows, err = h.Query(ctx, st.Cast, values...)
		}
		return err
	})
	switch {
	case sqldb.Unrepresentable(err, strings.Join(values, "")):
		return "", false, nil
	case err != nil || len(rows) == 0 || len(rows[0]) == 0:
		return "", false, err
	}
	return rows[0][0].String, rows[0][0].Valid, nil
}

func (d serverDatabase) close() error { return d.servers.Close() }
