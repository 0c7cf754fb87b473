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
	r.deferPermit = pending{!carry.DeferIfPermit.IsZero(), carry.Class, carry.DeferIfPermit}
	r.command(stage)
	if r.deferPermit.active {
		r.out.Carry = Carry{DeferIfPermit: r.deferPermit.reply, Class: r.deferPermit.class}
	}
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
	case StageRcpt, StageVrfy:
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
		return scope{r.f.Sender, classSender, "check_sender_access"}
	case listData:
		return scope{name: "DATA", class: classData}
	case listEndOfData:
		return scope{name: "END-OF-MESSAGE", class: classEndOfData}
	case listETRN:
		return scope{r.f.ETRNDomain, classEtrn, "check_etrn_access"}
	}
	return scope{r.f.Recipient, classRecipient, "check_recipient_access"}
}

// begin resets what does not survive from one list stage to the next.
func (r *run) begin() { r.warnDepth, r.deferReject = 0, pending{} }

func (r *run) list(id listID) status {
	r.trace.list(id)
	return r.walk(r.p.lists[id], r.scopeOf(id))
}

func (r *run) client() bool {
	r.begin()
	return r.list(listClient) == rejected
}

func (r *run) helo() bool {
	if r.f.HeloName == "" {
		return false
	}
	r.begin()
	return r.list(listHelo) == rejected
}

func (r *run) sender() bool {
	if !r.f.SenderKnown {
		return false
	}
	r.begin()
	st := r.list(listSender)
	if st != rejected && !r.discarded && r.p.set.rejectUnlistedSender {
		st = r.unlistedSender()
	}
	return st == rejected
}

func (r *run) recipient() {
	if r.exempt() {
		return
	}
	if r.p.set.delayReject && (r.client() || r.helo() || r.sender()) {
		return
	}
	r.begin()
	for _, id := range r.p.recipientLists() {
		if r.list(id) == rejected {
			return
		}
	}
	if r.forceDeferral() || r.discarded {
		return
	}
	if r.p.set.rejectUnlistedRecipient {
		r.unlistedRecipient()
	}
}

// exempt is true for bare "postmaster" and for the sender of our own address
// probes: they are accepted without a look.
func (r *run) exempt() bool {
	rcpt := r.f.Recipient
	if strings.EqualFold(rcpt, "postmaster") {
		return true
	}
	v := r.p.set.verifySender
	return v != "" && strings.EqualFold(rcpt, r.p.resolver.Rewrite(v))
}

func (p *Program) recipientLists() []listID {
	if p.set.relayFirst {
		return []listID{listRelay, listRecipient}
	}
	return []listID{listRecipient, listRelay}
}

func (r *run) etrn() {
	if r.p.set.delayReject && (r.client() || r.helo()) {
		return
	}
	r.begin()
	if r.list(listETRN) != rejected {
		r.forceDeferral()
	}
}

// endList runs the DATA and end-of-data lists, which begin without the
// deferrals of earlier commands.
func (r *run) endList(id listID) {
	r.begin()
	r.deferPermit = pending{}
	if r.list(id) != rejected {
		r.forceDeferral()
	}
	r.deferPermit = pending{}
}

// forceDeferral turns a permission into the deferral that was armed for that
// case.
func (r *run) forceDeferral() bool {
	if !r.deferPermit.active {
		return false
	}
	d := r.deferPermit
	return r.reject(d.class, d.reply.Code, d.reply.Status, d.reply.Text) == rejected
}
