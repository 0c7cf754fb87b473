package account

import (
	"strings"

	"sekisho/internal/directory"
)

// AliasCmd is "sekisho alias".
type AliasCmd struct {
	Add    AliasAdd    `cmd:"" help:"Add an alias."`
	List   AliasList   `cmd:"" help:"List aliases."`
	Show   AliasShow   `cmd:"" help:"Show one alias."`
	Set    AliasSet    `cmd:"" help:"Change an alias."`
	Remove AliasRemove `cmd:"" help:"Remove an alias."`
}

// AliasAdd is "sekisho alias add".
type AliasAdd struct {
	Common
	Address  string   `arg:"" help:"The alias, team@demo.test; @demo.test catches all."`
	Goto     []string `arg:"" help:"Where its mail goes."`
	Inactive bool     `help:"Add it switched off."`
}

// Run adds the alias.
func (c *AliasAdd) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		a := directory.Alias{Address: c.Address, Goto: c.Goto, Active: !c.Inactive}
		if err := d.AddAlias(e.Context, a); err != nil {
			return err
		}
		a, err := d.Alias(e.Context, c.Address)
		if err != nil {
			return err
		}
		return e.done(c.Common, a, "alias "+a.Address+" added")
	})
}

// AliasList is "sekisho alias list".
type AliasList struct {
	Common
	Domain string `arg:"" optional:"" help:"Only those of this domain."`
}

// Run prints the aliases.
func (c *AliasList) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		if c.Domain != "" {
			if _, err := d.Domain(e.Context, c.Domain); err != nil {
				return err
			}
		}
		aliases, err := d.Aliases(e.Context, c.Domain)
		if err != nil {
			return err
		}
		var rows [][]string
		for _, a := range aliases {
			rows = append(rows, []string{a.Address, state(a.Active), strings.Join(a.Goto, ",")})
		}
		return e.list(c.Common, aliases, []string{"ADDRESS", "STATE", "GOES TO"}, rows)
	})
}

// AliasShow is "sekisho alias show".
type AliasShow struct {
	Common
	Address string `arg:""`
}

// Run prints the alias.
func (c *AliasShow) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		a, err := d.Alias(e.Context, c.Address)
		if err != nil {
			return err
		}
		return e.show(c.Common, a,
			"address", a.Address,
			"goes to", strings.Join(a.Goto, ","),
			"state", state(a.Active),
			"created", a.Created,
			"modified", a.Modified)
	})
}

// AliasSet is "sekisho alias set"; what is not given stays.
type AliasSet struct {
	Common
	Address string   `arg:""`
	Goto    []string `arg:"" optional:"" help:"Where its mail goes."`
	Active  *bool    `negatable:"" help:"Switch it on or off."`
}

// Run changes the alias.
func (c *AliasSet) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		a, err := d.Alias(e.Context, c.Address)
		if err != nil {
			return err
		}
		assign(&a.Active, c.Active)
		if len(c.Goto) > 0 {
			a.Goto = c.Goto
		}
		if err := d.SetAlias(e.Context, a); err != nil {
			return err
		}
		return e.done(c.Common, a, "alias "+a.Address+" changed")
	})
}

// AliasRemove is "sekisho alias remove".
type AliasRemove struct {
	Common
	Address string `arg:""`
}

// Run removes the alias.
func (c *AliasRemove) Run(e *Env) error {
	return e.with(c.Common, func(d *directory.Directory) error {
		a, err := d.Alias(e.Context, c.Address)
		if err != nil {
			return err
		}
		if err := d.RemoveAlias(e.Context, a.Address); err != nil {
			return err
		}
		return e.done(c.Common, a, "alias "+a.Address+" removed")
	})
}
