package restrict

import "sekisho/internal/rewrite"

// authDestination says whether we are responsible for a recipient: its domain
// is one of ours or one we relay for, and the address carries no routing of
// the sender's own.
func (r *run) authDestination(rcpt string) (ok, failed bool) {
	res := r.resolve(rcpt, classRecipient)
	if res.Failed {
		return false, true
	}
	if res.Routed && !r.p.set.allowUntrustedRouting {
		return false, false
	}
	return res.Class != rewrite.Default, false
}

func evalPermitAuthDestination(r *run, c call) status {
	ours := func() status { return r.permitLogged(c.it.text, classRecipient, r.rcptTo(), "") }
	return r.relay(ours, func() status { return dunno })
}

func evalRejectUnauthDestination(r *run, _ call) status {
	return r.relay(nil, func() status { return r.relayDenied(r.p.set.relayCode, "5.7.1") })
}

func evalDeferUnauthDestination(r *run, _ call) status {
	return r.relay(nil, func() status { return r.relayDenied(r.p.set.relayCode-100, "4.7.1") })
}

// relay runs ours for a destination we are responsible for, others else; nil
// is no opinion.
func (r *run) relay(ours, others func() status) status {
	if r.rcptTo() == "" {
		return dunno
	}
	ok, failed := r.authDestination(r.rcptTo())
	switch {
	case failed:
		return r.lookupFailure(r.rcptTo())
	case !ok:
		return others()
	case ours != nil:
		return ours()
	}
	return dunno
}

func (r *run) relayDenied(code int, dsn string) status {
	return r.reject(ClassPolicy, code, dsn, "<"+r.rcptTo()+">: Relay access denied")
}

func evalMultiRecipientBounce(r *run, c call) status {
	if !r.f.SenderKnown || r.mailFrom() != "" {
		return dunno
	}
	if r.f.RecipientCount < 1 || r.f.ProtocolState != "RCPT" && r.f.RecipientCount < 2 {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.multiBounceCode, "5.5.3", refusal(c.name, c.class, "Multi-recipient bounce"))
}
