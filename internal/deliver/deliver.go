// Package deliver is what the queue manager and the delivery agents have in
// common: the request to deliver one message to some recipients, the outcome
// for each of them, and the line that is logged about it.
//
// It delivers nothing itself; each package below it is one agent. It knows
// neither queue nor schedule. RFC 3463, RFC 3464, bounce(8).
package deliver

import (
	"context"
	"io"
	"time"

	"sekisho/internal/mail"
)

// Agent delivers messages by one way: into Maildirs, over SMTP, nowhere.
type Agent interface {
	// Deliver tries to deliver r once and returns one Result for each recipient,
	// in any order. It returns early when ctx ends; recipients that were not
	// reached by then are Deferred. A recipient without a Result is taken as
	// Deferred. Deliver is called concurrently.
	Deliver(ctx context.Context, r *Request) []Result
}

// Request asks an agent to deliver one message to some of its recipients.
type Request struct {
	QueueID  string
	Envelope *mail.Envelope // the whole envelope, not to be changed
	// Recipients are those to deliver to, in the form that rewriting gave them.
	Recipients []mail.Recipient
	Nexthop    string // as the resolver found it: domain, [host]:port, text of error:
	Size       int64  // bytes of content
	// More reports whether other deliveries to the same next hop are waiting; nil:
	// none are.
	More func() bool
	// Probe: this is no mail but the question whether it would be delivered. An
	// agent answers it as far as it can without delivering anything, and Sent
	// means that it would (verify(8)).
	Probe bool
	// Content opens the message: header and body, lines ending in LF. An error
	// while reading means that the message is damaged or the disk fails; it must
	// never be taken as the end of the message.
	Content func() (io.ReadCloser, error)
}

// Defer returns a Result for every recipient of r that says the same: try
// again later, because of text.
func (r *Request) Defer(dsn, relay, text string) []Result {
	return r.All(Result{Status: Deferred, DSN: dsn, Relay: relay, Text: text})
}

// All returns result for every recipient of r.
func (r *Request) All(result Result) []Result {
	out := make([]Result, len(r.Recipients))
	for i := range out {
		out[i] = result
		out[i].Recipient = i
	}
	return out
}

// Status is what came of a recipient.
type Status uint8

const (
	Deferred Status = iota // not now; try again later
	Sent                   // delivered, or handed to the next hop
	Bounced                // will never be delivered
)

// String returns the word of the log line.
func (s Status) String() string { return [...]string{"deferred", "sent", "bounced"}[s] }

// Result is the outcome for one recipient. The queue stores it as JSON, so the
// field tags are part of the queue's file format.
type Result struct {
	Recipient int    `json:"r"`               // index in Request.Recipients
	Status    Status `json:"st"`              // of this attempt
	DSN       string `json:"dsn"`             // enhanced status code, such as 2.0.0 (RFC 3463)
	Text      string `json:"text"`            // what is logged in parentheses: "delivered to maildir"
	Relay     string `json:"relay,omitempty"` // "virtual", "mx.remote.test[192.0.2.1]:25", "none"

	// RemoteMTA and Diagnostic go into delivery status notifications: the host
	// that spoke, and its reply ("550 5.1.1 No such user"). Empty when the
	// decision was made here.
	RemoteMTA  string `json:"mta,omitempty"`
	Diagnostic string `json:"diag,omitempty"`

	// DiagnosticType is the kind of Diagnostic when no SMTP server gave it, such as
	// "x-unix" for a command's.
	DiagnosticType string `json:"dtype,omitempty"`

	// Relayed: handed to another system. Reports: that system takes over the
	// duty to send delivery status notifications (RFC 3461 section 5.2.1).
	Relayed bool `json:"relayed,omitempty"`
	Reports bool `json:"reports,omitempty"`

	// Expansion is what the recipient stood for, if it was an alias or forwarded;
	// the Result is the sum of its parts then.
	Expansion *Expansion `json:"exp,omitempty"`

	// Transport is another transport that the agent has passed the recipient on to;
	// it is under its name that the outcome is logged.
	Transport string `json:"-"`

	// SoftBounced: deferred only because soft_bounce says so.
	SoftBounced bool `json:"-"`

	// Down: it is the next hop that is in trouble, and other mail for it would
	// fare the same.
	Down bool `json:"-"`

	// Uses is how many messages the connection has taken, this one included;
	// 0 when it was made for this one.
	Uses int `json:"-"`

	// Connected is when the connection to the next hop was ready for mail; the
	// zero time for agents that need none. It divides the logged delays.
	Connected time.Time `json:"-"`
}

// Expansion is what came of the addresses, files and commands that a recipient
// stood for. Each part is logged, and reported if it failed, by itself.
type Expansion struct {
	Parts []Part `json:"p"`
	// Alias: the recipient was an alias or forwarded its mail, which counts as
	// delivered whatever becomes of the parts (RFC 3461 section 5.2.7).
	Alias bool `json:"alias,omitempty"`
	// List: an alias with an owner, which takes over the reports about its members.
	List bool `json:"list,omitempty"`
}

// Part is one thing that a recipient stood for.
type Part struct {
	To     mail.Recipient `json:"to"`
	Result Result         `json:"res"`
	// Owner is who is told of a failure instead of the sender; empty: nobody else.
	Owner string `json:"owner,omitempty"`
}

// Sum is the Result of a recipient that stood for these parts: it has to be tried
// again if one of them has, and has failed if one has.
func (e *Expansion) Sum() Result {
	sum := Result{Status: Sent, DSN: "2.0.0", Text: "alias expanded", Expansion: e}
	for _, p := range e.Parts {
		r := p.Result
		if r.Status == Deferred || r.Status == Bounced && sum.Status == Sent {
			sum = r
		}
		if sum.Status == Deferred {
			break
		}
	}
	sum.Expansion = e
	return sum
}

// Each calls f with the parts of r, or with r itself if it has none. to is the
// recipient that r is about.
func (r Result) Each(to mail.Recipient, f func(Part)) {
	if r.Expansion == nil {
		f(Part{To: to, Result: r})
		return
	}
	for _, p := range r.Expansion.Parts {
		f(p)
	}
}
