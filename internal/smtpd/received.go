package smtpd

import (
	"fmt"
	"strings"

	"sekisho/internal/mail"
)

// received is the Received header of this hop, line by line (RFC 5321 section
// 4.4).
func (s *session) received() []string {
	f := &s.facts
	helo, addr := f.HeloName, f.ClientAddress
	if helo == "" {
		helo = f.ClientName
	}
	if strings.Contains(addr, ":") {
		addr = "IPv6:" + addr
	}
	out := []string{fmt.Sprintf("Received: from %s (%s [%s])", helo, f.ClientName, addr)}
	if s.tls != nil && s.set.tls.receivedHeader {
		out = append(out, s.tls.received(s.set.tls.askCert)...)
	}
	if f.SASLUsername != "" && s.set.sasl.header {
		out = append(out, "\t(Authenticated sender: "+neuter(f.SASLUsername, `()\"`)+")")
	}
	by := fmt.Sprintf("\tby %s (%s) with %s id %s", s.set.myhostname, s.set.mailName, s.with(), f.QueueID)
	date := s.tr.arrived.Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)")
	if s.recipientCount() == 1 {
		return append(out, by, "\tfor <"+mail.Quote(s.tr.recipients[0].Original)+">; "+date)
	}
	return append(out, by+";", "\t"+date)
}

// with is the protocol of RFC 3848 and RFC 6531.
func (s *session) with() string {
	p := s.facts.ProtocolName
	esmtp := p == "ESMTP"
	if s.tr.params.smtputf8 {
		p = "UTF8SMTP"
	}
	if esmtp && s.tls != nil {
		p += "S"
	}
	if esmtp && s.facts.SASLUsername != "" {
		p += "A"
	}
	return p
}
