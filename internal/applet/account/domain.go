package account

import (
	"strconv"

	"sekisho/internal/directory"
)

// DomainCmd is "sekisho domain".
type DomainCmd struct {
	Add    DomainAdd    `cmd:"" help:"Add a domain; makes the directory if there is none."`
	List   DomainList   `cmd:"" help:"List all domains."`
	Show   DomainShow   `cmd:"" help:"Show one domain."`
	Set    DomainSet    `cmd:"" help:"Change a domain."`
	Remove DomainRemove `cmd:"" help:"Remove a domain with its mailboxes and aliases."`
}

// DomainAdd is "sekisho domain add".
type DomainAdd struct {
	Common
	Domain      string `arg:"" help:"The domain, demo.test."`
	Description string `help:"What it is for."`
	Aliases     int    `help:"Most aliases; 0 is no limit, -1 none."`
	Mailboxes   int    `help:"Most mailboxes; 0 is no limit, -1 none."`
	MaxQuota    int64  `help:"Most MB a mailbox may be given; 0 is no limit."`
	Quota       int64  `help:"MB of the whole domain; 0 is no limit."`
	Transport   string `default:"virtual" help:"How its mail is delivered."`
	BackupMX    bool   `name:"backup-mx" help:"This server is a backup MX only."`
	Inactive    bool   `help:"Add it switched off."`
	Postmaster  string `placeholder:"ADDRESS" help:"Who gets mail for abuse, hostmaster, postmaster and webmaster."`
}

// Run adds the domain.
func (c *DomainAdd) Run(e *Env) error {
	d, err := e.open(c.Common, true)
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.AddDomain(e.Context, directory.Domain{
		Name: c.Domain, Description: c.Description, Aliases: c.Aliases, Mailboxes: c.Mailboxes,
		MaxQuota: c.MaxQuota, Quota: c.Quota, Transport: c.Transport, BackupMX: c.BackupMX, Active: !c.Inactive,
	}, c.Postmaster)
	if err != nil {
		return err
	}
	dom, err := d.Domain(e.Context, c.Domain)
	if err != nil {
		return err
	}
	return e.done(c.Common, dom, "domain "+dom.Name+" added")
}

// DomainList is "sekisho domain list".
type DomainList struct{ Common }

// Run prints the domains.
func (c *DomainList) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		domains, err := d.Domains(e.Context)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, dom := range domains {
			rows = append(rows, []string{dom.Name, state(dom.Active), dom.Transport, dom.AliasOf, dom.Description})
		}
		return e.list(c.Common, domains, []string{"DOMAIN", "STATE", "TRANSPORT", "ALIAS OF", "DESCRIPTION"}, rows)
	})
}

// DomainShow is "sekisho domain show".
type DomainShow struct {
	Common
	Domain string `arg:""`
}

// Run prints the domain.
func (c *DomainShow) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		dom, err := d.Domain(e.Context, c.Domain)
		if err != nil {
			return err
		}
		return e.show(c.Common, dom,
			"domain", dom.Name,
			"description", dom.Description,
			"state", state(dom.Active),
			"transport", dom.Transport,
			"alias of", dom.AliasOf,
			"backup MX", strconv.FormatBool(dom.BackupMX),
			"most aliases", strconv.Itoa(dom.Aliases),
			"most mailboxes", strconv.Itoa(dom.Mailboxes),
			"quota of a mailbox, MB", strconv.FormatInt(dom.MaxQuota, 10),
			"quota, MB", strconv.FormatInt(dom.Quota, 10),
			"created", dom.Created,
			"modified", dom.Modified)
	})
}

// DomainSet is "sekisho domain set"; what is not given stays.
type DomainSet struct {
	Common
	Domain      string  `arg:""`
	Description *string `help:"What it is for."`
	Aliases     *int    `help:"Most aliases; 0 is no limit, -1 none."`
	Mailboxes   *int    `help:"Most mailboxes; 0 is no limit, -1 none."`
	MaxQuota    *int64  `help:"Most MB a mailbox may be given; 0 is no limit."`
	Quota       *int64  `help:"MB of the whole domain; 0 is no limit."`
	Transport   *string `help:"How its mail is delivered."`
	BackupMX    *bool   `name:"backup-mx" negatable:"" help:"This server is a backup MX only."`
	Active      *bool   `negatable:"" help:"Switch it on or off."`
	AliasOf     *string `placeholder:"DOMAIN" help:"Make it another name of a domain; empty: no longer."`
}

// Run changes the domain.
func (c *DomainSet) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		dom, err := d.Domain(e.Context, c.Domain)
		if err != nil {
			return err
		}
		assign(&dom.Description, c.Description)
		assign(&dom.Aliases, c.Aliases)
		assign(&dom.Mailboxes, c.Mailboxes)
		assign(&dom.MaxQuota, c.MaxQuota)
		assign(&dom.Quota, c.Quota)
		assign(&dom.Transport, c.Transport)
		assign(&dom.BackupMX, c.BackupMX)
		assign(&dom.Active, c.Active)
		assign(&dom.AliasOf, c.AliasOf)
		if err := d.SetDomain(e.Context, dom); err != nil {
			return err
		}
		return e.done(c.Common, dom, "domain "+dom.Name+" changed")
	})
}

// DomainRemove is "sekisho domain remove".
type DomainRemove struct {
	Common
	Domain string `arg:""`
	Force  bool   `help:"Remove it although it has mailboxes."`
}

// Run removes the domain.
func (c *DomainRemove) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		dom, err := d.Domain(e.Context, c.Domain)
		if err != nil {
			return err
		}
		if err := d.RemoveDomain(e.Context, dom.Name, c.Force); err != nil {
			return err
		}
		return e.done(c.Common, dom, "domain "+dom.Name+" removed; delivered mail stays on disk")
	})
}
