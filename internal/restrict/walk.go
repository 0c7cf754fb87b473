package restrict

import (
	"fmt"
	"log/slog"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// status is what one restriction says.
type status uint8

const (
	dunno    status = iota // no opinion: go on
	permit                 // the rest of this list is skipped
	rejected               // the reply is in run.out
)

// maxDepth bounds restriction classes and access tables that name each other.
const maxDepth = 100

// pending is a deferral that waits for a permit or a reject to happen.
type pending struct {
	active bool
	class  ErrorClass
	reply  mail.Reply
}

// run is one evaluation. Its fields are the state that smtpd_check.c keeps in
// SMTPD_STATE.
type run struct {
	p   *Program
	f   *mail.Facts
	src evidence.Source
	out Outcome

	depth        int // nesting of lists; 1 is the configured list itself
	warnDepth    int // warn_if_reject covers lists deeper than this and one item of this; 0: off
	deferPermit  pending
	deferReject  pending
	discarded    bool
	senderRcpt   bool // reject_unlisted_sender has run for this transaction
	recipRcpt    bool // reject_unlisted_recipient has run for this recipient
	resolvedAddr map[string]rewrite.Resolved
	trace        *tracer
}

// scope is the context of a list: the name and class that generic refusals
// show, and what a bare table means there.
type scope struct {
	name  string
	class string
	bare  string // restriction that a bare "type:table" stands for; empty: not allowed
}

// call is one restriction being evaluated.
type call struct {
	scope
	it   *item
	next string // the following restriction as written, or ""
}

// Ask makes run a Source for the packages it calls: a question without an
// answer is noted, and taken as "not found", with which evaluation goes on.
func (r *run) Ask(q evidence.Question) evidence.Answer {
	return r.ask(q, evidence.Answer{Status: evidence.NotFound})
}

// ask returns hopeful, the answer with which evaluation goes on, when nobody
// has an answer yet.
func (r *run) ask(q evidence.Question, hopeful evidence.Answer) evidence.Answer {
	a := r.src.Ask(q)
	if a.Status == evidence.Unknown {
		r.out.Unknown = append(r.out.Unknown, q)
		a = hopeful
	}
	for _, w := range a.Warnings {
		r.warnFresh(a, "%s", w)
	}
	r.trace.asked(q, a)
	return a
}

// walk evaluates a list until an item decides, both deferrals are armed, or a
// DISCARD was executed.
func (r *run) walk(list []item, sc scope) status {
	if r.depth >= maxDepth {
		r.warnf("smtpd restriction nesting limit (%d) exceeded", maxDepth)
		return r.serverError()
	}
	r.depth++
	defer func() { r.depth-- }()
	st := dunno
	i := 0
	for ; i < len(list) && st == dunno && !r.discarded; i++ {
		if r.deferPermit.active && r.deferReject.active {
			break
		}
		it := &list[i]
		if it.op == opWarnIfReject {
			if r.warnDepth == 0 {
				r.warnDepth = r.depth
			}
			continue
		}
		st = r.item(it, sc, nextText(list, i))
		if r.warnDepth >= r.depth {
			r.warnDepth = 0
		}
	}
	r.trace.unreached(r, list[i:], sc)
	return st
}

func nextText(list []item, i int) string {
	if i+1 < len(list) {
		return list[i+1].text
	}
	return ""
}

// item evaluates one restriction.
func (r *run) item(it *item, sc scope, next string) status {
	at := r.trace.begin(r, it)
	st := it.eval(r, call{scope: sc, it: it, next: next})
	r.trace.end(at, r, st)
	return st
}

// reject refuses, unless warn_if_reject stands before the restriction. A
// broken configuration or a failed lookup refuses in any case.
func (r *run) reject(class ErrorClass, code int, dsn, text string) status {
	reply := mail.Reply{Code: code, Status: dsn, Text: text}
	if code < 400 || code > 599 {
		r.warnf("SMTP reply code configuration error: %s", reply)
		reply = mail.Reply{Code: 450, Status: "4.7.1", Text: "Service unavailable"}
	}
	soft := class == ClassPolicy || class == ClassProtocol || class == ClassBounce
	warn := r.warnDepth > 0 && soft
	if r.deferReject.active && !warn && reply.Code >= 500 && r.warnDepth == 0 {
		d := r.deferReject
		r.deferReject = pending{}
		return r.reject(d.class, d.reply.Code, d.reply.Status, d.reply.Text)
	}
	reply = r.p.finish(reply)
	if warn {
		r.logf(r.f.LogLine("reject_warning", reply.String()))
		return dunno
	}
	r.logf(r.f.LogLine("reject", reply.String()))
	r.out.Reply, r.out.Class = reply, class
	return rejected
}

// finish gives a reply its final form: 510 bytes at most, printable, soft
// bounce, and the status code's class that of the reply code.
func (p *Program) finish(reply mail.Reply) mail.Reply {
	if p.set.softBounce && reply.Code >= 500 {
		reply.Code -= 100
	}
	if reply.Status != "" {
		reply.Status = fmt.Sprint(reply.Code/100) + reply.Status[1:]
	}
	text := []byte(reply.Text)
	if room := 510 - len("554 ") - len(reply.Status) - 1; len(text) > room {
		text = text[:room]
	}
	for i, c := range text {
		if c < ' ' || c == 127 {
			text[i] = ' '
		}
	}
	reply.Text = string(text)
	return reply
}

// deferIfPermit arms a deferral that replaces a later permit; the first one
// stays. Under warn_if_reject it is logged instead.
func (r *run) deferIfPermit(class ErrorClass, code int, dsn, text string) status {
	if r.warnDepth > 0 {
		return r.reject(class, code, dsn, text)
	}
	if !r.deferPermit.active {
		r.deferPermit = pending{true, class, mail.Reply{Code: code, Status: dsn, Text: text}}
	}
	return dunno
}

// deferIfReject arms a deferral that replaces a later 5xx refusal.
func (r *run) deferIfReject(class ErrorClass, code int, dsn, text string) status {
	if !r.deferReject.active {
		r.deferReject = pending{true, class, mail.Reply{Code: code, Status: dsn, Text: text}}
	}
	return dunno
}

// tempfail refuses now or arms defer_if_permit, as a *_tempfail_action
// parameter says.
func (r *run) tempfail(action tempfailAction, dsn, text string) status {
	if action == tempfailDefer {
		return r.reject(ClassPolicy, 450, dsn, text)
	}
	return r.deferIfPermit(ClassPolicy, 450, dsn, text)
}

// serverError is the answer to a configuration that cannot be evaluated.
func (r *run) serverError() status {
	return r.reject(ClassSoftware, 451, "4.3.5", "Server configuration error")
}

// lookupFailure is the answer when a table behind a list, a map or the address
// resolver failed.
func (r *run) lookupFailure(name string) status {
	return r.reject(ClassData, 451, "4.3.0", "<"+name+">: Temporary lookup failure")
}

func (r *run) logf(line string) {
	r.out.Notes = append(r.out.Notes, Note{Level: slog.LevelInfo, Text: line})
}

func (r *run) warnf(format string, args ...any) {
	r.out.Notes = append(r.out.Notes, Note{Level: slog.LevelWarn, Text: fmt.Sprintf(format, args...)})
}

// refusal is the text of a refusal with its prefix.
func refusal(name, class, text string) string {
	return "<" + name + ">: " + class + " rejected: " + text
}
