package directory

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/mail"
)

// Domain is a row of PostfixAdmin's table domain. Limits of 0 mean none, of -1
// that nothing is allowed.
type Domain struct {
	Name        string `json:"domain"`
	Description string `json:"description"`
	Aliases     int    `json:"aliases"`   // most aliases
	Mailboxes   int    `json:"mailboxes"` // most mailboxes
	MaxQuota    int64  `json:"max_quota"` // of one mailbox, MB
	Quota       int64  `json:"quota"`     // of the domain, MB
	Transport   string `json:"transport"`
	BackupMX    bool   `json:"backup_mx"`
	Active      bool   `json:"active"`
	AliasOf     string `json:"alias_of,omitempty"` // table alias_domain
	Created     string `json:"created"`
	Modified    string `json:"modified"`
}

const selectDomains = `SELECT d.domain, d.description, d.aliases, d.mailboxes, d.maxquota, d.quota,
	COALESCE(d.transport, ''), d.backupmx, d.active, COALESCE(a.target_domain, ''), d.created, d.modified
	FROM domain d LEFT JOIN alias_domain a ON a.alias_domain = d.domain `

func scanDomain(s scanner) (Domain, error) {
	var d Domain
	err := s.Scan(&d.Name, &d.Description, &d.Aliases, &d.Mailboxes, &d.MaxQuota, &d.Quota,
		&d.Transport, &d.BackupMX, &d.Active, &d.AliasOf, text{&d.Created}, text{&d.Modified})
	return d, err
}

// Domains returns all domains in order of their names.
func (d *Directory) Domains(ctx context.Context) ([]Domain, error) {
	return collect(ctx, d, scanDomain, selectDomains+`WHERE d.domain <> 'ALL' ORDER BY d.domain`)
}

// Domain returns one domain.
func (d *Directory) Domain(ctx context.Context, name string) (Domain, error) {
	return one(ctx, d, "domain "+name, scanDomain, selectDomains+`WHERE d.domain = ? AND d.domain <> 'ALL'`, strings.ToLower(name))
}

// AddDomain adds a domain. postmaster, if not empty, gets the mail of abuse,
// hostmaster, postmaster and webmaster there, PostfixAdmin's default aliases.
func (d *Directory) AddDomain(ctx context.Context, dom Domain, postmaster string) error {
	name, err := domainName(dom.Name)
	if err != nil {
		return err
	}
	return d.change(ctx, "create_domain", name, name, func(t *tx) error {
		if n, err := t.count(`SELECT COUNT(*) FROM domain WHERE domain = ?`, name); err != nil || n > 0 {
			return orExists(err, "domain "+name)
		}
		err := t.exec(`INSERT INTO domain (domain, description, aliases, mailboxes, maxquota, quota, transport, backupmx, created, modified, active)
			VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, name, dom.Description, dom.Aliases, dom.Mailboxes,
			dom.MaxQuota, dom.Quota, dom.Transport, dom.BackupMX, t.now, t.now, dom.Active)
		if err != nil || postmaster == "" {
			return err
		}
		for _, local := range []string{"abuse", "hostmaster", "postmaster", "webmaster"} {
			if err := t.insertAlias(local+"@"+name, postmaster, name, true); err != nil {
				return err
			}
		}
		return nil
	})
}

// SetDomain writes the fields of dom, all but Created and Modified, to the
// domain of that name.
func (d *Directory) SetDomain(ctx context.Context, dom Domain) error {
	name, err := domainName(dom.Name)
	if err != nil {
		return err
	}
	return d.change(ctx, "edit_domain", name, name, func(t *tx) error {
		err := t.update("domain "+name, `UPDATE domain SET description = ?, aliases = ?, mailboxes = ?, maxquota = ?, quota = ?,
			transport = ?, backupmx = ?, active = ?, modified = ? WHERE domain = ?`, dom.Description, dom.Aliases, dom.Mailboxes,
			dom.MaxQuota, dom.Quota, dom.Transport, dom.BackupMX, dom.Active, t.now, name)
		if err != nil {
			return err
		}
		return t.setAliasOf(name, strings.ToLower(dom.AliasOf))
	})
}

// setAliasOf makes name another name of target, or no longer of any.
func (t *tx) setAliasOf(name, target string) error {
	if target == name {
		return fmt.Errorf("domain %s as an alias of itself %w", name, ErrInvalid)
	}
	if target != "" {
		if err := t.needDomain(target); err != nil {
			return err
		}
	}
	n, err := t.count(`SELECT COUNT(*) FROM alias_domain WHERE alias_domain = ?`, name)
	switch {
	case err != nil:
		return err
	case target == "":
		return t.exec(`DELETE FROM alias_domain WHERE alias_domain = ?`, name)
	case n > 0:
		return t.exec(`UPDATE alias_domain SET target_domain = ?, modified = ? WHERE alias_domain = ? AND target_domain <> ?`,
			target, t.now, name, target)
	}
	return t.exec(`INSERT INTO alias_domain (alias_domain, target_domain, created, modified, active) VALUES (?, ?, ?, ?, ?)`,
		name, target, t.now, t.now, true)
}

// RemoveDomain removes a domain with everything in it; without force only if
// it has no mailboxes. Mail that was delivered stays on disk.
func (d *Directory) RemoveDomain(ctx context.Context, name string, force bool) error {
	name = strings.ToLower(name)
	return d.change(ctx, "delete_domain", name, name, func(t *tx) error {
		if err := t.needDomain(name); err != nil {
			return err
		}
		n, err := t.count(`SELECT COUNT(*) FROM mailbox WHERE domain = ?`, name)
		if err != nil {
			return err
		}
		if n > 0 && !force {
			return fmt.Errorf("domain %s has %d mailboxes; removing it without force %w", name, n, ErrInvalid)
		}
		for _, q := range []string{
			`DELETE FROM quota WHERE username IN (SELECT username FROM mailbox WHERE domain = ?)`,
			`DELETE FROM quota2 WHERE username IN (SELECT username FROM mailbox WHERE domain = ?)`,
			`DELETE FROM vacation WHERE domain = ?`,
			`DELETE FROM fetchmail WHERE domain = ?`,
			`DELETE FROM domain_admins WHERE domain = ?`,
			`DELETE FROM alias WHERE domain = ?`,
			`DELETE FROM mailbox WHERE domain = ?`,
			`DELETE FROM alias_domain WHERE alias_domain = ?`,
			`DELETE FROM alias_domain WHERE target_domain = ?`,
			`DELETE FROM domain WHERE domain = ?`,
		} {
			if err := t.exec(q, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// needDomain fails unless the domain is there.
func (t *tx) needDomain(name string) error {
	n, err := t.count(`SELECT COUNT(*) FROM domain WHERE domain = ? AND domain <> 'ALL'`, name)
	if err == nil && n == 0 {
		return fmt.Errorf("domain %s %w", name, ErrNotFound)
	}
	return err
}

// domainName checks and lower-cases a domain's name.
func domainName(name string) (string, error) {
	name = strings.ToLower(name)
	if !mail.ValidHostname(name) || mail.IsNumericHostname(name) || name == "all" || len(name) > 255 {
		return "", fmt.Errorf("%q as a domain name %w", name, ErrInvalid)
	}
	return name, nil
}

// orExists returns err, or that what exists.
func orExists(err error, what string) error {
	if err != nil {
		return err
	}
	return fmt.Errorf("%s %w", what, ErrExists)
}
