package account

import (
	"strconv"

	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
)

// MailboxCmd is "sekisho mailbox".
type MailboxCmd struct {
	Add     MailboxAdd     `cmd:"" help:"Add a mailbox; asks for its password."`
	List    MailboxList    `cmd:"" help:"List mailboxes."`
	Show    MailboxShow    `cmd:"" help:"Show one mailbox."`
	Set     MailboxSet     `cmd:"" help:"Change a mailbox."`
	Passwd  MailboxPasswd  `cmd:"" help:"Change a mailbox' password; asks for it."`
	Schemes MailboxSchemes `cmd:"" help:"Count the mailboxes by how their passwords are stored."`
	Remove  MailboxRemove  `cmd:"" help:"Remove a mailbox."`
}

// scheme is the flag of commands that store a password.
type scheme struct {
	Scheme string `default:"BLF-CRYPT" help:"How the password is stored: BLF-CRYPT, SHA512-CRYPT, ARGON2ID, SCRAM-SHA-256, CRAM-MD5 or PLAIN."`
}

// MailboxAdd is "sekisho mailbox add".
type MailboxAdd struct {
	Common
	scheme
	Address  string `arg:"" help:"The address, alice@demo.test."`
	Name     string `help:"The owner's name."`
	Quota    int64  `placeholder:"MB" help:"Most MB of mail; 0 is no limit."`
	Inactive bool   `help:"Add it switched off."`
}

// Run adds the mailbox.
func (c *MailboxAdd) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		plaintext, err := e.askPassword(c.Address)
		if err != nil {
			return err
		}
		stored, err := password.Hash(c.Scheme, plaintext)
		if err != nil {
			return err
		}
		m := directory.Mailbox{Username: c.Address, Name: c.Name, Quota: c.Quota * directory.MB, Active: !c.Inactive}
		if err := d.AddMailbox(e.Context, m, stored); err != nil {
			return err
		}
		if m, err = d.Mailbox(e.Context, c.Address); err != nil {
			return err
		}
		return e.done(c.Common, m, "mailbox "+m.Username+" added")
	})
}

// MailboxList is "sekisho mailbox list".
type MailboxList struct {
	Common
	Domain string `arg:"" optional:"" help:"Only those of this domain."`
}

// Run prints the mailboxes.
func (c *MailboxList) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		if c.Domain != "" { // a domain that does not exist is no empty one
			if _, err := d.Domain(e.Context, c.Domain); err != nil {
				return err
			}
		}
		boxes, err := d.Mailboxes(e.Context, c.Domain)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, m := range boxes {
			rows = append(rows, []string{m.Username, state(m.Active), megabytes(m.Quota), m.Name})
		}
		return e.list(c.Common, boxes, []string{"ADDRESS", "STATE", "QUOTA MB", "NAME"}, rows)
	})
}

// MailboxShow is "sekisho mailbox show".
type MailboxShow struct {
	Common
	Address string `arg:""`
}

// Run prints the mailbox.
func (c *MailboxShow) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		m, err := d.Mailbox(e.Context, c.Address)
		if err != nil {
			return err
		}
		return e.show(c.Common, m,
			"address", m.Username,
			"name", m.Name,
			"state", state(m.Active),
			"maildir", m.Maildir,
			"quota, MB", megabytes(m.Quota),
			"created", m.Created,
			"modified", m.Modified)
	})
}

// MailboxSet is "sekisho mailbox set"; what is not given stays.
type MailboxSet struct {
	Common
	Address string  `arg:""`
	Name    *string `help:"The owner's name."`
	Quota   *int64  `placeholder:"MB" help:"Most MB of mail; 0 is no limit."`
	Active  *bool   `negatable:"" help:"Switch it on or off."`
}

// Run changes the mailbox.
func (c *MailboxSet) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		m, err := d.Mailbox(e.Context, c.Address)
		if err != nil {
			return err
		}
		assign(&m.Name, c.Name)
		assign(&m.Active, c.Active)
		if c.Quota != nil {
			m.Quota = *c.Quota * directory.MB
		}
		if err := d.SetMailbox(e.Context, m); err != nil {
			return err
		}
		return e.done(c.Common, m, "mailbox "+m.Username+" changed")
	})
}

// MailboxPasswd is "sekisho mailbox passwd".
type MailboxPasswd struct {
	Common
	scheme
	Address string `arg:""`
}

// Run changes the password.
func (c *MailboxPasswd) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		m, err := d.Mailbox(e.Context, c.Address)
		if err != nil {
			return err
		}
		plaintext, err := e.askPassword(m.Username)
		if err != nil {
			return err
		}
		stored, err := password.Hash(c.Scheme, plaintext)
		if err != nil {
			return err
		}
		if err := d.SetPassword(e.Context, m.Username, stored); err != nil {
			return err
		}
		return e.done(c.Common, m, "password of "+m.Username+" changed")
	})
}

// MailboxRemove is "sekisho mailbox remove".
type MailboxRemove struct {
	Common
	Address string `arg:""`
}

// Run removes the mailbox.
func (c *MailboxRemove) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		m, err := d.Mailbox(e.Context, c.Address)
		if err != nil {
			return err
		}
		if err := d.RemoveMailbox(e.Context, m.Username); err != nil {
			return err
		}
		return e.done(c.Common, m, "mailbox "+m.Username+" removed; delivered mail stays in "+m.Maildir)
	})
}

// megabytes writes a quota, "" for none.
func megabytes(bytes int64) string {
	if bytes == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(bytes)/directory.MB, 'f', -1, 64)
}
