package smtpd

import (
	"strconv"
	"strings"
	"time"

	"sekisho/internal/config"
	"sekisho/internal/mail"
)

// reply sends a reply; its text may have several lines, separated by "\n".
// Clients with many errors wait for it. An error means that the connection
// is broken.
func (s *session) reply(r mail.Reply) error {
	if r.IsZero() {
		return nil
	}
	if r.Failed() {
		r = s.filterReply(r)
	}
	delay := s.errors >= s.set.softErrors && s.set.errorSleep > 0
	if delay {
		if err := s.wire.Flush(); err != nil {
			return err
		}
		if err := s.srv.o.Clock.Sleep(s.ctx, s.set.errorSleep); err != nil {
			return err
		}
	}
	if r.Closes() {
		s.hangup = true
	}
	lines := s.lines(r)
	text := strings.Join(lines, "\r\n")
	s.told(text, len(lines))
	s.wire.WriteString(text) // an error shows again at once
	if err := s.wire.WriteString("\r\n"); err != nil {
		return err
	}
	if delay || s.wire.SinceSent() > 10*time.Second {
		return s.wire.Flush()
	}
	return nil
}

// filterReply replaces a refusal by what a table of smtpd_reject_filter_maps has
// for it.
func (s *session) filterReply(r mail.Reply) mail.Reply {
	instead, found := s.replyTable(s.set.filterMaps, r)
	if !found {
		return r
	}
	to, ok := alternative(instead)
	if !ok {
		s.warn("%s: ignoring invalid reject filter result: %s", s.queueID(), instead)
		return r
	}
	s.info("%s: reply filter in: %s", s.queueID(), r)
	s.info("%s: reply filter out: %s", s.queueID(), instead)
	return to
}

// alternative reads a refusal of a reject filter. Its enhanced status code must
// be of the reply code's class.
func alternative(text string) (mail.Reply, bool) {
	if len(text) < 4 || text[0] != '4' && text[0] != '5' || !allDigits(text[:3]) || text[3] != ' ' && text[3] != '-' {
		return mail.Reply{}, false
	}
	rest := text[4:]
	if rest != "" && rest[0] >= '0' && rest[0] <= '9' && rest[0] != text[0] {
		return mail.Reply{}, false
	}
	return mail.ParseReply(text[:3] + " " + rest)
}

// replyTable looks a refusal up in the tables of a parameter.
func (s *session) replyTable(tables []string, r mail.Reply) (value string, found bool) {
	for _, table := range tables {
		v, found, err := s.srv.o.Lookup(table, r.String())
		if err != nil {
			s.warn("%s lookup error for \"%s\"", table, short(r.String(), 100))
			return "", false
		}
		if found {
			return v, true
		}
	}
	return "", false
}

// softened is a reply under soft_bounce.
func softened(r mail.Reply) mail.Reply {
	r.Code -= 100
	if strings.HasPrefix(r.Status, "5") {
		r.Status = "4" + r.Status[1:]
	}
	return r
}

// lines returns a reply as lines, with the footer that a refusal gets.
func (s *session) lines(r mail.Reply) []string {
	texts := strings.Split(r.Text, "\n")
	if r.Failed() {
		texts = s.withFooter(r, texts)
	}
	if s.set.softBounce && r.Code >= 500 {
		r = softened(r)
	}
	code := strconv.Itoa(r.Code)
	for i, t := range texts {
		sep := "-"
		if i == len(texts)-1 {
			sep = " "
		}
		head := code + sep
		if r.Status != "" {
			head += r.Status + " "
		}
		texts[i] = head + t
	}
	return texts
}

// withFooter appends smtpd_reject_footer, or what a table of
// smtpd_reject_footer_maps has for the reply.
func (s *session) withFooter(r mail.Reply, texts []string) []string {
	footer := s.set.footer
	if v, found := s.replyTable(s.set.footerMaps, r); found {
		footer = v
	}
	if footer == "" {
		return texts
	}
	for i, part := range strings.Split(footer, `\n`) {
		rest, sameLine := strings.CutPrefix(part, `\c`)
		text := s.expand(rest)
		if i == 0 && sameLine {
			texts[len(texts)-1] += text
			continue
		}
		texts = append(texts, text)
	}
	return texts
}

// expand replaces the $names of a footer (postconf(5), smtpd_reject_footer).
func (s *session) expand(text string) string {
	out, err := config.Expand(text, func(name string) (string, bool) {
		v, ok := s.attribute(name)
		if !ok && !waits(name) {
			s.warn("unknown macro name \"%s\" in expansion request", name)
		}
		return s.censor(v), ok
	})
	if err != nil {
		s.warn("smtpd_reject_footer: %v", err)
		return text
	}
	return out
}

// censor replaces the bytes that smtpd_expansion_filter does not allow.
func (s *session) censor(v string) string {
	out := []byte(v)
	for i, c := range out {
		if strings.IndexByte(s.set.expansionFilter, c) < 0 {
			out[i] = '_'
		}
	}
	return string(out)
}

// waits reports whether a $name has no value only because the client has not
// said it yet.
func waits(name string) bool {
	switch name {
	case "helo_name", "sender", "sender_name", "sender_domain", "recipient", "recipient_name", "recipient_domain":
		return true
	}
	return false
}

// attribute is what a $name of a footer stands for.
func (s *session) attribute(name string) (string, bool) {
	f := &s.facts
	switch name {
	case "client":
		return f.NameAddr(), true
	case "client_port":
		return f.ClientPort, true
	case "client_name":
		return f.ClientName, true
	case "client_address":
		return f.ClientAddress, true
	case "reverse_client_name":
		return f.ReverseClientName, true
	case "helo_name":
		return f.HeloName, f.HeloName != ""
	case "server_name":
		return s.set.myhostname, true
	case "server_address":
		return f.ServerAddress, true
	case "server_port":
		return f.ServerPort, true
	case "localtime":
		return s.now().Local().Format("Jan 02 15:04:05"), true
	}
	if rest, ok := strings.CutPrefix(name, "sender"); ok && f.SenderKnown {
		return part(f.Sender, rest)
	}
	if rest, ok := strings.CutPrefix(name, "recipient"); ok && f.RecipientKnown {
		return part(f.Recipient, rest)
	}
	return "", false
}

// part is an address, its local part or its domain. The null sender is <>.
func part(addr, which string) (string, bool) {
	local, domain, _ := mail.SplitAddress(addr)
	switch {
	case which == "" && addr == "":
		return "<>", true
	case which == "":
		return addr, true
	case which == "_name" && addr == "":
		return "<>", true
	case which == "_name":
		return local, true
	case which == "_domain":
		return domain, true
	}
	return "", false
}
