// Sekisho is a mail server that behaves as Postfix does: one program with the
// server, its tools, and the commands for accounts. Called by the name postconf
// or postmap it is that command.
//
// This package only reads the command line; every command is a package below
// internal/applet.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"sekisho/internal/applet/account"
	"sekisho/internal/applet/demo"
	"sekisho/internal/applet/serve"
	"sekisho/internal/clock"
	"sekisho/internal/config"
)

// Exit statuses besides 0 and those that a command gives itself.
const (
	failure = 1
	usage   = 64 // EX_USAGE of sysexits(3)
)

// defaultConfig is where main.cf is when neither -c nor MAIL_CONFIG says.
const defaultConfig = "/etc/postfix"

// commands is the command line.
type commands struct {
	Serve   serve.Cmd          `cmd:"" help:"Run the mail server of a configuration folder."`
	Demo    demo.Cmd           `cmd:"" help:"Make a demo site and run it."`
	Domain  account.DomainCmd  `cmd:"" help:"Manage domains."`
	Mailbox account.MailboxCmd `cmd:"" help:"Manage mailboxes and their passwords."`
	Alias   account.AliasCmd   `cmd:"" help:"Manage aliases."`
	Version versionCmd         `cmd:"" help:"Print the version."`
}

// version is Sekisho's own; mail_version says which Postfix it behaves like.
const version = "0.1"

type versionCmd struct{}

// Run prints the version.
func (versionCmd) Run(out io.Writer) error {
	_, err := fmt.Fprintln(out, "sekisho "+version)
	return err
}

func main() { os.Exit(run(os.Args, os.Stdin, os.Stdout, os.Stderr)) }

// run runs one command line and returns its exit status.
func run(args []string, in, out, errOut *os.File) int {
	var cli commands
	parser, err := kong.New(&cli,
		kong.Name("sekisho"),
		kong.Description("A mail server that behaves as Postfix does."),
		kong.Writers(out, errOut),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
	)
	if err != nil {
		return complain(errOut, err, failure)
	}
	k, err := parser.Parse(args[1:])
	if err != nil {
		return complain(errOut, fmt.Errorf("%w; see sekisho --help", err), usage)
	}
	k.BindTo(out, (*io.Writer)(nil))
	ctx := context.Background()
	err = k.Run(
		&serve.Env{Context: ctx, Out: out, Clock: clock.System{}},
		&account.Env{Context: ctx, Directory: accounts, In: in, Out: out, Err: errOut, Clock: clock.System{}},
	)
	if err != nil {
		return complain(errOut, err, failure)
	}
	return 0
}

// complain prints an error, which may be several, one a line.
func complain(w io.Writer, err error, status int) int {
	for _, line := range strings.Split(err.Error(), "\n") {
		fmt.Fprintln(w, "sekisho: "+line)
	}
	return status
}

// accounts returns the account directory of the configuration in a folder.
func accounts(dir string) (string, error) {
	if dir == "" {
		dir = os.Getenv("MAIL_CONFIG")
	}
	if dir == "" {
		dir = defaultConfig
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	return cfg.Str("sekisho_directory"), nil
}
