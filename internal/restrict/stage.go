package restrict

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// The classes that refusals name.
const (
	classClient    = "Client host"
	classRevClient = "Unverified Client host"
	classHelo      = "Helo command"
	classSender    = "Sender address"
	classRecipient = "Recipient address"
	classData      = "Data command"
	classEndOfData = "End-of-data"
	classEtrn      = "Etrn command"
	classSASL      = "SASL login name"
)

// Eval decides what the server does at one command. The same program, facts,
// carry and answers give the same Outcome. Questions that src answers with
// evidence.Unknown are listed in Outcome.Unknown; with any there, the outcome
// is only what would follow from hopeful answers to them.
func (p *Program) Eval(stage Stage, f *mail.Facts, src evidence.Source, carry Carry) Outcome {
	r := &run{p: p, f: f, src: src}
	return r.stage(stage, carry)
}

func (r *run) stage(stage Stage, carry Carry) Outcome {
	r.carry = carry
	r.command(stage)
	r.out.Carry = r.carry
	return r.out
}

// command runs the lists of one stage. With smtpd_delay_reject the client,
// helo and sender lists wait for the recipient.
func (r *run) command(stage Stage) {
	delay := r.p.set.delayReject
	switch stage {
	case StageConnect:
		if !delay {
			r.client()
		}
	case StageHelo:
		if !delay {
			r.helo()
		}
	case StageMail:
		if !delay {
			r.sender()
		}
	case StageRcpt:
		if !r.probed() {
			r.recipient()
		}
	case StageVrfy:
		r.recipient()
	case StageETRN:
		r.etrn()
	case StageData:
		r.endList(listData)
	case StageEndOfData:
		r.endList(listEndOfData)
	}
}

// scopeOf is the context in which a list is evaluated: what its generic
// refusals name, and what a bare table means there.
func (r *run) scopeOf(id listID) scope {
	switch id {
	case listClient:
		return scope{r.f.NameAddr(), classClient, "check_client_access"}
	case listHelo:
		return scope{r.f.HeloName, classHelo, "check_helo_access"}
	case listSender:
		return scope{r.mailFrom(), classSender, "check_sender_access"}
	case listData:
		return scope{name: "DATA", class: classData}
	case listEndOfData:
		return scope{name: "END-OF-MESSAGE", class: classEndOfData}
	case listETRN:
		return scope{r.f.ETRNDomain, classEtrn, "check_etrn_access"}
	}
	return scope{r.rcptTo(), classRecipient, "check_recipient_access"}
}

// begin resets what does not survive from one stage to the next, and restores
// the defer_if_permit that the stage before has left.
func (r *run) begin(left Deferral) {
	r.warnDepth, r.deferReject, r.deferPermit = 0, Deferral{}, left
}

func (r *run) list(id listID) status {
	r.trace.list(id)
	return r.walk(r.p.lists[id], r.scopeOf(id))
}

func (r *run) client() bool {
	r.begin(Deferral{})
	st := r.list(listClient)
	r.carry.Client = r.deferPermit
	return st == rejected
}

func (r *run) helo() bool {
	if r.f.HeloName == "" {
		return false
	}
	r.begin(r.carry.Client)
	st := r.list(listHelo)
	r.carry.Helo = r.deferPermit
	return st == rejected
}

// greeted is the deferral that the client or the HELO list left: a client may
// do without HELO.
func (r *run) greeted() Deferral {
	if r.carry.Client.Active() {
		return r.carry.Client
	}
	return r.carry.Helo
}

func (r *run) sender() bool {
	if !r.f.SenderKnown {
		return false
	}
	r.begin(r.greeted())
	r.carry.SenderChecked = false
	st := r.list(listSender)
	r.carry.Sender = r.deferPermit
	if st != rejected && !r.carry.Discarded && r.p.set.rejectUnlistedSender {
		st = r.trace.implied(r, &r.p.unlistedSenderItem, r.unlistedSender)
	}
	return st == rejected
}

func (r *run) recipient() {
	if strings.EqualFold(r.rcptTo(), "postmaster") {
		return // accepted without a look (RFC 5321 section 4.5.1)
	}
	if r.p.set.delayReject {
		r.carry.SenderChecked = false
		if r.client() || r.helo() || r.sender() {
			return
		}
	}
	r.begin(r.carry.Sender)
	for _, id := range r.p.recipientLists() {
		if r.list(id) == rejected {
			return
		}
	}
	if r.forceDeferral() || r.carry.Discarded {
		return
	}
	if r.p.set.rejectUnlistedRecipient {
		r.trace.implied(r, &r.p.unlistedRecipientItem, r.unlistedRecipient)
	}
}

// probed reports whether the recipient is the sender of our own address
// probes: to refuse it would make two servers that probe each other lock up.
func (r *run) probed() bool {
	v := r.p.set.verifySender
	return v != "" && strings.EqualFold(r.rcptTo(), v)
}

func (p *Program) recipientLists() [2]listID {
	if p.set.relayFirst {
		return [2]listID{listRelay, listRecipient}
	}
	return [2]listID{listRecipient, listRelay}
}

func (r *run) etrn() {
	if r.p.set.delayReject && (r.client() || r.helo()) {
		return
	}
	r.begin(r.greeted())
	if r.list(listETRN) != rejected {
		r.forceDeferral()
	}
}

// endList runs the DATA and end-of-data lists, which begin without the
// deferrals of earlier commands.
func (r *run) endList(id listID) {
	r.begin(Deferral{})
	if r.list(id) != rejected {
		r.forceDeferral()
	}
}

// forceDeferral turns a permission into the deferral that was armed for that
// case.
func (r *run) forceDeferral() bool {
	if !r.deferPermit.Active() {
		return false
	}
	d := r.deferPermit
	st := r.trace.implied(r, &item{text: "defer_if_permit takes effect"}, func() status {
		return r.reject(d.Class, d.Reply.Code, d.Reply.Status, d.Reply.Text)
	})
	return st == rejected
}
