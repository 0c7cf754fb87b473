package smtpd

import (
	"strings"

	"sekisho/internal/anvil"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

var (
	heloFirst = mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: send HELO/EHLO first"}
	inMail    = mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: MAIL transaction in progress"}
	badRcpt   = mail.Reply{Code: 501, Status: "5.1.3", Text: "Bad recipient address syntax"}
)

// heloMissing reports whether the client must say HELO first.
func (s *session) heloMissing() bool { return s.set.heloRequired && s.facts.HeloName == "" }

// hello is HELO and EHLO. Both begin anew; a HELO after EHLO leaves the
// protocol at ESMTP.
func (s *session) hello(verb string, words []token) mail.Reply {
	if len(words) < 2 {
		return mail.Reply{Code: 501, Text: "Syntax: " + verb + " hostname"}
	}
	name := join(words[1:])
	before := s.facts.HeloName
	s.facts.HeloName = name
	out := s.decide(restrict.StageHelo)
	if out.Hangup || !out.Reply.IsZero() {
		s.facts.HeloName = before
		s.hangup = s.hangup || out.Hangup
		return out.Reply
	}
	s.resetHelo()
	s.resetMail()
	s.facts.HeloName = neuter(printable(name), ` <>()\";@`)
	if verb == "HELO" {
		return mail.Reply{Code: 250, Text: s.set.myhostname}
	}
	s.facts.ProtocolName = "ESMTP"
	if s.discard != 0 && s.discard&silentDiscard == 0 {
		s.info("discarding EHLO keywords: %s", s.discard)
	}
	return mail.Reply{Code: 250, Text: strings.Join(append([]string{s.set.myhostname}, s.features()...), "\n")}
}

func (s *session) rset(words []token) mail.Reply {
	if len(words) != 1 {
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: RSET"}
	}
	s.resetMail()
	return ok250
}

// vrfy runs the checks of a recipient, and promises nothing.
func (s *session) vrfy(words []token) mail.Reply {
	if s.set.disableVRFY {
		return mail.Reply{Code: 502, Status: "5.5.1", Text: "VRFY command is disabled"}
	}
	transaction, declared := s.facts.SMTPUTF8, false
	defer func() { s.facts.SMTPUTF8 = transaction }()
	if n := len(words); s.utf8On() && n > 1 && strings.EqualFold(words[n-1].text, "SMTPUTF8") {
		words, declared = words[:n-1], true
	}
	if len(words) < 2 {
		hint := ""
		if s.set.smtputf8 {
			hint = " [SMTPUTF8]"
		}
		return mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: VRFY address" + hint}
	}
	if r := s.recipientRate(); !r.IsZero() {
		return r
	}
	word := join(words[1:])
	s.facts.SMTPUTF8 = declared
	addr, ok := s.address(word, false, false)
	if !ok {
		return badRcpt
	}
	if r := s.needsUTF8(addr, declared); !r.IsZero() {
		s.resetMail()
		transaction = false
		return r
	}
	s.facts.SMTPUTF8 = declared || transaction
	if out := s.checkRecipient(restrict.StageVrfy, addr); out.Hangup || !out.Reply.IsZero() {
		s.hangup = s.hangup || out.Hangup
		return out.Reply
	}
	return mail.Reply{Code: 252, Status: "2.0.0", Text: word}
}

// checkRecipient decides about a recipient, which the facts hold meanwhile.
func (s *session) checkRecipient(stage restrict.Stage, addr string) restrict.Outcome {
	first, known := s.facts.Recipient, s.facts.RecipientKnown
	s.facts.Recipient, s.facts.RecipientKnown = addr, true
	out := s.decide(stage)
	s.facts.Recipient, s.facts.RecipientKnown = first, known
	s.tr.effects = append(s.tr.effects, out.Effects...)
	return out
}

// recipientRate counts a recipient and refuses it when there were too many.
func (s *session) recipientRate() mail.Reply {
	rate, over := s.count(anvil.Recipients, s.set.limits.recipients)
	if !over {
		return mail.Reply{}
	}
	s.warn("Recipient address rate limit exceeded: %d from %s for service %s", rate, s.facts.NameAddr(), s.srv.o.Service)
	s.blame(restrict.ClassPolicy)
	return mail.Reply{Code: 450, Status: "4.7.1", Text: "Error: too many recipients from " + s.facts.ClientAddress}
}

// address parses the address of a command and asks the resolver whether there
// can be such a one. A domain that is not ASCII takes SMTPUTF8.
func (s *session) address(word string, empty, strict bool) (addr string, ok bool) {
	p := parsePath(word, empty, strict)
	if p.ok && p.addr != "" {
		_, domain, _ := mail.SplitAddress(p.addr)
		res := s.srv.o.Resolver.Resolve(s.src, s.facts.Sender, p.addr)
		for _, w := range res.Warnings {
			s.srv.rewriteLog.Warn(w)
		}
		if !s.facts.SMTPUTF8 && !isASCII(domain) || res.Invalid {
			p.ok, p.illegal = false, true
		}
	}
	if p.illegal {
		s.warn("Illegal address syntax from %s in %s command: %s", s.facts.NameAddr(), s.where, printable(word))
	}
	return p.addr, p.ok
}

// etrn asks for waiting mail. Its replies have no enhanced status codes.
func (s *session) etrn(words []token) mail.Reply {
	switch {
	case s.heloMissing():
		return mail.Reply{Code: 503, Text: "Error: send HELO/EHLO first"}
	case s.tr.open:
		return mail.Reply{Code: 503, Text: "Error: MAIL transaction in progress"}
	case len(words) != 2:
		return mail.Reply{Code: 500, Text: "Syntax: ETRN domain"}
	}
	domain := words[1].text
	if domain[0] == '@' || domain[0] == '#' {
		domain = domain[1:]
	}
	if !mail.ValidHostname(domain) && !isLiteral(domain) {
		return mail.Reply{Code: 501, Text: "Error: invalid parameter syntax"}
	}
	s.facts.ETRNDomain = domain
	out := s.decide(restrict.StageETRN)
	s.facts.ETRNDomain = ""
	if out.Hangup || !out.Reply.IsZero() {
		s.hangup = s.hangup || out.Hangup
		return out.Reply
	}
	return s.flush(domain)
}

// flush does what ETRN asks for, for the domains of fast_flush_domains.
func (s *session) flush(domain string) mail.Reply {
	r := s.set.lists.fastFlush.MatchDomain(s.src, domain)
	switch {
	case r.Failed:
		s.match(r)
		s.warn("bad ETRN %s... from %s", short(domain, 100), s.facts.NameAddr())
		return mail.Reply{Code: 458, Text: "Unable to queue messages"}
	case !s.match(r):
		s.warn("reject: ETRN %s... from %s", short(domain, 100), s.facts.NameAddr())
		return mail.Reply{Code: 459, Text: "<" + domain + ">: service unavailable"}
	}
	if s.srv.o.Flush != nil {
		s.srv.o.Flush(domain)
	}
	return mail.Reply{Code: 250, Text: "Queuing started"}
}

func isLiteral(s string) bool {
	if len(s) < 2 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	_, ok := mail.ValidMailHostAddr(s[1 : len(s)-1])
	return ok
}
