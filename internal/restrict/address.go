package restrict

import (
	"log/slog"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

func evalNonFQDNSender(r *run, _ call) status {
	if r.mailFrom() == "" {
		return dunno
	}
	return r.nonFQDN(r.mailFrom(), classSender)
}

func evalNonFQDNRecipient(r *run, _ call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	return r.nonFQDN(r.rcptTo(), classRecipient)
}

func (r *run) nonFQDN(addr, class string) status {
	_, domain, _ := mail.SplitAddress(addr)
	if isBracketed(domain) || r.isFQDN(trimDot(domain)) {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.nonFQDNCode, "4.5.2", refusal(addr, class, "need fully-qualified address"))
}

func evalUnknownSenderDomain(r *run, _ call) status {
	if r.mailFrom() == "" {
		return dunno
	}
	return r.unknownDomain(r.mailFrom(), classSender)
}

func evalUnknownRecipientDomain(r *run, _ call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	return r.unknownDomain(r.rcptTo(), classRecipient)
}

// unknownDomain refuses an address whose domain is neither ours nor able to
// receive mail.
func (r *run) unknownDomain(addr, class string) status {
	res := r.resolve(addr, class)
	if res.Failed {
		return r.lookupFailure(addr)
	}
	_, domain, ok := mail.SplitAddress(res.Recipient)
	if !ok || final(res.Class) || isBracketed(domain) {
		return dunno
	}
	domain = mail.ASCIIDomain(domain)
	st := r.mailDomain(domain)
	dsn := "4.1.8"
	if class == classRecipient {
		dsn = "4.1.2"
	}
	switch {
	case st == filtered:
		r.warnf("%s: MX or address lookup error: DNS reply filter drops all results", domain)
		return dunno
	case st == nullMX:
		return r.nullMX(addr, class, domain)
	case st == evidence.Found:
		return dunno
	case retry(st):
		return r.tempfail(r.p.set.unknownAddressTempfail, 450, dsn, refusal(addr, class, "Domain not found"))
	}
	return r.reject(ClassPolicy, r.p.set.unknownAddressCode, dsn, refusal(addr, class, notFoundText(st, "Domain")))
}

// final reports whether mail for this class ends here: its domain need not be
// in the DNS.
func final(c rewrite.Class) bool {
	return c == rewrite.Local || c == rewrite.VirtualAlias || c == rewrite.VirtualMailbox
}

func (r *run) nullMX(addr, class, domain string) status {
	text := refusal(addr, class, "Domain "+domain+" does not accept mail (nullMX)")
	if class == classSender {
		return r.reject(ClassPolicy, 550, "4.7.27", text)
	}
	return r.reject(ClassPolicy, 556, "4.1.10", text)
}

// mailDomain says whether a domain has an MX, A or AAAA record, asked in that
// order. An answer that makes no sense ends the search.
func (r *run) mailDomain(domain string) evidence.Status {
	worst := evidence.NotFound
	for _, typ := range [...]string{"MX", "A", "AAAA"} {
		st := r.queryDNS(domain, typ).Status
		if st == evidence.Found || st == evidence.Malformed || st == nullMX || st == filtered && typ == "MX" {
			return st
		}
		worst = worse(worst, st)
	}
	return worst
}

// resolved is what the resolver said of an address, and from whom mail for it
// was to come, for the sender-dependent tables of the resolver.
type resolved struct {
	from, addr string
	rewrite.Resolved
}

// resolve asks the address resolver once an evaluation for each address. A
// sender is resolved as if the recipient had sent to it.
func (r *run) resolve(addr, class string) rewrite.Resolved {
	from := r.mailFrom()
	if class == classSender {
		from = r.rcptTo()
	}
	from = r.p.resolver.Rewrite(from)
	for i := range r.resolved {
		if r.resolved[i].addr == addr && r.resolved[i].from == from {
			return r.resolved[i].Resolved
		}
	}
	res := r.p.resolver.Resolve(r, from, addr)
	if res.Failed { // else the server has said it when it parsed the address
		for _, w := range res.Warnings {
			r.out.Notes = append(r.out.Notes, Note{slog.LevelWarn, w, "trivial-rewrite"})
		}
	}
	res.Recipient = strings.ToLower(res.Recipient)
	r.resolved = append(r.resolved, resolved{from, addr, res})
	return res
}

// isBracketed reports whether a domain looks like an address literal.
func isBracketed(domain string) bool {
	return strings.HasPrefix(domain, "[") && strings.HasSuffix(domain, "]")
}
