package penalty

import (
	"context"

	"sekisho/internal/sasl"
)

// Guard returns backend with answers that wait. ledger may be shared with other
// guards.
func Guard(backend sasl.Backend, ledger *Ledger, s Settings) sasl.Backend {
	if s.Delay <= 0 {
		return backend
	}
	return &guard{backend, ledger, s}
}

type guard struct {
	sasl.Backend
	ledger   *Ledger
	settings Settings
}

// Start implements sasl.Backend.
func (g *guard) Start(ctx context.Context, c sasl.Client, mech, initial string, hasInitial bool) (sasl.Exchange, sasl.Step) {
	inner, step := g.Backend.Start(ctx, c, mech, initial, hasInitial)
	x := &exchange{Exchange: inner, guard: g, address: c.Address}
	step = x.answer(ctx, step)
	if inner == nil {
		return nil, step
	}
	return x, step
}

// RefuseMechanism implements sasl.Refuser. Nobody learns from it whether a
// password is right: it need not wait.
func (g *guard) RefuseMechanism(mech, initial string) sasl.Step {
	return sasl.Refuse(g.Backend, mech, initial)
}

// exchange is one client's.
type exchange struct {
	sasl.Exchange
	guard   *guard
	address string
	waited  bool // for a success that is known already
}

// Next implements sasl.Exchange.
func (x *exchange) Next(ctx context.Context, response string) sasl.Step {
	return x.answer(ctx, x.Exchange.Next(ctx, response))
}

// answer keeps a step back until it may be sent. It counts before it waits, so
// that guessing on many connections at once pays off no better. An end of ctx
// ends the wait: nobody is there to hear the answer.
func (x *exchange) answer(ctx context.Context, step sasl.Step) sasl.Step {
	l, s := x.guard.ledger, x.guard.settings
	switch {
	case step.Kind == sasl.Failed:
		_ = l.clock.Sleep(ctx, l.failed(s, x.address, step.User)) // see above
	case step.Kind == sasl.Done, step.Kind == sasl.Challenge && step.UserKnown:
		if !x.waited && l.clock.Sleep(ctx, l.owed(s, x.address, step.User)) != nil {
			return step
		}
		x.waited = true
		if step.Kind == sasl.Done {
			l.succeeded(x.address, step.User)
		}
	}
	return step
}
