package mail

import (
	"fmt"
	"strings"
)

// EncodeXtext encodes s for the value of a DSN parameter (xtext, RFC 3461
// section 4).
func EncodeXtext(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '+' || c == '=' {
			fmt.Fprintf(&b, "+%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
