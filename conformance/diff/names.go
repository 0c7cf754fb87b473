package main

import "strings"

// author makes things up.
type author struct {
	rnd
	eod bool // the service has an end-of-data list, see talk
}

// argument is what follows a restriction's name.
type argument int

const (
	none argument = iota
	table
	hostTable // for *_a, *_mx and *_ns_access
	list      // DNS
	number
	server
)

// restrictions are all names of the language with their argument.
var restrictions = map[string]argument{
	"permit": none, "reject": none, "defer": none, "defer_if_permit": none, "defer_if_reject": none, "warn_if_reject": none,
	"sleep": number, "reject_plaintext_session": none, "reject_unauth_pipelining": none, "check_policy_service": server,

	"reject_unknown_client_hostname": none, "reject_unknown_client": none, "reject_unknown_reverse_client_hostname": none,
	"permit_inet_interfaces": none, "permit_mynetworks": none, "permit_sasl_authenticated": none,
	"permit_tls_clientcerts": none, "permit_tls_all_clientcerts": none,
	"check_client_access": table, "check_reverse_client_hostname_access": table, "check_ccert_access": table, "check_sasl_access": table,
	"check_client_ns_access": hostTable, "check_client_mx_access": hostTable, "check_client_a_access": hostTable,
	"check_reverse_client_hostname_ns_access": hostTable, "check_reverse_client_hostname_mx_access": hostTable,
	"check_reverse_client_hostname_a_access": hostTable,
	"reject_rbl_client":                      list, "reject_rbl": list, "reject_rhsbl_client": list, "reject_rhsbl_reverse_client": list,
	"permit_dnswl_client": list, "permit_rhswl_client": list, "reject_maps_rbl": none,

	"check_helo_access": table, "check_helo_ns_access": hostTable, "check_helo_mx_access": hostTable, "check_helo_a_access": hostTable,
	"reject_invalid_helo_hostname": none, "reject_invalid_hostname": none, "reject_unknown_helo_hostname": none,
	"reject_unknown_hostname": none, "reject_non_fqdn_helo_hostname": none, "reject_non_fqdn_hostname": none,
	"reject_rhsbl_helo": list, "permit_naked_ip_address": none,

	"check_sender_access": table, "check_sender_ns_access": hostTable, "check_sender_mx_access": hostTable, "check_sender_a_access": hostTable,
	"reject_unknown_sender_domain": none, "reject_unknown_address": none, "reject_non_fqdn_sender": none,
	"reject_unverified_sender": none, "reject_unlisted_sender": none, "reject_rhsbl_sender": list,
	"reject_sender_login_mismatch": none, "reject_authenticated_sender_login_mismatch": none,
	"reject_known_sender_login_mismatch": none, "reject_unauthenticated_sender_login_mismatch": none,

	"check_recipient_access": table, "check_recipient_ns_access": hostTable, "check_recipient_mx_access": hostTable,
	"check_recipient_a_access": hostTable, "permit_auth_destination": none, "reject_unauth_destination": none,
	"defer_unauth_destination": none, "permit_mx_backup": none, "check_relay_domains": none,
	"reject_unknown_recipient_domain": none, "reject_non_fqdn_recipient": none, "reject_unverified_recipient": none,
	"reject_unlisted_recipient": none, "check_recipient_maps": none, "reject_multi_recipient_bounce": none,
	"reject_rhsbl_recipient": list, "check_etrn_access": table,
}

// removed are names that Postfix has no more since 3.9, and slow those that cost
// real time. Both are rare: of a removed one all that follows differs.
var (
	removed = map[string]bool{"reject_maps_rbl": true, "permit_naked_ip_address": true, "check_relay_domains": true}
	slow    = map[string]bool{"reject_unverified_sender": true, "reject_unverified_recipient": true, "sleep": true}
)

// final are names that end a list whatever the client is: too many of them
// would hide the rest.
var final = map[string]bool{"permit": true, "reject": true, "defer": true, "defer_if_permit": true, "defer_if_reject": true}

// name is one of the names.
func (a *author) name() string {
	names := sorted(restrictions)
	for {
		n := a.oneOf(names...)
		switch {
		case final[n] && a.in(2), slow[n] && a.Intn(4) > 0, removed[n] && a.Intn(20) > 0:
			continue
		}
		return n
	}
}

// item is one restriction with its argument, or a table alone. early is for the
// lists that can run before MAIL: an unlisted sender is not looked for there,
// since Postfix remembers its findings from one session to the next.
func (a *author) item(early bool) string {
	switch a.Intn(40) {
	case 0:
		return a.table()
	case 1, 2, 3:
		return a.oneOf("strict", "soft", "nest", "deep", "tables")
	case 4, 5, 6, 7:
		return a.oneOf("check_client_access ", "check_helo_access ", "check_sender_access ", "check_recipient_access ", "check_sasl_access ",
			"check_reverse_client_hostname_access ") + a.table()
	case 8:
		return a.mistake()
	}
	n := a.name()
	for early && strings.HasPrefix(n, "reject_unlisted_sender") {
		n = a.name()
	}
	text := n + a.argument(restrictions[n])
	if a.in(30) {
		text = strings.ToUpper(text[:len(n)]) + text[len(n):]
	}
	return text
}

func (a *author) argument(kind argument) string {
	switch kind {
	case table:
		return " " + a.table()
	case hostTable:
		return " " + a.hostTable()
	case list:
		return " " + a.oneOf("rbl.test", "rbl.test", "rbl.test=127.0.0.[2..11]", "rbl.test=127.0.1.4", "rbl.test=127.0.[0;2].[3;4]",
			"templ.rbl.test", "bad.rbl.test", "rhsbl.test", "rhsbl.test", "rhsbl.test=127.0.0.2", "wl.test", "wl.test=127.0.0.3", "wild.test",
			"slow.rbl.test", "fixed.rbl.test", "long.rbl.test")
	case number:
		return " " + a.oneOf("0", "0", "0", "1", "x")
	case server:
		return " " + a.policy()
	}
	return ""
}

func (a *author) policy() string {
	at := a.oneOf("inet:"+policyPort, "unix:private/policy")
	switch a.Intn(10) {
	case 0:
		return "{ inet:" + deadPort + ", try_limit=1, " + a.oneOf("default_action=DUNNO", "{ default_action = 451 4.3.5 no server }", "default_action=reject", "default_action=strict") + " }"
	case 1, 2:
		return "{ " + at + ", timeout=10s, " + a.oneOf("policy_context=here", "request_limit=1", "default_action=DUNNO", "max_idle=10s") + " }"
	}
	return at
}

// mistake is something that is wrong in a list.
func (a *author) mistake() string {
	return a.oneOf("no_such_restriction", "reject_unknown_forward_client_hostname", "check_helo_access permit",
		"strict,", "unknown:table", "check_sender_access texthash:$config_directory/t/missing",
		"check_recipient_access fail:x", "permit_mynetworks permit", "Strict")
}

// list is a restriction list of up to max items.
func (a *author) list(limit int, early bool) []string {
	items := []string{}
	for range 1 + a.Intn(limit) {
		if a.in(7) {
			items = append(items, "warn_if_reject")
		}
		items = append(items, a.item(early))
	}
	if a.in(40) { // only at the end: the next item would be the argument
		items = append(items, a.oneOf("check_client_access", "sleep", "reject_rbl_client"))
	}
	return items
}
