package bounce

import (
	"strings"

	"sekisho/internal/mail"
)

// decodeXtext undoes the encoding of RFC 3461 section 4 in what is to be shown.
func decodeXtext(s string) string { return printable(mail.DecodeXtext(s)) }

// printable replaces control characters, which could begin a line of their own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return '?'
		}
		return r
	}, s)
}
