package bounce

import "strings"

// decodeXtext undoes the encoding of RFC 3461 section 4; what is no xtext stays
// as it is.
func decodeXtext(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '+' && i+2 < len(s) {
			hi, lo := hexDigit(s[i+1]), hexDigit(s[i+2])
			if hi >= 0 && lo >= 0 {
				b.WriteByte(byte(hi<<4 | lo))
				i += 2
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return printable(b.String())
}

// hexDigit is the value of an upper-case hexadecimal digit, or -1.
func hexDigit(c byte) int { return strings.IndexByte("0123456789ABCDEF", c) }

// printable replaces control characters, which could begin a line of their own.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return '?'
		}
		return r
	}, s)
}
