package directory

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/mail"
)

// Alias is a row of PostfixAdmin's table alias.
type Alias struct {
	Address  string   `json:"address"` // "@domain" catches all
	Goto     []string `json:"goto"`
	Domain   string   `json:"domain"`
	Active   bool     `json:"active"`
	Created  string   `json:"created"`
	Modified string   `json:"modified"`
}

const selectAliases = `SELECT address, goto, domain, active, created, modified FROM alias `

func scanAlias(s scanner) (Alias, error) {
	var a Alias
	var to string
	err := s.Scan(&a.Address, &to, &a.Domain, &a.Active, text{&a.Created}, text{&a.Modified})
	a.Goto = strings.FieldsFunc(to, func(r rune) bool { return r == ',' || r == ' ' })
	return a, err
}

// Aliases returns the aliases of a domain, or all when domain is empty, in
// order of domain and address, without the rows that only lead a mailbox to
// itself.
func (d *Directory) Aliases(ctx context.Context, domain string) ([]Alias, error) {
	domain = strings.ToLower(domain)
	return collect(ctx, d, scanAlias, selectAliases+`WHERE (? = '' OR domain = ?)
		AND NOT (goto = address AND EXISTS (SELECT 1 FROM mailbox WHERE username = address))
		ORDER BY domain, address`, domain, domain)
}

// Alias returns one alias, a mailbox' own row included.
func (d *Directory) Alias(ctx context.Context, address string) (Alias, error) {
	return one(ctx, d, "alias "+address, scanAlias, selectAliases+`WHERE address = ?`, strings.ToLower(address))
}

// AddAlias adds an alias. Of a, Address, Goto and Active count.
func (d *Directory) AddAlias(ctx context.Context, a Alias) error {
	address, domain, err := aliasAddress(a.Address)
	if err != nil {
		return err
	}
	to, err := targets(a.Goto)
	if err != nil {
		return err
	}
	return d.change(ctx, "create_alias", domain, address, func(t *tx) error {
		if err := t.needDomain(domain); err != nil {
			return err
		}
		if err := t.addressFree(address); err != nil {
			return err
		}
		if err := t.roomFor("aliases", domain, `SELECT aliases FROM domain WHERE domain = ?`,
			`SELECT COUNT(*) FROM alias WHERE domain = ?
				AND NOT EXISTS (SELECT 1 FROM mailbox WHERE username = address)`); err != nil {
			return err
		}
		return t.insertAlias(address, to, domain, a.Active)
	})
}

func (t *tx) insertAlias(address, to, domain string, active bool) error {
	return t.exec(`INSERT INTO alias (address, goto, domain, created, modified, active) VALUES (?, ?, ?, ?, ?, ?)`,
		address, to, domain, t.now, t.now, active)
}

// SetAlias writes Goto and Active of a to the alias of that address.
func (d *Directory) SetAlias(ctx context.Context, a Alias) error {
	address, domain, err := aliasAddress(a.Address)
	if err != nil {
		return err
	}
	to, err := targets(a.Goto)
	if err != nil {
		return err
	}
	return d.change(ctx, "edit_alias", domain, address, func(t *tx) error {
		return t.update("alias "+address, `UPDATE alias SET goto = ?, active = ?, modified = ? WHERE address = ?`,
			to, a.Active, t.now, address)
	})
}

// RemoveAlias removes an alias; a mailbox keeps its own row.
func (d *Directory) RemoveAlias(ctx context.Context, address string) error {
	address = strings.ToLower(address)
	_, domain, _ := mail.SplitAddress(address)
	return d.change(ctx, "delete_alias", domain, address, func(t *tx) error {
		n, err := t.count(`SELECT COUNT(*) FROM mailbox WHERE username = ?`, address)
		if err != nil {
			return err
		}
		if n > 0 {
			return fmt.Errorf("%s is a mailbox; removing its alias %w, remove the mailbox", address, ErrInvalid)
		}
		return t.update("alias "+address, `DELETE FROM alias WHERE address = ?`, address)
	})
}

// aliasAddress checks and lower-cases what an alias may stand for: an address
// or "@domain".
func aliasAddress(address string) (lower, domain string, err error) {
	if name, all := strings.CutPrefix(address, "@"); all {
		domain, err = domainName(name)
		return "@" + domain, domain, err
	}
	local, domain, err := splitAddress(address)
	return local + "@" + domain, domain, err
}

// targets checks the addresses an alias leads to and joins them as
// PostfixAdmin stores them.
func targets(list []string) (string, error) {
	if len(list) == 0 {
		return "", fmt.Errorf("an alias that leads nowhere %w", ErrInvalid)
	}
	for _, to := range list {
		local, domain, _ := mail.SplitAddress(to)
		if !mail.ValidHostname(domain) || strings.ContainsAny(local, ", \t\r\n") {
			return "", fmt.Errorf("%q as the target of an alias %w", to, ErrInvalid)
		}
	}
	return strings.Join(list, ","), nil
}
