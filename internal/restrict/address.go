package restrict

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

func evalNonFQDNSender(r *run, _ call) status {
	if r.f.Sender == "" {
		return dunno
	}
	return r.nonFQDN(r.f.Sender, classSender)
}

func evalNonFQDNRecipient(r *run, _ call) status {
	if r.f.Recipient == "" {
		return dunno
	}
	return r.nonFQDN(r.f.Recipient, classRecipient)
}

func (r *run) nonFQDN(addr, class string) status {
	_, domain, _ := mail.SplitAddress(addr)
	domain = trimDot(domain)
	if strings.HasPrefix(domain, "[") || isFQDN(mail.ASCIIDomain(domain)) {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.nonFQDNCode, "5.5.2", refusal(addr, class, "need fully-qualified address"))
}

func evalUnknownSenderDomain(r *run, _ call) status {
	if r.f.Sender == "" {
		return dunno
	}
	return r.unknownDomain(r.f.Sender, classSender)
}

func evalUnknownRecipientDomain(r *run, _ call) status {
	if r.f.Recipient == "" {
		return dunno
	}
	return r.unknownDomain(r.f.Recipient, classRecipient)
}

// unknownDomain refuses an address whose domain is neither ours nor able to
// receive mail.
func (r *run) unknownDomain(addr, class string) status {
	res := r.resolve(addr)
	if res.Failed {
		return r.lookupFailure(addr)
	}
	_, domain, ok := mail.SplitAddress(res.Recipient)
	if !ok || final(res.Class) || strings.HasPrefix(domain, "[") {
		return dunno
	}
	st, nullMX := r.mailDomain(domain)
	dsn := "4.1.8"
	if class == classRecipient {
		dsn = "4.1.2"
	}
	switch {
	case nullMX:
		return r.nullMX(addr, class, domain)
	case st == evidence.Found:
		return dunno
	case st.Temporary():
		return r.tempfail(r.p.set.unknownAddressTempfail, dsn, refusal(addr, class, "Domain not found"))
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
		return r.reject(ClassPolicy, 550, "5.7.27", text)
	}
	return r.reject(ClassPolicy, 556, "5.1.10", text)
}

// mailDomain says whether a domain has an MX, A or AAAA record, asked in that
// order. An MX answer that makes no sense ends the search.
func (r *run) mailDomain(domain string) (st evidence.Status, nullMX bool) {
	found := evidence.Answer{Status: evidence.Found}
	domain = mail.ASCIIDomain(domain)
	mx := r.lookupName(domain, "MX", found)
	if mx.Status == evidence.Found && len(mx.Records) == 1 && mx.Records[0].Data == "" {
		return mx.Status, true
	}
	if mx.Status == evidence.Found || mx.Status == evidence.Malformed {
		return mx.Status, false
	}
	worst := mx.Status
	for _, typ := range []string{"A", "AAAA"} {
		a := r.lookupName(domain, typ, found)
		if a.Status == evidence.Found {
			return a.Status, false
		}
		worst = worse(worst, a.Status)
	}
	return worst, false
}

// lookupName asks the DNS for a name given by the client. A name that cannot
// be in the DNS is not asked for.
func (r *run) lookupName(name, typ string, hopeful evidence.Answer) evidence.Answer {
	name = trimDot(name)
	if !mail.ValidHostname(name) {
		return evidence.Answer{Status: evidence.NotFound}
	}
	return r.ask(evidence.Question{Kind: evidence.DNS, Name: typ, Arg: strings.ToLower(name)}, hopeful)
}

// warnFresh logs about an answer that this session has not had before.
func (r *run) warnFresh(a evidence.Answer, format string, args ...any) {
	if !a.Repeated {
		r.warnf(format, args...)
	}
}

// resolve asks the address resolver once an evaluation for each address.
func (r *run) resolve(addr string) rewrite.Resolved {
	if res, ok := r.resolvedAddr[addr]; ok {
		return res
	}
	res := r.p.resolver.Resolve(r, r.f.Sender, addr)
	r.warnAll(res.Warnings)
	res.Recipient = strings.ToLower(res.Recipient)
	if r.resolvedAddr == nil {
		r.resolvedAddr = make(map[string]rewrite.Resolved, 2)
	}
	r.resolvedAddr[addr] = res
	return res
}
