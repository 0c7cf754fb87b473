package cleanup

import (
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
	"sekisho/internal/tok822"
)

// header is what is known about a header by its name.
type header struct {
	flags headerFlags
	seen  headerSet // the bit to remember it by, 0: none
}

type headerFlags uint8

const (
	dropped      headerFlags = 1 << iota // message_drop_headers
	hasSender                            // addresses of senders
	hasRecipient                         // addresses of recipients
	ofMIME                               // checked by mime_header_checks wherever it stands
	resentBlock                          // belongs to a block of Resent- headers
)

// headerSet is a set of headers that the message has.
type headerSet uint16

const (
	hasMessageID headerSet = 1 << iota
	hasDate
	hasFrom
	hasVisible // To or Cc, Resent- ones too
	hasResentMessageID
	hasResentDate
	hasResentFrom
	hasReceived
	hasEncoding
)

// knownHeaders returns the headers that cleanup treats otherwise than others,
// by lower-case name, with those to be dropped.
func knownHeaders(drop []string) map[string]header {
	known := map[string]header{
		"apparently-to":               {flags: hasRecipient},
		"bcc":                         {flags: hasRecipient},
		"cc":                          {flags: hasRecipient, seen: hasVisible},
		"content-description":         {flags: ofMIME},
		"content-disposition":         {flags: ofMIME},
		"content-id":                  {flags: ofMIME},
		"content-length":              {},
		"content-transfer-encoding":   {flags: ofMIME, seen: hasEncoding},
		"content-type":                {flags: ofMIME},
		"date":                        {seen: hasDate},
		"delivered-to":                {},
		"disposition-notification-to": {flags: hasSender},
		"errors-to":                   {flags: hasSender},
		"from":                        {flags: hasSender, seen: hasFrom},
		"mail-followup-to":            {flags: hasSender},
		"message-id":                  {seen: hasMessageID},
		"mime-version":                {flags: ofMIME},
		"received":                    {seen: hasReceived},
		"reply-to":                    {flags: hasSender},
		"resent-bcc":                  {flags: hasRecipient | resentBlock},
		"resent-cc":                   {flags: hasRecipient | resentBlock, seen: hasVisible},
		"resent-date":                 {flags: resentBlock, seen: hasResentDate},
		"resent-from":                 {flags: hasSender | resentBlock, seen: hasResentFrom},
		"resent-message-id":           {flags: resentBlock, seen: hasResentMessageID},
		"resent-reply-to":             {flags: hasRecipient | resentBlock},
		"resent-sender":               {flags: hasSender | resentBlock},
		"resent-to":                   {flags: hasRecipient | resentBlock, seen: hasVisible},
		"return-path":                 {flags: hasSender},
		"return-receipt-to":           {flags: hasSender},
		"sender":                      {flags: hasSender},
		"to":                          {flags: hasRecipient, seen: hasVisible},
	}
	for _, name := range drop {
		h := known[strings.ToLower(name)]
		h.flags |= dropped
		known[strings.ToLower(name)] = h
	}
	return known
}

// known finds what is known about a header line, and its value.
func (c *Cleaner) known(line string) (h header, value string, ok bool) {
	name, value, _ := strings.Cut(line, ":")
	h, ok = c.set.headers[strings.ToLower(strings.TrimRight(name, " \t"))]
	return h, strings.TrimLeft(value, " \t\r\n\v\f"), ok
}

// header takes one header from the walk: it is checked, remembered, rewritten,
// and put out unless something says no.
func (m *Message) header(class mimestate.Class, line string) {
	h, value, known := m.c.known(line)
	if known && h.flags&ofMIME != 0 {
		class = mimestate.Multipart
	}
	if h.seen == hasReceived {
		m.hops++
	}
	if t := m.checksFor(class); m.checks && len(t.maps) > 0 {
		checked, keep := m.checkHeader(t, line)
		if !keep {
			return
		}
		if checked != line {
			line = checked
			h, value, known = m.c.known(line)
		}
	}
	if known && h.seen == hasEncoding && m.c.set.detect8bit &&
		(strings.EqualFold(value, "8bit") || strings.EqualFold(value, "binary")) {
		m.env.Body = "8BITMIME"
	}
	if !known || class != mimestate.Primary {
		m.outHeader(line)
		return
	}
	m.primary(h, line, value)
}

func (m *Message) checksFor(class mimestate.Class) *tables {
	s := &m.c.set
	switch class {
	case mimestate.Multipart:
		return &s.mimeChecks
	case mimestate.Nested:
		return &s.nestedChecks
	}
	return &s.headerChecks
}

// primary takes a known header of the message itself.
func (m *Message) primary(h header, line, value string) {
	m.seen |= h.seen
	switch h.seen {
	case hasMessageID:
		m.info("message-id=%s", value)
	case hasResentMessageID:
		m.info("resent-message-id=%s", value)
	case hasReceived:
		if m.hops >= m.c.set.hops {
			m.warn("message rejected: hopcount exceeded")
			m.trouble |= tooManyHops
		}
	}
	if !m.ok() {
		return
	}
	if h.flags&resentBlock != 0 {
		m.resent = "Resent-"
	}
	rewritten := false
	if m.rewriter != nil && h.flags&(hasSender|hasRecipient) != 0 {
		line, rewritten = m.rewriteHeader(h, line)
	}
	if h.flags&dropped != 0 {
		return
	}
	if rewritten {
		line = fold(line)
	}
	m.outHeader(line)
}

// rewriteHeader completes and maps the addresses of a header. When none
// changes, the header stays as it was written.
func (m *Message) rewriteHeader(h header, line string) (string, bool) {
	s := &m.c.set
	name, value, _ := strings.Cut(line, ":")
	list := tok822.Parse(value, s.tokens)
	changed := false
	for _, a := range list.Addresses() {
		before := a.External()
		if before == "" {
			continue
		}
		after := m.rewriter.RewriteExternal(before)
		addr := mail.JoinTokens(mail.ScanAddress(after))
		mapped := false
		if m.maps && h.flags&hasSender != 0 {
			addr, mapped = m.mapHeader(&s.senderCanonical, headerSender, addr)
		} else if m.maps {
			addr, mapped = m.mapHeader(&s.recipientCanonical, headerRecipient, addr)
		}
		a.Set(addr)
		changed = changed || after != before || mapped
	}
	if !changed {
		return line, false
	}
	text, stripped := list.Header()
	for _, t := range stripped {
		m.bareWarn("stripping too many comments from address: " + t[:min(len(t), 100)] + "...")
	}
	return name + ": " + text, true
}

func (m *Message) mapHeader(own *mapping, where place, addr string) (mapped string, changed bool) {
	addr, byOwn := m.mapOne(own, where, addr)
	addr, byAll := m.mapOne(&m.c.set.canonical, where, addr)
	mapped = m.masquerade(where, addr)
	return mapped, byOwn || byAll || mapped != addr
}

// fold joins the lines of a rewritten header, one address each, as far as they
// fit into 70 characters.
func fold(header string) string {
	lines := strings.Split(header, "\n")
	out, width := lines[0], len(lines[0])
	for _, l := range lines[1:] {
		if width+1+len(l) < 70 {
			out += " " + l
			width += 1 + len(l)
		} else {
			out += "\n" + l
			width = len(l)
		}
	}
	return out
}
