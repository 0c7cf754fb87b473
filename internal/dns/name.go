package dns

import (
	"strconv"
	"strings"
)

// complaint says what is wrong with name as a host name, in the words
// Postfix's valid_hostname logs; empty when nothing is. Unlike
// mail.ValidHostname it has a text for every fault, and a name of digits and
// dots alone is one. wildcard allows "*" as the first label.
func complaint(name string, wildcard bool) string {
	const who = "valid_hostname: "
	if name == "" {
		return who + "empty hostname"
	}
	label, letters := 0, wildcard && (name == "*" || strings.HasPrefix(name, "*."))
	for i := 0; i < len(name); i++ {
		c := name[i]
		last := i+1 == len(name)
		switch {
		case c == '*' && i == 0 && letters:
			label++
		case c == '*' && wildcard:
			return who + "'*' can be the first label only: " + clip(name)
		case c == '_' || isAlnum(c):
			if label++; label > 63 {
				return who + "hostname label too long: " + clip(name)
			}
			letters = letters || c < '0' || c > '9'
		case c == '.':
			if label == 0 || last {
				return who + "misplaced delimiter: " + clip(name)
			}
			label = 0
		case c == '-':
			if label++; label == 1 || last || name[i+1] == '.' {
				return who + "misplaced hyphen: " + clip(name)
			}
		default:
			return who + "invalid character " + strconv.Itoa(int(c)) + "(decimal): " + clip(name)
		}
	}
	if !letters {
		return who + "numeric hostname: " + clip(name)
	}
	if len(name) > 255 {
		return who + "bad length " + strconv.Itoa(len(name)) + " for " + clip(name) + "..."
	}
	return ""
}

func isAlnum(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

// clip cuts what goes into a log line at Postfix's 100 bytes.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100]
	}
	return s
}

// Text returns a TXT record as Postfix reads it: the first character-string
// only, with unprintable bytes as blanks. Data holds all strings joined.
func (r Record) Text() string {
	s := r.Data
	if r.First > 0 && r.First < len(s) {
		s = s[:r.First]
	}
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = ' '
		}
	}
	return string(b)
}
