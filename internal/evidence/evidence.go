// Package evidence is the one door through which decisions look at the world:
// a Question is asked of a Source and an Answer comes back that keeps what
// happened. The restriction engine and the address resolver see nothing else,
// so that the same code decides for a live client, for a recorded session, for
// a scripted zone file and for every answer that could possibly come.
//
// It decides nothing itself and knows no restriction.
package evidence

import (
	"fmt"
	"time"

	"sekisho/internal/dns"
)

// Kind is what a question is about.
type Kind uint8

const (
	// DNS asks the resolver. Name is the record type ("A", "AAAA", "MX", "NS",
	// "TXT", "PTR"), Arg the domain name without the final dot.
	DNS Kind = iota + 1
	// Host asks for the addresses of a host as the system resolves it (hosts
	// file included). Arg is the name; Name is the types wanted, "A", "AAAA" or
	// both with a blank between, empty for both.
	Host
	// Table looks a key up. Name is the table as configured
	// ("hash:/etc/postfix/access"), Arg the key.
	Table
	// Policy asks a policy service. Name is the service as the restriction list
	// has it, Arg the request. Asking has effects at the other side (a greylist
	// remembers who came), so it is never done in advance, nor for a restriction
	// that evaluation does not reach.
	Policy
	// Verify asks whether an address can get mail. Arg is the address; the
	// answer's Value is one of the words below, its Reason the delivery agent's.
	Verify
	// Clock asks for the time, which is in the answer's Asked.
	Clock
	// Sleep asks for an answer later. Arg is the number of seconds.
	Sleep
)

// What an answer to Verify says. Deferred and InProgress are no outcome: the
// last probe could not find out, or the first is still under way.
const (
	Deliverable   = "deliverable"
	Undeliverable = "undeliverable"
	Deferred      = "deferred"
	InProgress    = "in progress"
)

// Question is a value: it can be a map key, be written down and be compared.
type Question struct {
	Kind Kind
	Name string
	Arg  string
}

// Ahead reports whether q may be asked before it is known to matter: nobody is
// harmed by a question to the DNS too many.
func (q Question) Ahead() bool { return q.Kind == DNS || q.Kind == Host }

// Status says what came of a question. Failures stay distinct: a rule that
// treats two of them alike says so where it does.
type Status uint8

const (
	Unknown   Status = iota // never asked
	Found                   // an answer is there
	NotFound                // NXDOMAIN; a table without the key
	NoData                  // the name exists, without records of this type
	ServFail                // DNS: the server failed
	Timeout                 // nobody answered in time
	Refused                 // DNS: REFUSED
	Malformed               // an answer that makes no sense
	Failed                  // any other failure; Reason says which
)

// Temporary reports whether asking again later may help: SERVFAIL, a time-out
// (Postfix's DNS_RETRY).
func (s Status) Temporary() bool { return s == ServFail || s == Timeout }

// Answer is what came of a question.
type Answer struct {
	Status  Status
	Value   string       // a table's value, a policy service's action
	Records []dns.Record // DNS and Host
	Reason  string       // what went wrong, in words for a log line
	// Permanent: a table failed for good; asking again will not help (Postfix's
	// DICT_ERR_CONFIG).
	Permanent bool
	// Warnings are complaints, about odd records or a policy service that did
	// not answer, to be logged when the answer is used for the first time.
	Warnings []string
	TTL      time.Duration
	Asked    time.Time
	Took     time.Duration

	// Repeated: this session has had the same answer before, so that what it
	// gave cause to log has been logged.
	Repeated bool
}

// Source answers questions. Ask blocks until there is an answer; it never
// fails otherwise than by an Answer that says so. Implementations are safe for
// concurrent use.
type Source interface {
	Ask(Question) Answer
}

// SourceFunc makes a Source of a function.
type SourceFunc func(Question) Answer

// Ask calls f.
func (f SourceFunc) Ask(q Question) Answer { return f(q) }

// First asks tables for a key, in order, until one has it or fails (maps(3)); an
// empty value is a failure. The answer's Status is Found, NotFound or Failed. The
// warnings are Postfix's; param is where the tables are named.
func First(src Source, param string, tables []string, key string) (a Answer, warnings []string) {
	for _, table := range tables {
		a = src.Ask(Question{Kind: Table, Name: table, Arg: key})
		switch {
		case a.Status == NotFound:
			continue
		case a.Status != Found:
			return Answer{Status: Failed, Reason: a.Reason}, []string{fmt.Sprintf("%s lookup error for \"%.100s\"", table, key)}
		case a.Value == "":
			return Answer{Status: Failed}, []string{
				param + " lookup of " + key + " returns an empty string result",
				param + " should return NO RESULT in case of NOT FOUND",
			}
		}
		return a, nil
	}
	return Answer{Status: NotFound}, nil
}
