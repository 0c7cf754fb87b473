// Package bounce tells senders what became of their mail: it writes delivery
// status notifications (RFC 3464) in the form of Postfix's bounce(8) and has
// them posted. It heeds NOTIFY and RET (RFC 3461) and never answers the null
// sender or its own notifications.
//
// It keeps no state: whoever calls it remembers what was told to whom. How a
// message gets into the queue is the caller's as well (Post).
package bounce

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"slices"
	"strings"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// Post puts a new message into the queue. It chooses the queue id, calls write
// to produce the content (header and body, lines ending in LF; Message-Id and
// Date included), and returns nil once the message is on disk. When write fails
// it drops the message and returns that error.
type Post func(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error

// Options are the parameters of notifications, and what is needed to send
// them.
type Options struct {
	Myhostname, Myorigin string
	MailName             string
	DoubleBounceSender   string   // local part
	NotifyClasses        []string // what the postmaster wants to hear of
	BounceNotice         string   // bounce_notice_recipient
	DoubleBounceNotice   string   // 2bounce_notice_recipient
	DelayNotice          string   // delay_notice_recipient
	SizeLimit            int64    // bytes; larger messages are returned without body
	QueueLifetime        time.Duration
	Templates            Templates

	Post  Post
	Clock clock.Clock
	Log   *slog.Logger // as postfix/bounce
}

// Bouncer sends notifications. It is safe for concurrent use.
type Bouncer struct{ o Options }

// New returns a Bouncer.
func New(o Options) *Bouncer { return &Bouncer{o: o} }

// Report is what there is to tell about a message.
type Report struct {
	Envelope *mail.Envelope
	Content  func() (io.ReadCloser, error)
	Entries  []Entry
	Expanded []mail.Recipient // aliases that were expanded, for Delivered

	owner string // who is told instead of the sender
}

// Entry is the outcome for one recipient.
type Entry struct {
	Recipient mail.Recipient
	Result    deliver.Result
	Owner     string // is told of the failure instead of the sender; empty: nobody else

	// Confirm: the sender was told of its delay and is to be told that it is over.
	Confirm bool

	expanded bool // an alias, which is gone
}

// Failed tells the sender, or else the postmaster, of recipients that will not
// get the message. After an error nobody may have been told.
func (b *Bouncer) Failed(ctx context.Context, r Report) error {
	for owner, entries := range byOwner(r.Entries) {
		one := r
		one.Entries, one.owner = entries, owner
		if owner != "" { // what the sender asked for is not for the members of a list
			env := *r.Envelope
			env.EnvID, env.Ret = "", ""
			one.Envelope = &env
		}
		if err := b.failed(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

// byOwner groups entries by who is told of them, the sender first.
func byOwner(list []Entry) iter.Seq2[string, []Entry] {
	groups := map[string][]Entry{}
	owners := []string{""}
	for _, e := range list {
		if groups[e.Owner] == nil && e.Owner != "" {
			owners = append(owners, e.Owner)
		}
		groups[e.Owner] = append(groups[e.Owner], e)
	}
	return func(yield func(string, []Entry) bool) {
		for _, o := range owners {
			if len(groups[o]) > 0 && !yield(o, groups[o]) {
				return
			}
		}
	}
}

func (b *Bouncer) failed(ctx context.Context, r Report) error {
	sender := cmp.Or(r.owner, r.Envelope.Sender)
	switch {
	case b.isDoubleBounce(sender):
		b.o.Log.Warn(r.Envelope.QueueID + ": undeliverable postmaster notification discarded")
		return nil
	case sender == "":
		if !b.wants("bounce") && !b.wants("2bounce") {
			return nil
		}
		return b.send(ctx, r, failure, toPostmaster(b.o.DoubleBounceNotice, "FULL"))
	}
	if err := b.tell(ctx, r, failure, mail.NotifyFailure); err != nil {
		return err
	}
	if b.wants("bounce") {
		b.copyPostmaster(ctx, r, failure, b.o.BounceNotice)
	}
	return nil
}

// Delayed tells the sender that recipients have not got the message yet.
func (b *Bouncer) Delayed(ctx context.Context, r Report) error {
	if r.Envelope.Sender == "" || b.isDoubleBounce(r.Envelope.Sender) {
		return nil
	}
	if err := b.tell(ctx, r, delay, mail.NotifyDelay); err != nil {
		return err
	}
	if b.wants("delay") {
		b.copyPostmaster(ctx, r, delay, b.o.DelayNotice)
	}
	return nil
}

// Delivered tells the sender of recipients that have got the message, or were
// aliases of others, as far as he asked to be told.
func (b *Bouncer) Delivered(ctx context.Context, r Report) error {
	if to := r.Envelope.Sender; to == "" || b.isDoubleBounce(to) {
		b.notToNobody(r)
		return nil
	}
	var entries []Entry
	for _, to := range r.Expanded {
		entries = append(entries, Entry{to, deliver.Result{DSN: "2.0.0", Text: "alias expanded"}, "", false, true})
	}
	for _, e := range r.Entries {
		if e.Recipient.Notify&mail.NotifySuccess != 0 || e.Confirm {
			if x := e.Result.Expansion; x != nil {
				e.expanded = !x.List
			}
			e.Result.Text = fmt.Sprintf("delivery via %s: %s", e.Result.Relay, e.Result.Text)
			entries = append(entries, e)
		}
	}
	r.Entries = entries
	return b.tell(ctx, r, success, mail.NotifySuccess)
}

// notToNobody logs that nobody can be told of success though somebody asked.
func (b *Bouncer) notToNobody(r Report) {
	asked := func(to mail.Recipient) bool { return to.Notify&mail.NotifySuccess != 0 }
	if !slices.ContainsFunc(r.Envelope.Recipients, asked) && len(r.Envelope.Expanded) == 0 {
		return
	}
	kind := "single"
	if r.Envelope.Sender != "" {
		kind = "double"
	}
	b.o.Log.Info(r.Envelope.QueueID + ": not sending trace/success notification for " + kind + "-bounce message")
}

// tell sends a notification of those recipients to the sender that he wants to
// hear about. Without any there is none.
func (b *Bouncer) tell(ctx context.Context, r Report, k *kind, event mail.Notify) error {
	r.Entries = slices.DeleteFunc(slices.Clone(r.Entries), func(e Entry) bool {
		return e.Recipient.Notify != 0 && e.Recipient.Notify&event == 0 && !e.Confirm
	})
	if len(r.Entries) == 0 {
		return nil
	}
	ret := r.Envelope.Ret
	if k != failure {
		ret = "HDRS"
	}
	return b.send(ctx, r, k, addressee{address: cmp.Or(r.owner, r.Envelope.Sender), ret: ret})
}

// copyPostmaster sends the postmaster a copy, which is not worth failing for.
func (b *Bouncer) copyPostmaster(ctx context.Context, r Report, k *kind, to string) {
	if err := b.send(ctx, r, k, toPostmaster(to, "HDRS")); err != nil {
		b.o.Log.Warn(fmt.Sprintf("%s: postmaster notice failed while bouncing to %s: %v",
			r.Envelope.QueueID, mail.Quote(r.Envelope.Sender), err))
	}
}

// addressee is who gets a notification, and how much of the message.
type addressee struct {
	address    string
	postmaster bool
	ret        string
}

func toPostmaster(address, ret string) addressee {
	return addressee{address: address, postmaster: true, ret: ret}
}

func (b *Bouncer) send(ctx context.Context, r Report, k *kind, to addressee) error {
	env := mail.Envelope{
		Recipients: []mail.Recipient{{Address: to.address, Original: to.address}},
		Body:       "8BITMIME",
		SMTPUTF8:   r.Envelope.SMTPUTF8,
	}
	word := "sender"
	if to.postmaster {
		env.Sender, word = b.doubleBounce(), "postmaster"
	}
	err := b.o.Post(ctx, env, func(id string, w io.Writer) error {
		n := &notification{b: b, kind: k, report: r, to: to, id: id, now: b.o.Clock.Now()}
		if err := n.write(w); err != nil {
			return err
		}
		b.o.Log.Info(fmt.Sprintf("%s: %s %s notification: %s", r.Envelope.QueueID, word, k.name, id))
		return nil
	})
	if err != nil {
		return fmt.Errorf("%s: %s %s notification failed: %w", r.Envelope.QueueID, word, k.name, err)
	}
	return nil
}

func (b *Bouncer) doubleBounce() string { return b.o.DoubleBounceSender + "@" + b.o.Myhostname }

func (b *Bouncer) isDoubleBounce(sender string) bool {
	return strings.EqualFold(sender, b.doubleBounce())
}

func (b *Bouncer) wants(class string) bool { return slices.Contains(b.o.NotifyClasses, class) }
