package table

import (
	"net/netip"
	"strings"

	"sekisho/internal/mail"
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
	p, problem := mail.ParseNetwork(word)
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

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, blank)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.Trim(s[i:], blank)
}
