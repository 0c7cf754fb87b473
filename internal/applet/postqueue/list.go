package postqueue

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"sekisho/internal/applet/postmap"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/queue/control"
)

// sorted is up to how many messages a listing is sorted; a longer one is
// printed as it comes.
const sorted = 10000

// inOrder yields the messages: first those being delivered, then those whose
// turn has not come, those that wait and those on hold, the oldest first.
func inOrder(s control.Spool, yield func(control.Message) error) error {
	var list []control.Message
	many := false
	for m, err := range s.All() {
		if err != nil {
			return err
		}
		list = append(list, m)
		if !many && len(list) <= sorted {
			continue
		}
		many = true
		for _, m := range list {
			if err := yield(m); err != nil {
				return err
			}
		}
		list = list[:0]
	}
	place := []control.State{control.Active, control.Incoming, control.Deferred, control.Held}
	slices.SortFunc(list, func(a, b control.Message) int {
		return cmp.Or(cmp.Compare(slices.Index(place, a.State), slices.Index(place, b.State)),
			a.Envelope.Arrived.Compare(b.Envelope.Arrived), strings.Compare(a.Envelope.QueueID, b.Envelope.QueueID))
	})
	for _, m := range list {
		if err := yield(m); err != nil {
			return err
		}
	}
	return nil
}

// recipient is one who waits, and why.
type recipient struct{ address, reason string }

// waiting are the recipients that are not done, those with a reason first.
func waiting(m control.Message) (list []recipient) {
	var fresh []recipient
	for i, p := range m.Progress {
		if p.Done {
			continue
		}
		r := recipient{address: mail.Quote(m.Envelope.Recipients[i].Address)}
		if p.Last != nil && p.Last.Status == deliver.Deferred && p.Last.Text != "" {
			r.reason = p.Last.Text
			list = append(list, r)
			continue
		}
		fresh = append(fresh, r)
	}
	return append(list, fresh...)
}

func sender(m control.Message) string {
	if m.Envelope.Sender == "" {
		return "MAILER-DAEMON"
	}
	return mail.Quote(m.Envelope.Sender)
}

// List prints the queue as mailq(1) does.
func List(out io.Writer, s control.Spool) error {
	w := bufio.NewWriter(out)
	var size int64
	n := 0
	err := inOrder(s, func(m control.Message) error {
		if n == 0 {
			fmt.Fprintln(w, "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------")
		}
		n++
		size += m.Envelope.Size
		printMessage(w, m)
		_, err := fmt.Fprintln(w)
		return err
	})
	switch {
	case err != nil:
	case n == 0:
		fmt.Fprintln(w, "Mail queue is empty")
	case n == 1:
		fmt.Fprintf(w, "-- %d Kbytes in 1 Request.\n", size/1024)
	default:
		fmt.Fprintf(w, "-- %d Kbytes in %d Requests.\n", size/1024, n)
	}
	if failed := w.Flush(); err == nil {
		err = failed
	}
	return err
}

func printMessage(w io.Writer, m control.Message) {
	mark := ""
	switch {
	case m.State == control.Active:
		mark = "*"
	case m.State == control.Held:
		mark = "!"
	case m.Expired:
		mark = "#"
	}
	fmt.Fprintf(w, "%-11s %7d %-20s %s\n", m.Envelope.QueueID+mark, m.Envelope.Size,
		m.Envelope.Arrived.Local().Format("Mon Jan _2 15:04:05"), sender(m))
	last := ""
	for _, r := range waiting(m) {
		if r.reason != last {
			if last = r.reason; last != "" {
				fmt.Fprintf(w, "%*s(%s)\n", max(0, 76-len(last)), "", last)
			}
		}
		fmt.Fprintf(w, "%41s%s\n", "", r.address)
	}
}

// ListJSON prints the queue as postqueue -j does: an object for each message.
func ListJSON(out io.Writer, s control.Spool) error {
	w := bufio.NewWriter(out)
	err := inOrder(s, func(m control.Message) error {
		q := postmap.QuoteJSON
		fmt.Fprintf(w, `{"queue_name": %s, "queue_id": %s, "arrival_time": %d, "message_size": %d, "forced_expire": %t, "sender": %s, "recipients": [`,
			q(string(m.State)), q(m.Envelope.QueueID), m.Envelope.Arrived.Unix(), m.Envelope.Size, m.Expired, q(sender(m)))
		for i, r := range waiting(m) {
			if i > 0 {
				fmt.Fprint(w, ", ")
			}
			fmt.Fprintf(w, `{"address": %s`, q(r.address))
			if r.reason != "" {
				fmt.Fprintf(w, `, "delay_reason": %s`, q(r.reason))
			}
			fmt.Fprint(w, "}")
		}
		_, err := fmt.Fprintln(w, "]}")
		return err
	})
	if failed := w.Flush(); err == nil {
		err = failed
	}
	return err
}
