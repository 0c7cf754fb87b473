package table

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseCIDRRule reads one rule of a cidr table:
//
//	[!]network/length result
//	if [!]network/length
//	endif
func parseCIDRRule(r *ruleReader, text string) (rule, bool) {
	if rest, ok := keyword(text, "endif"); ok {
		if rest != "" {
			return r.skip("garbage after ENDIF")
		}
		return r.endif()
	}
	out := rule{}
	if rest, ok := keyword(text, "if"); ok {
		out.kind, text = ruleIf, rest
	}
	negate, text := negation(text)
	word, rest := cutSpace(text)
	if word == "" {
		return r.skip("no address pattern")
	}
	switch {
	case out.kind == ruleIf && rest != "":
		r.odd(r.line, "ignoring extra text after IF")
	case out.kind == ruleMatch && rest == "":
		return r.skip("no lookup result")
	}
	p, problem := parsePrefix(word)
	if problem != "" {
		return r.skip(problem)
	}
	out.result = []piece{{text: rest}}
	out.match = matchPrefix(p, negate)
	return out, true
}

// matchPrefix tests addresses; one of the other IP version is not even outside
// of the network.
func matchPrefix(p netip.Prefix, negate bool) matcher {
	return func(key string) ([]string, bool, error) {
		a, err := netip.ParseAddr(key)
		if err != nil || a.Is4() != p.Addr().Is4() || a.Zone() != "" {
			return nil, false, nil
		}
		return nil, p.Contains(a) != negate, nil
	}
}

// parsePrefix reads "address", "network/length" and the same with the address
// in brackets.
func parsePrefix(text string) (p netip.Prefix, problem string) {
	address, length, masked := strings.Cut(text, "/")
	bare := strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	if strings.HasPrefix(address, "[") != strings.HasSuffix(address, "]") {
		return p, fmt.Sprintf("missing ']' character after %q", text)
	}
	a, err := netip.ParseAddr(bare)
	switch {
	case err != nil && masked:
		return p, fmt.Sprintf("bad network value in %q", text)
	case err != nil:
		return p, fmt.Sprintf("bad address pattern: %q", text)
	case !masked:
		return netip.PrefixFrom(a, a.BitLen()), ""
	case length == "" || strings.Trim(length, "0123456789") != "":
		return p, fmt.Sprintf("bad mask value in %q", text)
	}
	bits, err := strconv.Atoi(length)
	if err != nil || bits > a.BitLen() {
		return p, fmt.Sprintf("bad mask length in %q", text)
	}
	p = netip.PrefixFrom(a, bits)
	if m := p.Masked(); m.Addr() != a {
		return p, fmt.Sprintf("non-null host address bits in %q, perhaps you should use %q instead", text, m)
	}
	return p, ""
}

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, blank)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.Trim(s[i:], blank)
}
