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
	Command     string          `json:"command"`
	List        string          `json:"list,omitempty"` // parameter; empty for what Postfix does by itself
	Depth       int             `json:"depth"`          // more than 1 inside of classes and table results
	File        string          `json:"file,omitempty"`
	Line        int             `json:"line,omitempty"`
	Restriction string          `json:"restriction"`
	Argument    string          `json:"argument,omitempty"`
	Warn        bool            `json:"warn_if_reject,omitempty"`
	Result      restrict.Result `json:"result"`
	Says        string          `json:"says,omitempty"`
	// ChangedBy are the parameters of what a restriction that refuses says.
	ChangedBy []string `json:"changed_by,omitempty"`
	Asked     []Asked  `json:"asked,omitempty"`
}

// Asked is a question that a restriction had, with its answer, in words.
type Asked struct {
	Kind    string `json:"kind"`          // dns, host, table, policy, verify, clock
	Of      string `json:"of,omitempty"`  // record type, table, service
	Key     string `json:"key,omitempty"` // domain name, key of the table
	Answer  string `json:"answer"`
	Unknown bool   `json:"unknown,omitempty"` // nobody was asked
}

// Alternative is another end of the session: what follows if an unanswered
// question has a certain answer.
type Alternative struct {
	Question string  `json:"question"`
	Answer   string  `json:"answer"`
	Verdict  Verdict `json:"verdict"`
	Reply    string  `json:"reply,omitempty"`
}

// Report is the whole explanation.
type Report struct {
	Verdict Verdict `json:"verdict"`
	// Certain is false when questions are unanswered: Verdict is then what
	// follows if all of them are answered harmlessly, and Otherwise what else
	// is possible.
	Certain   bool          `json:"certain"`
	Command   string        `json:"command"` // the one that was refused, or the last
	Reply     string        `json:"reply,omitempty"`
	Otherwise []Alternative `json:"otherwise,omitempty"`
	Effects   []string      `json:"effects,omitempty"` // actions on the message, "HOLD", "FILTER smtp:[...]"
	Log       []string      `json:"log,omitempty"`     // lines the server would log
	Ladder    []Rung        `json:"ladder"`
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
	rep, unknown := session(p, f, src)
	rep.Certain = len(unknown) == 0
	for _, q := range unknown {
		rep.consider(p, f, src, q)
	}
	return rep
}

func session(p *restrict.Program, f mail.Facts, src evidence.Source) (Report, []evidence.Question) {
	rep := Report{Verdict: Accepted}
	var carry restrict.Carry
	var unknown []evidence.Question
	for _, c := range commands(f) {
		out, trace := p.Explain(c.stage, &c.facts, src, carry)
		carry = out.Carry
		unknown = append(unknown, out.Unknown...)
		rep.add(c.name, out, trace)
		if rep.Verdict != Accepted && rep.Verdict != Discarded {
			break
		}
	}
	return rep, unique(unknown)
}

func unique(qs []evidence.Question) []evidence.Question {
	var out []evidence.Question
	seen := make(map[evidence.Question]bool)
	for _, q := range qs {
		if !seen[q] {
			seen[q] = true
			out = append(out, q)
		}
	}
	return out
}

// consider finds out what else follows when one question has another answer.
func (rep *Report) consider(p *restrict.Program, f mail.Facts, src evidence.Source, q evidence.Question) {
	seen := map[string]bool{rep.Reply: true}
	for _, a := range possible(q) {
		other, _ := session(p, f, evidence.SourceFunc(func(asked evidence.Question) evidence.Answer {
			if asked == q {
				return a
			}
			return src.Ask(asked)
		}))
		if seen[other.Reply] {
			continue
		}
		seen[other.Reply] = true
		rep.Otherwise = append(rep.Otherwise, Alternative{question(q), answer(q, a), other.Verdict, other.Reply})
	}
}

func (rep *Report) add(name string, out restrict.Outcome, trace restrict.Trace) {
	rep.Command = name
	for _, e := range out.Effects {
		text := e.Kind.String()
		if e.Arg != "" {
			text += " " + e.Arg
		}
		rep.Effects = append(rep.Effects, text)
	}
	for _, n := range out.Notes {
		text := n.Text
		if n.Level > 0 {
			text = "warning: " + text
		}
		rep.Log = append(rep.Log, text)
	}
	for _, s := range trace {
		rep.Ladder = append(rep.Ladder, rung(name, s))
	}
	if !out.Reply.IsZero() {
		rep.Reply = out.Reply.String()
	}
	switch {
	case out.Hangup:
		rep.Verdict = Closed
	case out.Reply.Code >= 500:
		rep.Verdict = Rejected
	case out.Reply.Code >= 400:
		rep.Verdict = Deferred
	case out.Carry.Discarded:
		rep.Verdict = Discarded
	}
}

func rung(command string, s restrict.Step) Rung {
	r := Rung{
		Command: command, List: s.List, Depth: s.Depth, File: s.Pos.File, Line: s.Pos.Line,
		Restriction: s.Name, Argument: s.Arg, Warn: s.Warn, Result: s.Result, Says: s.Says,
	}
	if s.Result != restrict.Passed && s.Result != restrict.Permitted && s.Result != restrict.NotReached {
		d, _ := restrict.Describe(s.Name)
		r.ChangedBy = d.Parameters
	}
	for _, a := range s.Asked {
		key := a.Question.Arg
		if a.Question.Kind == evidence.Policy {
			key = "" // the request: what is known of the session
		}
		r.Asked = append(r.Asked, Asked{
			Kind: kind(a.Question.Kind), Of: a.Question.Name, Key: key,
			Answer: answer(a.Question, a.Answer), Unknown: a.Answer.Status == evidence.Unknown,
		})
	}
	return r
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
	hello.ProtocolName = "SMTP"
	connect := hello
	connect.HeloName = ""
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
