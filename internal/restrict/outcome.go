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
	Carry   Carry      // to be handed to the evaluation of the next command

	// Unknown are the questions the Source had no answer to. Outcome is then
	// what would follow if each were answered so that evaluation goes on.
	Unknown []evidence.Question
}

// Carry is what an evaluation leaves for the next command of the same
// transaction: a pending defer_if_permit (smtpd_check.c saves it from client
// to HELO to sender to recipient).
type Carry struct {
	DeferIfPermit mail.Reply // zero: none
	Class         ErrorClass
}

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
