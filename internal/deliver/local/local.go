// Package local delivers to the users of the system, as Postfix's local(8)
// does: an alias's addresses get the message as a new one, a user's mail goes
// to home_mailbox in the home directory or into mail_spool_directory.
//
// What it does not do: .forward files, commands, files and :include: lists in
// aliases, mailbox_command, mailbox_transport, fallback_transport and
// luser_relay. Mail to an alias with a command, a file or a list in it waits in
// the queue, and the log says why. Run by anybody but root, it delivers to
// mailboxes of the process's own user only. aliases(5).
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"slices"
	"strconv"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
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
	// User finds a user of the system; nil means os/user's Lookup. An unknown
	// user is a user.UnknownUserError.
	User  func(name string) (*user.User, error)
	Clock clock.Clock
	Log   *slog.Logger // under the agent's name
}

// Agent delivers to system users. It is safe for concurrent use.
type Agent struct {
	o     Options
	store *mailbox.Store

	aliases        []string
	home, spool    string // home_mailbox, mail_spool_directory
	ownerAlias     bool   // owner_request_special
	original       bool   // X-Original-To
	deliveredOwn   bool   // Delivered-To in mailboxes
	deliveredOther bool   // Delivered-To in forwarded mail
	hostname       string
	mailName       string
}

// New returns the agent of a configuration. An error says what is wrong, each
// thing with its place.
func New(o Options) (*Agent, error) {
	c := o.Config
	if o.User == nil {
		o.User = user.Lookup
	}
	limit, message := int64(c.Int("mailbox_size_limit")), int64(c.Int("message_size_limit"))
	var err error
	if limit > 0 && (message <= 0 || limit < message) {
		err = fmt.Errorf("%s: mailbox_size_limit: is smaller than message_size_limit", c.Pos("mailbox_size_limit"))
	}
	locks, headers := c.Strings("mailbox_delivery_lock"), c.Strings("prepend_delivered_header")
	return &Agent{
		o: o, aliases: c.Strings("alias_maps"), home: c.Str("home_mailbox"), spool: c.Str("mail_spool_directory"),
		ownerAlias: c.Bool("owner_request_special"), original: c.Bool("enable_original_recipient"),
		deliveredOwn: slices.Contains(headers, "file"), deliveredOther: slices.Contains(headers, "forward"),
		hostname: c.Str("myhostname"), mailName: c.Str("mail_name"),
		store: &mailbox.Store{
			Limit: limit, StrictOwner: c.Bool("strict_mailbox_ownership"),
			Dotlock: slices.Contains(locks, "dotlock"), Fcntl: slices.Contains(locks, "fcntl"), Flock: slices.Contains(locks, "flock"),
			Attempts: c.Int("deliver_lock_attempts"), Delay: c.Duration("deliver_lock_delay"), Stale: c.Duration("stale_lock_time"),
			Clock: o.Clock, Log: o.Log,
		},
	}, err
}

// Deliver delivers to each recipient in turn.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	d := delivery{a: a, ctx: ctx, src: evidence.NewSession(ctx, a.o.World), r: r}
	var err error
	if d.delivered, err = r.DeliveredTo(); err != nil {
		return r.Defer("4.3.0", a.o.Name, "error reading message: "+mailbox.Reason(err))
	}
	var out []deliver.Result
	for i, to := range r.Recipients {
		if ctx.Err() != nil {
			break
		}
		res := d.one(to)
		res.Recipient, res.Relay = i, a.o.Name
		out = append(out, res)
	}
	return out
}

// delivery is one request being worked on.
type delivery struct {
	a         *Agent
	ctx       context.Context
	src       evidence.Source
	r         *deliver.Request
	delivered map[string]bool // the Delivered-To headers of the message, lower case
}

func deferred(dsn, text string) deliver.Result {
	return deliver.Result{Status: deliver.Deferred, DSN: dsn, Text: text}
}

func bounced(dsn, text string) deliver.Result {
	return deliver.Result{Status: deliver.Bounced, DSN: dsn, Text: text}
}

// one delivers to one recipient: alias, user, nobody.
func (d *delivery) one(to mail.Recipient) deliver.Result {
	if d.delivered[strings.ToLower(to.Address)] {
		return bounced("5.4.6", "mail forwarding loop for "+to.Address)
	}
	full, _, _ := mail.SplitAddress(strings.ToLower(to.Address))
	name := d.a.o.Resolver.StripExtension(full)
	if strings.ContainsRune(full[len(name):], '/') {
		d.warn("%s: address with illegal extension: %s", d.r.QueueID, full)
		full = name
	}
	if name == "" {
		return bounced("5.1.3", fmt.Sprintf("null username in \"%s\"", to.Address))
	}
	for _, key := range slices.Compact([]string{full, name}) {
		value, found, failed := d.alias(key)
		switch {
		case failed:
			return deferred("4.3.0", "alias database unavailable")
		case found && d.r.Probe: // one answer for the alias, not one for each of its addresses
			return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "aliased to " + value}
		case found:
			return d.expand(to, key, name, value)
		}
	}
	return d.mailbox(to, name)
}

// mailbox delivers to a user's mailbox.
func (d *delivery) mailbox(to mail.Recipient, name string) deliver.Result {
	u, err := d.a.o.User(name)
	var unknown user.UnknownUserError
	switch {
	case errors.As(err, &unknown):
		return d.unknown(name)
	case err != nil:
		d.warn("error looking up passwd info for %s: %v", name, err)
		return deferred("4.0.0", "user lookup error")
	}
	box, err := d.a.box(u, name)
	if err != nil {
		d.warn("%v", err)
		return deferred("4.3.5", "mail system configuration error")
	}
	if d.r.Probe {
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to " + kind(box)}
	}
	c := mailbox.Copy{Sender: d.r.Envelope.Sender, Content: d.r.Content}
	if d.a.deliveredOwn {
		c.Delivered = to.Address
	}
	if d.a.original {
		c.Original = to.Original
	}
	return outcome(box, name, d.a.store.Deliver(d.ctx, box, c))
}

// unknown is the end for a name that nobody has. Every site must have the two
// that RFC 5321 demands, so their mail is not sent back.
func (d *delivery) unknown(name string) deliver.Result {
	if name == "postmaster" || name == "mailer-daemon" {
		d.warn("required alias not found: %s", name)
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "discarded"}
	}
	return bounced("5.1.1", `unknown user: "`+name+`"`)
}

// box is where a user's mail goes. In a spool directory that its group may
// write to, the mailbox is that group's.
func (a *Agent) box(u *user.User, name string) (mailbox.Box, error) {
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return mailbox.Box{}, fmt.Errorf("user %s: %w", name, err)
	}
	if !mailbox.Privileged() && os.Geteuid() != uid {
		return mailbox.Box{}, fmt.Errorf("user %s: cannot deliver as UID %d; run as root to deliver for other users", name, uid)
	}
	box := mailbox.Box{UID: uid, GID: gid, ErrorDSN: "5.2.0"}
	switch {
	case strings.HasPrefix(name, ".") || strings.Contains(name, "/"):
		return box, fmt.Errorf("user %q: no name for a mailbox file", name)
	case a.home != "":
		box.Path = u.HomeDir + "/" + a.home
	case strings.HasSuffix(a.spool, "/"):
		box.Path = a.spool + name + "/"
	default:
		box.Path = a.spool + "/" + name
		if st, err := os.Stat(a.spool); err == nil && st.Mode()&0o022 == 0o020 {
			box.GID = groupOf(st, gid)
		}
	}
	return box, nil
}

// kind is what log lines call a mailbox.
func kind(box mailbox.Box) string {
	if strings.HasSuffix(box.Path, "/") {
		return "maildir"
	}
	return "mailbox"
}

// outcome puts what the mailbox says into the words of local(8).
func outcome(box mailbox.Box, name string, err error) deliver.Result {
	prefix := "cannot update mailbox " + box.Path + " for user " + name + ". "
	if kind(box) == "maildir" {
		prefix = ""
	}
	var f *mailbox.Failure
	switch {
	case err == nil:
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivered to " + kind(box)}
	case !errors.As(err, &f):
		return deferred("4.3.0", err.Error())
	case strings.HasPrefix(f.DSN, "4"):
		return deferred(f.DSN, prefix+f.Text)
	}
	return bounced(f.DSN, prefix+f.Text)
}

func (d *delivery) warn(format string, args ...any) {
	d.a.o.Log.Warn(fmt.Sprintf(format, args...))
}
