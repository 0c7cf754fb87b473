package directory

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
)

// ErrChanged is in the chain when somebody else has changed a row meanwhile.
var ErrChanged = errors.New("was changed meanwhile")

// ReplacePassword stores a password's new form in place of old, its stored form
// so far. The error wraps ErrChanged when another is stored now, which stays.
func (d *Directory) ReplacePassword(ctx context.Context, username, old, stored string) error {
	_, domain, err := splitAddress(username)
	if err != nil {
		return err
	}
	user := strings.ToLower(username)
	return d.change(ctx, "edit_password", domain, user, func(t *tx) error {
		// The row is locked first and compared here: a column's collation may
		// take two passwords for one.
		err := t.update("mailbox "+user, `UPDATE mailbox SET modified = ? WHERE username = ?`, t.now, user)
		if err != nil {
			return err
		}
		var now string
		err = t.QueryRowContext(ctx, t.dialect.bind(`SELECT password FROM mailbox WHERE username = ?`), user).Scan(&now)
		if err != nil {
			return fmt.Errorf("directory: %w", err)
		}
		if now != old {
			return fmt.Errorf("the password of mailbox %s %w", user, ErrChanged)
		}
		return t.exec(`UPDATE mailbox SET password = ? WHERE username = ?`, stored, user)
	})
}

// AllPasswords calls yield with the stored password of every mailbox, and
// whether it is switched on, until it returns false.
func (d *Directory) AllPasswords(ctx context.Context, yield func(stored string, active bool) bool) error {
	var rows *sql.Rows
	err := d.ask(ctx, func(_ context.Context, db *sql.DB) (err error) {
		rows, err = db.QueryContext(ctx, `SELECT password, active FROM mailbox`)
		return err
	})
	if err != nil {
		return fmt.Errorf("directory: listing passwords: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var stored string
		var active bool
		if err := rows.Scan(&stored, &active); err != nil {
			return fmt.Errorf("directory: listing passwords: %w", err)
		}
		if !yield(stored, active) {
			return nil
		}
	}
	return rows.Err()
}
