package check

import (
	"net/netip"
	"strings"

	"sekisho/internal/config"
)

// Networks looks at mynetworks: whoever is in it may relay.
func Networks(items []config.Item) []Finding {
	var found []Finding
	for _, it := range items {
		p, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(it.Text))
		if err != nil || p.Addr().IsPrivate() || p.Addr().IsLoopback() {
			continue
		}
		if wide := 8; p.Addr().Is4() && p.Bits() <= wide || p.Addr().Is6() && p.Bits() <= 2*wide {
			found = append(found, Finding{
				Code: "SEK301", Severity: Error, Pos: it.Pos,
				What: "mynetworks: " + it.Text + " trusts a large part of the Internet",
				Why:  "every client in mynetworks may relay without logging in",
				Mend: "list only your own networks",
			})
		}
	}
	return found
}
