package restrict

import "strings"

// builtin is one restriction of the language.
type builtin struct {
	name string // canonical: aliases have the name of what they stand for
	arg  Argument
	eval func(*run, call) status
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
		return builtin{name, ArgumentNone, evalPermit}
	case "reject":
		return builtin{name, ArgumentNone, evalReject}
	case "defer":
		return builtin{name, ArgumentNone, evalDefer}
	case "defer_if_permit":
		return builtin{name, ArgumentNone, evalDeferIfPermit}
	case "defer_if_reject":
		return builtin{name, ArgumentNone, evalDeferIfReject}
	case "reject_unauth_pipelining":
		return builtin{name, ArgumentNone, evalUnauthPipelining}
	case "reject_plaintext_session":
		return builtin{name, ArgumentNone, evalPlaintextSession}
	case "check_sasl_access":
		return builtin{name, ArgumentTable, evalSASLAccess}
	case "check_etrn_access":
		return builtin{name, ArgumentTable, evalEtrnAccess}
	case "check_policy_service":
		return builtin{name, ArgumentService, evalPolicy}
	case "sleep":
		return builtin{name, ArgumentSeconds, evalSleep}
	}
	return builtin{}
}

func clientNamed(name string) builtin {
	switch name {
	case "reject_unknown_client_hostname", "reject_unknown_client":
		return builtin{"reject_unknown_client_hostname", ArgumentNone, evalUnknownClient}
	case "reject_unknown_reverse_client_hostname":
		return builtin{name, ArgumentNone, evalUnknownReverseClient}
	case "permit_inet_interfaces":
		return builtin{name, ArgumentNone, evalPermitInetInterfaces}
	case "permit_mynetworks":
		return builtin{name, ArgumentNone, evalPermitMynetworks}
	case "permit_sasl_authenticated":
		return builtin{name, ArgumentNone, evalPermitSASL}
	case "permit_tls_clientcerts":
		return builtin{name, ArgumentNone, evalPermitTLSClientcerts}
	case "permit_tls_all_clientcerts":
		return builtin{name, ArgumentNone, evalPermitTLSAllClientcerts}
	case "check_ccert_access":
		return builtin{name, ArgumentTable, evalCcertAccess}
	case "reject_maps_rbl":
		return builtin{name, ArgumentNone, evalRemoved}
	case "check_client_access":
		return builtin{name, ArgumentTable, evalClientAccess}
	case "check_reverse_client_hostname_access":
		return builtin{name, ArgumentTable, evalReverseClientAccess}
	case "reject_rbl_client", "reject_rbl":
		return builtin{"reject_rbl_client", ArgumentDomain, evalRBLClient}
	case "reject_rhsbl_client":
		return builtin{name, ArgumentDomain, evalRHSBLClient}
	case "reject_rhsbl_reverse_client":
		return builtin{name, ArgumentDomain, evalRHSBLReverseClient}
	case "permit_dnswl_client":
		return builtin{name, ArgumentDomain, evalDNSWLClient}
	case "permit_rhswl_client":
		return builtin{name, ArgumentDomain, evalRHSWLClient}
	}
	return builtin{}
}

func heloNamed(name string) builtin {
	switch name {
	case "check_helo_access":
		return builtin{name, ArgumentTable, evalHeloAccess}
	case "reject_invalid_helo_hostname", "reject_invalid_hostname":
		return builtin{"reject_invalid_helo_hostname", ArgumentNone, evalInvalidHelo}
	case "reject_unknown_helo_hostname", "reject_unknown_hostname":
		return builtin{"reject_unknown_helo_hostname", ArgumentNone, evalUnknownHelo}
	case "reject_non_fqdn_helo_hostname", "reject_non_fqdn_hostname":
		return builtin{"reject_non_fqdn_helo_hostname", ArgumentNone, evalNonFQDNHelo}
	case "permit_naked_ip_address":
		return builtin{name, ArgumentNone, evalRemoved}
	case "reject_rhsbl_helo":
		return builtin{name, ArgumentDomain, evalRHSBLHelo}
	}
	return builtin{}
}

func senderNamed(name string) builtin {
	switch name {
	case "check_sender_access":
		return builtin{name, ArgumentTable, evalSenderAccess}
	case "reject_unknown_sender_domain", "reject_unknown_address":
		return builtin{"reject_unknown_sender_domain", ArgumentNone, evalUnknownSenderDomain}
	case "reject_non_fqdn_sender":
		return builtin{name, ArgumentNone, evalNonFQDNSender}
	case "reject_unverified_sender":
		return builtin{name, ArgumentNone, evalUnverifiedSender}
	case "reject_unlisted_sender":
		return builtin{name, ArgumentNone, evalUnlistedSender}
	case "reject_rhsbl_sender":
		return builtin{name, ArgumentDomain, evalRHSBLSender}
	case "reject_authenticated_sender_login_mismatch":
		return builtin{name, ArgumentNone, evalAuthSenderLoginMismatch}
	case "reject_known_sender_login_mismatch":
		return builtin{name, ArgumentNone, evalKnownSenderLoginMismatch}
	case "reject_unauthenticated_sender_login_mismatch":
		return builtin{name, ArgumentNone, evalUnauthSenderLoginMismatch}
	}
	return builtin{}
}

func recipientNamed(name string) builtin {
	switch name {
	case "check_recipient_access":
		return builtin{name, ArgumentTable, evalRecipientAccess}
	case "check_relay_domains":
		return builtin{name, ArgumentNone, evalRemoved}
	case "permit_auth_destination":
		return builtin{name, ArgumentNone, evalPermitAuthDestination}
	case "reject_unauth_destination":
		return builtin{name, ArgumentNone, evalRejectUnauthDestination}
	case "defer_unauth_destination":
		return builtin{name, ArgumentNone, evalDeferUnauthDestination}
	case "permit_mx_backup":
		return builtin{name, ArgumentNone, evalPermitMXBackup}
	case "reject_unknown_recipient_domain":
		return builtin{name, ArgumentNone, evalUnknownRecipientDomain}
	case "reject_non_fqdn_recipient":
		return builtin{name, ArgumentNone, evalNonFQDNRecipient}
	case "reject_unverified_recipient":
		return builtin{name, ArgumentNone, evalUnverifiedRecipient}
	case "reject_unlisted_recipient", "check_recipient_maps":
		return builtin{"reject_unlisted_recipient", ArgumentNone, evalUnlistedRecipient}
	case "reject_multi_recipient_bounce":
		return builtin{name, ArgumentNone, evalMultiRecipientBounce}
	case "reject_rhsbl_recipient":
		return builtin{name, ArgumentDomain, evalRHSBLRecipient}
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
		return builtin{name, ArgumentTable, serverAccess(of, strings.ToUpper(what[i+1:]))}
	}
	return builtin{}
}
