package restrict

import (
	"strings"

	"sekisho/internal/dnsfilter"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// What an answer of the DNS can mean to a restriction, besides what came back.
const (
	nullMX    = evidence.Status(255 - iota) // there is no mail for the domain (RFC 7505)
	filtered                                // smtpd_dns_reply_filter has left nothing
	badFilter                               // smtpd_dns_reply_filter cannot be used
)

// queryDNS asks for the records of a name that the client gave; a name that
// cannot be in the DNS is not asked for. Without an answer evaluation goes on
// as if there were some.
func (r *run) queryDNS(name, typ string) evidence.Answer {
	if !mail.ValidHostname(name) {
		return evidence.Answer{Status: evidence.NotFound}
	}
	a := r.ask(evidence.Question{Kind: evidence.DNS, Name: typ, Arg: strings.ToLower(name)},
		evidence.Answer{Status: evidence.Found})
	if a.Status == evidence.Found && typ == "MX" {
		for _, rec := range a.Records {
			if rec.Data == "" {
				a.Status = nullMX
				return a
			}
		}
	}
	return r.filterReply(a, name, typ, false)
}

// filterReply applies smtpd_dns_reply_filter. When nothing is left, that is not
// the same as no records. It says nothing if quiet.
func (r *run) filterReply(a evidence.Answer, name, typ string, quiet bool) evidence.Answer {
	if a.Status != evidence.Found {
		return a
	}
	kept, outcome, log := r.p.set.dnsReplyFilter.Apply(r, a.Records)
	for _, l := range log {
		switch {
		case quiet:
		case l.Warn:
			r.warnf("%s", l.Text)
		default:
			r.logf(l.Text)
		}
	}
	a.Records = kept
	switch outcome {
	case dnsfilter.Dropped:
		a.Status, a.Reason = filtered, outcome.Reason(name, typ)
	case dnsfilter.Broken:
		a.Status, a.Reason = badFilter, outcome.Reason(name, typ)
	}
	return a
}

// resolverError says a status as Postfix's dns_strerror(3) does.
func resolverError(s evidence.Status) string {
	switch {
	case s == filtered:
		return "DNS reply filter policy"
	case s == evidence.NotFound:
		return "Host not found"
	case s == evidence.NoData:
		return "Host found but no data record of requested type"
	case s == evidence.Failed:
		return "Non-recoverable error"
	case s != badFilter && retry(s):
		return "Host not found, try again"
	}
	return "Unknown error 0"
}

// absent reports whether an answer says that there is no such record.
func absent(s evidence.Status) bool { return s == evidence.NotFound || s == evidence.NoData }

// hostAddresses asks for the addresses of a host as the system's resolver finds
// them, in the families of inet_protocols.
func (r *run) hostAddresses(host string) evidence.Answer {
	return r.ask(evidence.Question{Kind: evidence.Host, Name: r.p.set.families, Arg: strings.ToLower(host)},
		evidence.Answer{Status: evidence.Found})
}
