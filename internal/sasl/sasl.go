// Package sasl is the server's side of SMTP authentication: which mechanisms
// there are, and the exchange of challenges and responses that ends in a user
// name or a refusal. Backend is the place where passwords are checked; Embedded
// is the one that asks the account directory (smtpd_sasl_type = sekisho).
//
// It does not speak SMTP: the AUTH command, its limits, "*", replies and log
// lines are smtpd's, and so is filtering mechanisms by
// smtpd_sasl_security_options and smtpd_sasl_mechanism_filter.
// RFC 4422, RFC 4954, RFC 4616 (PLAIN), RFC 2195 (CRAM-MD5), RFC 5802 and
// RFC 7677 (SCRAM), RFC 5929 and RFC 9266 (channel binding).
package sasl

import "context"

// Mechanism is a way to authenticate, with the properties that
// smtpd_sasl_security_options selects by.
type Mechanism struct {
	Name           string // upper case
	Plaintext      bool   // noplaintext excludes it
	Active         bool   // noactive: open to active attacks
	Dictionary     bool   // nodictionary: open to passive dictionary attacks
	Anonymous      bool   // noanonymous
	ForwardSecrecy bool   // forward_secrecy demands it
	MutualAuth     bool   // mutual_auth demands it
}

// Client is who authenticates, as far as the exchange depends on it.
type Client struct {
	Address       string // without brackets
	ServerAddress string
	Service       string // smtpd_sasl_service
	TLS           bool
	// ChannelBinding returns the binding data of the TLS session for a type of
	// the IANA registry ("tls-exporter", "tls-server-end-point",
	// "tls-unique"), false when the session has none. Nil without TLS, and
	// when no -PLUS mechanism was offered.
	ChannelBinding func(kind string) ([]byte, bool)
}

// StepKind says how an exchange goes on.
type StepKind uint8

const (
	Challenge  StepKind = iota + 1 // send Step.Challenge, wait for the response
	Done                           // authenticated as Step.User
	Failed                         // refused; 535
	TempFailed                     // could not be decided; 454
)

// Step is the backend's answer to one message of the client.
type Step struct {
	Kind      StepKind
	Challenge string // base64, may be empty
	// User is the canonical login name when Done. When Failed it is the name
	// the client gave, as far as UserKnown, for the log line.
	User      string
	UserKnown bool
	// Reason goes into reply and log line; empty: none was given, which
	// Postfix prints as "(reason unavailable)".
	Reason   string
	Warnings []string // log lines of level warning, to be written first
}

// Exchange is one authentication under way. It is for one goroutine. Dropping
// it unfinished, as on "*" or a lost connection, ends the context it was started
// with.
type Exchange interface {
	// Next takes the client's response as it was sent: base64, no CRLF.
	Next(ctx context.Context, response string) Step
}

// Backend checks credentials. It is safe for concurrent use.
type Backend interface {
	// Mechanisms returns what is offered, in the order of the EHLO reply; tls
	// says whether the session is encrypted. An error means that the backend
	// cannot be asked now; what comes with it is offered all the same.
	Mechanisms(tls bool) ([]Mechanism, error)
	// Start begins an exchange by mech (any case). initial is the initial
	// response as sent, "=" standing for an empty one; hasInitial is false
	// when the client sent none. The Exchange is nil unless the Step is a
	// Challenge.
	Start(ctx context.Context, c Client, mech, initial string, hasInitial bool) (Exchange, Step)
}
