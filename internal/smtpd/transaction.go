package smtpd

import (
	"fmt"
	"time"

	"sekisho/internal/cleanup"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// transaction is one message from MAIL to the end of its content.
type transaction struct {
	open       bool // MAIL was accepted
	arrived    time.Time
	params     mailParams
	recipients []mail.Recipient
	stale      int  // recipients that count, but are those of a refused message
	reopen     bool // the next recipient begins a new queue file
	overshoot  int  // recipients refused because of their number
	effects    []restrict.Effect
	msg        *cleanup.Message // content under way
	size       int64            // bytes of content so far, each line with its CRLF
	tooBig     bool             // beyond message_size_limit; the rest is thrown away
	chunks     chunks
}

// resetMail forgets the transaction (Postfix's mail_reset and rcpt_reset).
func (s *session) resetMail() {
	if s.tr.msg != nil {
		s.tr.msg.Abort()
	}
	s.tr, s.forward = transaction{}, forwarded{}
	f := &s.facts
	f.SenderKnown, f.Sender, f.SASLSender, f.SMTPUTF8 = false, "", "", false
	f.RecipientKnown, f.Recipient, f.RecipientCount = false, "", 0
	f.QueueID, f.Instance, f.Size = "", "", 0
	s.carry = s.carry.EndTransaction()
}

// resetHelo forgets what HELO or EHLO said, and what follows from it.
func (s *session) resetHelo() {
	s.facts.HeloName = ""
}

// abandon drops the message of an open transaction and its recipients. They
// go on counting, as in Postfix.
func (s *session) abandon() {
	s.tr.msg.Abort()
	s.tr.msg, s.tr.size, s.tr.reopen = nil, 0, true
	s.tr.stale, s.tr.recipients = s.recipientCount(), nil
	s.tr.chunks = chunks{failed: s.tr.chunks.any()}
}

func (s *session) recipientCount() int { return s.tr.stale + len(s.tr.recipients) }

// begin opens the transaction of an accepted MAIL command.
func (s *session) begin(sender string, p mailParams) {
	s.tr.open, s.tr.params, s.tr.arrived = true, p, s.now()
	s.facts.SenderKnown, s.facts.Sender = true, sender
	t := s.tr.arrived
	s.facts.Instance = fmt.Sprintf("%x.%x.%x.%x", s.srv.pid, t.Unix(), t.Nanosecond()/1000, s.srv.seq.Add(1)-1)
}

// accept takes a recipient into the transaction. The first one gives the
// message its queue ID, which is logged with the client.
func (s *session) accept(r mail.Recipient) {
	s.tr.recipients = append(s.tr.recipients, r)
	s.facts.RecipientCount = s.recipientCount()
	if s.facts.QueueID == "" || s.tr.reopen {
		s.openQueue()
	}
}

// openQueue gives the message its queue ID and logs who brings it.
func (s *session) openQueue() {
	f := &s.facts
	s.tr.reopen = false
	f.QueueID = s.srv.o.Queue.NewID()
	line := f.QueueID + ": client=" + f.NameAddr()
	for _, p := range []struct{ name, value string }{
		{"sasl_method", f.SASLMethod}, {"sasl_username", f.SASLUsername}, {"sasl_sender", f.SASLSender},
		{"orig_queue_id", s.forward.id}, {"orig_client", s.forward.nameAddr()},
	} {
		if p.value != "" {
			line += ", " + p.name + "=" + p.value
		}
	}
	s.info("%s", line)
}

// envelope is the transaction as cleanup gets it.
func (s *session) envelope() mail.Envelope {
	f, p := &s.facts, &s.tr.params
	return mail.Envelope{
		QueueID: f.QueueID, Arrived: s.tr.arrived, Sender: f.Sender, Recipients: s.tr.recipients,
		Ret: p.ret, EnvID: p.envID, SMTPUTF8: p.smtputf8, Body: p.body, RequireTLS: p.requireTLS,
		Client: mail.Client{
			Name: f.ClientName, Address: f.ClientAddress, Port: f.ClientPort, ReverseName: f.ReverseClientName,
			Helo: f.HeloName, Protocol: f.ProtocolName,
			SASLMethod: f.SASLMethod, SASLUsername: f.SASLUsername, SASLSender: f.SASLSender,
		},
	}
}
