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
	"smtp_address_preference":                "lmtp_address_preference",
	"smtp_address_verify_target":             "lmtp_address_verify_target",
	"smtp_bind_address":                      "lmtp_bind_address",
	"smtp_bind_address6":                     "lmtp_bind_address6",
	"smtp_connect_timeout":                   "lmtp_connect_timeout",
	"smtp_data_done_timeout":                 "lmtp_data_done_timeout",
	"smtp_data_init_timeout":                 "lmtp_data_init_timeout",
	"smtp_data_xfer_timeout":                 "lmtp_data_xfer_timeout",
	"smtp_defer_if_no_mx_address_found":      "lmtp_defer_if_no_mx_address_found",
	"smtp_discard_ehlo_keyword_address_maps": "lmtp_discard_lhlo_keyword_address_maps",
	"smtp_discard_ehlo_keywords":             "lmtp_discard_lhlo_keywords",
	"smtp_enforce_tls":                       "lmtp_enforce_tls",
	"smtp_fallback_relay":                    "lmtp_fallback_relay",
	"smtp_helo_name":                         "lmtp_lhlo_name",
	"smtp_helo_timeout":                      "lmtp_lhlo_timeout",
	"smtp_host_lookup":                       "lmtp_host_lookup",
	"smtp_line_length_limit":                 "lmtp_line_length_limit",
	"smtp_mail_timeout":                      "lmtp_mail_timeout",
	"smtp_mx_address_limit":                  "lmtp_mx_address_limit",
	"smtp_mx_session_limit":                  "lmtp_mx_session_limit",
	"smtp_quit_timeout":                      "lmtp_quit_timeout",
	"smtp_randomize_addresses":               "lmtp_randomize_addresses",
	"smtp_rcpt_timeout":                      "lmtp_rcpt_timeout",
	"smtp_rset_timeout":                      "lmtp_rset_timeout",
	"smtp_skip_5xx_greeting":                 "lmtp_skip_5xx_greeting",
	"smtp_skip_quit_response":                "lmtp_skip_quit_response",
	"smtp_starttls_timeout":                  "lmtp_starttls_timeout",
	"smtp_tcp_port":                          "lmtp_tcp_port",
	"smtp_tls_CApath":                        "lmtp_tls_CApath",
	"smtp_tls_CAfile":                        "lmtp_tls_CAfile",
	"smtp_tls_cert_file":                     "lmtp_tls_cert_file",
	"smtp_tls_enforce_peername":              "lmtp_tls_enforce_peername",
	"smtp_tls_key_file":                      "lmtp_tls_key_file",
	"smtp_tls_loglevel":                      "lmtp_tls_loglevel",
	"smtp_tls_security_level":                "lmtp_tls_security_level",
	"smtp_use_tls":                           "lmtp_use_tls",
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
func (p params) Int(name string) int                { return p.c.Int(p.name(name)) }
func (p params) Bool(name string) bool              { return p.c.Bool(p.name(name)) }
func (p params) Duration(name string) time.Duration { return p.c.Duration(p.name(name)) }

// errorf says where a parameter's value stands and what is wrong with it.
func (p params) errorf(name, format string, args ...any) error {
	name = p.name(name)
	return fmt.Errorf("%s: %s: "+format, append([]any{p.c.Pos(name), name}, args...)...)
}
