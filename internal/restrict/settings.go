package restrict

import (
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/dnsfilter"
	"sekisho/internal/matchlist"
)

// tempfailAction is what a temporary DNS or verification failure does.
type tempfailAction uint8

const (
	tempfailDeferIfPermit tempfailAction = iota
	tempfailDefer
)

// settings are the parameters that evaluation depends on, read once.
type settings struct {
	delayReject, relayFirst, softBounce           bool
	rejectUnlistedSender, rejectUnlistedRecipient bool
	noUnknownChecks, saslEnabled                  bool
	allowUntrustedRouting, parentDomains          bool
	showTableName, proxyFilter, smtputf8          bool
	askCertificate, oldDigest                     bool

	rejectCode, deferCode, mapRejectCode, mapDeferCode int
	plaintextCode, unknownClientCode                   int
	invalidHostnameCode, unknownHostnameCode           int
	nonFQDNCode, unknownAddressCode, relayCode         int
	rblCode, multiBounceCode                           int
	unknownLocalCode, unknownVirtualAliasCode          int
	unknownVirtualMailboxCode, unknownRelayCode        int

	unknownAddressTempfail, unknownHeloTempfail tempfailAction
	unverifiedSender, unverifiedRecipient       unverified

	myhostname, mailName, nullKey, defaultRBLReply    string
	expansionFilter, doubleBounceSender, verifySender string
	stress, compatibilityLevel, mailVersion           string
	ownAddresses                                      []string

	recipientCanonicalMaps, senderCanonicalMaps, canonicalMaps []string
	virtualAliasMaps, virtualMailboxMaps                       []string
	localRecipientMaps, relayRecipientMaps                     []string
	senderLoginMaps, rblReplyMaps, relayCertificates           []string

	families       string // of inet_protocols, as evidence.Host wants them
	dnsReplyFilter dnsfilter.Filter

	logPermits *matchlist.List // smtpd_log_access_permit_actions; nil: none
}

func readSettings(cfg *config.Config) settings {
	s := settings{
		delayReject:             cfg.Bool("smtpd_delay_reject"),
		relayFirst:              cfg.Bool("smtpd_relay_before_recipient_restrictions"),
		softBounce:              cfg.Bool("soft_bounce"),
		rejectUnlistedSender:    cfg.Bool("smtpd_reject_unlisted_sender"),
		rejectUnlistedRecipient: cfg.Bool("smtpd_reject_unlisted_recipient"),
		noUnknownChecks:         contains(cfg.List("receive_override_options"), "no_unknown_recipient_checks"),
		saslEnabled:             cfg.Bool("smtpd_sasl_auth_enable"),
		allowUntrustedRouting:   cfg.Bool("allow_untrusted_routing"),
		parentDomains:           contains(cfg.List("parent_domain_matches_subdomains"), "smtpd_access_maps"),
		showTableName:           cfg.Bool("show_user_unknown_table_name"),
		proxyFilter:             cfg.Str("smtpd_proxy_filter") != "",
		smtputf8:                cfg.Bool("smtputf8_enable"),
		askCertificate:          cfg.Bool("smtpd_tls_ask_ccert"),
		oldDigest:               !cfg.Set("smtpd_tls_fingerprint_digest") && strings.EqualFold(cfg.Str("smtpd_tls_fingerprint_digest"), "md5"),

		unknownAddressTempfail: readTempfail(cfg, "unknown_address_tempfail_action"),
		unknownHeloTempfail:    readTempfail(cfg, "unknown_helo_hostname_tempfail_action"),

		myhostname:         cfg.Str("myhostname"),
		mailName:           cfg.Str("mail_name"),
		nullKey:            cfg.Str("smtpd_null_access_lookup_key"),
		defaultRBLReply:    rawTemplate(cfg, "default_rbl_reply"),
		expansionFilter:    config.Unescape(rawTemplate(cfg, "smtpd_expansion_filter")),
		doubleBounceSender: cfg.Str("double_bounce_sender"),
		verifySender:       cfg.Str("address_verify_sender"),
		stress:             cfg.Str("stress"),
		compatibilityLevel: cfg.Str("compatibility_level"),
		mailVersion:        cfg.Str("mail_version"),
		families:           readFamilies(cfg.List("inet_protocols")),
		dnsReplyFilter:     dnsfilter.Filter{Param: "smtpd_dns_reply_filter", Tables: cfg.Strings("smtpd_dns_reply_filter")},
	}
	s.readCodes(cfg)
	s.readUnverified(cfg)
	s.readMaps(cfg)
	return s
}

func (s *settings) readCodes(cfg *config.Config) {
	for name, code := range map[string]*int{
		"reject_code":                         &s.rejectCode,
		"defer_code":                          &s.deferCode,
		"access_map_reject_code":              &s.mapRejectCode,
		"access_map_defer_code":               &s.mapDeferCode,
		"plaintext_reject_code":               &s.plaintextCode,
		"unknown_client_reject_code":          &s.unknownClientCode,
		"invalid_hostname_reject_code":        &s.invalidHostnameCode,
		"unknown_hostname_reject_code":        &s.unknownHostnameCode,
		"non_fqdn_reject_code":                &s.nonFQDNCode,
		"unknown_address_reject_code":         &s.unknownAddressCode,
		"relay_domains_reject_code":           &s.relayCode,
		"maps_rbl_reject_code":                &s.rblCode,
		"multi_recipient_bounce_reject_code":  &s.multiBounceCode,
		"unknown_local_recipient_reject_code": &s.unknownLocalCode,
		"unknown_virtual_alias_reject_code":   &s.unknownVirtualAliasCode,
		"unknown_virtual_mailbox_reject_code": &s.unknownVirtualMailboxCode,
		"unknown_relay_recipient_reject_code": &s.unknownRelayCode,
	} {
		*code = cfg.Int(name)
	}
}

func (s *settings) readMaps(cfg *config.Config) {
	for name, maps := range map[string]*[]string{
		"recipient_canonical_maps": &s.recipientCanonicalMaps,
		"sender_canonical_maps":    &s.senderCanonicalMaps,
		"canonical_maps":           &s.canonicalMaps,
		"virtual_alias_maps":       &s.virtualAliasMaps,
		"virtual_mailbox_maps":     &s.virtualMailboxMaps,
		"local_recipient_maps":     &s.localRecipientMaps,
		"relay_recipient_maps":     &s.relayRecipientMaps,
		"smtpd_sender_login_maps":  &s.senderLoginMaps,
		"rbl_reply_maps":           &s.rblReplyMaps,
		"relay_clientcerts":        &s.relayCertificates,
	} {
		for _, it := range cfg.List(name) {
			*maps = append(*maps, it.Text)
		}
	}
}

// readFamilies turns inet_protocols into record types, none for both families.
func readFamilies(protocols []config.Item) string {
	four, six := contains(protocols, "ipv4"), contains(protocols, "ipv6")
	switch {
	case four && !six:
		return "A"
	case six && !four:
		return "AAAA"
	}
	return ""
}

func readTempfail(cfg *config.Config, name string) tempfailAction {
	if cfg.Str(name) == "defer" {
		return tempfailDefer
	}
	return tempfailDeferIfPermit
}

// rawTemplate returns a parameter whose $names are not main.cf's but those of
// a reply.
func rawTemplate(cfg *config.Config, name string) string {
	v, _ := cfg.Raw(name)
	return v
}

func contains(items []config.Item, want string) bool {
	for _, it := range items {
		if it.Text == want {
			return true
		}
	}
	return false
}
