package sasl

// Refuser is a Backend that has words of its own for a mechanism that is not
// offered to a client.
type Refuser interface {
	// RefuseMechanism is the answer; initial is the initial response as sent,
	// empty when there was none.
	RefuseMechanism(mech, initial string) Step
}

// Refuse is the answer to a mechanism that is not offered; see Refuser.
func Refuse(b Backend, mech, initial string) Step {
	if r, ok := b.(Refuser); ok {
		return r.RefuseMechanism(mech, initial)
	}
	return Step{Kind: Failed, Reason: reasonMechanism}
}
