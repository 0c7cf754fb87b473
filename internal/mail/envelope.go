package mail

import (
	"strings"
	"time"
)

// Envelope is the envelope of one message on its way from the SMTP server
// through cleanup into the queue. It is a plain value; the queue stores it as
// JSON, so the field tags are part of the queue's file format.
type Envelope struct {
	QueueID    string      `json:"id"`
	Arrived    time.Time   `json:"at"`
	Sender     string      `json:"from"` // internal form; empty is the null sender
	Recipients []Recipient `json:"to"`

	Ret      string `json:"ret,omitempty"`   // "", FULL or HDRS (RFC 3461 section 4.3)
	EnvID    string `json:"envid,omitempty"` // xtext as received (RFC 3461 section 4.4)
	SMTPUTF8 bool   `json:"utf8,omitempty"`  // the message needs SMTPUTF8 to travel on (RFC 6531)
	Body     string `json:"body,omitempty"`  // "", 7BIT or 8BITMIME (RFC 6152)
	Size     int64  `json:"size"`            // bytes of content as stored, line ends counted as one

	Filter string `json:"filter,omitempty"` // transport:nexthop of content_filter or FILTER; empty: none
	// RequireTLS: the sender wants no hop without TLS (REQUIRETLS, RFC 8689).
	RequireTLS bool `json:"reqtls,omitempty"`

	Hold bool `json:"hold,omitempty"` // waits in the queue until released

	// Probe: no message but a question of address verification. Nobody gets it,
	// and nobody is ever told that it was not delivered.
	Probe bool `json:"probe,omitempty"`

	// Redirected is how many more recipients there were before a REDIRECT put one
	// address in their place; the queue manager's log counts them.
	Redirected int `json:"redirected,omitempty"`

	// Expanded are recipients that were aliases, and whose success the sender
	// wants to hear of: that they were expanded (RFC 3461 section 5.2.7.1).
	Expanded []Recipient `json:"expanded,omitempty"`

	Client Client `json:"client"` // who brought it
}

// Recipient is one recipient with what the sender wants to hear about it.
type Recipient struct {
	Address  string `json:"r"`           // internal form, after aliases
	Original string `json:"o,omitempty"` // as the client gave it: X-Original-To, orig_to=; empty: unknown
	Notify   Notify `json:"n,omitempty"`
	ORCPT    string `json:"dsn,omitempty"` // "rfc822;..." in xtext, as received (RFC 3461 section 4.2)
}

// Client is whoever brought a message, under the names that log lines and
// content filters use. The zero Client is a message made on this machine.
type Client struct {
	Name         string `json:"name,omitempty"` // verified host name or "unknown"
	Address      string `json:"addr,omitempty"` // without brackets
	Port         string `json:"port,omitempty"`
	ReverseName  string `json:"rev,omitempty"`
	Helo         string `json:"helo,omitempty"`
	Protocol     string `json:"proto,omitempty"` // SMTP or ESMTP
	SASLMethod   string `json:"sm,omitempty"`
	SASLUsername string `json:"su,omitempty"`
	SASLSender   string `json:"ss,omitempty"`
}

// Notify is the set of events of which the sender wants to be told about a
// recipient (RFC 3461 section 4.1). Zero is the default: failures, and delays
// where the site sends delay warnings.
type Notify uint8

const (
	NotifySuccess Notify = 1 << iota
	NotifyFailure
	NotifyDelay
	NotifyNever
)

// ParseNotify reads the value of a NOTIFY parameter. ok is false for anything
// RFC 3461 does not allow: an unknown word, or NEVER together with others.
func ParseNotify(s string) (n Notify, ok bool) {
	for _, word := range strings.Split(s, ",") {
		switch strings.ToUpper(word) {
		case "SUCCESS":
			n |= NotifySuccess
		case "FAILURE":
			n |= NotifyFailure
		case "DELAY":
			n |= NotifyDelay
		case "NEVER":
			n |= NotifyNever
		default:
			return 0, false
		}
	}
	if n&NotifyNever != 0 && n != NotifyNever {
		return 0, false
	}
	return n, true
}

// String returns n as the value of a NOTIFY parameter, empty for the default.
func (n Notify) String() string {
	if n&NotifyNever != 0 {
		return "NEVER"
	}
	var words []string
	for _, e := range []struct {
		bit  Notify
		word string
	}{{NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}} {
		if n&e.bit != 0 {
			words = append(words, e.word)
		}
	}
	return strings.Join(words, ",")
}
