package restrict

import "strings"

// argKind is what follows a restriction's name.
type argKind uint8

const (
	argNone    argKind = iota
	argTable           // type:name
	argDomain          // DNS list, with or without =filter
	argService         // transport:server
	argNumber
)

// builtin is one restriction of the language.
type builtin struct {
	name string // canonical: aliases have the name of what they stand for
	arg  argKind
	eval func(*run, call) status
}

// Names lists every restriction that can be evaluated, aliases included, for
// suggestions and documentation.
func Names() []string {
	names := []string{"warn_if_reject", loginMismatch}
	for _, n := range allNames() {
		if _, ok := lookupBuiltin(n); ok {
			names = append(names, n)
		}
	}
	return names
}

// lookupBuiltin finds a restriction by its lower-case name.
func lookupBuiltin(name string) (builtin, bool) {
	for _, group := range []func(string) builtin{genericNamed, clientNamed, heloNamed, senderNamed, recipientNamed, serverNamed} {
		if b := group(name); b.eval != nil {
			return b, true
		}
	}
	return builtin{}, false
}

func genericNamed(name string) builtin {
	switch name {
	case "permit":
		return builtin{name, argNone, evalPermit}
	case "reject":
		return builtin{name, argNone, evalReject}
	case "defer":
		return builtin{name, argNone, evalDefer}
	case "defer_if_permit":
		return builtin{name, argNone, evalDeferIfPermit}
	case "defer_if_reject":
		return builtin{name, argNone, evalDeferIfReject}
	case "reject_unauth_pipelining":
		return builtin{name, argNone, evalUnauthPipelining}
	case "reject_plaintext_session":
		return builtin{name, argNone, evalPlaintextSession}
	case "check_sasl_access":
		return builtin{name, argTable, evalSASLAccess}
	case "check_etrn_access":
		return builtin{name, argTable, evalEtrnAccess}
	case "check_policy_service":
		return builtin{name, argService, evalPolicy}
	case "sleep":
		return builtin{name, argNumber, evalSleep}
	}
	return builtin{}
}

func clientNamed(name string) builtin {
	switch name {
	case "reject_unknown_client_hostname", "reject_unknown_client":
		return builtin{"reject_unknown_client_hostname", argNone, evalUnknownClient}
	case "reject_unknown_reverse_client_hostname":
		return builtin{name, argNone, evalUnknownReverseClient}
	case "permit_inet_interfaces":
		return builtin{name, argNone, evalPermitInetInterfaces}
	case "permit_mynetworks":
		return builtin{name, argNone, evalPermitMynetworks}
	case "permit_sasl_authenticated":
		return builtin{name, argNone, evalPermitSASL}
	case "permit_tls_clientcerts":
		return builtin{name, argNone, evalPermitTLSClientcerts}
	case "permit_tls_all_clientcerts":
		return builtin{name, argNone, evalPermitTLSAllClientcerts}
	case "check_ccert_access":
		return builtin{name, argTable, evalCcertAccess}
	case "reject_maps_rbl":
		return builtin{name, argNone, evalRemoved}
	case "check_client_access":
		return builtin{name, argTable, evalClientAccess}
	case "check_reverse_client_hostname_access":
		return builtin{name, argTable, evalReverseClientAccess}
	case "reject_rbl_client", "reject_rbl":
		return builtin{"reject_rbl_client", argDomain, evalRBLClient}
	case "reject_rhsbl_client":
		return builtin{name, argDomain, evalRHSBLClient}
	case "reject_rhsbl_reverse_client":
		return builtin{name, argDomain, evalRHSBLReverseClient}
	case "permit_dnswl_client":
		return builtin{name, argDomain, evalDNSWLClient}
	case "permit_rhswl_client":
		return builtin{name, argDomain, evalRHSWLClient}
	}
	return builtin{}
}

func heloNamed(name string) builtin {
	switch name {
	case "check_helo_access":
		return builtin{name, argTable, evalHeloAccess}
	case "reject_invalid_helo_hostname", "reject_invalid_hostname":
		return builtin{"reject_invalid_helo_hostname", argNone, evalInvalidHelo}
	case "reject_unknown_helo_hostname", "reject_unknown_hostname":
		return builtin{"reject_unknown_helo_hostname", argNone, evalUnknownHelo}
	case "reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname":
		return builtin{"reject_non_fqdn_helo_hostname", argNone, evalNonFQDNHelo}
	case "permit_naked_ip_address":
		return builtin{name, argNone, evalRemoved}
	case "reject_rhsbl_helo":
		return builtin{name, argDomain, evalRHSBLHelo}
	}
	return builtin{}
}

func senderNamed(name string) builtin {
	switch name {
	case "check_sender_access":
		return builtin{name, argTable, evalSenderAccess}
	case "reject_unknown_sender_domain", "reject_unknown_address":
		return builtin{"reject_unknown_sender_domain", argNone, evalUnknownSenderDomain}
	case "reject_non_fqdn_sender":
		return builtin{name, argNone, evalNonFQDNSender}
	case "reject_unverified_sender":
		return builtin{name, argNone, evalUnverifiedSender}
	case "reject_unlisted_sender":
		return builtin{name, argNone, evalUnlistedSender}
	case "reject_rhsbl_sender":
		return builtin{name, argDomain, evalRHSBLSender}
	case "reject_authenticated_sender_login_mismatch":
		return builtin{name, argNone, evalAuthSenderLoginMismatch}
	case "reject_known_sender_login_mismatch":
		return builtin{name, argNone, evalKnownSenderLoginMismatch}
	case "reject_unauthenticated_sender_login_mismatch":
		return builtin{name, argNone, evalUnauthSenderLoginMismatch}
	}
	return builtin{}
}

func recipientNamed(name string) builtin {
	switch name {
	case "check_recipient_access":
		return builtin{name, argTable, evalRecipientAccess}
	case "check_relay_domains":
		return builtin{name, argNone, evalRemoved}
	case "permit_auth_destination":
		return builtin{name, argNone, evalPermitAuthDestination}
	case "reject_unauth_destination":
		return builtin{name, argNone, evalRejectUnauthDestination}
	case "defer_unauth_destination":
		return builtin{name, argNone, evalDeferUnauthDestination}
	case "permit_mx_backup":
		return builtin{name, argNone, evalPermitMXBackup}
	case "reject_unknown_recipient_domain":
		return builtin{name, argNone, evalUnknownRecipientDomain}
	case "reject_non_fqdn_recipient":
		return builtin{name, argNone, evalNonFQDNRecipient}
	case "reject_unverified_recipient":
		return builtin{name, argNone, evalUnverifiedRecipient}
	case "reject_unlisted_recipient", "check_recipient_maps":
		return builtin{"reject_unlisted_recipient", argNone, evalUnlistedRecipient}
	case "reject_multi_recipient_bounce":
		return builtin{name, argNone, evalMultiRecipientBounce}
	case "reject_rhsbl_recipient":
		return builtin{name, argDomain, evalRHSBLRecipient}
	}
	return builtin{}
}

// serverNamed finds the restrictions that look up the servers behind a name.
func serverNamed(name string) builtin {
	var of func(*run) subject
	what, ok := strings.CutSuffix(name, "_access")
	i := strings.LastIndexByte(what, '_')
	if !ok || i < 0 {
		return builtin{}
	}
	switch what[:i] {
	case "check_client":
		of = clientSubject
	case "check_reverse_client_hostname":
		of = reverseSubject
	case "check_helo":
		of = heloSubject
	case "check_sender":
		of = senderSubject
	case "check_recipient":
		of = recipientSubject
	default:
		return builtin{}
	}
	switch what[i:] {
	case "_a", "_mx", "_ns":
		return builtin{name, argTable, serverAccess(of, strings.ToUpper(what[i+1:]))}
	}
	return builtin{}
}

// allNames is the whole language of Postfix, whether built here or not.
func allNames() []string {
	return []string{
		"permit", "reject", "defer", "defer_if_permit", "defer_if_reject", "sleep",
		"reject_plaintext_session", "reject_unauth_pipelining", "check_policy_service",
		"reject_unknown_client_hostname", "reject_unknown_client", "reject_unknown_reverse_client_hostname",
		"permit_inet_interfaces", "permit_mynetworks", "permit_sasl_authenticated",
		"permit_tls_clientcerts", "permit_tls_all_clientcerts", "check_client_access",
		"check_reverse_client_hostname_access", "check_ccert_access", "check_sasl_access",
		"check_client_ns_access", "check_client_mx_access", "check_client_a_access",
		"check_reverse_client_hostname_ns_access", "check_reverse_client_hostname_mx_access",
		"check_reverse_client_hostname_a_access", "reject_rbl_client", "reject_rbl",
		"reject_rhsbl_client", "reject_rhsbl_reverse_client", "permit_dnswl_client",
		"permit_rhswl_client", "reject_maps_rbl",
		"check_helo_access", "check_helo_ns_access", "check_helo_mx_access", "check_helo_a_access",
		"reject_invalid_helo_hostname", "reject_invalid_hostname", "reject_unknown_helo_hostname",
		"reject_unknown_hostname", "reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname",
		"reject_rhsbl_helo", "permit_naked_ip_address",
		"check_sender_access", "check_sender_ns_access", "check_sender_mx_access", "check_sender_a_access",
		"reject_unknown_sender_domain", "reject_unknown_address", "reject_non_fqdn_sender",
		"reject_unverified_sender", "reject_unlisted_sender", "reject_rhsbl_sender",
		"reject_sender_login_mismatch", "reject_authenticated_sender_login_mismatch",
		"reject_known_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch",
		"check_recipient_access", "check_recipient_ns_access", "check_recipient_mx_access",
		"check_recipient_a_access", "permit_auth_destination", "reject_unauth_destination",
		"defer_unauth_destination", "permit_mx_backup", "check_relay_domains",
		"reject_unknown_recipient_domain", "reject_non_fqdn_recipient", "reject_unverified_recipient",
		"reject_unlisted_recipient", "check_recipient_maps", "reject_multi_recipient_bounce",
		"reject_rhsbl_recipient", "check_etrn_access",
	}
}
