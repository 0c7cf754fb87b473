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
	out.net = &network{p, negate}
	return out, true
}

// network is the pattern of a cidr rule.
type network struct {
	netip.Prefix
	not bool
}

// has tests an address; one of the other IP version is not even outside of the
// network.
func (n *network) has(a netip.Addr) bool {
	return a.Is4() == n.Addr().Is4() && n.Contains(a) != n.not
}

// lookupAddress is Lookup in a cidr table. What is no address matches nothing.
func (t *patternTable) lookupAddress(key string) (string, bool, error) {
	a, err := netip.ParseAddr(key)
	if err != nil || a.Zone() != "" {
		return "", false, nil
	}
	for i := 0; i < len(t.rules); i++ {
		r := &t.rules[i]
		switch {
		case r.kind == ruleEndif:
		case r.net.has(a) && r.kind == ruleMatch:
			return expand(r.result, nil), true, nil
		case r.kind == ruleIf && !r.net.has(a):
			i = r.end
		}
	}
	return "", false, nil
}

func cutSpace(s string) (word, rest string) {
	i := strings.IndexAny(s, blank)
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.Trim(s[i:], blank)
}
