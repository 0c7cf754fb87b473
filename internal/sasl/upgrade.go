package sasl

import (
	"context"
	"errors"

	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// UpgradeTo has passwords that are stored in a weaker form brought to scheme, a
// result of password.Target, when their owners log in by PLAIN or LOGIN. It must
// be called before the backend is used. SCRAM's keys stay; where the passwords
// themselves are stored, CRAM-MD5 and SCRAM are no longer offered from the first
// rewritten one on.
func (e *Embedded) UpgradeTo(scheme string) { e.upgradeTo = scheme }

// upgraded returns the new form of a password that has just been checked, ""
// if it stays as it is.
func (e *Embedded) upgraded(stored password.Password, plaintext string) (string, error) {
	if e.upgradeTo == "" || !stored.Weaker(e.upgradeTo) {
		return "", nil
	}
	return password.Hash(e.upgradeTo, plaintext)
}

// rewrite stores the new form unless the password was changed meanwhile. What
// goes wrong is for the log: the login has succeeded.
func (e *Embedded) rewrite(ctx context.Context, a directory.Account, stored string, err error) []string {
	if err == nil && stored != "" {
		err = e.dir.ReplacePassword(ctx, a.User, a.Stored, stored)
	}
	if err == nil || errors.Is(err, directory.ErrChanged) {
		return nil
	}
	return []string{"SASL: mailbox " + a.User + ": the password stays as it is stored: " + err.Error()}
}
