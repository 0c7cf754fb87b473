// Package dns asks the Domain Name System and keeps every way of failing
// apart: NXDOMAIN, NODATA, SERVFAIL, REFUSED, a time-out and a malformed answer
// are different things to the restrictions above. It caches by TTL and is the
// only importer of the DNS library. It decides nothing about mail.
// RFC 1035, RFC 2308.
package dns

import "time"

// Record is one resource record, reduced to what mail needs.
type Record struct {
	Type string // "A", "AAAA", "MX", "NS", "TXT", "PTR", "CNAME", "TLSA"
	Name string // owner, without final dot
	Pref uint16 // MX preference
	// Data is an address, a host name without final dot ("" for the null MX "."),
	// a text, or a TLSA record's wire form.
	Data string
	TTL  time.Duration
	// First is the length of a TXT record's first character-string within
	// Data, 0 when it is all of it; see Text.
	First int
}

// Outcome is what came of a query. To Postfix on glibc, ServFail, Refused and
// Timeout are the same: "Host not found, try again" (DNS_RETRY).
type Outcome uint8

const (
	Success    Outcome = iota + 1
	NXDomain           // no such name, or none that can be asked for
	NoData             // the name exists, without records of this type
	ServFail           // the server failed
	Refused            // the server refuses to answer
	Timeout            // nobody answered in time, or no server is reachable
	Malformed          // an answer that makes no sense
	OtherError         // any other code of the server
)
