package restrict

import (
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Decide is Eval for a live session, with the DNS asked in parallel. An
// evaluation that waits for nobody finds out which questions a harmless client
// would cause; all of them start at once, and whenever one is answered otherwise
// than hoped for, the next evaluation finds out what that leads to. So the client waits for the longest
// chain of questions, not for their sum. The verdict is that of an evaluation
// that knew every answer it asked for.
//
// What may not be asked ahead, such as a policy service, is asked by a last
// evaluation that waits, once nothing before it is open.
func (p *Program) Decide(stage Stage, f *mail.Facts, s *evidence.Session, carry Carry) Outcome {
	s.Begin()
	tables := make(tableAnswers)
	for {
		out := p.Eval(stage, f, tables.with(s.Peek()), carry)
		if len(out.Unknown) == 0 {
			return out
		}
		s.Start(out.Unknown)
		if !out.Unknown[0].Ahead() {
			return p.Eval(stage, f, tables.with(s), carry)
		}
		s.Await(out.Unknown, func(i int, a evidence.Answer) bool {
			return isNews(out.Unknown[i], out.Hoped[i], a.Status)
		})
	}
}

// isNews reports whether an answer may take evaluation another way than was hoped
// for. What comes after hosts is in their records.
func isNews(q evidence.Question, hoped, got evidence.Status) bool {
	hosts := q.Kind == evidence.Host || q.Name == "MX" || q.Name == "NS"
	return hosts || got != hoped && !(absent(got) && absent(hoped))
}

// tableAnswers keeps what tables said, so that the evaluations of one decision
// ask each of them once, and agree.
type tableAnswers map[evidence.Question]evidence.Answer

func (t tableAnswers) with(src evidence.Source) evidence.Source {
	return evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		if q.Kind != evidence.Table {
			return src.Ask(q)
		}
		a, ok := t[q]
		if !ok {
			a = src.Ask(q)
			t[q] = a
		}
		return a
	})
}
