// Package local delivers to the users of the system, as Postfix's local(8)
// does: aliases lead to addresses, commands, files and lists of them; a user's
// .forward file does the same; what is left goes to a command, to home_mailbox
// or into mail_spool_directory, or by another transport.
//
// A file for each step: recipient.go (which of these it is), alias.go,
// dotforward.go, include.go (what they expand to), token.go (one element of
// them), command.go, file.go, mailbox.go, unknown.go, resend.go (where it ends).
//
// Run by anybody but root, it delivers for the process's own user only.
// aliases(5), local(8).
package local

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/command"
	"sekisho/internal/deliver/mailbox"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// Options are what New needs.
type Options struct {
	Name     string         // of the transport in master.cf, for relay=; normally "local"
	Config   *config.Config // the transport's view
	Resolver *rewrite.Resolver
	World    *evidence.World // where tables are asked
	// Post puts a new message into the queue; see bounce.Post, which it is.
	Post Post
	// Pass delivers one recipient by another transport; ok is false when there is
	// none of that name. nil: there are no others.
	Pass  func(ctx context.Context, transport string, r *deliver.Request) (res deliver.Result, ok bool)
	Users Users
	Clock clock.Clock
	Log   *slog.Logger // under the agent's name
}

// Post puts a new message into the queue: it chooses the queue id, calls write
// for the content, and returns nil once the message is on disk.
type Post func(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error

// Agent delivers to system users. It is safe for concurrent use.
type Agent struct {
	o     Options
	store *mailbox.Store

	aliases                            []string
	home, spool                        string // home_mailbox, mail_spool_directory
	forwardPath                        string
	mailboxCommand, executionDirectory string
	mailboxTransport, fallback         string
	luserRelay                         string
	commandMaps                        []string // mailbox_command_maps
	transportMaps, fallbackMaps        []string
	shell                              []string // local_command_shell
	commandFilter, forwardFilter       string   // characters that $names may bring in
	directoryFilter                    string
	propagate                          []string // propagate_unmatched_extensions
	toCommands, toFiles                []string // where these may be named
	prepend                            []string // what gets Delivered-To
	defaultUser                        string   // default_privs
	env                                []string // of commands, from the server's
	queue                              string   // queue_directory
	commandLimit                       time.Duration
	duplicates                         int // duplicate_filter_limit; 0: none

	ownerAlias, expandOwner, resetOwner bool
	frozen                              bool // frozen_delivered_to
	original                            bool // X-Original-To
	needsHome                           bool // require_home_directory
	delimiters                          string
	hostname, mailName                  string
}

// New returns the agent of a configuration. An error says what is wrong, each
// thing with its place.
func New(o Options) (*Agent, error) {
	c := o.Config
	if o.Users == (Users{}) {
		o.Users = System
	}
	limit, message := int64(c.Int("mailbox_size_limit")), int64(c.Int("message_size_limit"))
	var err error
	if limit > 0 && (message <= 0 || limit < message) {
		err = fmt.Errorf("%s: mailbox_size_limit: is smaller than message_size_limit", c.Pos("mailbox_size_limit"))
	}
	locks := c.Strings("mailbox_delivery_lock")
	a := &Agent{
		o: o, aliases: c.Strings("alias_maps"), home: c.Str("home_mailbox"), spool: c.Str("mail_spool_directory"),
		ownerAlias: c.Bool("owner_request_special"), original: c.Bool("enable_original_recipient"),
		prepend:  c.Strings("prepend_delivered_header"),
		hostname: c.Str("myhostname"), mailName: c.Str("mail_name"), delimiters: c.Str("recipient_delimiter"),
		store: &mailbox.Store{
			Limit: limit, StrictOwner: c.Bool("strict_mailbox_ownership"),
			Dotlock: slices.Contains(locks, "dotlock"), Fcntl: slices.Contains(locks, "fcntl"), Flock: slices.Contains(locks, "flock"),
			Attempts: c.Int("deliver_lock_attempts"), Delay: c.Duration("deliver_lock_delay"), Stale: c.Duration("stale_lock_time"),
			Clock: o.Clock, Log: o.Log,
		},
	}
	a.commands(c)
	a.expansions(c)
	return a, err
}

// commands reads the parameters about commands and other transports.
func (a *Agent) commands(c *config.Config) {
	a.mailboxCommand, a.commandMaps = c.Str("mailbox_command"), c.Strings("mailbox_command_maps")
	a.mailboxTransport, a.transportMaps = c.Str("mailbox_transport"), c.Strings("mailbox_transport_maps")
	a.fallback, a.fallbackMaps = c.Str("fallback_transport"), c.Strings("fallback_transport_maps")
	a.shell = strings.Fields(c.Str("local_command_shell"))
	a.commandFilter, a.executionDirectory = c.Str("command_expansion_filter"), c.Str("command_execution_directory")
	a.directoryFilter, a.commandLimit = c.Str("execution_directory_expansion_filter"), c.Duration("command_time_limit")
	a.defaultUser, a.env, a.queue = c.Str("default_privs"), command.Exported(c), c.Str("queue_directory")
	a.toCommands, a.toFiles = c.Strings("allow_mail_to_commands"), c.Strings("allow_mail_to_files")
}

// expansions reads the parameters about what leads elsewhere.
func (a *Agent) expansions(c *config.Config) {
	a.forwardPath, a.forwardFilter = c.Str("forward_path"), c.Str("forward_expansion_filter")
	a.luserRelay, a.propagate = c.Str("luser_relay"), c.Strings("propagate_unmatched_extensions")
	a.expandOwner, a.resetOwner = c.Bool("expand_owner_alias"), c.Bool("reset_owner_alias")
	a.frozen, a.duplicates = c.Bool("frozen_delivered_to"), c.Int("duplicate_filter_limit")
	a.needsHome = c.Bool("require_home_directory")
}

// Deliver delivers to each recipient in turn.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	had, err := r.DeliveredTo()
	if err != nil {
		return r.Defer("4.3.0", a.o.Name, "error reading message: "+mailbox.Reason(err))
	}
	var out []deliver.Result
	for i, to := range r.Recipients {
		if ctx.Err() != nil {
			break
		}
		d := delivery{a: a, ctx: ctx, src: evidence.NewSession(ctx, a.o.World), r: r, had: had, seen: make(map[string]bool)}
		res := d.recipient(to)
		res.Recipient = i
		out = append(out, res)
	}
	return out
}
