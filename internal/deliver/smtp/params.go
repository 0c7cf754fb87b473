package smtp

import (
	"fmt"
	"time"

	"sekisho/internal/config"
)

// params reads the parameters of smtp(8), or lmtp(8)'s of the same meaning.
type params struct {
	c    *config.Config
	lmtp bool
}

// lmtpNames are the parameters that lmtp(8) has instead of smtp(8)'s. What is
// not in it has no mirror.
var lmtpNames = map[string]string{
	"smtp_address_preference":                  "lmtp_address_preference",
	"smtp_address_verify_target":               "lmtp_address_verify_target",
	"smtp_balance_inet_protocols":              "lmtp_balance_inet_protocols",
	"smtp_bind_address":                        "lmtp_bind_address",
	"smtp_bind_address6":                       "lmtp_bind_address6",
	"smtp_bind_address_enforce":                "lmtp_bind_address_enforce",
	"smtp_body_checks":                         "lmtp_body_checks",
	"smtp_connect_timeout":                     "lmtp_connect_timeout",
	"smtp_connection_cache_destinations":       "lmtp_connection_cache_destinations",
	"smtp_connection_cache_on_demand":          "lmtp_connection_cache_on_demand",
	"smtp_connection_cache_time_limit":         "lmtp_connection_cache_time_limit",
	"smtp_connection_reuse_count_limit":        "lmtp_connection_reuse_count_limit",
	"smtp_connection_reuse_time_limit":         "lmtp_connection_reuse_time_limit",
	"smtp_data_done_timeout":                   "lmtp_data_done_timeout",
	"smtp_data_init_timeout":                   "lmtp_data_init_timeout",
	"smtp_data_xfer_timeout":                   "lmtp_data_xfer_timeout",
	"smtp_defer_if_no_mx_address_found":        "lmtp_defer_if_no_mx_address_found",
	"smtp_delivery_status_filter":              "lmtp_delivery_status_filter",
	"smtp_discard_ehlo_keyword_address_maps":   "lmtp_discard_lhlo_keyword_address_maps",
	"smtp_discard_ehlo_keywords":               "lmtp_discard_lhlo_keywords",
	"smtp_dns_reply_filter":                    "lmtp_dns_reply_filter",
	"smtp_dns_support_level":                   "lmtp_dns_support_level",
	"smtp_enforce_tls":                         "lmtp_enforce_tls",
	"smtp_fallback_relay":                      "lmtp_fallback_relay",
	"smtp_generic_maps":                        "lmtp_generic_maps",
	"smtp_header_checks":                       "lmtp_header_checks",
	"smtp_helo_name":                           "lmtp_lhlo_name",
	"smtp_helo_timeout":                        "lmtp_lhlo_timeout",
	"smtp_host_lookup":                         "lmtp_host_lookup",
	"smtp_line_length_limit":                   "lmtp_line_length_limit",
	"smtp_mail_timeout":                        "lmtp_mail_timeout",
	"smtp_mime_header_checks":                  "lmtp_mime_header_checks",
	"smtp_min_data_rate":                       "lmtp_min_data_rate",
	"smtp_mx_address_limit":                    "lmtp_mx_address_limit",
	"smtp_mx_session_limit":                    "lmtp_mx_session_limit",
	"smtp_nested_header_checks":                "lmtp_nested_header_checks",
	"smtp_per_request_deadline":                "lmtp_per_request_deadline",
	"smtp_pix_workaround_delay_time":           "lmtp_pix_workaround_delay_time",
	"smtp_pix_workaround_maps":                 "lmtp_pix_workaround_maps",
	"smtp_pix_workaround_threshold_time":       "lmtp_pix_workaround_threshold_time",
	"smtp_pix_workarounds":                     "lmtp_pix_workarounds",
	"smtp_quit_timeout":                        "lmtp_quit_timeout",
	"smtp_quote_rfc821_envelope":               "lmtp_quote_rfc821_envelope",
	"smtp_randomize_addresses":                 "lmtp_randomize_addresses",
	"smtp_rcpt_timeout":                        "lmtp_rcpt_timeout",
	"smtp_reply_filter":                        "lmtp_reply_filter",
	"smtp_rset_timeout":                        "lmtp_rset_timeout",
	"smtp_sasl_auth_cache_name":                "lmtp_sasl_auth_cache_name",
	"smtp_sasl_auth_cache_time":                "lmtp_sasl_auth_cache_time",
	"smtp_sasl_auth_enable":                    "lmtp_sasl_auth_enable",
	"smtp_sasl_auth_soft_bounce":               "lmtp_sasl_auth_soft_bounce",
	"smtp_sasl_mechanism_filter":               "lmtp_sasl_mechanism_filter",
	"smtp_sasl_password_maps":                  "lmtp_sasl_password_maps",
	"smtp_sasl_security_options":               "lmtp_sasl_security_options",
	"smtp_sasl_tls_security_options":           "lmtp_sasl_tls_security_options",
	"smtp_sasl_tls_verified_security_options":  "lmtp_sasl_tls_verified_security_options",
	"smtp_sasl_type":                           "lmtp_sasl_type",
	"smtp_send_dummy_mail_auth":                "lmtp_send_dummy_mail_auth",
	"smtp_send_xforward_command":               "lmtp_send_xforward_command",
	"smtp_sender_dependent_authentication":     "lmtp_sender_dependent_authentication",
	"smtp_skip_5xx_greeting":                   "lmtp_skip_5xx_greeting",
	"smtp_skip_quit_response":                  "lmtp_skip_quit_response",
	"smtp_starttls_timeout":                    "lmtp_starttls_timeout",
	"smtp_tcp_port":                            "lmtp_tcp_port",
	"smtp_tls_CAfile":                          "lmtp_tls_CAfile",
	"smtp_tls_CApath":                          "lmtp_tls_CApath",
	"smtp_tls_block_early_mail_reply":          "lmtp_tls_block_early_mail_reply",
	"smtp_tls_cert_file":                       "lmtp_tls_cert_file",
	"smtp_tls_chain_files":                     "lmtp_tls_chain_files",
	"smtp_tls_ciphers":                         "lmtp_tls_ciphers",
	"smtp_tls_connection_reuse":                "lmtp_tls_connection_reuse",
	"smtp_tls_dcert_file":                      "lmtp_tls_dcert_file",
	"smtp_tls_dkey_file":                       "lmtp_tls_dkey_file",
	"smtp_tls_eccert_file":                     "lmtp_tls_eccert_file",
	"smtp_tls_eckey_file":                      "lmtp_tls_eckey_file",
	"smtp_tls_enforce_peername":                "lmtp_tls_enforce_peername",
	"smtp_tls_exclude_ciphers":                 "lmtp_tls_exclude_ciphers",
	"smtp_tls_fingerprint_cert_match":          "lmtp_tls_fingerprint_cert_match",
	"smtp_tls_fingerprint_digest":              "lmtp_tls_fingerprint_digest",
	"smtp_tls_force_insecure_host_tlsa_lookup": "lmtp_tls_force_insecure_host_tlsa_lookup",
	"smtp_tls_key_file":                        "lmtp_tls_key_file",
	"smtp_tls_loglevel":                        "lmtp_tls_loglevel",
	"smtp_tls_mandatory_ciphers":               "lmtp_tls_mandatory_ciphers",
	"smtp_tls_mandatory_exclude_ciphers":       "lmtp_tls_mandatory_exclude_ciphers",
	"smtp_tls_mandatory_protocols":             "lmtp_tls_mandatory_protocols",
	"smtp_tls_note_starttls_offer":             "lmtp_tls_note_starttls_offer",
	"smtp_tls_policy_maps":                     "lmtp_tls_policy_maps",
	"smtp_tls_protocols":                       "lmtp_tls_protocols",
	"smtp_tls_secure_cert_match":               "lmtp_tls_secure_cert_match",
	"smtp_tls_security_level":                  "lmtp_tls_security_level",
	"smtp_tls_servername":                      "lmtp_tls_servername",
	"smtp_tls_trust_anchor_file":               "lmtp_tls_trust_anchor_file",
	"smtp_tls_verify_cert_match":               "lmtp_tls_verify_cert_match",
	"smtp_tls_wrappermode":                     "lmtp_tls_wrappermode",
	"smtp_use_tls":                             "lmtp_use_tls",
	"smtp_xforward_timeout":                    "lmtp_xforward_timeout",
}

func (p params) name(name string) string {
	if n, ok := lmtpNames[name]; ok && p.lmtp {
		return n
	}
	return name
}

func (p params) Set(name string) bool               { return p.c.Set(p.name(name)) }
func (p params) Str(name string) string             { return p.c.Str(p.name(name)) }
func (p params) Strings(name string) []string       { return p.c.Strings(p.name(name)) }
func (p params) List(name string) []config.Item     { return p.c.List(p.name(name)) }
func (p params) Int(name string) int                { return p.c.Int(p.name(name)) }
func (p params) Bool(name string) bool              { return p.c.Bool(p.name(name)) }
func (p params) Duration(name string) time.Duration { return p.c.Duration(p.name(name)) }

// errorf says where a parameter's value stands and what is wrong with it.
func (p params) errorf(name, format string, args ...any) error {
	name = p.name(name)
	return fmt.Errorf("%s: %s: "+format, append([]any{p.c.Pos(name), name}, args...)...)
}
