// Package check is "sekisho check": it says what is wrong, odd or without
// effect in a configuration directory, and what to do about it. Findings are
// package check's; this package prints them: in columns and colour at a
// terminal, one line each elsewhere, as JSON with --json. The exit status is 2
// with an error, 1 with a warning, 0 otherwise.
package check

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"sekisho/internal/applet/exit"
	"sekisho/internal/check"
	"sekisho/internal/clock"
)

// Env is what the command gets from the program; kong binds it to Run.
type Env struct {
	Out   *os.File
	Clock clock.Clock
}

// Cmd is "sekisho check".
type Cmd struct {
	Config string `short:"c" default:"/etc/postfix" env:"MAIL_CONFIG" placeholder:"DIR" help:"Folder of main.cf and master.cf."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// Run checks the directory; the error is an exit.Status.
func (c *Cmd) Run(e *Env) error {
	found := check.Directory(c.Config, e.Clock, check.Gateways(os.DirFS("/proc/net")))
	var err error
	switch {
	case c.JSON:
		err = printJSON(e.Out, found)
	case term.IsTerminal(int(e.Out.Fd())):
		err = printTable(e.Out, c.Config, found)
	default:
		err = printLines(e.Out, found)
	}
	if err != nil {
		return err
	}
	return exit.Error(check.ExitStatus(found))
}

func printJSON(w io.Writer, found []check.Finding) error {
	if found == nil {
		found = []check.Finding{}
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(found)
}

// printLines prints "FILE:LINE: SEVERITY CODE: WHAT; WHY (MEND)".
func printLines(w io.Writer, found []check.Finding) error {
	for _, f := range found {
		line := fmt.Sprintf("%s: %s %s: %s", f.Pos, f.Severity, f.Code, what(f))
		if f.Why != "" {
			line += "; " + f.Why
		}
		if f.Mend != "" {
			line += " (" + f.Mend + ")"
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

// what is the finding with the service that alone has it.
func what(f check.Finding) string {
	if f.Service == "" {
		return f.What
	}
	return f.Service + ": " + f.What
}

// Colours of a terminal (ECMA-48).
const (
	plain = "\x1b[0m"
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
)

var colours = map[check.Severity]string{check.Error: "\x1b[31m", check.Warning: "\x1b[33m", check.Note: "\x1b[36m"}

// printTable prints each finding as a head and two indented lines, and a
// summary.
func printTable(w io.Writer, dir string, found []check.Finding) error {
	var b strings.Builder
	for _, f := range found {
		fmt.Fprintf(&b, "%s%-8s%s %s  %s%s%s\n", colours[f.Severity], f.Severity, plain, f.Code, bold, what(f), plain)
		indent := strings.Repeat(" ", 17)
		fmt.Fprintf(&b, "%s%s%s%s\n", indent, dim, f.Pos, plain)
		for _, text := range []string{f.Why, f.Mend} {
			if text != "" {
				b.WriteString(indent + text + "\n")
			}
		}
	}
	fmt.Fprintf(&b, "%s: %s\n", dir, check.Summary(found))
	_, err := io.WriteString(w, b.String())
	return err
}
