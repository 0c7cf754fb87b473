package sasl

// Refuser is a Backend that has words of its own for a mechanism that is not
// offered to a client.
type Refuser interface {
	RefuseMechanism(mech string) Step
}

// Refuse is the answer to a mechanism that is not offered.
func Refuse(b Backend, mech string) Step {
	if r, ok := b.(Refuser); ok {
		return r.RefuseMechanism(mech)
	}
	return Step{Kind: Failed, Reason: reasonMechanism}
}
