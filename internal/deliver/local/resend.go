package local

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// resend is a new message to be, for those with the same sender and Delivered-To.
type resend struct {
	delivered string
	env       mail.Envelope
}

// indirect puts an address among those that get the message as a new one
// (indirect.c, forward.c).
func (d *delivery) indirect(s state) status {
	if d.beenHere("indirect %s", s.to.Address) {
		return fine
	}
	if d.r.Probe {
		return d.sent(s, "forwards to %s", s.to.Address)
	}
	d.expanded = true
	i := slices.IndexFunc(d.resent, func(f *resend) bool { return f.delivered == s.delivered && f.env.Sender == s.sender })
	if i < 0 {
		e := d.r.Envelope
		d.resent = append(d.resent, &resend{s.delivered, mail.Envelope{
			Sender: s.sender, Ret: e.Ret, EnvID: e.EnvID, SMTPUTF8: e.SMTPUTF8, Body: e.Body, Client: e.Client,
		}})
		i = len(d.resent) - 1
	}
	d.resent[i].env.Recipients = append(d.resent[i].env.Recipients, s.to)
	return fine
}

// send sends the new messages, unless the recipient is tried again anyway.
func (d *delivery) send(s state, st status) {
	for _, f := range d.resent {
		if st == again {
			return
		}
		var id string
		err := d.a.o.Post(d.ctx, f.env, func(newID string, w io.Writer) error {
			id = newID
			return d.copyTo(w, newID, f.delivered)
		})
		if err != nil {
			d.warn("%s: cannot forward: %v", d.r.QueueID, err)
			st = d.add(s, deferred("4.3.0", "unable to forward message"))
			continue
		}
		d.add(s, deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "forwarded as " + id, Relayed: true})
	}
}

// copyTo writes the message with the headers that a forwarded one gets.
func (d *delivery) copyTo(w io.Writer, id, delivered string) error {
	_, err := fmt.Fprintf(w, "Received: by %s (%s)\n\tid %s; %s\n", d.a.hostname, d.a.mailName, id, mail.Date(d.a.o.Clock.Now().Local()))
	if err == nil && slices.Contains(d.a.prepend, "forward") {
		_, err = fmt.Fprintf(w, "Delivered-To: %s\n", strings.ToLower(delivered))
	}
	if err != nil {
		return err
	}
	content, err := d.r.Content()
	if err != nil {
		return err
	}
	defer content.Close()
	_, err = io.Copy(w, content)
	return err
}
