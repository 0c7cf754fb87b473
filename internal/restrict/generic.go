package restrict

import "strings"

func evalPermit(r *run, c call) status {
	r.permitLogged(c.it.text, c.class, c.name, "")
	if c.next != "" {
		r.warnf("restriction `%s' after `permit' is ignored", c.next)
	}
	return permit
}

func evalReject(r *run, c call) status {
	st := r.reject(ClassPolicy, r.p.set.rejectCode, "5.7.1", refusal(c.name, c.class, "Access denied"))
	r.warnIgnored(c, "reject")
	return st
}

func evalDefer(r *run, c call) status {
	st := r.reject(ClassPolicy, r.p.set.deferCode, "4.3.2", refusal(c.name, c.class, "Try again later"))
	r.warnIgnored(c, "defer")
	return st
}

func (r *run) warnIgnored(c call, name string) {
	if c.next != "" && r.warnDepth == 0 {
		r.warnf("restriction `%s' after `%s' is ignored", c.next, name)
	}
}

func evalDeferIfPermit(r *run, c call) status {
	return r.deferIfPermit(ClassPolicy, 450, "4.7.0", refusal(c.name, c.class, "defer_if_permit requested"))
}

func evalDeferIfReject(r *run, c call) status {
	return r.deferIfReject(ClassPolicy, 450, "4.7.0", refusal(c.name, c.class, "defer_if_reject requested"))
}

func evalUnauthPipelining(r *run, c call) status {
	if !r.f.UnauthPipelining {
		return dunno
	}
	return r.reject(ClassProtocol, 503, "5.5.0", refusal(c.name, c.class, "Improper use of SMTP command pipelining"))
}

func evalPlaintextSession(r *run, _ call) status {
	if r.f.EncryptionProtocol != "" {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.plaintextCode, "4.7.1", "Session encryption is required")
}

// evalRemoved answers for a restriction that there is no more.
func evalRemoved(r *run, c call) status {
	name := strings.ToLower(c.it.text)
	if name == "check_relay_domains" && !r.f.RecipientKnown {
		r.warnIgnored(c, name)
		return dunno
	}
	d, _ := Describe(name)
	r.warnf("support for restriction \"%s\" has been removed in %s %s; instead, specify %s", name, r.p.set.mailName, d.Removed, d.Instead)
	return r.serverError()
}
