package restrict

import (
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Decide is Eval for a live session, with the DNS asked in parallel: a first
// evaluation finds out, without waiting, which questions a harmless client
// would cause; all of them start at once; the second evaluation waits only
// for those it reaches. Its verdict is that of the second.
func (p *Program) Decide(stage Stage, f *mail.Facts, s *evidence.Session, carry Carry) Outcome {
	s.Begin()
	out := p.Eval(stage, f, s.Peek(), carry)
	if len(out.Unknown) == 0 {
		return out
	}
	s.Start(out.Unknown)
	return p.Eval(stage, f, s, carry)
}
