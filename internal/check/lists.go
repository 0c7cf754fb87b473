package check

import (
	"strings"

	"sekisho/internal/restrict"
)

// closedLists are DNS lists that have ended, with the year. A list that is gone
// costs time, and one day may name everybody.
func closedLists() map[string]string {
	return map[string]string{
		"relays.ordb.org":     "2006",
		"dsbl.org":            "2009",
		"rfc-ignorant.org":    "2012",
		"njabl.org":           "2013",
		"ahbl.org":            "2015",
		"spamcannibal.org":    "2018",
		"cbl.abuseat.org":     "2021, into zen.spamhaus.org",
		"dnsbl.sorbs.net":     "2024",
		"ix.dnsbl.manitu.net": "2025",
	}
}

// lists looks at the restrictions that ask the DNS.
func (o *order) lists(lists []restrict.List) {
	for _, l := range lists {
		o.dnsRestrictions(l.Param, l.Entries)
	}
}

func (o *order) dnsRestrictions(param string, entries []restrict.Entry) {
	for _, e := range entries {
		o.dnsRestrictions(param, e.Class)
		switch {
		case e.Name == "permit_mx_backup":
			o.add(Finding{
				Code: "SEK110", Severity: Note, Pos: e.Pos,
				What: param + ": permit_mx_backup goes away in Postfix",
				Why:  "deprecated since Postfix 3.9: whoever names this server in the DNS decides what it relays",
				Mend: "name the domains in relay_domains, where relay_recipient_maps can tell their users too",
			})
		case strings.Contains(e.Name, "rbl") || strings.Contains(e.Name, "rhsbl") || strings.HasSuffix(e.Name, "wl_client"):
			o.closed(param, e)
		case permitsNobody(e.Name) && strings.EqualFold(e.Arg, "static:ok"):
			o.add(Finding{
				Code: "SEK112", Severity: Warning, Pos: e.Pos,
				What: param + ": " + label(e) + " answers 451 instead of permitting",
				Why:  "whoever sends the mail chooses what it looks up, so an OK from its table is refused as a configuration error",
				Mend: "use DUNNO for exceptions",
			})
		}
	}
}

// closed finds a list that has ended.
func (o *order) closed(param string, e restrict.Entry) {
	domain, _, _ := strings.Cut(strings.ToLower(e.Arg), "=")
	for name, year := range closedLists() {
		if domain != name && !strings.HasSuffix(domain, "."+name) {
			continue
		}
		o.add(Finding{
			Code: "SEK111", Severity: Warning, Pos: e.Pos,
			What: param + ": " + label(e) + " asks a list that has ended",
			Why:  "it closed in " + year + "; its questions cost time, and some such lists have named every address in the end",
			Mend: "remove it",
		})
	}
}

// permitsNobody tells the restrictions whose tables may not permit.
func permitsNobody(name string) bool {
	if name == "check_reverse_client_hostname_access" {
		return true
	}
	for _, end := range []string{"_a_access", "_mx_access", "_ns_access"} {
		if strings.HasPrefix(name, "check_") && strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}
