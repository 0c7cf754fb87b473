package cleanup

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
)

// find asks the tables of a check in turn.
func (m *Message) find(t *tables, key string) (action string, found bool) {
	if i := strings.IndexByte(key, 0); i >= 0 {
		key = key[:i] // as Postfix's tables see it
	}
	if key == "" {
		return "", false
	}
	for _, name := range t.maps {
		a := m.src.Ask(evidence.Question{Kind: evidence.Table, Name: name, Arg: key})
		switch a.Status {
		case evidence.Found:
			return a.Value, true
		case evidence.NotFound:
		default:
			m.bareWarn(name + " lookup error for \"" + key[:min(len(key), 100)] + "\"")
			m.warn("%s map lookup problem -- message not accepted, try again later", t.param)
			m.trouble |= noQueue
			return "", false
		}
	}
	return "", false
}

// checkHeader applies header checks; keep is false when the header goes.
func (m *Message) checkHeader(t *tables, line string) (result string, keep bool) {
	action, found := m.find(t, line)
	if !found {
		return line, true
	}
	return m.act("header", t.param, line, action)
}

// body takes one line of a body from the walk.
func (m *Message) body(line []byte, more bool, offset int64) {
	if !m.ok() {
		return
	}
	s := &m.c.set
	if m.checks && len(s.bodyChecks.maps) > 0 && (s.bodyChecksLimit == 0 || offset < s.bodyChecksLimit) {
		text := string(line)
		if action, found := m.find(&s.bodyChecks, text); found {
			result, keep := m.act("body", s.bodyChecks.param, text, action)
			if !keep {
				return
			}
			if result != text {
				line = []byte(result)
			}
		}
	}
	m.out(line, more)
}

// mimeError logs trouble with the structure of the message; the refusal itself
// comes at its end.
func (m *Message) mimeError(e mimestate.Errors, text string) {
	to := m.recipient
	if m.recipients == 0 {
		to = "unknown"
	}
	m.info("reject: mime-error %s: %s from %s; from=<%s> to=<%s>",
		e, text[:min(len(text), 100)], m.origin(), mail.Quote(m.env.Sender), mail.Quote(to))
}

// origin names the client as log lines do.
func (m *Message) origin() string {
	c := &m.env.Client
	switch {
	case c.Name == "" && m.homemade():
		return "local"
	case c.Name == "":
		return m.facts.NameAddr()
	case m.facts != nil && m.facts.LogClientPort:
		return c.Name + "[" + c.Address + "]:" + c.Port
	}
	return c.Name + "[" + c.Address + "]"
}

// log logs an action with all that is known of the message.
func (m *Message) log(action, context, content, text string) {
	var b strings.Builder
	b.WriteString(action + ": " + context + " " + content[:min(len(content), 200)] + " from " + m.origin() + ";")
	b.WriteString(" from=<" + mail.Quote(m.env.Sender) + ">")
	if m.recipients > 0 {
		b.WriteString(" to=<" + mail.Quote(m.recipient) + ">")
	}
	proto, helo := m.env.Client.Protocol, m.env.Client.Helo
	if !m.homemade() && m.env.Client.Name == "" {
		proto, helo = m.facts.ProtocolName, m.facts.HeloName
	}
	if proto != "" {
		b.WriteString(" proto=" + proto)
	}
	if helo != "" {
		b.WriteString(" helo=<" + helo + ">")
	}
	if text != "" {
		b.WriteString(": " + text)
	}
	m.info("%s", b.String())
}

// act does what a check says (header_checks(5)): context is header, body or
// content, param the map's name, content what matched, value the right-hand
// side. It returns what takes content's place; keep is false when nothing does.
func (m *Message) act(context, param, content, value string) (result string, keep bool) {
	word, text := splitAction(value)
	switch word {
	case "REJECT":
		m.reject(context, content, text)
	case "WARN":
		m.log("warning", context, content, text)
	case "INFO":
		m.log("info", context, content, text)
	case "PASS":
		m.log("pass", context, content, text)
		m.checks = false
	case "DISCARD":
		m.log("discard", context, content, text)
		m.discard, m.checks = true, false
	case "HOLD":
		if !m.env.Hold && !m.discard {
			m.log("hold", context, content, text)
			m.env.Hold = true
		}
	case "FILTER":
		m.filter(context, param, content, text)
	case "REDIRECT":
		if !strings.Contains(text, "@") {
			m.bareWarn("bad REDIRECT target \"" + text + "\" in " + param + " map -- need user@domain")
			break
		}
		m.log("redirect", context, content, text)
		m.redirect2, m.checks = text, false
	case "BCC":
		if !strings.Contains(text, "@") {
			m.bareWarn("bad BCC address \"" + text + "\" in " + param + " map -- need user@domain")
			break
		}
		m.log("bcc", context, content, text)
		m.bcc = append(m.bcc, text)
	case "PREPEND":
		m.prepend(context, param, content, text)
	case "REPLACE":
		return m.replace(context, param, content, text)
	case "STRIP":
		m.log("strip", context, content, text)
		return "", false
	case "IGNORE":
		return "", false
	case "DUNNO", "OK":
	default:
		m.bareWarn("unknown command in " + param + " map: " + value)
	}
	return content, true
}

// splitAction divides a right-hand side into its first word, in upper case,
// and the rest.
func splitAction(value string) (word, text string) {
	i := strings.IndexAny(value, " \t")
	if i < 0 {
		return strings.ToUpper(value), ""
	}
	return strings.ToUpper(value[:i]), strings.TrimLeft(value[i:], " \t\r\n\v\f")
}

// reject refuses the message. The text may begin with an enhanced status code:
// 5.x.x refuses for good, 4.x.x for now.
func (m *Message) reject(context, content, text string) {
	m.reason = "5.7.1 message content rejected"
	if text != "" {
		m.reason = withStatus("5.7.1", text)
	}
	if !strings.HasPrefix(m.reason, "4") && !strings.HasPrefix(m.reason, "5") {
		m.bareWarn("bad DSN action in " + text + " -- need 4.x.x or 5.x.x")
		m.reason = "4" + m.reason[1:]
	}
	if m.reason[0] == '4' {
		m.trouble |= deferred
	} else {
		m.trouble |= refused
	}
	m.checks = false
	m.log("reject", context, content, m.reason)
}

// withStatus puts an enhanced status code before a text that has none.
func withStatus(status, text string) string {
	word, rest, _ := strings.Cut(text, " ")
	if i := strings.IndexAny(text, " \t\r\n\v\f"); i >= 0 {
		word, rest = text[:i], text[i+1:]
	}
	if mail.IsStatus(word) {
		return word + " " + strings.TrimLeft(rest, " \t\r\n\v\f")
	}
	return status + " " + text
}

func (m *Message) filter(context, param, content, text string) {
	switch {
	case text == "":
		m.bareWarn("missing FILTER command argument in " + param + " map")
	case !strings.Contains(text, ":"):
		m.bareWarn("bad FILTER command " + text + " in " + param + " -- need transport:destination")
	default:
		m.filter2 = text
		m.log("filter", context, content, text)
	}
}

func (m *Message) prepend(context, param, content, text string) {
	switch {
	case text == "":
		m.bareWarn("PREPEND action without text in " + param + " map")
	case context != "header":
		m.log("prepend", context, content, text)
		m.out([]byte(text), false)
	case mimestate.HeaderName([]byte(text)) == 0:
		m.bareWarn("bad PREPEND header text \"" + text + "\" in " + param + " map -- need \"headername: headervalue\"")
	default:
		m.log("prepend", context, content, text)
		m.outHeader(text)
	}
}

func (m *Message) replace(context, param, content, text string) (string, bool) {
	switch {
	case text == "":
		m.bareWarn("REPLACE action without text in " + param + " map")
	case context == "header" && mimestate.HeaderName([]byte(text)) == 0:
		m.bareWarn("bad REPLACE header text \"" + text + "\" in " + param + " map -- need \"headername: headervalue\"")
	default:
		m.log("replace", context, content, text)
		return text, true
	}
	return content, true
}
