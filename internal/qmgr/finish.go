package qmgr

import (
	"context"
	"fmt"
	"time"

	"sekisho/internal/bounce"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// finish does what is left when every recipient has been tried: notifications,
// then back into the queue or out of it (qmgr_active_done).
func (j *job) finish(ctx, kill context.Context) {
	now := j.m.o.Clock.Now()
	told := j.notify(kill)
	left, leftIndexes := j.entries(func(_ int, r deliver.Result, _ bool) bool { return r.Status == deliver.Deferred })
	if len(left) > 0 && ctx.Err() == nil && j.expired(now) {
		for i := range left {
			if r := &left[i].Result; r.DSN == "" { // never tried
				r.DSN, r.Text = "4.4.7", "delivery time expired"
			}
		}
		status := "expired"
		if j.msg.Expired() {
			status = "force-expired"
		}
		j.m.log.Info(fmt.Sprintf("%s: from=<%s>, status=%s, returned to sender",
			j.env.QueueID, mail.Quote(j.env.Sender), status))
		if j.tell(j.m.o.Bouncer.Failed, kill, left) {
			left, leftIndexes = nil, nil
		}
	}
	if len(left) == 0 && told {
		j.remove()
		return
	}
	j.keep(ctx, kill, now, left, leftIndexes)
}

// notify tells the sender of bounced recipients, and of delivered ones if he
// asked. It returns false when somebody is still to be told.
func (j *job) notify(kill context.Context) bool {
	failed, failedIndexes := j.entries(func(_ int, r deliver.Result, told bool) bool {
		return r.Status == deliver.Bounced && !told
	})
	delivered, deliveredIndexes := j.deliveredEntries()
	ok := true
	for _, n := range []struct {
		send    func(context.Context, bounce.Report) error
		entries []bounce.Entry
		indexes []int
	}{
		{j.failed, failed, failedIndexes},
		{j.delivered, delivered, deliveredIndexes},
	} {
		if !j.tell(n.send, kill, n.entries) {
			ok = false
			continue
		}
		j.recordTold(n.indexes)
	}
	return ok
}

// deliveredEntries are the recipients whose success the sender wants to hear of.
// An alias is a success also when some of what it stands for failed.
func (j *job) deliveredEntries() (list []bounce.Entry, indexes []int) {
	_, indexes = j.entries(func(i int, r deliver.Result, told bool) bool {
		done := r.Status == deliver.Sent || r.Status == deliver.Bounced && r.Expansion != nil && r.Expansion.Alias
		notify := j.env.Recipients[i].Notify
		confirm := j.m.o.ConfirmDelay && j.msg.Warned() && (notify == 0 || notify&mail.NotifyDelay != 0)
		if !done || told || notify&mail.NotifySuccess == 0 && !confirm || r.Reports && !confirm {
			return false
		}
		if r.Expansion != nil {
			r = deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "alias expanded", Relay: r.Relay, Expansion: r.Expansion}
		}
		list = append(list, bounce.Entry{Recipient: j.env.Recipients[i], Result: r, Confirm: confirm})
		return true
	})
	return list, indexes
}

// failed tells of recipients that will not get the message.
func (j *job) failed(ctx context.Context, r bounce.Report) error {
	if len(r.Entries) == 0 {
		return nil
	}
	return j.m.o.Bouncer.Failed(ctx, r)
}

// delivered tells of recipients that got the message, and the first time of the
// aliases among those the sender wrote to.
func (j *job) delivered(ctx context.Context, r bounce.Report) error {
	if !j.seen {
		r.Expanded = j.env.Expanded
	}
	return j.m.o.Bouncer.Delivered(ctx, r)
}

// recordTold takes down who was told, if the message stays in the queue.
func (j *job) recordTold(indexes []int) {
	left, _ := j.entries(func(_ int, r deliver.Result, _ bool) bool { return r.Status == deliver.Deferred })
	if len(left) == 0 || len(indexes) == 0 {
		return
	}
	if err := j.msg.RecordTold(indexes); err != nil {
		j.m.log.Error(err.Error())
	}
}

func (j *job) tell(send func(context.Context, bounce.Report) error, kill context.Context, entries []bounce.Entry) bool {
	err := send(kill, bounce.Report{Envelope: j.env, Content: j.content, Entries: entries})
	if err != nil {
		j.m.log.Warn(err.Error())
	}
	return err == nil
}

// expired reports whether the message has been in the queue long enough.
func (j *job) expired(now time.Time) bool {
	lifetime := j.m.o.QueueLifetime
	if j.env.Sender == "" {
		lifetime = j.m.o.BounceQueueLifetime
	}
	return j.msg.Expired() || !now.Before(j.env.Arrived.Add(lifetime))
}

// keep takes down the outcomes and puts the message back.
func (j *job) keep(ctx, kill context.Context, now time.Time, left []bounce.Entry, leftIndexes []int) {
	age := now.Sub(j.env.Arrived)
	if j.m.o.DelayWarning > 0 && age >= j.m.o.DelayWarning-time.Second && !j.msg.Warned() && len(left) > 0 {
		if j.tell(j.m.o.Bouncer.Delayed, kill, left) {
			if err := j.msg.RecordWarned(); err != nil {
				j.m.log.Error(err.Error())
			}
		}
	}
	until := now.Add(j.m.backoff(age))
	if kill.Err() != nil || ctx.Err() != nil && j.untried(leftIndexes) {
		until = now
	}
	if err := j.msg.Defer(until, j.outcomes()); err != nil {
		j.m.log.Error(err.Error())
	}
}

// untried reports whether there are recipients that no agent has seen.
func (j *job) untried(indexes []int) bool {
	for _, i := range indexes {
		if _, tried := j.results[i]; !tried {
			return true
		}
	}
	return false
}

func (j *job) outcomes() []deliver.Result {
	var list []deliver.Result
	for i := range j.env.Recipients {
		if r, ok := j.results[i]; ok {
			list = append(list, r)
		}
	}
	return list
}

func (j *job) remove() {
	if err := j.msg.Remove(); err != nil {
		j.m.log.Error(fmt.Sprintf("%s: cannot remove the queue file: %v", j.env.QueueID, err))
		return
	}
	j.m.log.Info(j.env.QueueID + ": removed")
}
