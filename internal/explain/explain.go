// Package explain tells how a configuration decides about a session: the
// verdict, and the ladder of all restrictions that led to it. It evaluates with
// the same engine as the server and adds no rule of its own; where the session
// and the answers come from is the caller's business.
package explain

import (
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// Verdict is what becomes of the session in one word.
type Verdict string

const (
	Accepted  Verdict = "accepted"
	Deferred  Verdict = "deferred"
	Rejected  Verdict = "rejected"
	Discarded Verdict = "discarded"
	Closed    Verdict = "closed" // hung up without a reply
)

// Rung is one restriction on the way, at one command of the session.
type Rung struct {
	Command string
	restrict.Step
}

// Report is the whole explanation.
type Report struct {
	Verdict Verdict
	// Command is the one that was refused, or the last.
	Command string
	Reply   mail.Reply
	Effects []restrict.Effect
	Notes   []restrict.Note
	Ladder  []Rung
}

// command is one step of an SMTP dialogue with what is known by then.
type command struct {
	name  string
	stage restrict.Stage
	facts mail.Facts
}

// Session explains a dialogue of one sender and one recipient up to the end of
// the message: f holds all its facts, the last command included. The commands
// before it see only what the client had said by then.
func Session(p *restrict.Program, f mail.Facts, src evidence.Source) Report {
	rep := Report{Verdict: Accepted}
	var carry restrict.Carry
	for _, c := range commands(f) {
		out, trace := p.Explain(c.stage, &c.facts, src, carry)
		carry = out.Carry
		rep.add(c.name, out, trace)
		if rep.Verdict != Accepted {
			break
		}
	}
	return rep
}

func (rep *Report) add(name string, out restrict.Outcome, trace restrict.Trace) {
	rep.Command = name
	rep.Effects = append(rep.Effects, out.Effects...)
	rep.Notes = append(rep.Notes, out.Notes...)
	for _, s := range trace {
		rep.Ladder = append(rep.Ladder, Rung{name, s})
	}
	switch {
	case out.Hangup:
		rep.Verdict = Closed
	case out.Reply.Code >= 500:
		rep.Verdict, rep.Reply = Rejected, out.Reply
	case out.Reply.Code >= 400:
		rep.Verdict, rep.Reply = Deferred, out.Reply
	case discards(out.Effects):
		rep.Verdict = Discarded
	}
}

func discards(es []restrict.Effect) bool {
	for _, e := range es {
		if e.Kind == restrict.Discard {
			return true
		}
	}
	return false
}

// commands cuts a session into its commands. HELO is left out when the client
// gave no name.
func commands(f mail.Facts) []command {
	var out []command
	at := func(name string, stage restrict.Stage, facts mail.Facts) {
		facts.ProtocolState = name
		out = append(out, command{name, stage, facts})
	}
	hello := f
	hello.SenderKnown, hello.RecipientKnown, hello.RecipientCount = false, false, 0
	hello.Sender, hello.Recipient, hello.SASLUsername = "", "", ""
	connect := hello
	connect.HeloName, connect.ProtocolName = "", "SMTP"
	at("CONNECT", restrict.StageConnect, connect)
	if f.HeloName != "" {
		at("EHLO", restrict.StageHelo, hello)
	}
	sender := f
	sender.RecipientKnown, sender.Recipient, sender.RecipientCount = false, "", 0
	at("MAIL", restrict.StageMail, sender)
	rcpt := f
	rcpt.RecipientCount = 0
	at("RCPT", restrict.StageRcpt, rcpt)
	data := f
	data.RecipientCount = 1
	at("DATA", restrict.StageData, data)
	at("END-OF-MESSAGE", restrict.StageEndOfData, data)
	return out
}
