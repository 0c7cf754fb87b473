package restrict

import (
	"log/slog"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Note is one line that the decision leaves in the log, complete but for the
// service's name: a warning, or a "NOQUEUE: reject: ..." line.
type Note struct {
	Level slog.Level // LevelInfo or LevelWarn
	Text  string
	// Service is the daemon of Postfix that says it, without syslog_name, such
	// as "trivial-rewrite"; empty for smtpd.
	Service string
}

// EffectKind is a thing that a decision does to the message besides accepting
// or refusing it (access(5), OTHER ACTIONS).
type EffectKind uint8

const (
	Hold EffectKind = iota + 1
	Filter
	Redirect
	Bcc
	Prepend
	Discard
)

// Effect is one such thing with its argument: a transport:nexthop, an address,
// a header.
type Effect struct {
	Kind EffectKind
	Arg  string
}

// Outcome is what the server does with one command.
type Outcome struct {
	Reply   mail.Reply // zero: the command is accepted
	Class   ErrorClass // what kind of trouble Reply reports
	Hangup  bool       // the connection ends without a reply
	Notes   []Note     // to be logged in this order
	Effects []Effect   // in order of execution; also those of a refused recipient
	Carry   Carry      // to be handed to the next evaluation of the session

	// Unknown are the questions the Source had no answer to. Outcome is then
	// what would follow if each were answered so that evaluation goes on.
	Unknown []evidence.Question
	// Hoped are the answers that Unknown were taken to have, by their status.
	Hoped []evidence.Status
}

// Carry is what evaluations leave for later ones of the same session: the
// deferrals that the lists of a stage have armed, and what was done to the
// message already. The server hands the Carry of each Outcome to the next
// evaluation, and EndTransaction's between two messages.
type Carry struct {
	Client Deferral // as the client list left it
	Helo   Deferral // as the HELO list left it, the client list's included
	Sender Deferral // as the sender list left it, both others included

	SenderChecked bool // reject_unlisted_sender has run at MAIL
	Held          bool // HOLD was executed
	Discarded     bool // DISCARD was executed: nothing more is evaluated
}

// EndTransaction returns what outlives a message: call it for RSET, a new
// greeting, the end of DATA, and MAIL that was refused.
func (c Carry) EndTransaction() Carry {
	c.SenderChecked, c.Held, c.Discarded = false, false, false
	return c
}

// Deferral is a defer_if_permit that waits for a permission; the zero value
// is none.
type Deferral struct {
	Class ErrorClass
	Reply mail.Reply
}

// Active reports whether there is one.
func (d Deferral) Active() bool { return !d.Reply.IsZero() }

// ErrorClass is the kind of trouble a refusal reports, as notify_classes in
// postconf(5) names them. The server may have to tell postmaster.
type ErrorClass uint8

const (
	ClassNone     ErrorClass = iota
	ClassPolicy              // refused by a restriction
	ClassProtocol            // the client broke the protocol
	ClassResource            // a lookup or the disk failed
	ClassSoftware            // the configuration is broken
	ClassData                // a table or the directory failed
	ClassBounce              // the address is known to be undeliverable
)
