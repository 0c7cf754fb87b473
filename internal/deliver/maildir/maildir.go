// Package maildir delivers to the mailboxes of virtual users, as Postfix's
// virtual(8) does: virtual_mailbox_maps names the Maildir or mbox file of an
// address below virtual_mailbox_base, virtual_uid_maps and virtual_gid_maps
// its owner.
//
// It knows no aliases and no system users.
// Run by root, it writes as the mailbox's owner. Run by anybody else, it can
// write only as itself: an owner that a table names must then be the process's
// own, and one that "static:" names for everybody is ignored, which New logs.
package maildir

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/mailbox"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/rewrite"
)

// Options are what New needs.
type Options struct {
	Name     string         // of the transport in master.cf, for relay=; normally "virtual"
	Config   *config.Config // the transport's view
	Resolver *rewrite.Resolver
	World    *evidence.World // where tables are asked
	Clock    clock.Clock
	Log      *slog.Logger
}

// Agent delivers to virtual mailboxes. It is safe for concurrent use.
type Agent struct {
	name     string
	resolver *rewrite.Resolver
	world    *evidence.World
	store    *mailbox.Store
	log      *slog.Logger

	base             string
	maps, uids, gids []string
	quotas           []string // sekisho_mailbox_quota_maps
	fullTempfail     bool     // sekisho_mailbox_full_tempfail
	minimumUID       int
	original         bool // X-Original-To
}

// New returns the agent of a configuration. An error says what is wrong, each
// thing with its place.
func New(o Options) (*Agent, error) {
	c := o.Config
	a := &Agent{
		name: o.Name, resolver: o.Resolver, world: o.World,
		log:  o.Log.With(maillog.Service(c.Str("syslog_name") + "/" + o.Name)),
		base: c.Str("virtual_mailbox_base"), maps: c.Strings("virtual_mailbox_maps"),
		uids: c.Strings("virtual_uid_maps"), gids: c.Strings("virtual_gid_maps"),
		quotas: c.Strings("sekisho_mailbox_quota_maps"), fullTempfail: c.Bool("sekisho_mailbox_full_tempfail"),
		minimumUID: c.Int("virtual_minimum_uid"), original: c.Bool("enable_original_recipient"),
	}
	var errs []error
	bad := func(param, text string) { errs = append(errs, fmt.Errorf("%s: %s: %s", c.Pos(param), param, text)) }
	if len(a.maps) > 0 && !strings.HasPrefix(a.base, "/") {
		bad("virtual_mailbox_base", "set it to the absolute path of the directory with the mailboxes, not "+strconv.Quote(a.base))
	}
	limit, message := int64(c.Int("virtual_mailbox_limit")), int64(c.Int("message_size_limit"))
	if limit > 0 && (message <= 0 || limit < message) {
		bad("virtual_mailbox_limit", "is smaller than message_size_limit")
	}
	locks := c.Strings("virtual_mailbox_lock")
	a.store = &mailbox.Store{
		Limit: limit, StrictOwner: c.Bool("strict_mailbox_ownership"),
		Dotlock: slices.Contains(locks, "dotlock"), Fcntl: slices.Contains(locks, "fcntl"), Flock: slices.Contains(locks, "flock"),
		Attempts: c.Int("deliver_lock_attempts"), Delay: c.Duration("deliver_lock_delay"), Stale: c.Duration("stale_lock_time"),
		Clock: o.Clock, Log: a.log,
	}
	a.noteOwner()
	return a, errors.Join(errs...)
}

// noteOwner tells once that mail will belong to the process.
func (a *Agent) noteOwner() {
	if mailbox.Privileged() || len(a.maps) == 0 {
		return
	}
	a.log.Info(fmt.Sprintf("cannot act as other users: mailboxes belong to UID/GID=%d/%d", os.Geteuid(), os.Getegid()))
}

// Deliver delivers to each recipient in turn.
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	src := evidence.NewSession(ctx, a.world)
	var out []deliver.Result
	for i, to := range r.Recipients {
		if ctx.Err() != nil {
			break
		}
		res := a.one(ctx, src, r, to)
		res.Recipient, res.Relay = i, a.name
		out = append(out, res)
	}
	return out
}

func (a *Agent) one(ctx context.Context, src evidence.Source, r *deliver.Request, to mail.Recipient) deliver.Result {
	user := strings.ToLower(to.Address)
	box, found, err := a.find(src, user)
	if err != nil {
		a.log.Warn(err.Error())
		return deliver.Result{Status: deliver.Deferred, DSN: "4.3.5", Text: "mail system configuration error"}
	}
	if !found {
		return deliver.Result{Status: deliver.Bounced, DSN: "5.1.1", Text: `unknown user: "` + user + `"`}
	}
	if r.Probe {
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to " + kind(box)}
	}
	c := mailbox.Copy{Sender: r.Envelope.Sender, Delivered: to.Address, Content: r.Content}
	if a.original {
		c.Original = to.Original
	}
	return a.outcome(box, a.store.Deliver(ctx, box, c))
}

// outcome puts what the mailbox says into the words of virtual(8).
func (a *Agent) outcome(box mailbox.Box, err error) deliver.Result {
	if err == nil {
		return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivered to " + kind(box)}
	}
	prefix := "delivery failed to mailbox " + box.Path + ": "
	if kind(box) == "maildir" {
		prefix = ""
	}
	var f *mailbox.Failure
	if !errors.As(err, &f) {
		return deliver.Result{Status: deliver.Deferred, DSN: "4.3.0", Text: err.Error()}
	}
	res := deliver.Result{Status: deliver.Bounced, DSN: f.DSN, Text: prefix + f.Text}
	if f.Full && a.fullTempfail {
		res.DSN = "4.2.2"
	}
	if strings.HasPrefix(res.DSN, "4") {
		res.Status = deliver.Deferred
	}
	return res
}

// kind is what log lines call a mailbox.
func kind(box mailbox.Box) string {
	if strings.HasSuffix(box.Path, "/") {
		return "maildir"
	}
	return "mailbox"
}

// find looks an address's mailbox and owner up. An error is trouble of the
// site's, in words for its log.
func (a *Agent) find(src evidence.Source, user string) (box mailbox.Box, found bool, err error) {
	m := a.resolver.Find(src, a.maps, user)
	if m.Failed {
		return box, false, fmt.Errorf("table virtual_mailbox_maps: lookup %s: %s", user, strings.Join(m.Warnings, "; "))
	}
	if !m.Found {
		return box, false, nil
	}
	if slices.Contains(strings.Split(m.Value, "/"), "..") {
		return box, false, fmt.Errorf("recipient %s: bad mailbox %q in virtual_mailbox_maps: it may not contain \"..\"", user, m.Value)
	}
	box = mailbox.Box{Path: a.base + "/" + m.Value, ErrorDSN: "4.2.0"}
	if box.UID, err = a.owner(src, "virtual_uid_maps", a.uids, user, a.minimumUID, os.Geteuid()); err != nil {
		return box, false, err
	}
	if box.GID, err = a.owner(src, "virtual_gid_maps", a.gids, user, 1, os.Getegid()); err == nil {
		box.Quota, err = a.quota(src, user)
	}
	if path.Clean(box.Path) == path.Clean(a.base) && err == nil {
		err = fmt.Errorf("recipient %s: empty mailbox name in virtual_mailbox_maps", user)
	}
	return box, err == nil, err
}

// quota looks up how much a mailbox may hold.
func (a *Agent) quota(src evidence.Source, user string) (q mailbox.Quota, err error) {
	m := a.resolver.Find(src, a.quotas, user)
	if m.Failed {
		a.warn(m.Warnings)
		return q, fmt.Errorf("recipient %s: sekisho_mailbox_quota_maps lookup failure", user)
	}
	if m.Found {
		if q, err = mailbox.ParseQuota(m.Value); err != nil {
			err = fmt.Errorf("recipient %s: sekisho_mailbox_quota_maps: %w", user, err)
		}
	}
	return q, err
}

// owner looks up a user or group id; lowest is the smallest that is allowed.
func (a *Agent) owner(src evidence.Source, param string, maps []string, user string, lowest, ours int) (int, error) {
	kind := param[len("virtual_"):][:3]
	m := a.resolver.Find(src, maps, user)
	if m.Failed || !m.Found {
		a.warn(m.Warnings)
		return 0, fmt.Errorf("recipient %s: not found in %s", user, param)
	}
	id := leadingNumber(m.Value)
	if id < lowest {
		return 0, fmt.Errorf("recipient %s: bad %s %s in %s", user, kind, m.Value, param)
	}
	if mailbox.Privileged() || id == ours {
		return id, nil
	}
	for _, t := range maps {
		if !strings.HasPrefix(t, "static:") {
			return 0, fmt.Errorf("recipient %s: %s %d of %s is not the process's own, %d; run as root to deliver for other users", user, kind, id, param, ours)
		}
	}
	return ours, nil
}

func (a *Agent) warn(texts []string) {
	for _, t := range texts {
		a.log.Warn(t)
	}
}

// leadingNumber reads a number as atol(3) does: what follows it is ignored.
func leadingNumber(s string) int {
	s = strings.TrimLeft(s, " \t\r\n\v\f")
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && (s[end] == '-' || s[end] == '+')) {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}
