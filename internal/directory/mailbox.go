package directory

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/mail"
)

// MB is the unit of quotas: what PostfixAdmin multiplies by unless told
// otherwise ($CONF['quota_multiplier']).
const MB = 1_024_000

// Mailbox is a row of PostfixAdmin's table mailbox, without the password.
type Mailbox struct {
	Username string `json:"username"` // the address, lower case
	Name     string `json:"name"`
	Maildir  string `json:"maildir"` // below virtual_mailbox_base
	Quota    int64  `json:"quota"`   // bytes, 0 is no limit
	Domain   string `json:"domain"`
	Active   bool   `json:"active"`
	Created  string `json:"created"`
	Modified string `json:"modified"`
}

const selectMailboxes = `SELECT username, name, maildir, quota, COALESCE(domain, ''), active, created, modified FROM mailbox `

func scanMailbox(s scanner) (Mailbox, error) {
	var m Mailbox
	err := s.Scan(&m.Username, &m.Name, &m.Maildir, &m.Quota, &m.Domain, &m.Active, text{&m.Created}, text{&m.Modified})
	return m, err
}

// Mailboxes returns the mailboxes of a domain, or all when domain is empty, in
// order of domain and name.
func (d *Directory) Mailboxes(ctx context.Context, domain string) ([]Mailbox, error) {
	domain = strings.ToLower(domain)
	return collect(ctx, d, scanMailbox, selectMailboxes+`WHERE ? = '' OR domain = ? ORDER BY domain, username`, domain, domain)
}

// Mailbox returns one mailbox.
func (d *Directory) Mailbox(ctx context.Context, username string) (Mailbox, error) {
	return one(ctx, d, "mailbox "+username, scanMailbox, selectMailboxes+`WHERE username = ?`, strings.ToLower(username))
}

// AddMailbox adds a mailbox and its alias row. stored is the password in its
// stored form. Of m, Username, Name, Quota and Active count; the Maildir is
// DOMAIN/LOCAL/.
func (d *Directory) AddMailbox(ctx context.Context, m Mailbox, stored string) error {
	local, domain, err := splitAddress(m.Username)
	if err != nil {
		return err
	}
	address := local + "@" + domain
	return d.change(ctx, "create_mailbox", domain, address, func(t *tx) error {
		if err := t.roomForMailbox(domain, m.Quota); err != nil {
			return err
		}
		if err := t.addressFree(address); err != nil {
			return err
		}
		err := t.exec(`INSERT INTO mailbox (username, password, name, maildir, quota, local_part, domain, created, modified, active)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, address, stored, m.Name, domain+"/"+local+"/", m.Quota,
			local, domain, t.now, t.now, m.Active)
		if err != nil {
			return err
		}
		return t.insertAlias(address, address, domain, m.Active)
	})
}

// roomForMailbox holds a mailbox to the limits of its domain.
func (t *tx) roomForMailbox(domain string, quota int64) error {
	if err := t.needDomain(domain); err != nil {
		return err
	}
	if err := t.roomFor("mailboxes", domain, `SELECT mailboxes FROM domain WHERE domain = ?`,
		`SELECT COUNT(*) FROM mailbox WHERE domain = ?`); err != nil {
		return err
	}
	limit, err := t.count(`SELECT maxquota FROM domain WHERE domain = ?`, domain)
	if err != nil {
		return err
	}
	if limit > 0 && (quota == 0 || quota > limit*MB) {
		return fmt.Errorf("domain %s gives a mailbox at most %d MB; a quota of %d bytes %w", domain, limit, quota, ErrInvalid)
	}
	return nil
}

// roomFor compares a limit of the domain with what is there.
func (t *tx) roomFor(what, domain, limitQuery, countQuery string) error {
	limit, err := t.count(limitQuery, domain)
	if err != nil || limit == 0 {
		return err
	}
	n, err := t.count(countQuery, domain)
	if err == nil && n >= limit {
		return fmt.Errorf("domain %s may have %d %s; another one %w", domain, max(limit, 0), what, ErrInvalid)
	}
	return err
}

// addressFree fails when a mailbox or alias has the address.
func (t *tx) addressFree(address string) error {
	if n, err := t.count(`SELECT COUNT(*) FROM mailbox WHERE username = ?`, address); err != nil || n > 0 {
		return orExists(err, "mailbox "+address)
	}
	if n, err := t.count(`SELECT COUNT(*) FROM alias WHERE address = ?`, address); err != nil || n > 0 {
		return orExists(err, "alias "+address)
	}
	return nil
}

// SetMailbox writes Name, Quota and Active of m to the mailbox of that
// username; its alias row is switched along, as by PostfixAdmin.
func (d *Directory) SetMailbox(ctx context.Context, m Mailbox) error {
	_, domain, err := splitAddress(m.Username)
	if err != nil {
		return err
	}
	user := strings.ToLower(m.Username)
	return d.change(ctx, "edit_mailbox", domain, user, func(t *tx) error {
		err := t.update("mailbox "+user, `UPDATE mailbox SET name = ?, quota = ?, active = ?, modified = ? WHERE username = ?`,
			m.Name, m.Quota, m.Active, t.now, user)
		if err != nil {
			return err
		}
		return t.exec(`UPDATE alias SET active = ?, modified = ? WHERE address = ?`, m.Active, t.now, user)
	})
}

// SetPassword stores a new password, in its stored form.
func (d *Directory) SetPassword(ctx context.Context, username, stored string) error {
	_, domain, err := splitAddress(username)
	if err != nil {
		return err
	}
	user := strings.ToLower(username)
	return d.change(ctx, "edit_password", domain, user, func(t *tx) error {
		return t.update("mailbox "+user, `UPDATE mailbox SET password = ?, modified = ? WHERE username = ?`, stored, t.now, user)
	})
}

// RemoveMailbox removes a mailbox, its alias row and what else PostfixAdmin
// keeps by its name. Mail that was delivered stays on disk.
func (d *Directory) RemoveMailbox(ctx context.Context, username string) error {
	user := strings.ToLower(username)
	_, domain, _ := mail.SplitAddress(user)
	return d.change(ctx, "delete_mailbox", domain, user, func(t *tx) error {
		if err := t.update("mailbox "+user, `DELETE FROM mailbox WHERE username = ?`, user); err != nil {
			return err
		}
		for _, q := range []string{
			`DELETE FROM alias WHERE address = ?`,
			`DELETE FROM quota WHERE username = ?`,
			`DELETE FROM quota2 WHERE username = ?`,
			`DELETE FROM vacation WHERE email = ?`,
			`DELETE FROM fetchmail WHERE mailbox = ?`,
		} {
			if err := t.exec(q, user); err != nil {
				return err
			}
		}
		return nil
	})
}

// splitAddress checks and lower-cases the address of a mailbox. The local part
// becomes a folder, so it must not lead elsewhere.
func splitAddress(address string) (local, domain string, err error) {
	local, domain, _ = mail.SplitAddress(strings.ToLower(address))
	if domain, err = domainName(domain); err != nil {
		return "", "", err
	}
	if local == "" || len(local) > 64 || mail.Quote(local+"@"+domain) != local+"@"+domain || strings.ContainsRune(local, '/') {
		return "", "", fmt.Errorf("%q as a mail address %w", address, ErrInvalid)
	}
	return local, domain, nil
}
