// Package directory keeps the accounts of the mail server: domains, mailboxes,
// aliases and their passwords, in the tables of PostfixAdmin 3.3, so that
// PostfixAdmin, Dovecot and every map query written for them go on working on
// the same database. What PostfixAdmin does besides the obvious is done here
// too: a mailbox has an alias row to itself, every change leaves a row in log.
//
// It answers no map queries (Postfix's SQL tables do) and creates no Maildir
// (delivery does). A directory is "sqlite:PATH", or "mysql:FILE" or
// "pgsql:FILE" with FILE in the syntax of mysql_table(5) and pgsql_table(5):
// hosts, user, password, dbname, so that no password stands in main.cf.
// Statements are the same for all three: "?" and standard SQL.
package directory

import (
	"context"
	"database/sql"
	_ "embed" // for the schema
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	_ "modernc.org/sqlite" // database/sql driver "sqlite"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/sqldb"
)

// Errors that callers tell apart; they are in the chain of what is returned.
var (
	ErrNotFound = errors.New("does not exist")
	ErrExists   = errors.New("exists already")
	ErrInvalid  = errors.New("is not allowed")
)

//go:embed schema_sqlite.sql
var sqliteSchema string

// Directory is an open account database. It is safe for concurrent use.
type Directory struct {
	file    *sql.DB        // SQLite's
	servers *sqldb.Servers // MySQL's and PostgreSQL's, when file is nil
	dialect dialect
	clock   clock.Clock
}

// Open opens an existing directory, "sqlite:PATH", "mysql:FILE" or
// "pgsql:FILE". It does not connect to a server: one that is down makes what is
// asked later fail, until it is back. Check tells at once.
func Open(ctx context.Context, spec string, c clock.Clock) (*Directory, error) {
	engine, path, err := splitSpec(spec)
	if err != nil {
		return nil, err
	}
	if engine != sqlite {
		return openServers(spec, engine, path, c)
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("directory %s %w; \"sekisho domain add\" makes it", spec, ErrNotFound)
		}
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	return openFile(ctx, spec, path, c)
}

// Create opens a directory and makes it, or the tables it lacks, first if it is
// SQLite's: on a server PostfixAdmin makes the tables. A new file is readable
// by its owner and group only, and belongs to the owner of its folder when root
// makes it.
func Create(ctx context.Context, spec string, c clock.Clock) (*Directory, error) {
	engine, path, err := splitSpec(spec)
	if err != nil {
		return nil, err
	}
	if engine != sqlite {
		return openServers(spec, engine, path, c)
	}
	if err := touch(path); err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	d, err := openFile(ctx, spec, path, c)
	if err != nil {
		return nil, err
	}
	if _, err := d.file.ExecContext(ctx, sqliteSchema); err != nil {
		return nil, errors.Join(fmt.Errorf("directory: cannot make the tables: %w", err), d.Close())
	}
	return d, nil
}

// sqlite is the engine that needs no server.
const sqlite = "sqlite"

func splitSpec(spec string) (engine, path string, err error) {
	engine, path, _ = strings.Cut(spec, ":")
	switch engine {
	case sqlite, sqldb.MySQL, sqldb.PostgreSQL:
		if path != "" {
			return engine, path, nil
		}
	}
	return "", "", fmt.Errorf("directory %q: neither sqlite:PATH, mysql:FILE nor pgsql:FILE", spec)
}

func openServers(spec, engine, path string, c clock.Clock) (*Directory, error) {
	params, err := config.ReadSettings(path)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	settings, err := sqldb.Read(engine, func(name string) string { return params[name] })
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	servers, err := sqldb.Open(settings, c)
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	return &Directory{servers: servers, dialect: dialects[engine], clock: c}, nil
}

// Check tells whether the database answers and has PostfixAdmin's tables. The
// error wraps a *sqldb.DownError when no server can be asked.
func (d *Directory) Check(ctx context.Context) error {
	var down *sqldb.DownError
	for _, q := range []string{selectDomains, selectMailboxes, selectAliases} {
		err := d.ask(ctx, func(ctx context.Context, db *sql.DB) error {
			rows, err := db.QueryContext(ctx, q+`WHERE 1 = 0`)
			if err != nil {
				return err
			}
			return rows.Close()
		})
		if errors.As(err, &down) {
			return fmt.Errorf("directory: %w", err)
		}
		if err != nil {
			return fmt.Errorf("directory: no tables of PostfixAdmin there (its setup.php makes them): %w", err)
		}
	}
	return nil
}

// touch makes the database file, because SQLite would let everybody read it,
// and the folder for it, if that is missing.
func touch(path string) error {
	folder := filepath.Dir(path)
	switch err := os.Mkdir(folder, 0o750); {
	case err == nil:
		if err := inherit(folder); err != nil {
			return err
		}
	case !errors.Is(err, fs.ErrExist):
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), inherit(path))
}

// inherit gives what root has made to the owner of the folder it is in.
func inherit(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return os.Chown(path, int(st.Uid), int(st.Gid))
	}
	return nil
}

func openFile(ctx context.Context, spec, path string, c clock.Clock) (*Directory, error) {
	// A transaction takes the write lock at once: two that read first and
	// write later would fail instead of waiting for each other.
	dsn := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath(), RawQuery: url.Values{
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)"},
		"_txlock": {"immediate"},
	}.Encode()}
	db, err := sql.Open("sqlite", dsn.String())
	if err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("directory %s: %w", spec, err), db.Close())
	}
	return &Directory{file: db, dialect: dialects[sqlite], clock: c}, nil
}

// Close closes the database.
func (d *Directory) Close() error {
	if d.file != nil {
		return d.file.Close()
	}
	return d.servers.Close()
}

// ask runs f on the database; on another host if one does not answer, so f may
// run more than once.
func (d *Directory) ask(ctx context.Context, f func(context.Context, *sql.DB) error) error {
	if d.file != nil {
		return f(ctx, d.file)
	}
	return d.servers.Do(ctx, func(ctx context.Context, h *sqldb.Host) error { return f(ctx, h.DB) })
}

// Account is what a login needs to know of a mailbox.
type Account struct {
	User   string // as stored
	Stored string // the password in its stored form
	Active bool   // neither the mailbox nor its domain is switched off
}

// LookupPassword returns the account that user names, in any case. The error
// wraps ErrNotFound when there is none.
func (d *Directory) LookupPassword(ctx context.Context, user string) (Account, error) {
	var a Account
	var mailbox, domain bool
	err := d.ask(ctx, func(ctx context.Context, db *sql.DB) error {
		return db.QueryRowContext(ctx, d.dialect.bind(`SELECT m.username, m.password, m.active, d.active
			FROM mailbox m JOIN domain d ON d.domain = m.domain
			WHERE m.username = ?`), strings.ToLower(user)).Scan(&a.User, &a.Stored, &mailbox, &domain)
	})
	if absent(err, user) {
		return Account{}, fmt.Errorf("mailbox %s %w", user, ErrNotFound)
	}
	if err != nil {
		return Account{}, fmt.Errorf("directory: looking up a password: %w", err)
	}
	a.Active = mailbox && domain
	return a, nil
}

// absent tells whether a query for a name found no row, or could not: no row
// has a name that the column's character set cannot hold.
func absent(err error, name string) bool {
	return errors.Is(err, sql.ErrNoRows) || sqldb.Unrepresentable(err, name)
}

// StoredPasswords calls yield with the stored passwords of all active
// mailboxes until it returns false.
func (d *Directory) StoredPasswords(ctx context.Context, yield func(stored string) bool) error {
	var rows *sql.Rows
	err := d.ask(ctx, func(_ context.Context, db *sql.DB) (err error) {
		rows, err = db.QueryContext(ctx, `SELECT password FROM mailbox WHERE active = '1'`)
		return err
	})
	if err != nil {
		return fmt.Errorf("directory: listing passwords: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var stored string
		if err := rows.Scan(&stored); err != nil {
			return fmt.Errorf("directory: listing passwords: %w", err)
		}
		if !yield(stored) {
			return nil
		}
	}
	return rows.Err()
}

// change runs f in a transaction and logs it in PostfixAdmin's log table. what
// names the operation in errors.
func (d *Directory) change(ctx context.Context, action, domain, data string, f func(*tx) error) error {
	// Only the beginning is tried on another host: what follows must not be
	// done twice.
	var sqlTx *sql.Tx
	err := d.ask(ctx, func(_ context.Context, db *sql.DB) (err error) {
		sqlTx, err = db.BeginTx(ctx, nil)
		return err
	})
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	defer sqlTx.Rollback() // does nothing after Commit
	t := &tx{ctx: ctx, Tx: sqlTx, dialect: d.dialect, now: d.clock.Now().Format(d.dialect.stamp)}
	if err := f(t); err != nil {
		return err
	}
	err = t.exec(`INSERT INTO log (timestamp, username, domain, action, data) VALUES (?, 'sekisho', ?, ?, ?)`,
		t.now, domain, action, data)
	if err != nil {
		return err
	}
	if err := sqlTx.Commit(); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

// tx is a transaction with the moment that its rows carry.
type tx struct {
	*sql.Tx
	dialect dialect
	ctx     context.Context
	now     string
}

func (t *tx) exec(query string, args ...any) error {
	_, err := t.run(query, args)
	return err
}

// run executes a statement. The error wraps ErrExists when somebody else has
// added the same row meanwhile.
func (t *tx) run(query string, args []any) (sql.Result, error) {
	res, err := t.ExecContext(t.ctx, t.dialect.bind(query), args...)
	if sqldb.Duplicate(err) {
		return nil, fmt.Errorf("directory: the row %w: %w", ErrExists, err)
	}
	if err != nil {
		return nil, fmt.Errorf("directory: %w", err)
	}
	return res, nil
}

// count returns the number that query selects.
func (t *tx) count(query string, args ...any) (n int64, err error) {
	if err := t.QueryRowContext(t.ctx, t.dialect.bind(query), args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("directory: %w", err)
	}
	return n, nil
}

// update runs an UPDATE or DELETE that must find its row; what names it in the
// error.
func (t *tx) update(what, query string, args ...any) error {
	res, err := t.run(query, args)
	if err != nil {
		return err
	}
	n, err := res.RowsAffected()
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	if n == 0 {
		return fmt.Errorf("%s %w", what, ErrNotFound)
	}
	return nil
}
