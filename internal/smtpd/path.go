package smtpd

import (
	"strings"

	"sekisho/internal/tok822"
)

// path is the address of a MAIL, RCPT or VRFY command.
type path struct {
	addr string // internal form; empty for <>
	ok   bool
	// illegal: the address was refused and Postfix logs it.
	illegal bool
}

// parsePath finds the one address in a word of a command. strict asks for the
// brackets of RFC 5321 and nothing else; else anything in which RFC 822 sees
// one address will do. A source route is cut off in both cases.
func parsePath(word string, empty, strict bool) path {
	text := word
	if len(text) >= 2 && text[0] == '<' && text[len(text)-1] == '>' {
		text = text[1 : len(text)-1]
	}
	if strings.HasPrefix(text, "@") {
		if _, rest, found := strings.Cut(text, ":"); found {
			text = rest
		}
	}
	list := tok822.Parse(text, 0)
	addrs := list.Addresses()
	if len(addrs) > 1 || strict && (list.Others() > 0 || !strings.HasPrefix(word, "<")) {
		return path{illegal: true}
	}
	var p path
	if len(addrs) == 1 {
		p.addr = addrs[0].Internal()
	}
	if p.addr == "" && !empty || strict && strings.HasPrefix(p.addr, "@") {
		return path{illegal: true}
	}
	p.ok = true
	return p
}

// unxtext decodes xtext (RFC 3461 section 4). ok is false when it is none.
func unxtext(s string) (string, bool) {
	if strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '+' {
			b.WriteByte(s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), true
}

func hexDigit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// isHeader reports whether a word looks like the name of a message header, as
// when somebody sends a message where a command belongs.
func isHeader(word string) bool {
	i := strings.IndexByte(word, ':')
	if i <= 0 {
		return false
	}
	for j := 0; j < i; j++ {
		if word[j] <= ' ' || word[j] >= 127 {
			return false
		}
	}
	return true
}
