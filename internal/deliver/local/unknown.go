package local

import (
	"strings"

	"sekisho/internal/evidence"
)

// unknown is the end for a name that nobody has (unknown.c). Every site must have
// the two that RFC 5321 demands, so their mail is not sent back.
func (d *delivery) unknown(s state) status {
	s.level++
	if d.beenHere("unknown %s", s.local) {
		return fine
	}
	if st, done := d.byTable(s, d.a.fallbackMaps, d.a.fallback); done {
		return st
	}
	nobody := bounced("5.1.1", `unknown user: "`+s.user+`"`)
	switch {
	case d.a.luserRelay != "":
		s.rest, s.hasRest = "", false
		addr, _, err := d.fill(s, d.a.luserRelay, "")
		if err != nil || addr == "" {
			d.warn("bad parameter value syntax for luser_relay: %s", d.a.luserRelay)
			return d.add(s, nobody)
		}
		addr = d.a.o.Resolver.RewriteExternal(addr)
		if strings.EqualFold(addr, s.to.Address) {
			return d.add(s, nobody)
		}
		return d.resolve(s, addr)
	case s.user == "postmaster" || s.user == "mailer-daemon":
		d.warn("required alias not found: %s", s.user)
		return d.sent(s, "discarded")
	}
	return d.add(s, nobody)
}

// lookFor looks a user up in tables.
func (d *delivery) lookFor(tables []string, user string) (value string, found, failed bool) {
	for _, table := range tables {
		ans := d.src.Ask(evidence.Question{Kind: evidence.Table, Name: table, Arg: user})
		switch ans.Status {
		case evidence.Found:
			return ans.Value, true, false
		case evidence.NotFound:
		default:
			d.warn("%s: lookup of '%s' failed", table, user)
			return "", false, true
		}
	}
	return "", false, false
}
