package mail

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// ParseNetwork reads "address", "network/length" and the same with the address
// in brackets, as match lists and cidr_table(5) have them. problem says what is
// wrong, in Postfix's words.
func ParseNetwork(text string) (p netip.Prefix, problem string) {
	if bare, ok := strings.CutPrefix(text, "["); ok {
		address, after, closed := strings.Cut(bare, "]")
		switch {
		case !closed:
			return p, `missing ']' character after "` + text + `"`
		case after != "" && after[0] != '/':
			return p, `garbage after "[` + address + `]"`
		}
		text = address + after
	}
	address, length, masked := strings.Cut(text, "/")
	quoted := `"` + text + `"`
	a, err := netip.ParseAddr(address)
	switch {
	case masked && (length == "" || strings.Trim(length, "0123456789") != ""):
		return p, "bad mask value in " + quoted
	case err != nil && masked:
		return p, "bad network value in " + quoted
	case err != nil:
		return p, "bad address pattern: " + quoted
	case !masked:
		return netip.PrefixFrom(a, a.BitLen()), ""
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits > a.BitLen() {
		return p, "bad mask length in " + quoted
	}
	p = netip.PrefixFrom(a, bits)
	if m := p.Masked(); m.Addr() != a {
		return p, fmt.Sprintf("non-null host address bits in %s, perhaps you should use %q instead", quoted, m)
	}
	return p, ""
}
