package restrict

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// lookup is a search in one access table for one thing (access(5)): which
// table, and how a hit is named in the reply.
type lookup struct {
	call
	table   string
	partial bool // the table gets partial keys, not only the whole one
	strict  bool // a permit is not allowed as a result
	found   bool
}

// accessTable starts a search whose replies name what was looked up.
func (c call) accessTable(name, class string) *lookup {
	c.name, c.class = name, class
	return &lookup{call: c, table: c.it.arg, partial: c.it.partial}
}

func evalClientAccess(r *run, c call) status {
	return r.hostAccess(c.accessTable(r.f.NameAddr(), classClient), r.f.ClientName, r.f.ClientAddress)
}

func evalReverseClientAccess(r *run, c call) status {
	l := c.accessTable(r.f.ReverseClientName, classRevClient)
	l.strict = true
	return r.hostAccess(l, r.f.ReverseClientName, r.f.ClientAddress)
}

func evalHeloAccess(r *run, c call) status {
	if r.f.HeloName == "" {
		return dunno
	}
	return r.domainAccess(c.accessTable(r.f.HeloName, classHelo), r.f.HeloName, true)
}

func evalEtrnAccess(r *run, c call) status {
	if r.f.ETRNDomain == "" {
		return dunno
	}
	return r.domainAccess(c.accessTable(r.f.ETRNDomain, classEtrn), r.f.ETRNDomain, true)
}

func evalSASLAccess(r *run, c call) status {
	if r.f.SASLUsername == "" {
		return dunno
	}
	return r.keyAccess(c.accessTable(r.f.SASLUsername, classSASL), r.f.SASLUsername, true)
}

func evalSenderAccess(r *run, c call) status {
	if !r.f.SenderKnown {
		return dunno
	}
	l := c.accessTable(r.f.Sender, classSender)
	if r.f.Sender == "" {
		return r.keyAccess(l, r.p.set.nullKey, true)
	}
	return r.addressAccess(l, r.f.Sender)
}

func evalRecipientAccess(r *run, c call) status {
	if !r.f.RecipientKnown || r.f.Recipient == "" {
		return dunno
	}
	return r.addressAccess(c.accessTable(r.f.Recipient, classRecipient), r.f.Recipient)
}

// keyAccess looks one key up. whole says that it is the complete key, which
// every table sees; a partial key goes only to tables that want them.
func (r *run) keyAccess(l *lookup, key string, whole bool) status {
	if !whole && !l.partial {
		return dunno
	}
	a := r.Ask(evidence.Question{Kind: evidence.Table, Name: l.table, Arg: key})
	switch a.Status {
	case evidence.Found:
		l.found = true
		return r.action(l, key, a.Value)
	case evidence.NotFound:
		return dunno
	}
	l.found = true
	r.warnf("%s lookup error for \"%s\"", l.table, key)
	return r.reject(ClassPolicy, 451, "4.3.5", refusal(l.name, l.class, "Server configuration error"))
}

// domainAccess looks up a name, then its parent domains.
func (r *run) domainAccess(l *lookup, name string, whole bool) status {
	if name == "" {
		return dunno
	}
	numeric := mail.ValidHostAddr(name)
	for {
		if st := r.keyAccess(l, name, whole); st != dunno || l.found {
			return st
		}
		whole = false
		i := strings.IndexByte(name[1:], '.')
		if numeric || i < 0 {
			return dunno
		}
		name = name[1+i:]
		if r.p.set.parentDomains {
			name = name[1:]
		}
		if name == "" {
			return dunno
		}
	}
}

// addrAccess looks up an IP address, then its networks octet by octet.
func (r *run) addrAccess(l *lookup, addr string) status {
	sep := "."
	if strings.Contains(addr, ":") {
		sep = ":"
	}
	for whole := true; ; whole = false {
		if st := r.keyAccess(l, addr, whole); st != dunno || l.found {
			return st
		}
		i := strings.LastIndex(addr, sep)
		if i < 0 {
			return dunno
		}
		addr = addr[:i]
	}
}

// hostAccess looks up a host by name with its parents, then by address.
func (r *run) hostAccess(l *lookup, name, addr string) status {
	if st := r.domainAccess(l, name, true); st != dunno || l.found {
		return st
	}
	return r.addrAccess(l, addr)
}

// addressAccess looks up a mail address: whole, without extension, its domain
// and parents, then its local part alone.
func (r *run) addressAccess(l *lookup, addr string) status {
	res := r.resolve(addr)
	if res.Failed {
		return r.lookupFailure(addr)
	}
	local, domain, ok := mail.SplitAddress(mail.Quote(res.Recipient))
	if !ok {
		r.warnf("no @domain in address: %s", res.Recipient)
		return dunno
	}
	st := r.addressKeys(l, local, domain)
	if st == permit && res.Routed && l.class == classRecipient && !r.p.set.allowUntrustedRouting {
		return dunno // a routed address is too suspicious to be waved through
	}
	return st
}

func (r *run) addressKeys(l *lookup, local, domain string) status {
	bare := r.p.resolver.StripExtension(local)
	keys := []struct {
		key   string
		whole bool
	}{{local + "@" + domain, true}}
	if bare != local {
		keys = append(keys, struct {
			key   string
			whole bool
		}{bare + "@" + domain, false})
	}
	for _, k := range keys {
		if st := r.keyAccess(l, k.key, k.whole); st != dunno || l.found {
			return st
		}
	}
	if st := r.domainAccess(l, domain, false); st != dunno || l.found {
		return st
	}
	if st := r.keyAccess(l, local+"@", false); st != dunno || l.found || bare == local {
		return st
	}
	return r.keyAccess(l, bare+"@", false)
}
