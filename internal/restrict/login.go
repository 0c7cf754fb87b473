package restrict

import "strings"

// owners looks up who may send as the envelope sender.
func (r *run) owners(c call) (list []string, st status, ok bool) {
	if !r.f.SenderKnown || r.f.Sender == "" || len(r.p.set.senderLoginMaps) == 0 {
		return nil, dunno, false
	}
	if !r.p.set.saslEnabled {
		r.warnf("restriction `%s' ignored: no SASL support", c.it.text)
		return nil, dunno, false
	}
	res := r.resolve(r.f.Sender)
	if res.Failed {
		return nil, r.lookupFailure(r.f.Sender), false
	}
	m := r.p.resolver.Find(r, r.p.set.senderLoginMaps, res.Recipient)
	r.warnAll(m.Warnings)
	if m.Failed {
		return nil, r.lookupFailure(r.f.Sender), false
	}
	return splitOwners(m.Value), dunno, true
}

func (r *run) owns(owners []string) bool {
	for _, o := range owners {
		if strings.EqualFold(o, r.f.SASLUsername) {
			return true
		}
	}
	return false
}

func evalAuthSenderLoginMismatch(r *run, c call) status {
	owners, st, ok := r.owners(c)
	if !ok || r.f.SASLUsername == "" || r.owns(owners) {
		return st
	}
	return r.notOwned()
}

func evalUnauthSenderLoginMismatch(r *run, c call) status {
	owners, st, ok := r.owners(c)
	if !ok || r.f.SASLUsername != "" || len(owners) == 0 {
		return st
	}
	return r.notLoggedIn()
}

func evalKnownSenderLoginMismatch(r *run, c call) status {
	owners, st, ok := r.owners(c)
	switch {
	case !ok || len(owners) == 0:
		return st
	case r.f.SASLUsername == "":
		return r.notLoggedIn()
	case r.owns(owners):
		return dunno
	}
	return r.notOwned()
}

func evalSenderLoginMismatch(r *run, c call) status {
	if st := evalAuthSenderLoginMismatch(r, c); st != dunno {
		return st
	}
	return evalUnauthSenderLoginMismatch(r, c)
}

func (r *run) notOwned() status {
	return r.reject(ClassPolicy, 553, "5.7.1",
		refusal(r.f.Sender, classSender, "not owned by user "+r.f.SASLUsername))
}

func (r *run) notLoggedIn() status {
	return r.reject(ClassPolicy, 553, "5.7.1", refusal(r.f.Sender, classSender, "not logged in"))
}
