package check

import (
	"strings"

	"sekisho/internal/restrict"
)

// closed are DNS lists that have ended, each with when. Those that "list the
// world" afterwards refuse everybody's mail.
var closed = []struct{ domain, when string }{
	{"relays.ordb.org", "closed in December 2006, and listed every address from March 2008 on"},
	{"osirusoft.com", "closed in August 2003, and listed every address"},
	{"blackholes.easynet.nl", "closed in December 2003"},
	{"monkeys.com", "closed in September 2003"},
	{"opm.blitzed.org", "closed in May 2006"},
	{"dsbl.org", "closed in May 2008"},
	{"njabl.org", "closed in March 2013"},
	{"rfc-ignorant.org", "closed in 2012"},
	{"ahbl.org", "closed, and lists every address since January 2015"},
	{"dul.ru", "closed, and lists every address since May 2015"},
	{"spamcannibal.org", "closed, and listed every address in May 2018"},
	{"emailbasura.org", "closed in 2019, and listed every address"},
	{"megarbl.net", "closed, and lists every address since November 2019"},
	{"rbl.webiron.net", "closed in 2020, and listed every address"},
	{"bsb.spamlookup.net", "closed in 2020"},
	{"inps.de", "closed in May 2020"},
	{"cbl.abuseat.org", "closed in 2021; what it listed is in zen.spamhaus.org"},
	{"sorbs.net", "closed in June 2024"},
	{"ix.dnsbl.manitu.net", "closed in January 2025"},
}

// names of lists that are of another kind than the restriction takes them for.
var (
	domainLists = []string{"dbl.spamhaus.org", "multi.surbl.org", "multi.uribl.com", "black.uribl.com"}
	addrLists   = []string{
		"zen.spamhaus.org", "sbl.spamhaus.org", "xbl.spamhaus.org", "pbl.spamhaus.org", "sbl-xbl.spamhaus.org",
		"bl.spamcop.net", "b.barracudacentral.org", "psbl.surriel.com",
	}
	allowLists = []string{"list.dnswl.org", "swl.spamhaus.org"}
)

// DNSLists looks at the DNS block and allow lists that one service asks. It
// knows them by name and asks nobody.
func DNSLists(service string, lists []restrict.List) []Finding {
	o := &order{service: service}
	for _, l := range lists {
		for e := range all(l.Entries) {
			o.list(l.Param, e)
		}
	}
	return o.found
}

func (o *order) list(param string, e restrict.Entry) {
	domain, filter, _ := strings.Cut(strings.ToLower(e.Arg), "=")
	byName := strings.Contains(e.Name, "_rhsbl_") || e.Name == "permit_rhswl_client"
	if !byName && e.Name != "reject_rbl_client" && e.Name != "permit_dnswl_client" {
		return
	}
	what := param + ": " + label(e)
	for _, c := range closed {
		if below(domain, c.domain) {
			o.add(Finding{
				Code: "SEK501", Severity: Warning, Pos: e.Pos, What: what + " asks a list that is no more", Why: c.domain + ": " + c.when,
				Mend: "remove it",
			})
			return
		}
	}
	rejects := strings.HasPrefix(e.Name, "reject_")
	switch {
	case rejects && among(domain, allowLists):
		o.add(Finding{
			Code: "SEK502", Severity: Error, Pos: e.Pos, What: what + " refuses the clients that the list recommends",
			Why: domain + " is an allow list", Mend: "use permit_dnswl_client",
		})
	case !byName && among(domain, domainLists):
		o.add(Finding{
			Code: "SEK502", Severity: Error, Pos: e.Pos, What: what + " asks a list of domains for addresses",
			Why: domain + " may call every address listed", Mend: "use reject_rhsbl_sender, reject_rhsbl_helo or reject_rhsbl_reverse_client",
		})
	case byName && among(domain, addrLists):
		o.add(Finding{
			Code: "SEK502", Severity: Warning, Pos: e.Pos, What: what + " asks a list of addresses for domains",
			Why: domain + " lists no domains", Mend: "use reject_rbl_client",
		})
	case rejects && filter == "" && below(domain, "spamhaus.org"):
		o.add(Finding{
			Code: "SEK503", Severity: Note, Pos: e.Pos, What: what + " takes the list's error codes for listings",
			Why:  "asked through a public resolver or too often, it answers 127.255.255.252 to 127.255.255.255 for every client, and all mail is refused",
			Mend: "write " + e.Name + " " + e.Arg + goodAnswers(byName) + ", and ask through a resolver of your own",
		})
	}
}

func goodAnswers(byName bool) string {
	if byName {
		return "=127.0.1.[2..99]"
	}
	return "=127.0.0.[2..11]"
}

// below reports whether name is domain or one of its sub-domains.
func below(name, domain string) bool { return name == domain || strings.HasSuffix(name, "."+domain) }

func among(name string, domains []string) bool {
	for _, d := range domains {
		if below(name, d) {
			return true
		}
	}
	return false
}
