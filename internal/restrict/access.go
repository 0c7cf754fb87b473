package restrict

import (
	"strings"
	"unicode/utf8"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// lookup is a search in one access table for one thing (access(5)): which
// table, and how a hit is named in the reply.
type lookup struct {
	call
	table   string
	partial bool   // the table gets partial keys, not only the whole one
	datum   string // what is being looked up, for warnings
	found   bool

	addresses int // looked up so far, of all servers
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
	name := r.f.ReverseClientName
	st := r.hostAccess(c.accessTable(name, classRevClient), name, r.f.ClientAddress)
	return r.forbidPermit(c, st, name)
}

// forbidPermit refuses to permit: whoever sends the mail chooses what these
// restrictions look up.
func (r *run) forbidPermit(c call, st status, target string) status {
	if st != permit || r.carry.Discarded {
		return st
	}
	r.warnf("restriction %s returns OK for %s", c.it.text, target)
	r.warnf("this is not allowed for security reasons")
	r.warnf("use DUNNO instead of OK if you want to make an exception")
	return r.serverError()
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
	if !r.saslEnabled(c) || r.f.SASLUsername == "" {
		return dunno
	}
	return r.keyAccess(c.accessTable(printable(r.f.SASLUsername, '_'), classSASL), r.f.SASLUsername, true)
}

func evalSenderAccess(r *run, c call) status {
	if !r.f.SenderKnown {
		return dunno
	}
	l := c.accessTable(r.mailFrom(), classSender)
	if r.mailFrom() == "" {
		return r.keyAccess(l, r.p.set.nullKey, true)
	}
	return r.addressAccess(l, r.mailFrom())
}

func evalRecipientAccess(r *run, c call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	return r.addressAccess(c.accessTable(r.rcptTo(), classRecipient), r.rcptTo())
}

// keyAccess looks one key up. whole says that it is the complete key, which
// every table sees; a partial key goes only to tables that want them.
func (r *run) keyAccess(l *lookup, key string, whole bool) status {
	if key == "" || !whole && !l.partial {
		return dunno
	}
	if l.datum == "" {
		l.datum = key
	}
	a := r.Ask(evidence.Question{Kind: evidence.Table, Name: l.table, Arg: key})
	switch {
	case a.Status == evidence.NotFound:
		return dunno
	case r.p.set.smtputf8 && !utf8.ValidString(a.Value):
		r.warnf("%s: key \"%s\": non-UTF-8 value \"%s\": malformed UTF-8 or invalid codepoint", l.table, key, strings.ToValidUTF8(a.Value, "?"))
		fallthrough
	case a.Status != evidence.Found:
		r.warnf("%s lookup error for \"%s\"", l.table, key)
		return r.accessFailure(l)
	case a.Value == "":
		r.warnf("%s lookup of %s returns an empty string result", l.table, key)
		r.warnf("%s should return NO RESULT in case of NOT FOUND", l.table)
		return r.accessFailure(l)
	}
	l.found = true
	return r.action(l, a.Value)
}

// accessFailure refuses because nobody knows what the table says.
func (r *run) accessFailure(l *lookup) status {
	l.found = true
	return r.reject(ClassPolicy, 451, "4.3.5", refusal(l.name, l.class, "Server configuration error"))
}

// domainAccess looks up a name, then its parent domains.
func (r *run) domainAccess(l *lookup, name string, whole bool) status {
	if name == "" {
		return dunno
	}
	numeric := mail.ValidHostAddr(name)
	l.datum = name
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
	l.datum = addr
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
	res := r.resolve(addr, l.class)
	if res.Failed {
		return r.lookupFailure(addr)
	}
	if !strings.Contains(res.Recipient, "@") {
		r.warnf("no @domain in address: %s", res.Recipient)
		return dunno
	}
	m := r.p.resolver.FindAccess(r, l.table, res.Recipient, r.p.set.parentDomains)
	r.warnAll(m.Warnings)
	switch {
	case m.Failed:
		return r.accessFailure(l)
	case !m.Found:
		return dunno
	}
	l.datum = res.Recipient
	st := r.action(l, m.Value)
	if st == permit && res.Routed && l.class == classRecipient && !r.p.set.allowUntrustedRouting {
		return dunno // a routed address is too suspicious to be waved through
	}
	return st
}
