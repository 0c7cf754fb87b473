// Sekisho is a mail server that behaves as Postfix does: one program with the
// server, its tools, and the commands for accounts. Called by the name of one of
// Postfix's commands, such as postconf, mailq or sendmail, it is that command.
//
// This package only reads the command line; every command is a package below
// internal/applet.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"sekisho/internal/applet/account"
	"sekisho/internal/applet/authserver"
	"sekisho/internal/applet/check"
	"sekisho/internal/applet/demo"
	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/explain"
	"sekisho/internal/applet/postcat"
	"sekisho/internal/applet/postconf"
	"sekisho/internal/applet/postmap"
	"sekisho/internal/applet/postqueue"
	"sekisho/internal/applet/postsuper"
	"sekisho/internal/applet/queuectl"
	"sekisho/internal/applet/saslauthd"
	"sekisho/internal/applet/sendmail"
	"sekisho/internal/applet/serve"
	"sekisho/internal/clock"
	"sekisho/internal/config"
)

// Exit statuses besides 0 and those that a command gives itself.
const (
	failure = 1
	usage   = 64 // EX_USAGE of sysexits(3)
)

// commands is the command line.
type commands struct {
	Serve      serve.Cmd          `cmd:"" help:"Run the mail server of a configuration folder."`
	Demo       demo.Cmd           `cmd:"" help:"Make a demo site and run it."`
	Check      check.Cmd          `cmd:"" help:"Look for mistakes in a configuration folder."`
	Explain    explain.Cmd        `cmd:"" help:"Tell what becomes of a session, and why."`
	Postconf   postconf.Cmd       `cmd:"" help:"Print parameters and services as postconf(1) does."`
	Postmap    postmap.Cmd        `cmd:"" help:"Ask lookup tables as postmap(1) does."`
	Queue      queuectl.Cmd       `cmd:"" help:"Look into the queue, and work on it."`
	Mailq      sendmail.MailqCmd  `cmd:"" help:"List the queue as mailq(1) does."`
	Postqueue  postqueue.Cmd      `cmd:"" help:"List or flush the queue as postqueue(1) does."`
	Postsuper  postsuper.Cmd      `cmd:"" help:"Delete, hold, release, requeue messages as postsuper(1) does."`
	Postcat    postcat.Cmd        `cmd:"" help:"Print a message of the queue as postcat(1) does."`
	Sendmail   sendmail.Cmd       `cmd:"" help:"Send mail as sendmail(1) does."`
	Domain     account.DomainCmd  `cmd:"" help:"Manage domains."`
	Mailbox    account.MailboxCmd `cmd:"" help:"Manage mailboxes and their passwords."`
	Alias      account.AliasCmd   `cmd:"" help:"Manage aliases."`
	Saslauthd  saslauthd.Cmd      `cmd:"" help:"Answer programs that ask saslauthd(8) about passwords."`
	AuthServer authserver.Cmd     `cmd:"" help:"Answer programs that ask a Dovecot about passwords, as Postfix and Exim do."`
	Version    versionCmd         `cmd:"" help:"Print the version."`
}

// tools are the commands that can also be called by their name alone.
var tools = map[string]bool{
	"postconf": true, "postmap": true, "saslauthd": true,
	"mailq": true, "postqueue": true, "postsuper": true, "postcat": true, "sendmail": true,
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
	words := args[1:]
	if name := filepath.Base(args[0]); tools[name] {
		words = append([]string{name}, words...)
	}
	words = asTyped(words)
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
	k, err := parser.Parse(words)
	if err != nil {
		return complain(errOut, fmt.Errorf("%w; see sekisho --help", err), usage)
	}
	err = k.Run(environments(k, in, out, errOut)...)
	var status exit.Status
	switch {
	case errors.As(err, &status):
		return int(status)
	case err != nil:
		return complain(errOut, err, failure)
	}
	return 0
}

// asTyped keeps the parser away from the command line of Postfix's commands,
// which read it themselves.
func asTyped(words []string) []string {
	if len(words) < 2 || !tools[words[0]] || words[0] == "saslauthd" || words[1] == "--help" {
		return words
	}
	return append([]string{words[0], "--"}, words[1:]...)
}

// environments are what the commands need, each its own.
func environments(k *kong.Context, in, out, errOut *os.File) []any {
	k.BindTo(out, (*io.Writer)(nil))
	ctx := context.Background()
	dir, given := postconf.Folder()
	return []any{
		&serve.Env{Context: ctx, Out: out, Clock: clock.System{}},
		&check.Env{Out: out, Clock: clock.System{}},
		&explain.Env{Context: ctx, Out: out, Clock: clock.System{}},
		&postconf.Env{Out: out, Err: errOut, Config: dir, Given: given},
		&postmap.Env{In: in, Out: out, Err: errOut, Config: dir, Clock: clock.System{}},
		&queuectl.Env{Out: out, Err: errOut, Config: dir, Clock: clock.System{}},
		&postqueue.Env{Out: out, Err: errOut, Config: dir, Clock: clock.System{}},
		&postsuper.Env{In: in, Err: errOut, Config: dir, Clock: clock.System{}},
		&postcat.Env{Out: out, Err: errOut, Config: dir, Clock: clock.System{}},
		&sendmail.Env{In: in, Out: out, Err: errOut, Config: dir, Clock: clock.System{}},
		&saslauthd.Env{Context: ctx, Directory: accounts, Args: os.Args, Err: errOut, Clock: clock.System{}},
		&authserver.Env{Context: ctx, Clock: clock.System{}},
		&account.Env{Context: ctx, Directory: accounts, In: in, Out: out, Err: errOut, Clock: clock.System{}},
	}
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
		dir, _ = postconf.Folder()
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		return "", err
	}
	return cfg.Str("sekisho_directory"), nil
}
