// Package directory keeps the accounts of the mail server: domains, mailboxes,
// aliases and their passwords, in the tables of PostfixAdmin 3.3, so that
// PostfixAdmin, Dovecot and every map query written for them go on working on
// the same database. What PostfixAdmin does besides the obvious is done here
// too: a mailbox has an alias row to itself, every change leaves a row in log.
//
// It answers no map queries (Postfix's sqlite: tables do, by SQL) and creates
// no Maildir (delivery does). Statements shared by all databases use "?" and
// standard SQL; today there is SQLite, pure Go.
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
	db    *sql.DB
	clock clock.Clock
}

// Open opens an existing directory, "sqlite:PATH".
func Open(ctx context.Context, spec string, c clock.Clock) (*Directory, error) {
	path, err := sqlitePath(spec)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("directory %s %w; \"sekisho domain add\" makes it", spec, ErrNotFound)
		}
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	return open(ctx, spec, path, c)
}

// Create opens a directory and makes it, or the tables it lacks, first. A new
// file is readable by its owner and group only, and belongs to the owner of
// its folder when root makes it.
func Create(ctx context.Context, spec string, c clock.Clock) (*Directory, error) {
	path, err := sqlitePath(spec)
	if err != nil {
		return nil, err
	}
	if err := touch(path); err != nil {
		return nil, fmt.Errorf("directory %s: %w", spec, err)
	}
	d, err := open(ctx, spec, path, c)
	if err != nil {
		return nil, err
	}
	if err := d.EnsureSchema(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func sqlitePath(spec string) (string, error) {
	path, ok := strings.CutPrefix(spec, "sqlite:")
	if !ok || path == "" {
		return "", fmt.Errorf("directory %q: only sqlite:PATH is supported", spec)
	}
	return path, nil
}

// touch makes the database file, because SQLite would let everybody read it.
func touch(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return f.Chown(int(st.Uid), int(st.Gid))
	}
	return nil
}

func open(ctx context.Context, spec, path string, c clock.Clock) (*Directory, error) {
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
	return &Directory{db: db, clock: c}, nil
}

// Close closes the database.
func (d *Directory) Close() error { return d.db.Close() }

// EnsureSchema makes the tables that are missing.
func (d *Directory) EnsureSchema(ctx context.Context) error {
	if _, err := d.db.ExecContext(ctx, sqliteSchema); err != nil {
		return fmt.Errorf("directory: cannot make the tables: %w", err)
	}
	return nil
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
	err := d.db.QueryRowContext(ctx, `SELECT m.username, m.password, m.active, d.active
		FROM mailbox m JOIN domain d ON d.domain = m.domain
		WHERE m.username = ?`, strings.ToLower(user)).Scan(&a.User, &a.Stored, &mailbox, &domain)
	if errors.Is(err, sql.ErrNoRows) {
		return Account{}, fmt.Errorf("mailbox %s %w", user, ErrNotFound)
	}
	if err != nil {
		return Account{}, fmt.Errorf("directory: looking up a password: %w", err)
	}
	a.Active = mailbox && domain
	return a, nil
}

// StoredPasswords calls yield with the stored passwords of all active
// mailboxes until it returns false.
func (d *Directory) StoredPasswords(ctx context.Context, yield func(stored string) bool) error {
	rows, err := d.db.QueryContext(ctx, `SELECT password FROM mailbox WHERE active = '1'`)
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
	sqlTx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	defer sqlTx.Rollback() // does nothing after Commit
	t := &tx{ctx: ctx, Tx: sqlTx, now: d.now()}
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

// now is the time as PostfixAdmin writes it.
func (d *Directory) now() string { return d.clock.Now().Format("2006-01-02 15:04:05") }

// tx is a transaction with the moment that its rows carry.
type tx struct {
	*sql.Tx
	ctx context.Context
	now string
}

func (t *tx) exec(query string, args ...any) error {
	if _, err := t.ExecContext(t.ctx, query, args...); err != nil {
		return fmt.Errorf("directory: %w", err)
	}
	return nil
}

// count returns the number that query selects.
func (t *tx) count(query string, args ...any) (n int64, err error) {
	if err := t.QueryRowContext(t.ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("directory: %w", err)
	}
	return n, nil
}

// update runs an UPDATE or DELETE that must find its row; what names it in the
// error.
func (t *tx) update(what, query string, args ...any) error {
	res, err := t.ExecContext(t.ctx, query, args...)
	if err != nil {
		return fmt.Errorf("directory: %w", err)
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
