package mail

import "strings"

// NameStatus says how far a client's host name could be established: the codes
// Postfix keeps for client and reverse client names.
type NameStatus int

const (
	NameOK     NameStatus = 2 // looked up, and the name's addresses contain the client's
	NameTemp   NameStatus = 4 // temporary lookup failure
	NamePerm   NameStatus = 5 // no name
	NameForged NameStatus = 6 // a name whose addresses don't contain the client's
)

// Facts are what is known of a session at one command, under the attribute
// names of Postfix's policy delegation protocol (SMTPD_POLICY_README). They
// are plain values: an evaluation reads them and changes nothing.
type Facts struct {
	ProtocolState string // CONNECT EHLO HELO MAIL RCPT DATA BDAT END-OF-MESSAGE VRFY ETRN
	ProtocolName  string // SMTP, after EHLO ESMTP

	ClientAddress           string // without brackets; "unknown" when the socket has none
	SocketAddress           string // the connection's own, which XCLIENT does not change; empty: ClientAddress
	ClientPort              string
	ClientName              string // verified name or "unknown"
	ClientNameStatus        NameStatus
	ReverseClientName       string // PTR name or "unknown"
	ReverseClientNameStatus NameStatus
	ServerAddress           string
	ServerPort              string

	HeloName       string // empty: none was given
	SenderKnown    bool   // MAIL FROM was accepted or is being decided
	Sender         string // internal (unquoted) form; empty with SenderKnown is the null sender
	RecipientKnown bool
	Recipient      string // internal form, as the client sent it
	RecipientCount int    // recipients accepted so far
	ETRNDomain     string

	QueueID  string // empty: none yet, logged as NOQUEUE
	Instance string
	Size     int64 // SIZE= of MAIL, the real size at END-OF-MESSAGE; bytes

	SASLMethod   string
	SASLUsername string // not empty: the client has authenticated
	SASLSender   string // AUTH= of MAIL

	EncryptionProtocol     string // empty: plaintext session
	EncryptionCipher       string
	EncryptionKeysize      int    // bits
	TLSSNI                 string // name the client asked for, where certificates depend on it
	CcertSubject           string
	CcertIssuer            string
	CcertFingerprint       string
	CcertPubkeyFingerprint string
	CcertPresent           bool
	CcertTrusted           bool

	SMTPUTF8         bool // MAIL asked for it (RFC 6531): names may be non-ASCII
	UnauthPipelining bool // the client pipelined where it may not; sticky for the session
	LogClientPort    bool // smtpd_client_port_logging
	LogInternal      bool // info_log_address_format = internal: addresses without quotes
}

// NameAddr returns the client as Postfix logs it: NAME[ADDRESS], with :PORT
// when LogClientPort is set.
func (f *Facts) NameAddr() string {
	s := f.ClientName + "[" + f.ClientAddress + "]"
	if f.LogClientPort {
		s += ":" + f.ClientPort
	}
	return s
}

// LogLine returns the line Postfix logs for a decision:
//
//	QUEUEID: VERB: STATE from NAME[ADDR]: TEXT; from=<S> to=<R> proto=P helo=<H>
//
// with only the parts that are known (smtpd_check.c's log_whatsup). The
// sasl_ parts are those of Postfix 3.10 and later only and are left out, as in
// 3.7.
func (f *Facts) LogLine(verb, text string) string {
	var b strings.Builder
	if f.QueueID == "" {
		b.WriteString("NOQUEUE")
	} else {
		b.WriteString(f.QueueID)
	}
	b.WriteString(": " + verb + ": " + f.ProtocolState + " from " + f.NameAddr() + ": " + text + ";")
	quote := Quote
	if f.LogInternal {
		quote = func(address string) string { return address }
	}
	if f.SenderKnown {
		b.WriteString(" from=<" + quote(f.Sender) + ">")
	}
	if f.RecipientKnown {
		b.WriteString(" to=<" + quote(f.Recipient) + ">")
	}
	if f.ProtocolName != "" {
		b.WriteString(" proto=" + f.ProtocolName)
	}
	if f.HeloName != "" {
		b.WriteString(" helo=<" + f.HeloName + ">")
	}
	return b.String()
}
