package restrict

import (
	"cmp"
	"sekisho/internal/mail"
)

func evalUnknownClient(r *run, _ call) status {
	st := r.f.ClientNameStatus
	if st == mail.NameOK {
		return dunno
	}
	return r.reject(ClassPolicy, r.unknownClientCode(st != mail.NameTemp), "4.7.25",
		"Client host rejected: cannot find your hostname, ["+r.f.ClientAddress+"]")
}

func evalUnknownReverseClient(r *run, _ call) status {
	st := r.f.ReverseClientNameStatus
	if st == mail.NameOK {
		return dunno
	}
	return r.reject(ClassPolicy, r.unknownClientCode(st == mail.NamePerm), "4.7.1",
		"Client host rejected: cannot find your reverse hostname, ["+r.f.ClientAddress+"]")
}

// unknownClientCode is 450 whenever a lookup failed for now: the client may
// well have a name.
func (r *run) unknownClientCode(permanent bool) int {
	if permanent {
		return r.p.set.unknownClientCode
	}
	return 450
}

func evalPermitInetInterfaces(r *run, c call) status {
	addr := cmp.Or(r.f.SocketAddress, r.f.ClientAddress)
	for _, a := range r.p.set.ownAddresses {
		if a == addr {
			return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
		}
	}
	return dunno
}

func evalPermitMynetworks(r *run, c call) status {
	m := r.p.mynetworks.MatchHost(r, r.f.ClientName, r.f.ClientAddress)
	r.warnAll(m.Warnings)
	switch {
	case m.Broken:
		return r.serverError()
	case m.Failed:
		return r.lookupFailure(c.name)
	case m.Match:
		return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
	}
	return dunno
}

func evalPermitSASL(r *run, c call) status {
	if r.f.SASLUsername == "" {
		return dunno
	}
	return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
}

// permitLogged permits, and logs it when smtpd_log_access_permit_actions asks
// for that; a permission that a deferral overrules is none.
func (r *run) permitLogged(action, class, name, from string) status {
	l := r.p.set.logPermits
	if l == nil || r.deferPermit.Active() || !l.MatchString(r, action).Match {
		return permit
	}
	r.logf(r.f.LogLine("permit", "action="+action+" for "+class+"="+name+" "+from))
	return permit
}

func (r *run) warnAll(lines []string) {
	for _, l := range lines {
		r.warnf("%s", l)
	}
}
