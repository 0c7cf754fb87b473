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
		if r.depth == 0 {
			r.odd(r.line, "ENDIF without IF: skipping this rule")
			return rule{}, false
		}
		return r.endif()
	}
	out := rule{}
	if rest, ok := keyword(text, "if"); ok {
		out.kind, text = ruleIf, rest
	}
	negate, text := negation(text)
	word, rest := text, ""
	if out.kind == ruleMatch {
		word, rest = cutSpace(text)
	}
	if word == "" {
		return r.skip("no address pattern")
	}
	p, problem := parsePrefix(word)
	if problem == "" && out.kind == ruleMatch && rest == "" {
		problem = "no lookup result"
	}
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

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, blank)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.Trim(s[i:], blank)
}
