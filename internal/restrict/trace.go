package restrict

import (
	"slices"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Result is what became of one restriction in a trace.
type Result string

const (
	Passed     Result = "passed"      // no opinion
	Permitted  Result = "permit"      // ended its list with a permit
	Refused    Result = "reject"      // decided the command
	Armed      Result = "armed"       // a deferral waits for the end
	Warned     Result = "warned"      // would have refused, but for warn_if_reject
	NotReached Result = "not reached" // something before it decided
)

// Step is one restriction of a trace: a rung of the ladder.
type Step struct {
	// List is the parameter, such as smtpd_client_restrictions. What Postfix
	// does by itself after the lists has no name of a list, only Name.
	List   string
	Depth  int // 1 in the list itself, more inside classes and table results
	Name   string
	Arg    string
	Pos    config.Pos
	Warn   bool
	Result Result
	// Says is the reply or the deferral, and for a restriction that was not
	// reached what it would have said.
	Says  string
	Asked []Asked
}

// Asked is a question of a step with its answer.
type Asked struct {
	Question evidence.Question
	Answer   evidence.Answer
}

// Trace is the whole way to an outcome, in order of evaluation.
type Trace []Step

// Explain decides as Eval does and tells how: every restriction of the lists
// that belong to the stage is in the trace, also those that were not reached.
func (p *Program) Explain(stage Stage, f *mail.Facts, src evidence.Source, carry Carry) (Outcome, Trace) {
	t := &tracer{current: -1}
	r := &run{p: p, f: f, src: src, trace: t}
	out := r.stage(stage, carry)
	lists := p.stageLists(stage)
	for _, id := range lists {
		if !t.begun[id] {
			t.listName = listParams[id]
			t.unreached(r, p.lists[id], r.scopeOf(id))
		}
	}
	return out, t.inOrder(lists)
}

// inOrder returns the steps list by list: a list that was left out stands
// where it would have been. What belongs to no list stays behind its neighbour.
func (t *tracer) inOrder(lists []listID) []Step {
	place := make([]int, len(t.steps))
	for i, s := range t.steps {
		if s.List == "" && i > 0 {
			place[i] = place[i-1]
			continue
		}
		place[i] = slices.IndexFunc(lists, func(id listID) bool { return listParams[id] == s.List })
	}
	var out []Step
	for n := -1; n < len(lists); n++ {
		for i, s := range t.steps {
			if place[i] == n {
				out = append(out, s)
			}
		}
	}
	return out
}

// stageLists are the lists that a stage evaluates if nothing decides earlier.
func (p *Program) stageLists(stage Stage) []listID {
	early := []listID{listClient, listHelo, listSender}
	switch stage {
	case StageRcpt, StageVrfy:
		if p.set.delayReject {
			rcpt := p.recipientLists()
			return append(early, rcpt[:]...)
		}
		rcpt := p.recipientLists()
		return rcpt[:]
	case StageETRN:
		if p.set.delayReject {
			return []listID{listClient, listHelo, listETRN}
		}
		return []listID{listETRN}
	case StageData:
		return []listID{listData}
	case StageEndOfData:
		return []listID{listEndOfData}
	}
	if p.set.delayReject {
		return nil
	}
	return early[stage-StageConnect : stage-StageConnect+1]
}

// tracer collects steps; a nil tracer does nothing, so that deciding without
// a trace costs nothing.
type tracer struct {
	steps    []Step
	begun    [listCount]bool
	listName string
	current  int
}

func (t *tracer) list(id listID) {
	if t != nil {
		t.begun[id], t.listName = true, listParams[id]
	}
}

// mark is where a step began: what was armed then, to see what it changed.
type mark struct {
	step, outer, effects int
	permit, reject       bool
}

func (t *tracer) begin(r *run, it *item) mark {
	if t == nil {
		return mark{}
	}
	m := mark{len(t.steps), t.current, len(r.out.Effects), r.deferPermit.Active(), r.deferReject.Active()}
	t.steps = append(t.steps, t.step(r, it))
	t.current = m.step
	return m
}

func (t *tracer) step(r *run, it *item) Step {
	s := Step{List: t.listName, Depth: r.depth, Name: it.text, Arg: it.arg, Pos: it.pos, Warn: r.warnDepth > 0}
	if it.op == opBareTable || it.op == opBroken {
		s.Arg = ""
	}
	return s
}

func (t *tracer) end(m mark, r *run, st status) {
	if t == nil {
		return
	}
	s := &t.steps[m.step]
	t.current = m.outer
	s.Result, s.Says = result(st), effectNames(r.out.Effects[m.effects:])
	switch {
	case st == rejected:
		s.Says = r.out.saying()
	case !r.warned.IsZero():
		s.Result, s.Says = Warned, r.warned.String()
		r.warned = mail.Reply{}
	case r.deferPermit.Active() && !m.permit:
		s.Result, s.Says = Armed, "if permitted: "+r.deferPermit.Reply.String()
	case r.deferReject.Active() && !m.reject:
		s.Result, s.Says = Armed, "if rejected: "+r.deferReject.Reply.String()
	}
}

func result(st status) Result {
	switch st {
	case permit:
		return Permitted
	case rejected:
		return Refused
	}
	return Passed
}

func (o *Outcome) saying() string {
	if o.Hangup {
		return "hangs up"
	}
	return o.Reply.String()
}

func (t *tracer) asked(q evidence.Question, a evidence.Answer) {
	if t != nil && t.current >= 0 {
		s := &t.steps[t.current]
		s.Asked = append(s.Asked, Asked{q, a})
	}
}

// unreached records items that the evaluation did not get to, each with what
// it would have said on its own.
func (t *tracer) unreached(r *run, items []item, sc scope) {
	if t == nil {
		return
	}
	warn := false
	for i := range items {
		it := &items[i]
		if it.op == opWarnIfReject {
			warn = true
			continue
		}
		s := t.step(r, it)
		s.Result, s.Warn = NotReached, warn
		if s.Depth == 0 {
			s.Depth = 1
		}
		s.Says, s.Asked = r.whatIf(it, sc)
		t.steps = append(t.steps, s)
		warn = false
	}
}

// implied records what Postfix does by itself after the lists.
func (t *tracer) implied(r *run, it *item, f func() status) status {
	if t == nil {
		return f()
	}
	t.listName = ""
	m := t.begin(r, it)
	t.steps[m.step].Depth = 1
	st := f()
	t.end(m, r, st)
	return st
}

// whatIf evaluates one item by itself.
func (r *run) whatIf(it *item, sc scope) (says string, asked []Asked) {
	t := &tracer{steps: make([]Step, 1)}
	w := &run{p: r.p, f: r.f, src: withoutEffects(r.src), trace: t}
	st := it.eval(w, call{scope: sc, it: it})
	for _, s := range t.steps {
		asked = append(asked, s.Asked...)
	}
	switch {
	case st == rejected:
		return w.out.saying(), asked
	case st == permit:
		return "permit", asked
	case w.deferPermit.Active():
		return "if permitted: " + w.deferPermit.Reply.String(), asked
	case w.deferReject.Active():
		return "if rejected: " + w.deferReject.Reply.String(), asked
	case len(w.out.Effects) > 0:
		return "passed, with " + effectNames(w.out.Effects), asked
	}
	return "passed", asked
}

func effectNames(es []Effect) string {
	names := make([]string, len(es))
	for i, e := range es {
		names[i] = e.Kind.String()
	}
	return strings.Join(names, ", ")
}

// String returns the action's name in access(5).
func (k EffectKind) String() string {
	return [...]string{"", "HOLD", "FILTER", "REDIRECT", "BCC", "PREPEND", "DISCARD"}[k]
}

// withoutEffects asks src nothing that would have effects.
func withoutEffects(src evidence.Source) evidence.Source {
	return evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		if q.Kind == evidence.Policy || q.Kind == evidence.Sleep {
			return evidence.Answer{}
		}
		return src.Ask(q)
	})
}
