package restrict

import (
	"slices"
	"strings"

	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// evalPermitMXBackup permits mail for a domain that names this server as a mail
// exchanger, but not as the best one. What cannot be found out makes a later
// refusal temporary.
func evalPermitMXBackup(r *run, c call) status {
	if r.rcptTo() == "" {
		return dunno
	}
	res := r.resolve(r.rcptTo(), classRecipient)
	if res.Failed {
		return r.lookupFailure(r.rcptTo())
	}
	_, domain, ok := mail.SplitAddress(res.Recipient)
	switch {
	case !ok:
	case res.Routed && !r.p.set.allowUntrustedRouting:
		return dunno
	case res.Class != rewrite.Default:
	case isBracketed(domain) || !r.backupFor(mail.ASCIIDomain(domain)):
		return dunno
	}
	return r.permitLogged(c.it.text, classRecipient, r.rcptTo(), "")
}

// backupFor reports whether we are among the mail exchangers of a domain, not
// among the best of them, and the best ones are trusted if any have to be.
func (r *run) backupFor(domain string) bool {
	a := r.queryDNS(domain, "MX")
	if a.Status != evidence.Found {
		if retry(a.Status) || a.Status == filtered {
			r.mxUnknown("Unable to look up mail exchanger information: " + resolverError(a.Status))
		}
		return false
	}
	best, rest := splitMX(a.Records)
	if r.amAmong(best) || len(rest) == 0 || !r.amAmong(rest) {
		return false
	}
	if r.p.backupNetworks == nil {
		return true
	}
	for _, mx := range best {
		if !r.trustedMX(mx.Data) {
			return false
		}
	}
	return true
}

// splitMX separates the mail exchangers of the lowest preference from others.
func splitMX(records []dns.Record) (best, rest []dns.Record) {
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b dns.Record) int { return int(a.Pref) - int(b.Pref) })
	for _, mx := range sorted {
		if mx.Pref == sorted[0].Pref {
			best = append(best, mx)
		} else {
			rest = append(rest, mx)
		}
	}
	return best, rest
}

// mxUnknown arms the deferral of a refusal that may be wrong.
func (r *run) mxUnknown(what string) {
	r.deferIfReject(ClassPolicy, 450, "4.4.4", refusal(r.rcptTo(), classRecipient, what))
}

// amAmong reports whether one of the hosts is this server, by name or, if none
// is, by address.
func (r *run) amAmong(mxs []dns.Record) bool {
	for _, mx := range mxs {
		ours, _, warnings := r.p.resolver.Local(r, mx.Data)
		r.warnAll(warnings)
		if ours {
			return true
		}
	}
	return slices.ContainsFunc(mxs, func(mx dns.Record) bool { return r.hasOurAddress(mx.Data) })
}

func (r *run) hasOurAddress(host string) bool {
	a := r.hostAddresses(host)
	if a.Status != evidence.Found {
		r.mxUnknown("Unable to look up mail exchanger host " + host + ": " + a.Reason)
		return false
	}
	return slices.ContainsFunc(a.Records, func(rec dns.Record) bool {
		return slices.Contains(r.p.set.ownAddresses, rec.Data)
	})
}

// trustedMX reports whether all addresses of a host, as the DNS has them, are
// in permit_mx_backup_networks.
func (r *run) trustedMX(host string) bool {
	var addrs []dns.Record
	worst := evidence.NotFound
	for _, typ := range r.p.set.addressTypes() {
		switch a := r.queryDNS(host, typ); {
		case a.Status == evidence.Found:
			addrs = append(addrs, a.Records...)
			worst = evidence.Found
		case worst != evidence.Found:
			worst = worse(a.Status, worst)
		}
	}
	if worst != evidence.Found {
		r.mxUnknown("Unable to look up host " + host + " as mail exchanger: " + resolverError(worst))
		return false
	}
	for _, rec := range addrs {
		m := r.p.backupNetworks.MatchHost(r, host, rec.Data)
		r.warnAll(m.Warnings)
		if m.Failed {
			r.warnf("all_auth_mx_addr: permit_mx_backup_networks lookup error for address %s for %s", rec.Data, host)
			r.mxUnknown("Unable to verify host " + host + " as mail exchanger")
		}
		if !m.Match {
			return false
		}
	}
	return true
}

// addressTypes are the record types of the families of inet_protocols.
func (s *settings) addressTypes() []string {
	if s.families == "" {
		return []string{"A", "AAAA"}
	}
	return strings.Fields(s.families)
}
