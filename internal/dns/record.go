// Package dns asks the Domain Name System and keeps every way of failing
// apart: NXDOMAIN, NODATA, SERVFAIL, REFUSED, a time-out and a malformed answer
// are different things to the restrictions above. It caches by TTL and is the
// only importer of the DNS library. It decides nothing about mail.
// RFC 1035, RFC 2308.
package dns

import "time"

// Record is one resource record, reduced to what mail needs.
type Record struct {
	Type string // "A", "AAAA", "MX", "NS", "TXT", "PTR", "CNAME"
	Name string // owner, without final dot
	Pref uint16 // MX preference
	Data string // address, host name without final dot ("" for the null MX "."), or text
	TTL  time.Duration
}

// Outcome is what came of a query.
type Outcome uint8

const (
	Success Outcome = iota + 1
	NXDomain
	NoData
	ServFail
	Refused
	Timeout
	Malformed
	OtherError
)
