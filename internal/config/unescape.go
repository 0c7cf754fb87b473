package config

import (
	"strconv"
	"strings"
)

// Unescape replaces the backslash sequences of C in a value, as the parameters
// that list characters have them (smtpd_expansion_filter,
// message_reject_characters): \a \b \f \n \r \t \v, up to three octal digits, and any
// other character for itself. A backslash at the end is dropped.
func Unescape(s string) string {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b = append(b, s[i])
			continue
		}
		if i++; i == len(s) {
			break
		}
		if n := octal(s[i:]); n > 0 {
			v, _ := strconv.ParseUint(s[i:i+n], 8, 16)
			b = append(b, byte(v))
			i += n - 1
			continue
		}
		if j := strings.IndexByte("abfnrtv", s[i]); j >= 0 {
			b = append(b, "\a\b\f\n\r\t\v"[j])
			continue
		}
		b = append(b, s[i])
	}
	return string(b)
}

// octal counts the octal digits at the start of s, three at most.
func octal(s string) int {
	n := 0
	for n < len(s) && n < 3 && s[n] >= '0' && s[n] <= '7' {
		n++
	}
	return n
}
