package smtpd

import (
	"math"
	"strconv"
	"strings"

	"sekisho/internal/anvil"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

var (
	badSender   = mail.Reply{Code: 501, Status: "5.1.7", Text: "Bad sender address syntax"}
	dsnDisabled = mail.Reply{Code: 501, Status: "5.7.1", Text: "DSN support is disabled"}
)

// mailParams are the parameters of a MAIL command.
type mailParams struct {
	body       string // "", 7BIT, 8BITMIME
	ret        string
	envID      string
	hasEnvID   bool
	smtputf8   bool
	requireTLS bool // REQUIRETLS
	verp       bool
}

// mail begins a transaction.
func (s *session) mail(words []token) mail.Reply {
	s.facts.SMTPUTF8, s.tr.params.smtputf8 = false, false // even if all else stays
	switch {
	case s.heloMissing():
		return heloFirst
	case s.tr.open:
		return mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: nested MAIL command"}
	case s.tr.chunks.any():
		return mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: MAIL after BDAT"}
	case len(words) < 3 || !strings.EqualFold(words[1].text, "from:"):
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: MAIL FROM:<address>"}
	}
	if rate, over := s.count(anvil.Messages, s.set.limits.messages); over {
		s.warn("Message delivery request rate limit exceeded: %d from %s for service %s",
			rate, s.facts.NameAddr(), s.srv.o.Service)
		s.blame(restrict.ClassPolicy)
		return mail.Reply{Code: 450, Status: "4.7.1", Text: "Error: too much mail from " + s.facts.ClientAddress}
	}
	sender, p, r := s.mailArguments(words[2], words[3:])
	if !r.IsZero() {
		s.facts.SMTPUTF8 = false
		return r
	}
	return s.checkSender(sender, p)
}

// mailArguments reads the address and the parameters of MAIL.
func (s *session) mailArguments(word token, params []token) (sender string, p mailParams, r mail.Reply) {
	if word.broken {
		return "", p, badSender
	}
	for _, w := range params {
		if s.utf8On() && strings.EqualFold(w.text, "SMTPUTF8") {
			p.smtputf8 = true
		}
	}
	s.facts.SMTPUTF8 = p.smtputf8
	sender, ok := s.address(word.text, true, s.set.strictEnvelopes)
	if !ok {
		return "", p, badSender
	}
	for _, w := range params {
		if r := s.mailParam(&p, w.text); !r.IsZero() {
			return "", p, r
		}
	}
	return sender, p, mail.Reply{}
}

func (s *session) utf8On() bool { return s.set.smtputf8 && s.discard&noSMTPUTF8 == 0 }

// needsUTF8 refuses a non-ASCII address without SMTPUTF8 under
// strict_smtputf8.
func (s *session) needsUTF8(addr string, declared bool) mail.Reply {
	if declared || !s.set.smtputf8 || !s.set.strictSMTPUTF8 || isASCII(addr) {
		return mail.Reply{}
	}
	return mail.Reply{Code: 553, Status: "5.6.7", Text: "Must declare SMTPUTF8 to send unicode address"}
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// takesRequireTLS reports whether a sender may ask for TLS all the way (RFC
// 8689).
func (s *session) takesRequireTLS() bool {
	return s.set.requireTLS && s.tls != nil && s.discard&noRequireTLS == 0
}

// mailParam reads one parameter of MAIL.
func (s *session) mailParam(p *mailParams, arg string) mail.Reply {
	name, value, has := strings.Cut(arg, "=")
	name = strings.ToUpper(name)
	if has {
		name += "="
	}
	switch {
	case strings.EqualFold(arg, "BODY=8BITMIME"):
		p.body = "8BITMIME"
	case strings.EqualFold(arg, "BODY=7BIT"):
		p.body = "7BIT"
	case name == "SIZE=":
		return s.setSize(value)
	case name == "SMTPUTF8" && s.utf8On():
	case name == "REQUIRETLS" && s.takesRequireTLS():
		p.requireTLS = true
	case name == "AUTH=":
		return s.mailAuth(value)
	case (name == "XVERP" || name == "XVERP=") && s.discard&noVERP == 0 && s.matchHost(s.set.lists.verp):
		return p.setVERP(value, has)
	case name == "RET=":
		return s.setRet(p, value)
	case name == "ENVID=":
		return s.setEnvID(p, value)
	default:
		return mail.Reply{Code: 555, Status: "5.5.4", Text: "Unsupported option: " + arg}
	}
	return mail.Reply{}
}

// setSize takes SIZE=. It stays with the session until the next reset, also
// when the rest of the command is refused.
func (s *session) setSize(v string) mail.Reply {
	if !allDigits(v) {
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Bad message size syntax"}
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil {
		return mail.Reply{Code: 552, Status: "5.3.4", Text: "Message size exceeds file system imposed limit"}
	}
	s.facts.Size = n
	return mail.Reply{}
}

func (p *mailParams) setVERP(delims string, given bool) mail.Reply {
	p.verp = true
	if given && (len(delims) != 2 || strings.Trim(delims, "-=+") != "") {
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Error: XVERP needs two characters from -=+"}
	}
	return mail.Reply{}
}

func (s *session) setRet(p *mailParams, v string) mail.Reply {
	v = strings.ToUpper(v)
	switch {
	case s.discard&noDSN != 0:
		return dsnDisabled
	case p.ret != "" || v != "FULL" && v != "HDRS":
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Bad RET parameter syntax"}
	}
	p.ret = v
	return mail.Reply{}
}

func (s *session) setEnvID(p *mailParams, v string) mail.Reply {
	if s.discard&noDSN != 0 {
		return dsnDisabled
	}
	plain, ok := unxtext(v)
	if p.hasEnvID || !ok || !isPrint(plain) {
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Bad ENVID parameter syntax"}
	}
	p.envID, p.hasEnvID = v, true
	return mail.Reply{}
}

// isPrint reports whether s is printable ASCII and not empty.
func isPrint(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return s != ""
}

// mailAuth takes the AUTH= of MAIL (RFC 4954 section 5).
func (s *session) mailAuth(v string) mail.Reply {
	if s.facts.SASLSender != "" {
		return mail.Reply{Code: 503, Status: "5.5.4", Text: "Error: multiple AUTH= options"}
	}
	if v != "<>" {
		s.facts.SASLSender = printable(v)
	}
	return mail.Reply{}
}

// checkSender is the second half of MAIL: size, restrictions, acceptance.
func (s *session) checkSender(sender string, p mailParams) mail.Reply {
	if base, ok := s.srv.prober.Base(sender, s.srv.o.Clock.Now()); ok {
		sender = base
	}
	s.facts.SenderKnown, s.facts.Sender = true, sender
	if r := s.checkSize(s.facts.Size); !r.IsZero() {
		s.facts.SenderKnown, s.facts.Sender = false, ""
		return r
	}
	if p.verp && sender == "" {
		s.facts.SenderKnown = false
		return mail.Reply{Code: 503, Status: "5.5.4", Text: "Error: XVERP requires non-null sender"}
	}
	out := s.decide(restrict.StageMail)
	if out.Hangup || !out.Reply.IsZero() {
		s.hangup = s.hangup || out.Hangup
		s.resetMail() // with it the effects of access tables
		return out.Reply
	}
	if r := s.needsUTF8(sender, p.smtputf8); !r.IsZero() {
		s.resetMail()
		return r
	}
	s.tr.effects = append(s.tr.effects, out.Effects...)
	s.begin(sender, p)
	if !s.set.delayOpen {
		s.openQueue()
	}
	return mail.Reply{Code: 250, Status: "2.1.0", Text: "Ok"}
}

// checkSize refuses what is too big to come in, or finds no room.
func (s *session) checkSize(size int64) mail.Reply {
	limit := s.set.messageSizeLimit
	if limit > 0 && size > limit {
		s.blame(restrict.ClassPolicy)
		return s.refuse(mail.Reply{Code: 552, Status: "5.3.4", Text: "Message size exceeds fixed limit"})
	}
	free, err := s.srv.o.Queue.Free()
	if err != nil {
		s.warn("%v", err)
		s.blame(restrict.ClassResource)
		return s.refuse(mail.Reply{Code: 452, Status: "4.3.1", Text: "Insufficient system storage"})
	}
	need := int64(float64(limit) * 1.5)
	if free < s.set.queueMinfree || free < need || size > math.MaxInt64/2 {
		s.warn("not enough free space in mail queue: %d bytes < 1.5*message size limit", free)
		s.blame(restrict.ClassResource)
		return s.refuse(mail.Reply{Code: 452, Status: "4.3.1", Text: "Insufficient system storage"})
	}
	return mail.Reply{}
}

// refuse logs a refusal as restrictions do.
func (s *session) refuse(r mail.Reply) mail.Reply {
	if s.set.softBounce && r.Code >= 500 {
		r = softened(r)
	}
	s.facts.ProtocolState = s.where
	s.info("%s", s.facts.LogLine("reject", r.String()))
	return r
}

// rcpt takes a recipient.
func (s *session) rcpt(words []token) (ok bool, err error) {
	switch {
	case !s.tr.open:
		return s.say(mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: need MAIL command"})
	case s.tr.chunks.any():
		return s.say(mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: RCPT after BDAT"})
	case len(words) < 3 || !strings.EqualFold(words[1].text, "to:"):
		return s.say(mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: RCPT TO:<address>"})
	}
	if r := s.recipientRate(); !r.IsZero() {
		return s.say(r)
	}
	rcpt, r := s.rcptArguments(words[2], words[3:])
	if !r.IsZero() {
		return s.say(r)
	}
	if l := s.set.recipientLimit; l > 0 && s.recipientCount() >= l {
		s.tr.overshoot++
		err := s.reply(mail.Reply{Code: 452, Status: "4.5.3", Text: "Error: too many recipients"})
		return s.tr.overshoot <= s.set.overshoot, err // the first ones are no errors
	}
	if base, ok := s.srv.prober.Base(rcpt.Original, s.srv.o.Clock.Now()); ok {
		rcpt.Address, rcpt.Original = base, base
	}
	out := s.checkRecipient(restrict.StageRcpt, rcpt.Original)
	if out.Hangup {
		return false, errDone
	}
	if !out.Reply.IsZero() {
		return s.say(out.Reply)
	}
	if s.recipientCount() == 0 {
		s.facts.Recipient, s.facts.RecipientKnown = rcpt.Original, true
	}
	s.accept(rcpt)
	return s.say(mail.Reply{Code: 250, Status: "2.1.5", Text: "Ok"})
}

// rcptArguments reads the address and the parameters of RCPT.
func (s *session) rcptArguments(word token, params []token) (rcpt mail.Recipient, r mail.Reply) {
	if word.broken {
		return rcpt, badRcpt
	}
	addr, ok := s.address(word.text, false, s.set.strictEnvelopes)
	if !ok {
		return rcpt, badRcpt
	}
	rcpt = mail.Recipient{Address: addr, Original: addr}
	for _, w := range params {
		if r := s.rcptParam(&rcpt, w.text); !r.IsZero() {
			return rcpt, r
		}
	}
	if rcpt.ORCPT == "" {
		rcpt.ORCPT = s.originalRecipient(word.text)
	}
	return rcpt, s.needsUTF8(addr, s.tr.params.smtputf8)
}

// originalRecipient is the ORCPT of a recipient for whom the client gave none:
// the address as it was written.
func (s *session) originalRecipient(word string) string {
	if n := len(word); n >= 2 && word[0] == '<' && word[n-1] == '>' {
		word = word[1 : n-1]
	}
	if s.facts.SMTPUTF8 && !isASCII(word) {
		return "utf-8;" + word
	}
	return "rfc822;" + mail.EncodeXtext(word)
}

// rcptParam reads one parameter of RCPT.
func (s *session) rcptParam(rcpt *mail.Recipient, arg string) mail.Reply {
	name, value, has := strings.Cut(arg, "=")
	name = strings.ToUpper(name)
	switch {
	case !has || name != "NOTIFY" && name != "ORCPT":
		return mail.Reply{Code: 555, Status: "5.5.4", Text: "Unsupported option: " + arg}
	case s.discard&noDSN != 0:
		return dsnDisabled
	case name == "NOTIFY":
		n, ok := mail.Notify(0), false
		if rcpt.Notify == 0 { // else it is the second one, not worth a warning
			n, ok = s.parseNotify(value)
		}
		if !ok {
			return mail.Reply{Code: 501, Status: "5.5.4", Text: "Error: Bad NOTIFY parameter syntax"}
		}
		rcpt.Notify = n
	default:
		typ, coded, found := strings.Cut(value, ";")
		_, ok := unxtext(coded)
		if !found || !ok || typ == "" || rcpt.ORCPT != "" {
			return mail.Reply{Code: 501, Status: "5.5.4", Text: "Error: Bad ORCPT parameter syntax"}
		}
		rcpt.ORCPT = value
	}
	return mail.Reply{}
}

// parseNotify reads NOTIFY and warns of words nobody knows, as Postfix does.
func (s *session) parseNotify(v string) (mail.Notify, bool) {
	words := strings.FieldsFunc(v, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
	for _, w := range words {
		if _, ok := mail.ParseNotify(w); !ok {
			s.warn("unknown DSN NOTIFY command value \"%s\" in \"%s\"", w, v)
			return 0, false
		}
	}
	return mail.ParseNotify(strings.Join(words, ","))
}
