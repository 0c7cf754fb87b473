package bounce

import "strings"

// wrap breaks a text at white space into lines of at most 79 characters, all
// but the first indented by 4 (line_wrap(3)). A longer word stays whole.
func wrap(s string) []string {
	const width, indent = 79, "    "
	var lines []string
	prefix, room := "", width
	for {
		if len(s) <= room {
			return append(lines, prefix+s)
		}
		cut := strings.LastIndexAny(s[:room+1], " \t")
		if cut <= 0 {
			cut = strings.IndexAny(s, " \t")
		}
		if cut <= 0 {
			return append(lines, prefix+s)
		}
		lines = append(lines, prefix+strings.TrimRight(s[:cut], " \t"))
		s = strings.TrimLeft(s[cut:], " \t")
		prefix, room = indent, width-len(indent)
	}
}

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
