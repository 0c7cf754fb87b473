package check

import (
	"strings"

	"sekisho/internal/restrict"
)

// Relaying looks at what a service does with users and with strangers who want
// to relay. submission says that the service is there for users (ports 587 and
// 465).
func Relaying(service string, lists []restrict.List, saslEnabled, submission bool) []Finding {
	o := &order{service: service, sasl: saslEnabled}
	o.backups(lists)
	o.certificates(lists)
	if saslEnabled {
		o.users(lists)
	}
	if saslEnabled && submission {
		o.strangers(lists)
	}
	return o.found
}

// certificates finds permits for whoever has a certificate that any trusted
// authority has signed.
func (o *order) certificates(lists []restrict.List) {
	for _, l := range lists {
		if l.Param != "smtpd_relay_restrictions" && l.Param != "smtpd_recipient_restrictions" {
			continue
		}
		for e := range all(l.Entries) {
			if e.Name == "reject_unauth_destination" || e.Name == "defer_unauth_destination" {
				break
			}
			if e.Name == "permit_tls_all_clientcerts" {
				o.add(Finding{
					Code: "SEK207", Severity: Warning, Pos: e.Pos,
					What: l.Param + ": " + e.Name + " lets everybody relay who has a certificate of an authority you trust",
					Why:  "with the system's authorities in smtpd_tls_CAfile or smtpd_tls_CApath that is everybody",
					Mend: "use permit_tls_clientcerts and list the certificates in relay_clientcerts",
				})
			}
		}
	}
}

// users finds services that take passwords and then refuse to relay for who
// has given one.
func (o *order) users(lists []restrict.List) {
	for _, l := range lists {
		at := guard(l.Entries)
		if l.Param != "smtpd_relay_restrictions" && l.Param != "smtpd_recipient_restrictions" || at < 0 {
			continue
		}
		if letsUsersPass(l.Entries[:at]) {
			continue
		}
		e := l.Entries[at]
		o.add(Finding{
			Code: "SEK205", Severity: Warning, Pos: e.Pos,
			What: l.Param + ": " + e.Name + " also refuses users who have logged in",
			Why:  "logins are offered, and no permit_sasl_authenticated stands before it: users cannot write to other domains",
			Mend: "put permit_sasl_authenticated before it",
		})
	}
}

// letsUsersPass reports whether a user who has logged in can get past: by the
// restriction made for it, or by what no static look can tell.
func letsUsersPass(entries []restrict.Entry) bool {
	for e := range all(entries) {
		switch e.Name {
		case "permit_sasl_authenticated", "permit", "check_sasl_access", "check_policy_service":
			return true
		}
	}
	return false
}

// strangers finds submission services that also take mail from everybody.
func (o *order) strangers(lists []restrict.List) {
	var first restrict.Entry
	for _, l := range lists {
		switch l.Param {
		case "smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions", "smtpd_recipient_restrictions":
		default:
			continue
		}
		for e := range all(l.Entries) {
			if !e.Warn && (e.Name == "reject" || e.Name == "defer") {
				return
			}
			if e.Name == "permit_sasl_authenticated" && first.Name == "" {
				first = e
			}
		}
	}
	if first.Name == "" {
		return // users finds it
	}
	o.add(Finding{
		Code: "SEK206", Severity: Note, Pos: first.Pos,
		What: "a submission service takes mail for your own domains from strangers",
		Why:  "no list ends in reject, so that spammers get round the restrictions of port 25",
		Mend: "end " + strings.Join([]string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"}, " or ") + " of this service in: permit_sasl_authenticated, reject",
	})
}

// backups finds relaying that the DNS decides.
func (o *order) backups(lists []restrict.List) {
	for _, l := range lists {
		for e := range all(l.Entries) {
			if e.Name == "permit_mx_backup" {
				o.add(Finding{
					Code: "SEK208", Severity: Note, Pos: e.Pos,
					What: l.Param + ": permit_mx_backup goes away in Postfix",
					Why:  "deprecated since Postfix 3.9: whoever names this server in the DNS decides what it relays",
					Mend: "name the domains in relay_domains, where relay_recipient_maps can tell their users too",
				})
			}
		}
	}
}
