// Package authproto is the wording of Dovecot's authentication protocol,
// version 1: lines of fields between tabs, how a tab gets into a field, and the
// MECH lines of the handshake. Client and server are package dovecot and package
// authserver; this one knows no connections.
//
// See "Dovecot Authentication Protocol v1.2" in Dovecot's documentation for
// developers, and Postfix's SASL_README.
package authproto

import (
	"slices"
	"strings"

	"sekisho/internal/sasl"
)

// Major and Minor are the version of the protocol that is spoken. Another minor
// version can be talked to, another major one can't.
const (
	Major = 1
	Minor = 1
)

// MaxLine is the longest line, its newline included, that Dovecot reads; a
// longer one has it close the connection.
const MaxLine = 8192

// escapes has the characters that a field cannot contain, each followed by what
// stands for it after a byte 1.
const escapes = "\x00" + "0" + "\x01" + "1" + "\t" + "t" + "\r" + "r" + "\n" + "n"

// Escape makes s fit to be a field.
func Escape(s string) string {
	if !strings.ContainsAny(s, "\x00\x01\t\r\n") {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if at := strings.IndexByte(escapes, s[i]); at >= 0 && at%2 == 0 {
			b.WriteByte(1)
			b.WriteByte(escapes[at+1])
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// Unescape is the reverse of Escape. What nobody escapes so stays without its
// byte 1.
func Unescape(s string) string {
	if !strings.Contains(s, "\x01") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != 1 || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		c := s[i]
		for at := 1; at < len(escapes); at += 2 {
			if escapes[at] == c {
				c = escapes[at-1]
				break
			}
		}
		b.WriteByte(c)
	}
	return b.String()
}

// private is the property of a mechanism that is not for clients, binding of
// one that neither Postfix nor this server can hand the channel's data to.
const (
	private = "private"
	binding = "channel-binding"
)

// property is the word for a property of a mechanism.
type property struct {
	word string
	of   func(*sasl.Mechanism) *bool
}

func properties() []property {
	return []property{
		{"anonymous", func(m *sasl.Mechanism) *bool { return &m.Anonymous }},
		{"plaintext", func(m *sasl.Mechanism) *bool { return &m.Plaintext }},
		{"dictionary", func(m *sasl.Mechanism) *bool { return &m.Dictionary }},
		{"active", func(m *sasl.Mechanism) *bool { return &m.Active }},
		{"forward-secrecy", func(m *sasl.Mechanism) *bool { return &m.ForwardSecrecy }},
		{"mutual-auth", func(m *sasl.Mechanism) *bool { return &m.MutualAuth }},
	}
}

// ParseMechanism reads the fields after MECH. offer is false for a mechanism
// that clients are not told of. Words that are not known are passed over.
func ParseMechanism(fields []string) (m sasl.Mechanism, offer bool) {
	if len(fields) == 0 || fields[0] == "" {
		return m, false
	}
	m.Name = strings.ToUpper(fields[0])
	offer = true
	for _, word := range fields[1:] {
		word = strings.ToLower(word)
		if word == private || word == binding {
			offer = false
		}
		all := properties()
		if i := slices.IndexFunc(all, func(p property) bool { return p.word == word }); i >= 0 {
			*all[i].of(&m) = true
		}
	}
	return m, offer
}

// FormatMechanism returns the line MECH of a mechanism, without newline.
func FormatMechanism(m sasl.Mechanism) string {
	line := "MECH\t" + m.Name
	for _, p := range properties() {
		if *p.of(&m) {
			line += "\t" + p.word
		}
	}
	return line
}
