package smtpd

import (
	"strings"

	"sekisho/internal/mail"
)

const unavailable, tempUnavailable = "[UNAVAILABLE]", "[TEMPUNAVAIL]"

// attribute is one NAME=value of XCLIENT or XFORWARD.
type attributePair struct{ name, value string }

// attributes reads the arguments of XCLIENT and XFORWARD.
func attributes(verb string, words []token) ([]attributePair, mail.Reply) {
	if len(words) < 2 {
		return nil, mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: " + verb + " attribute=value..."}
	}
	var out []attributePair
	for _, w := range words[1:] {
		name, raw, _ := strings.Cut(w.text, "=")
		if raw == "" {
			return out, mail.Reply{Code: 501, Status: "5.5.4", Text: "Error: attribute=value expected"}
		}
		if len(raw) > 255 {
			return out, mail.Reply{Code: 501, Status: "5.5.4", Text: "Error: attribute value too long"}
		}
		value, ok := unxtext(raw)
		if !ok {
			value = raw // clients older than xtext here
		}
		out = append(out, attributePair{strings.ToUpper(name), printable(value)})
	}
	return out, mail.Reply{}
}

func badAttribute(a attributePair) mail.Reply {
	return mail.Reply{Code: 501, Status: "5.5.4", Text: "Bad " + a.name + " syntax: " + a.value}
}

func unknownAttribute(verb, name string) mail.Reply {
	return mail.Reply{Code: 501, Status: "5.5.4", Text: "Bad " + verb + " attribute name: " + name}
}

var notAuthorized = mail.Reply{Code: 550, Status: "5.7.0", Text: "Error: insufficient authorization"}

// xclient replaces what is known of the client (Postfix's XCLIENT_README) and
// begins the session anew.
func (s *session) xclient(words []token) (ok bool, err error) {
	if s.tr.open {
		return s.say(inMail)
	}
	attrs, bad := attributes("XCLIENT", words)
	switch {
	case len(words) < 2:
		return s.say(bad)
	case !s.xclientAllowed:
		return s.say(notAuthorized)
	}
	before := s.facts
	given := make(map[string]bool)
	for _, a := range attrs {
		if r := s.override(a); !r.IsZero() {
			s.facts = before
			return s.say(r)
		}
		given[a.name] = true
	}
	if !bad.IsZero() {
		s.facts = before
		return s.say(bad)
	}
	helo := s.facts.HeloName
	s.resetHelo()
	if given["HELO"] {
		s.facts.HeloName = helo
	}
	if !given["LOGIN"] {
		s.resetAuth()
	}
	if !given["PROTO"] {
		s.facts.ProtocolName = "SMTP"
	}
	s.resetMail()
	return false, errAnew
}

// override applies one attribute of XCLIENT.
func (s *session) override(a attributePair) mail.Reply {
	f := &s.facts
	switch a.name {
	case "NAME":
		name, st, ok := peerName(a.value)
		if !ok {
			return badAttribute(a)
		}
		f.ClientName, f.ClientNameStatus = name, st
		if st == mail.NameOK {
			f.ReverseClientName, f.ReverseClientNameStatus = name, st
		}
	case "REVERSE_NAME":
		name, st, ok := peerName(a.value)
		if !ok {
			return badAttribute(a)
		}
		f.ReverseClientName, f.ReverseClientNameStatus = name, st
	case "ADDR":
		return s.setAddress(&f.ClientAddress, a)
	case "PORT":
		return setPort(&f.ClientPort, a)
	case "DESTADDR":
		return s.setAddress(&f.ServerAddress, a)
	case "DESTPORT":
		return setPort(&f.ServerPort, a)
	case "HELO":
		return setHelo(&f.HeloName, a)
	case "PROTO":
		return setProtocol(&f.ProtocolName, a)
	case "LOGIN":
		s.resetAuth()
		if !strings.EqualFold(a.value, unavailable) {
			f.SASLMethod, f.SASLUsername = "XCLIENT", a.value
		}
	default:
		return unknownAttribute("XCLIENT", a.name)
	}
	return mail.Reply{}
}

// peerName reads a client name, which may be known not to exist.
func peerName(v string) (name string, st mail.NameStatus, ok bool) {
	switch {
	case strings.EqualFold(v, unavailable):
		return unknownName, mail.NamePerm, true
	case strings.EqualFold(v, tempUnavailable):
		return unknownName, mail.NameTemp, true
	}
	return v, mail.NameOK, mail.ValidHostname(v)
}

func (s *session) setAddress(to *string, a attributePair) mail.Reply {
	if strings.EqualFold(a.value, unavailable) {
		*to = unknownName
		return mail.Reply{}
	}
	addr, ok := mail.ValidMailHostAddr(a.value)
	if !ok || !s.set.protocols.speaks(addr) {
		return badAttribute(a)
	}
	*to = addr
	return mail.Reply{}
}

func setPort(to *string, a attributePair) mail.Reply {
	switch {
	case strings.EqualFold(a.value, unavailable):
		*to = unknownName
	case !allDigits(a.value) || len(a.value) > len("65535"):
		return badAttribute(a)
	default:
		*to = a.value
	}
	return mail.Reply{}
}

func setHelo(to *string, a attributePair) mail.Reply {
	const longestHostname = 255
	switch {
	case strings.EqualFold(a.value, unavailable):
		*to = ""
	case len(a.value) > longestHostname:
		return badAttribute(a)
	default:
		*to = neuter(a.value, ` <>()\";@`)
	}
	return mail.Reply{}
}

func setProtocol(to *string, a attributePair) mail.Reply {
	switch p := strings.ToUpper(a.value); p {
	case "SMTP", "ESMTP":
		*to = p
		return mail.Reply{}
	}
	return badAttribute(a)
}

// forwarded is what a filter said about the client before it (XFORWARD). It
// is for one message.
type forwarded struct {
	given          bool // a client was described
	name, addr, id string
}

// nameAddr names that client as log lines do; empty without one.
func (f forwarded) nameAddr() string {
	switch {
	case !f.given:
		return ""
	case f.addr == "":
		return f.host()
	}
	return f.host() + "[" + f.addr + "]"
}

func (f forwarded) host() string {
	if f.name == "" {
		return unknownName
	}
	return f.name
}

// xforward takes what a filter says about the original client: it is only
// logged.
func (s *session) xforward(words []token) mail.Reply {
	if s.tr.open {
		return inMail
	}
	attrs, bad := attributes("XFORWARD", words)
	switch {
	case len(words) < 2:
		return bad
	case !s.xforwardAllowed:
		return notAuthorized
	}
	f := s.forward
	for _, a := range attrs {
		if r := f.set(a); !r.IsZero() {
			return r
		}
	}
	if !bad.IsZero() {
		return bad
	}
	s.forward = f
	return ok250
}

// set takes one attribute.
func (f *forwarded) set(a attributePair) mail.Reply {
	v := a.value
	if strings.EqualFold(v, unavailable) {
		v = ""
	}
	switch a.name {
	case "NAME":
		if v != "" && !mail.ValidHostname(v) {
			return badAttribute(a)
		}
		f.name, f.given = v, true
	case "ADDR":
		addr, ok := mail.ValidMailHostAddr(v)
		if v != "" && !ok {
			return badAttribute(a)
		}
		f.addr, f.given = addr, true
	case "PORT":
		if v != "" && (!allDigits(v) || len(v) > len("65535")) {
			return badAttribute(a)
		}
		f.given = true
	case "HELO", "PROTO":
		if len(v) > 255 || a.name == "PROTO" && len(v) > 64 {
			return badAttribute(a)
		}
		f.given = true
	case "IDENT":
		f.id = neuter(v, "[]<>()\\\";:@ ")
	case "SOURCE":
		if v != "" && !strings.EqualFold(v, "LOCAL") && !strings.EqualFold(v, "REMOTE") {
			return badAttribute(a)
		}
	default:
		return unknownAttribute("XFORWARD", a.name)
	}
	return mail.Reply{}
}
