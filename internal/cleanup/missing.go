package cleanup

import (
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
)

// headersEnd adds the headers that are missing, if the message comes from one
// of ours or always_add_missing_headers says so, and logs the message id.
func (m *Message) headersEnd() {
	if !m.ok() {
		return
	}
	add := m.rewriter != nil || m.c.set.always
	id, date, from := hasMessageID, hasDate, hasFrom
	if m.resent != "" {
		id, date, from = hasResentMessageID, hasResentDate, hasResentFrom
	}
	if add && m.seen&id == 0 {
		v := m.messageID()
		m.outText(m.resent + "Message-Id: <" + v + ">")
		prefix := ""
		if m.resent != "" {
			prefix = "resent-"
		}
		m.info("%smessage-id=<%s>", prefix, v)
		m.seen |= id
	}
	if m.seen&hasMessageID == 0 {
		m.info("message-id=<>")
	}
	if add && m.seen&date == 0 {
		m.outText(m.resent + "Date: " + mail.Date(m.env.Arrived))
	}
	if add && m.seen&from == 0 {
		sender := m.env.Sender
		if sender == "" {
			sender = mailerDaemon
		}
		m.outText(m.resent + "From: " + m.fromValue(mail.Quote(sender)))
	}
	if add && m.seen&hasVisible == 0 {
		m.addUndisclosed()
	}
}

// fromValue is the value of a From header that is added (header_from_format).
func (m *Message) fromValue(sender string) string {
	words := strings.Fields(m.fullName)
	switch {
	case len(words) == 0:
		return sender
	case m.c.set.fromObsolete:
		return sender + " (" + strings.NewReplacer("\\", "\\\\", "(", "\\(", ")", "\\)").Replace(strings.Join(words, " ")) + ")"
	case strings.ContainsAny(m.fullName, `()<>[]:;@\,."`):
		return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(m.fullName) + `" <` + sender + ">"
	}
	return strings.Join(words, " ") + " <" + sender + ">"
}

func (m *Message) addUndisclosed() {
	text := m.c.set.undisclosed
	switch {
	case text == "":
	case mimestate.HeaderName([]byte(text)) == 0:
		m.bareWarn("bad undisclosed_recipients_header header text \"" + text + "\" -- need \"headername: headervalue\"")
	default:
		m.outText(text)
	}
}

func (m *Message) messageID() string {
	id := m.env.QueueID
	if !m.c.set.longIDs {
		id = m.env.Arrived.UTC().Format("20060102150405") + "." + id
	}
	return id + "@" + m.c.set.myhostname
}
