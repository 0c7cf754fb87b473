package smtp

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"sekisho/internal/mail"
)

func (t *dialogue) mailCommand() string {
	env, s := t.d.r.Envelope, t.session
	var b strings.Builder
	fmt.Fprintf(&b, "MAIL FROM:<%s>", s.envelopeAddress(env.Sender))
	if s.features.size && !s.downgrades() { // Postfix does not foretell the size of what it converts
		fmt.Fprintf(&b, " SIZE=%d", env.Size)
	}
	if s.features.eightBit && env.Body != "" {
		b.WriteString(" BODY=" + env.Body)
	}
	if s.features.dsn && env.EnvID != "" {
		b.WriteString(" ENVID=" + env.EnvID)
	}
	if ret := s.ret(); s.features.dsn && ret != "" {
		b.WriteString(" RET=" + ret)
	}
	if s.features.utf8 && env.SMTPUTF8 {
		b.WriteString(" SMTPUTF8")
	}
	if s.d.requireTLS > requireTLSOff && s.features.requireTLS {
		b.WriteString(" REQUIRETLS")
	}
	if s.d.a.SASL != nil && s.d.a.SASL.DummyAuth && s.features.auth {
		b.WriteString(" AUTH=<>")
	}
	return b.String()
}

// envelopeAddress is an address as it goes over the wire.
func (s *session) envelopeAddress(addr string) string {
	if s.d.a.RawAddresses {
		return s.d.wire(addr)
	}
	return mail.Quote(s.d.wire(addr))
}

func (t *dialogue) rcptCommand(i int) string {
	to := t.d.r.Recipients[i]
	var b strings.Builder
	fmt.Fprintf(&b, "RCPT TO:<%s>", t.envelopeAddress(to.Address))
	if !t.features.dsn {
		return b.String()
	}
	switch original := mail.Quote(to.Original); {
	case to.ORCPT != "":
		b.WriteString(" ORCPT=" + to.ORCPT)
	case to.Original == "":
	case t.d.r.Envelope.SMTPUTF8 && !isASCII(original) && utf8.ValidString(original):
		b.WriteString(" ORCPT=utf-8;" + encodeUnitext(original))
	default:
		b.WriteString(" ORCPT=rfc822;" + mail.EncodeXtext(original))
	}
	if to.Notify != 0 {
		b.WriteString(" NOTIFY=" + to.Notify.String())
	}
	return b.String()
}

// encodeUnitext encodes an address for ORCPT=utf-8 (RFC 6533 section 3,
// utf-8-addr-unitext).
func encodeUnitext(s string) string {
	var b strings.Builder
	for _, c := range s {
		if c > 127 || c > ' ' && c < 127 && c != '+' && c != '=' && c != '\\' {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, `\x{%X}`, c)
		}
	}
	return b.String()
}

// forwards are the two XFORWARD commands about the client that brought the
// message, empty where there is nothing to say (smtp_send_xforward_command).
func (s *session) forwards() (address, helo string) {
	if !s.d.a.SendXforward {
		return "", ""
	}
	env := s.d.r.Envelope
	c := env.Client
	origin := ""
	if c.Name != "" {
		origin = "REMOTE"
		if slices.Contains(s.d.a.OwnAddresses, c.Address) {
			origin = "LOCAL"
		}
	}
	known := func(v string) string {
		if strings.EqualFold(v, "unknown") {
			return ""
		}
		return v
	}
	address = s.forward("NAME", known(c.Name), "ADDR", known(c.Address), "PORT", known(c.Port))
	helo = s.forward("PROTO", known(c.Protocol), "HELO", c.Helo, "IDENT", env.QueueID, "SOURCE", origin)
	return address, helo
}

// forward makes a command of those attributes, given as name and value, that
// are known here and welcome there.
func (s *session) forward(attributes ...string) string {
	line := ""
	for i := 0; i < len(attributes); i += 2 {
		if slices.Contains(s.features.xforward, attributes[i]) && attributes[i+1] != "" {
			line += " " + attributes[i] + "=" + encodeXtext(attributes[i+1])
		}
	}
	if line == "" {
		return ""
	}
	return "XFORWARD" + line
}

// encodeXtext encodes what XFORWARD's values may not contain (RFC 3461 section
// 4; an equals sign may stay).
func encodeXtext(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c != '+' && c > ' ' && c < 127 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "+%02X", c)
		}
	}
	return b.String()
}
