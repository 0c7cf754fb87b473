package restrict

import (
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/dns"
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

// filterReply takes the records out of an answer that smtpd_dns_reply_filter
// says to ignore. When all are gone, that is not the same as no records. It
// says nothing if quiet.
func (r *run) filterReply(a evidence.Answer, name, typ string, quiet bool) evidence.Answer {
	if a.Status != evidence.Found || len(a.Records) == 0 || len(r.p.set.dnsReplyFilter) == 0 {
		return a
	}
	notes := r.out.Notes
	var kept []dns.Record
	for _, rec := range a.Records {
		ignore, ok := r.ignored(rec)
		if !ok {
			a.Status, a.Records = badFilter, nil
			a.Reason = "Error looking up name=" + name + " type=" + typ + ": Invalid DNS reply filter syntax"
			break
		}
		if !ignore {
			kept = append(kept, rec)
		}
	}
	if a.Status == evidence.Found {
		a.Records = kept
		if len(kept) == 0 {
			a.Status = filtered
			a.Reason = "Error looking up name=" + name + " type=" + typ + ": DNS reply filter drops all results"
		}
	}
	if quiet {
		r.out.Notes = notes
	}
	return a
}

// ignored looks a record up in smtpd_dns_reply_filter; ok is false when a table
// fails or has something to say that nobody understands.
func (r *run) ignored(rec dns.Record) (ignore, ok bool) {
	const param = "smtpd_dns_reply_filter"
	text := recordText(rec)
	action, found, failed := r.findExact(r.p.set.dnsReplyFilter, param, text)
	if failed || !found {
		return false, !failed
	}
	if verb, _ := cutVerb(action); !strings.EqualFold(verb, "IGNORE") {
		r.warnf("%s: unknown DNS filter action: \"%s\"", param, action)
		return false, false
	}
	r.logf("ignoring DNS RR: " + text)
	return true, true
}

// findExact looks a key up in tables, whole, and complains of those that fail
// (maps(3)). param is where the tables are named.
func (r *run) findExact(maps []string, param, key string) (value string, found, failed bool) {
	for _, m := range maps {
		a := r.Ask(evidence.Question{Kind: evidence.Table, Name: m, Arg: key})
		switch {
		case a.Status == evidence.NotFound:
			continue
		case a.Status != evidence.Found:
			r.warnf("%s lookup error for \"%.100s\"", m, key)
			return "", false, true
		case a.Value == "":
			r.warnf("%s lookup of %s returns an empty string result", param, key)
			r.warnf("%s should return NO RESULT in case of NOT FOUND", param)
			return "", false, true
		}
		return a.Value, true, false
	}
	return "", false, false
}

// recordText is a record in the form in which smtpd_dns_reply_filter sees it:
// "host.example. 3600 IN MX 10 mx.example.".
func recordText(rec dns.Record) string {
	data := rec.Data
	switch rec.Type {
	case "MX":
		data = strconv.Itoa(int(rec.Pref)) + " " + rec.Data + "."
	case "TXT":
		data = rec.Text()
	case "A", "AAAA":
	default:
		data += "."
	}
	return fmt.Sprintf("%s. %d IN %s %s", rec.Name, int64(rec.TTL.Seconds()), rec.Type, data)
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
