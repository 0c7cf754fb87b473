package restrict

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// maxAddresses is how many addresses of the servers of one name are looked up.
const maxAddresses = 100

// subject is whose servers a check_*_{a,mx,ns}_access restriction looks up, and
// how a hit is named in the reply. An empty name is nobody.
type subject struct{ name, reply, class string }

func clientSubject(r *run) subject {
	return subject{known(r.f.ClientName), r.f.NameAddr(), classClient}
}

func reverseSubject(r *run) subject {
	return subject{known(r.f.ReverseClientName), r.f.ReverseClientName, classRevClient}
}

func heloSubject(r *run) subject { return subject{r.f.HeloName, r.f.HeloName, classHelo} }

func senderSubject(r *run) subject { return subject{r.mailFrom(), r.mailFrom(), classSender} }

func recipientSubject(r *run) subject { return subject{r.rcptTo(), r.rcptTo(), classRecipient} }

// serverAccess makes the restriction that looks the hosts behind a name up in
// an access table: the name itself ("A"), its mail exchangers or its name
// servers, each by name and by its addresses. As whoever sends the mail chooses
// the name, the table may refuse but not permit.
func serverAccess(of func(*run) subject, typ string) func(*run, call) status {
	return func(r *run, c call) status {
		s := of(r)
		if s.name == "" {
			return dunno
		}
		l := c.accessTable(s.reply, s.class)
		return r.forbidPermit(c, r.serversOf(l, s.name, typ), s.name)
	}
}

func (r *run) serversOf(l *lookup, name, typ string) status {
	domain := name[strings.LastIndexByte(name, '@')+1:]
	if strings.HasPrefix(domain, "[") {
		return r.literalServer(l, domain, typ)
	}
	for n, host := range r.serverHosts(mail.ASCIIDomain(domain), name, typ) {
		if n == maxAddresses {
			break
		}
		if st := r.serverHost(l, host, typ); st != dunno || l.found {
			return st
		}
	}
	return dunno
}

// literalServer looks an address literal up: it is its own mail exchanger, and
// nobody's name server.
func (r *run) literalServer(l *lookup, literal, typ string) status {
	if typ == "NS" || !strings.HasSuffix(literal, "]") {
		return dunno
	}
	addr, ok := mail.ValidMailHostAddr(literal[1 : len(literal)-1])
	if !ok {
		return dunno
	}
	return r.addrAccess(l, addr)
}

// serverHosts finds the hosts. A name without mail exchanger is its own; one
// without name server has that of its parent. name is for the warning.
func (r *run) serverHosts(domain, name, typ string) []string {
	if typ == "A" {
		return []string{domain}
	}
	a := r.queryDNS(domain, typ)
	if absent(a.Status) && typ == "MX" {
		return []string{domain}
	}
	for absent(a.Status) {
		_, parent, ok := strings.Cut(domain, ".")
		if !ok || parent == "" {
			domain = ""
			break
		}
		domain = parent
		a = r.queryDNS(domain, typ)
	}
	switch a.Status {
	case evidence.Found, nullMX:
	default:
		if len(domain) > 1 {
			name = domain
		}
		r.warnf("Unable to look up %s host for %s: %s", typ, name, resolverError(a.Status))
	}
	if a.Status != evidence.Found {
		return nil
	}
	hosts := make([]string, len(a.Records))
	for i, rec := range a.Records {
		hosts[i] = rec.Data
	}
	return hosts
}

// serverHost looks one host up by name, unless the name is what the restriction
// began with, and by its addresses.
func (r *run) serverHost(l *lookup, host, typ string) status {
	if mail.ValidHostAddr(host) {
		return r.addrAccess(l, host)
	}
	if typ != "A" {
		if st := r.domainAccess(l, host, true); st != dunno || l.found {
			return st
		}
	}
	a := r.hostAddresses(host)
	if a.Status != evidence.Found {
		if typ != "A" {
			r.warnf("Unable to look up %s host %s for %s %s: %s", typ, host, l.class, l.name, a.Reason)
		}
		return dunno
	}
	for _, rec := range a.Records {
		if l.addresses++; l.addresses > maxAddresses {
			r.warnf("check_server_access: %s server address count limit (%d) exceeded for %s %s -- ignoring the remainder",
				typ, maxAddresses, l.class, l.name)
			l.found = true
			return dunno
		}
		if st := r.addrAccess(l, rec.Data); st != dunno || l.found {
			return st
		}
	}
	return dunno
}
