package restrict

import (
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
	NotReached Result = "not reached" // something before it decided
)

// Step is one restriction of a trace: a rung of the ladder.
type Step struct {
	List   string // parameter, such as smtpd_client_restrictions
	Depth  int    // 1 in the list itself, more inside classes and table results
	Name   string
	Arg    string
	Pos    config.Pos
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
	for _, id := range p.stageLists(stage) {
		if !t.begun[id] {
			t.listName = listParams[id]
			t.unreached(r, p.lists[id], r.scopeOf(id))
		}
	}
	return out, t.steps
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
	step, outer    int
	permit, reject bool
}

func (t *tracer) begin(r *run, it *item) mark {
	if t == nil {
		return mark{}
	}
	m := mark{len(t.steps), t.current, r.deferPermit.Active(), r.deferReject.Active()}
	t.steps = append(t.steps, t.step(r, it))
	t.current = m.step
	return m
}

func (t *tracer) step(r *run, it *item) Step {
	s := Step{List: t.listName, Depth: r.depth, Name: it.text, Arg: it.arg, Pos: it.pos}
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
	s.Result, s.Says = result(st), ""
	switch {
	case st == rejected:
		s.Says = r.out.saying()
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
	for i := range items {
		s := t.step(r, &items[i])
		s.Result = NotReached
		if s.Depth == 0 {
			s.Depth = 1
		}
		s.Says = r.whatIf(&items[i], sc)
		t.steps = append(t.steps, s)
	}
}

// whatIf evaluates one item by itself.
func (r *run) whatIf(it *item, sc scope) string {
	w := &run{p: r.p, f: r.f, src: r.src}
	st := w.item(it, sc, "")
	switch {
	case st == rejected:
		return w.out.saying()
	case st == permit:
		return "permit"
	case w.deferPermit.Active():
		return "if permitted: " + w.deferPermit.Reply.String()
	case w.deferReject.Active():
		return "if rejected: " + w.deferReject.Reply.String()
	case len(w.out.Effects) > 0:
		return "passed, with " + effectNames(w.out.Effects)
	}
	return "passed"
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
