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

// maxDepth bounds access tables whose entries name restrictions that look into
// access tables; classes that name each other have twice as much.
const maxDepth = 100

// run is one evaluation. Its fields are the state that smtpd_check.c keeps in
// SMTPD_STATE.
type run struct {
	p   *Program
	f   *mail.Facts
	src evidence.Source
	out Outcome

	depth       int // nesting of lists; 1 is the configured list itself
	warnDepth   int // warn_if_reject covers lists deeper than this and one item of this; 0: off
	deferPermit Deferral
	deferReject Deferral
	carry       Carry
	policyDepth int        // nesting of default actions of policy services
	recipRcpt   bool       // reject_unlisted_recipient has run for this recipient
	warned      mail.Reply // what warn_if_reject just kept from being a refusal; for the trace
	resolved    []resolved
	listings    []listing // what DNS lists answered
	reasons     []listing // and their explanations
	trace       *tracer
}

// mailFrom is the envelope sender, "" for the null sender and when there is none.
func (r *run) mailFrom() string {
	if !r.f.SenderKnown {
		return ""
	}
	return r.f.Sender
}

// rcptTo is the recipient, "" when there is none.
func (r *run) rcptTo() string {
	if !r.f.RecipientKnown {
		return ""
	}
	return r.f.Recipient
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
	r.trace.asked(q, a)
	if a.Status == evidence.Unknown {
		r.out.Unknown = append(r.out.Unknown, q)
		r.out.Hoped = append(r.out.Hoped, hopeful.Status)
		return hopeful
	}
	for _, w := range a.Warnings {
		r.warnf("%s", w)
	}
	return a
}

// walk evaluates a list until an item decides, both deferrals are armed, or a
// DISCARD was executed.
func (r *run) walk(list []item, sc scope) status {
	if r.depth >= 2*maxDepth {
		r.warnf("smtpd restriction classes are nested too deeply")
		return r.serverError()
	}
	r.depth++
	st := dunno
	i := 0
	for i < len(list) && st == dunno && !r.carry.Discarded {
		it := &list[i]
		i++
		if it.op == opWarnIfReject {
			if r.warnDepth == 0 {
				r.warnDepth = r.depth
			}
			continue
		}
		st = r.item(it, sc, nextText(list, i))
		r.endWarn()
		if r.deferPermit.Active() && r.deferReject.Active() {
			break
		}
	}
	r.trace.unreached(r, list[i:], sc)
	r.depth--
	r.endWarn()
	return st
}

// endWarn ends the effect of a warn_if_reject that was written in the list
// just left, or before the restriction just evaluated.
func (r *run) endWarn() {
	if r.warnDepth >= r.depth {
		r.warnDepth = 0
	}
}

// nextText is the restriction at i as written, or "".
func nextText(list []item, i int) string {
	if i < len(list) {
		return list[i].text
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
	if r.deferReject.Active() && !warn && reply.Code >= 500 {
		d := r.deferReject
		r.deferReject, r.warnDepth = Deferral{}, 0
		return r.reject(d.Class, d.Reply.Code, d.Reply.Status, d.Reply.Text)
	}
	reply = r.p.finish(reply)
	if warn {
		r.logf(r.f.LogLine("reject_warning", reply.String()))
		r.warned = reply
		return dunno
	}
	r.logf(r.f.LogLine("reject", reply.String()))
	r.out.Reply, r.out.Class = reply, class
	return rejected
}

// finish gives a reply its final form: printable, soft bounce, and the status
// code's class that of the reply code. However long it is, Postfix sends it.
func (p *Program) finish(reply mail.Reply) mail.Reply {
	if p.set.softBounce && reply.Code >= 500 {
		reply.Code -= 100
	}
	reply.Status = string(rune('0'+reply.Code/100)) + reply.Status[1:]
	reply.Text = printable(reply.Text, ' ')
	return reply
}

// printable replaces control characters and what is no UTF-8.
func printable(s string, with byte) string {
	ok := true
	for i := 0; i < len(s) && ok; i++ {
		ok = s[i] >= ' ' && s[i] < 127
	}
	if ok {
		return s
	}
	b := []byte(s)
	for i := 0; i < len(b); {
		if b[i] >= ' ' && b[i] < 127 {
			i++
			continue
		}
		if n := sequence(b[i:]); n > 1 {
			i += n
			continue
		}
		b[i] = with
		i++
	}
	return string(b)
}

// sequence is the length of what looks like one UTF-8 character of several
// bytes, or 0.
func sequence(b []byte) int {
	if b[0] < 194 || b[0] > 254 {
		return 0
	}
	n := 1
	for n < len(b) && b[n] >= 128 && b[n] < 192 {
		n++
	}
	if n == 1 {
		return 0
	}
	return n
}

// deferIfPermit arms a deferral that replaces a later permit; the first one
// stays. Under warn_if_reject it is logged instead.
func (r *run) deferIfPermit(class ErrorClass, code int, dsn, text string) status {
	if r.warnDepth > 0 {
		return r.reject(class, code, dsn, text)
	}
	if !r.deferPermit.Active() {
		r.deferPermit = Deferral{class, mail.Reply{Code: code, Status: dsn, Text: text}}
	}
	return dunno
}

// deferIfReject arms a deferral that replaces a later 5xx refusal.
func (r *run) deferIfReject(class ErrorClass, code int, dsn, text string) status {
	if !r.deferReject.Active() {
		r.deferReject = Deferral{class, mail.Reply{Code: code, Status: dsn, Text: text}}
	}
	return dunno
}

// tempfail refuses now or arms defer_if_permit, as a *_tempfail_action
// parameter says.
func (r *run) tempfail(action tempfailAction, code int, dsn, text string) status {
	if action == tempfailDefer {
		return r.reject(ClassPolicy, code, dsn, text)
	}
	return r.deferIfPermit(ClassPolicy, code, dsn, text)
}

// serverError is the answer to a configuration that cannot be evaluated.
func (r *run) serverError() status {
	return r.reject(ClassSoftware, 451, "4.3.5", "Server configuration error")
}

// matchFailure is the answer when a search in address tables failed.
func (r *run) matchFailure(m rewrite.Match, name string) status {
	if m.Broken {
		return r.serverError()
	}
	return r.lookupFailure(name)
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
