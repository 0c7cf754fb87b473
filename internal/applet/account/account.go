// Package account is the commands for accounts: sekisho domain, mailbox and
// alias, with add, list, show, set and remove, and sekisho mailbox passwd and
// schemes.
//
// Lists are tables at a terminal and tab-separated lines without a head in a
// pipe; --json prints what the directory holds. A password is asked for at the
// terminal, or read as one line when standard input is none; it is never an
// argument, where every user of the machine could see it. The package decides
// nothing: rules are package directory's.
package account

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
)

// Env is what the commands get from the program; kong binds it to their Run
// methods.
type Env struct {
	Context context.Context
	// Directory returns the account directory ("sqlite:PATH") of the
	// configuration in a folder; the folder is empty for the default one.
	Directory func(config string) (string, error)
	In        *os.File
	Out       *os.File
	Err       io.Writer // prompts
	Clock     clock.Clock
}

// Common are the flags of every command.
type Common struct {
	Config string `short:"c" placeholder:"DIR" help:"Folder of main.cf."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// open opens the directory that the configuration names; create makes it if
// it is missing.
func (e *Env) open(c Common, create bool) (*directory.Directory, error) {
	spec, err := e.Directory(c.Config)
	if err != nil {
		return nil, err
	}
	open := directory.Open
	if create {
		open = directory.Create
	}
	d, err := open(e.Context, spec, e.Clock)
	if err != nil {
		return nil, err
	}
	if err := d.Check(e.Context); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", spec, err), d.Close())
	}
	return d, nil
}

// with runs f on the opened directory.
func (e *Env) with(c Common, f func(*directory.Directory) error) error {
	d, err := e.open(c, false)
	if err != nil {
		return err
	}
	defer d.Close()
	return f(d)
}

// list prints rows, or v as JSON.
func (e *Env) list(c Common, v any, head []string, rows [][]string) error {
	if c.JSON {
		return e.json(v)
	}
	if e.terminal() {
		rows = append([][]string{head}, rows...)
	}
	return e.rows(rows)
}

// show prints one thing as lines of name and value, or v as JSON.
func (e *Env) show(c Common, v any, fields ...string) error {
	if c.JSON {
		return e.json(v)
	}
	var rows [][]string
	for i := 0; i+1 < len(fields); i += 2 {
		rows = append(rows, fields[i:i+2])
	}
	return e.rows(rows)
}

// rows prints rows in columns at a terminal, separated by tabs elsewhere.
func (e *Env) rows(rows [][]string) error {
	var w io.Writer = e.Out
	flush := func() error { return nil }
	if e.terminal() {
		t := tabwriter.NewWriter(e.Out, 0, 8, 2, ' ', 0)
		w, flush = t, t.Flush
	}
	for _, r := range rows {
		if _, err := fmt.Fprintln(w, strings.Join(r, "\t")); err != nil {
			return err
		}
	}
	return flush()
}

// terminal reports whether somebody looks at the output.
func (e *Env) terminal() bool { return term.IsTerminal(int(e.Out.Fd())) }

// done says what was done, or prints v as JSON.
func (e *Env) done(c Common, v any, what string) error {
	if c.JSON {
		return e.json(v)
	}
	_, err := fmt.Fprintln(e.Out, what)
	return err
}

func (e *Env) json(v any) error {
	enc := json.NewEncoder(e.Out)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// state is a word for a switch.
func state(active bool) string {
	if active {
		return "active"
	}
	return "inactive"
}

// assign sets *to if a flag was given.
func assign[T any](to *T, flag *T) {
	if flag != nil {
		*to = *flag
	}
}
