package check

import (
	"strings"

	"sekisho/internal/restrict"
)

// Order looks at the restriction lists of one service for restrictions that
// stand in the wrong place.
func Order(service string, lists []restrict.List, saslEnabled bool) []Finding {
	o := &order{service: service, sasl: saslEnabled}
	for _, l := range lists {
		o.unreachable(l.Param, l.Entries)
	}
	o.relay(lists)
	o.blocklists(lists)
	o.ownership(lists)
	o.probes(lists)
	return o.found
}

type order struct {
	service string
	sasl    bool
	found   []Finding
}

func (o *order) add(f Finding) {
	f.Service = o.service
	o.found = append(o.found, f)
}

// unreachable finds what stands behind permit, reject or defer.
func (o *order) unreachable(param string, entries []restrict.Entry) {
	for i, e := range entries {
		if e.Class != nil {
			o.unreachable(param, e.Class)
		}
		if !decides(e) || i+1 == len(entries) {
			continue
		}
		next := entries[i+1]
		o.add(Finding{
			Code: "SEK101", Severity: Warning, Pos: next.Pos,
			What: param + ": " + label(next) + " is never reached",
			Why:  e.Name + " before it (" + e.Pos.String() + ") decides for everybody",
			Mend: "move " + e.Name + " to the end of the list or remove what follows",
		})
		return
	}
}

// decides reports whether nothing gets past a restriction.
func decides(e restrict.Entry) bool {
	if e.Warn {
		return false
	}
	return e.Name == "permit" || e.Name == "reject" || e.Name == "defer"
}

func label(e restrict.Entry) string { return strings.TrimSpace(e.Name + " " + e.Arg) }

// relay finds access tables whose OK would let a stranger relay: they stand
// before the restriction that refuses relaying, in the list that has it, and
// no other list refuses relaying too.
func (o *order) relay(lists []restrict.List) {
	var guarding []restrict.List
	for _, l := range lists {
		if (l.Param == "smtpd_relay_restrictions" || l.Param == "smtpd_recipient_restrictions") && guard(l.Entries) >= 0 {
			guarding = append(guarding, l)
		}
	}
	if len(guarding) != 1 {
		return
	}
	l := guarding[0]
	for _, e := range l.Entries[:guard(l.Entries)] {
		if !permitsByTable(e) {
			continue
		}
		o.add(Finding{
			Code: "SEK201", Severity: Warning, Pos: e.Pos,
			What: l.Param + ": an OK from " + label(e) + " lets anybody relay",
			Why:  "it stands before reject_unauth_destination, and no other list refuses relaying",
			Mend: "set smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, or use DUNNO instead of OK in the table",
		})
	}
}

// guard returns the index of the restriction that refuses relaying, or -1.
func guard(entries []restrict.Entry) int {
	for i, e := range entries {
		switch {
		case e.Warn:
		case e.Name == "reject_unauth_destination" || e.Name == "defer_unauth_destination" || e.Name == "reject" || e.Name == "defer":
			return i
		case e.Name == "permit":
			return -1
		}
	}
	return -1
}

func permitsByTable(e restrict.Entry) bool {
	switch e.Name {
	case "", "check_client_access", "check_helo_access", "check_sender_access", "check_recipient_access", "check_policy_service":
		return !strings.HasPrefix(e.Arg, "static:") || strings.EqualFold(strings.TrimPrefix(e.Arg, "static:"), "ok")
	}
	return false
}

// probes finds address verification of recipients that anybody can have done for
// any address there is.
func (o *order) probes(lists []restrict.List) {
	for _, l := range lists {
		for _, e := range l.Entries {
			switch e.Name {
			case "reject_unauth_destination", "defer_unauth_destination", "reject", "defer":
				if !e.Warn {
					return
				}
			case "reject_unverified_recipient":
				o.add(Finding{
					Code: "SEK204", Severity: Warning, Pos: e.Pos,
					What: l.Param + ": reject_unverified_recipient sends probes to any server that a stranger names",
					Why:  "it stands before reject_unauth_destination, so that mail for everywhere gets there; servers that get many probes block who sends them",
					Mend: "put reject_unauth_destination before it",
				})
				return
			}
			if e.Name == "permit" {
				break
			}
		}
	}
}

// blocklists finds block lists that a service applies to its own users before
// it asks whether they have logged in.
func (o *order) blocklists(lists []restrict.List) {
	if !o.sasl {
		return
	}
	for _, l := range lists {
		for _, e := range l.Entries {
			if e.Name == "permit_sasl_authenticated" {
				break
			}
			if e.Name != "reject_rbl_client" && e.Name != "reject_unknown_client_hostname" && e.Name != "reject_unknown_reverse_client_hostname" {
				continue
			}
			o.add(Finding{
				Code: "SEK202", Severity: Warning, Pos: e.Pos,
				What: l.Param + ": " + label(e) + " also refuses users who have logged in",
				Why:  "people at home and on the road have addresses that block lists name, and no permit_sasl_authenticated stands before it",
				Mend: "put permit_sasl_authenticated before it",
			})
			return
		}
	}
}

// ownership finds sender ownership tests that a permit makes idle.
func (o *order) ownership(lists []restrict.List) {
	for _, l := range lists {
		permit := -1
		for i, e := range l.Entries {
			if e.Name == "permit_sasl_authenticated" && permit < 0 {
				permit = i
			}
			if permit < 0 || !strings.HasSuffix(e.Name, "sender_login_mismatch") {
				continue
			}
			o.add(Finding{
				Code: "SEK203", Severity: Warning, Pos: e.Pos,
				What: l.Param + ": " + e.Name + " never sees a user who has logged in",
				Why:  "permit_sasl_authenticated (" + l.Entries[permit].Pos.String() + ") stands before it",
				Mend: "put " + e.Name + " first",
			})
		}
	}
}
