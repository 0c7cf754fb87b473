package dns

import (
	"slices"
	"strings"
	"time"

	"sekisho/internal/mail"
)

// Answer is what came of a query, CNAMEs followed.
type Answer struct {
	Outcome Outcome
	Records []Record // of the type asked for; empty unless Success
	// Reason says what went wrong in the words of Postfix's dns_lookup(3).
	Reason string
	// Warnings are complaints about odd records, to be logged whenever the
	// answer is used.
	Warnings []string
	TTL      time.Duration // how long the answer may still be used
	Asked    time.Time     // when the network was asked; a cached answer keeps it
	Took     time.Duration // how long the network took
	AD       bool          // the server says the data is authentic (DNSSEC)
}

// Reply is one reply of a server, before CNAMEs are followed. It is what a
// scripted server (package zone) gives and what the wire is reduced to.
type Reply struct {
	// Outcome is Success for NOERROR, with or without records; Timeout in a
	// scripted reply means that the question is never answered.
	Outcome     Outcome
	Records     []Record // answer section: CNAMEs and the type asked for
	NegativeTTL time.Duration
	AD          bool
}

// maxCNAMEs is how many aliases in a row Postfix follows.
const maxCNAMEs = 10

// Resolve asks one question with the help of ask, which fetches single
// replies, and follows CNAMEs as far as Postfix does. The result's Asked and
// Took are not set.
func Resolve(name, typ string, ask func(name, typ string) Reply) Answer {
	if complaint(name, true) != "" {
		return Answer{
			Outcome: NXDomain,
			Reason:  "Name service error for " + name + ": invalid host or domain name",
		}
	}
	ttl, ad, at := time.Duration(-1), true, name
	for range maxCNAMEs {
		reply := ask(at, typ)
		ad = ad && reply.AD
		if reply.Outcome != Success {
			a := failure(reply.Outcome, at, typ)
			a.TTL, a.AD = least(ttl, reply.NegativeTTL), ad
			return a
		}
		a, next := read(at, typ, reply)
		a.AD = ad
		ttl = least(ttl, a.TTL)
		a.TTL = ttl
		if next == "" {
			return a
		}
		at = next
	}
	loop := "Name server loop for " + at
	return Answer{Outcome: NXDomain, Reason: loop, Warnings: []string{"dns_lookup: " + loop}, TTL: max(ttl, 0)}
}

// read takes the records of one NOERROR reply. next is the alias' target when
// the reply ends at a CNAME.
func read(name, typ string, reply Reply) (a Answer, next string) {
	a.TTL = -1
	chain := aliases(name, typ, reply.Records)
	malformed := false
	for _, r := range reply.Records {
		if !contains(chain, r.Name) || r.Type != typ && r.Type != "CNAME" {
			continue
		}
		warnings, ok := checkName(name, r)
		a.Warnings = append(a.Warnings, warnings...)
		malformed = malformed || !ok
		a.TTL = least(a.TTL, r.TTL)
		if ok && r.Type == typ {
			a.Records = append(a.Records, r)
		}
	}
	switch end := chain[len(chain)-1]; {
	case len(a.Records) > 0:
		a.Outcome = Success
	case malformed:
		a.Outcome = Malformed
		a.Reason = "Name service error for name=" + name + " type=" + typ +
			": Malformed or unexpected name server reply"
	case end != name:
		return a, end
	default:
		w := a.Warnings
		a = failure(NoData, name, typ)
		a.Warnings, a.TTL = w, reply.NegativeTTL
	}
	return a, ""
}

// aliases returns name and the names it is an alias of, in order, as far as
// records tell.
func aliases(name, typ string, records []Record) []string {
	chain := []string{name}
	if typ == "CNAME" {
		return chain
	}
	for {
		end := chain[len(chain)-1]
		i := slices.IndexFunc(records, func(r Record) bool {
			return r.Type == "CNAME" && strings.EqualFold(r.Name, end) && !contains(chain, r.Data)
		})
		if i < 0 {
			return chain
		}
		chain = append(chain, records[i].Data)
	}
}

// checkName judges the name in a record's data as Postfix's valid_rr_name
// does: an address passes with a complaint, a malformed name is dropped. PTR
// names are judged by ClientName.
func checkName(query string, r Record) (warnings []string, ok bool) {
	switch r.Type {
	case "MX", "NS", "CNAME":
	default:
		return nil, true
	}
	if r.Data == "" && r.Type == "MX" {
		return nil, true // the null MX, RFC 7505
	}
	where := " in resource data of " + r.Type + " record for " + query + ": " + clip(r.Data)
	if mail.ValidHostAddr(r.Data) {
		return []string{"numeric domain name" + where}, true
	}
	if c := complaint(r.Data, true); c != "" {
		return []string{c, "malformed domain name" + where}, false
	}
	return nil, true
}

// failure returns the answer for an outcome other than Success.
func failure(o Outcome, name, typ string) Answer {
	text := "Host not found, try again"
	switch o {
	case NXDomain:
		text = "Host not found"
	case NoData:
		text = "Host found but no data record of requested type"
	case Malformed, OtherError:
		text = "Non-recoverable error"
	}
	return Answer{
		Outcome: o,
		Reason:  "Host or domain name not found. Name service error for name=" + name + " type=" + typ + ": " + text,
	}
}

func contains(names []string, name string) bool {
	return slices.ContainsFunc(names, func(s string) bool { return strings.EqualFold(s, name) })
}

// least returns the smaller of two durations, the second when the first is
// not set (negative).
func least(a, b time.Duration) time.Duration {
	if a < 0 {
		return b
	}
	if b < 0 {
		return a
	}
	return min(a, b)
}
