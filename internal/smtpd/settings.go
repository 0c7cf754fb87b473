package smtpd

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"sekisho/internal/config"
	"sekisho/internal/matchlist"
	"sekisho/internal/rewrite"
)

// settings are the parameters of the server, read once.
type settings struct {
	myhostname, mailName, banner, syslogName string
	errorNotice, doubleBounce                string
	notify                                   classes // what errorNotice is told of
	heloRequired, strictEnvelopes            bool
	disableVRFY, peernameLookup, logPort     bool
	logInternal                              bool
	smtputf8, strictSMTPUTF8, softBounce     bool
	requireTLS                               bool // requiretls_enable
	delayReject, delayOpen                   bool
	protocols                                protocols
	messageSizeLimit, queueMinfree           int64
	lineLimit, recipientLimit, overshoot     int
	softErrors, hardErrors, junkLimit        int
	errorSleep, timeout, proxyTimeout        time.Duration
	startTLSTimeout                          time.Duration
	perRequest                               bool
	minRate                                  int
	bareLF                                   bareLF
	bareLFCode                               int
	forbidPipelining                         bool
	proxyProtocol                            bool
	discard                                  discardMask
	discardMaps, footerMaps, filterMaps      []string
	footer, commandFilter                    string
	expansionFilter                          string

	limits limits
	sasl   saslSettings
	lists  lists
	tls    tlsSettings
}

// lists are the match lists of the server.
type lists struct {
	noop, forbidden           *matchlist.List
	xclient, xforward, verp   *matchlist.List
	noLimits                  *matchlist.List // smtpd_client_event_limit_exceptions
	bareLF, saslHidden        *matchlist.List
	saslMechanisms, fastFlush *matchlist.List
}

// limits are those of one client; 0 is no limit.
type limits struct {
	connections, connectionRate, messages, recipients, newTLS, auths int
	bits4, bits6                                                     int
}

func (l limits) any() bool {
	return l.connections > 0 || l.connectionRate > 0 || l.messages > 0 || l.recipients > 0 ||
		l.newTLS > 0 || l.auths > 0
}

// protocols is inet_protocols.
type protocols struct{ v4, v6 bool }

func readProtocols(words []string) protocols {
	var p protocols
	for _, w := range words {
		p.v4 = p.v4 || strings.EqualFold(w, "ipv4") || strings.EqualFold(w, "all")
		p.v6 = p.v6 || strings.EqualFold(w, "ipv6") || strings.EqualFold(w, "all")
	}
	return p
}

// speaks reports whether addresses like this one are in use here.
func (p protocols) speaks(addr string) bool {
	if strings.Contains(addr, ":") {
		return p.v6
	}
	return p.v4
}

// bareLF is smtpd_forbid_bare_newline.
type bareLF uint8

const (
	bareAllow     bareLF = iota
	bareNormalize        // only CRLF.CRLF ends the content
	bareNote             // and say so in the log
	bareReject           // and refuse
)

// settingsReader reads parameters and keeps the errors, each with its place.
type settingsReader struct {
	cfg  *config.Config
	w    rewrite.World
	errs []error
}

func (r *settingsReader) fail(param, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s: %s: %s", r.cfg.Pos(param), param, fmt.Sprintf(format, args...)))
}

func readSettings(cfg *config.Config, w rewrite.World) (*settings, error) {
	r := &settingsReader{cfg: cfg, w: w}
	s := &settings{
		myhostname:       cfg.Str("myhostname"),
		mailName:         cfg.Str("mail_name"),
		banner:           cfg.Str("smtpd_banner"),
		syslogName:       cfg.Str("syslog_name"),
		errorNotice:      cfg.Str("error_notice_recipient"),
		doubleBounce:     cfg.Str("double_bounce_sender"),
		notify:           classesOf(cfg.Strings("notify_classes")),
		heloRequired:     cfg.Bool("smtpd_helo_required"),
		strictEnvelopes:  cfg.Bool("strict_rfc821_envelopes"),
		disableVRFY:      cfg.Bool("disable_vrfy_command"),
		peernameLookup:   cfg.Bool("smtpd_peername_lookup"),
		logPort:          cfg.Bool("smtpd_client_port_logging"),
		logInternal:      cfg.Str("info_log_address_format") == "internal",
		smtputf8:         cfg.Bool("smtputf8_enable"),
		requireTLS:       cfg.Bool("requiretls_enable"),
		strictSMTPUTF8:   cfg.Bool("strict_smtputf8"),
		softBounce:       cfg.Bool("soft_bounce"),
		delayReject:      cfg.Bool("smtpd_delay_reject"),
		delayOpen:        cfg.Bool("smtpd_delay_open_until_valid_rcpt"),
		protocols:        readProtocols(cfg.Strings("inet_protocols")),
		messageSizeLimit: int64(cfg.Int("message_size_limit")),
		queueMinfree:     int64(cfg.Int("queue_minfree")),
		lineLimit:        max(1, cfg.Int("line_length_limit")),
		recipientLimit:   cfg.Int("smtpd_recipient_limit"),
		overshoot:        cfg.Int("smtpd_recipient_overshoot_limit"),
		softErrors:       cfg.Int("smtpd_soft_error_limit"),
		hardErrors:       cfg.Int("smtpd_hard_error_limit"),
		junkLimit:        cfg.Int("smtpd_junk_command_limit"),
		errorSleep:       cfg.Duration("smtpd_error_sleep_time"),
		timeout:          cfg.Duration("smtpd_timeout"),
		proxyTimeout:     cfg.Duration("smtpd_upstream_proxy_timeout"),
		startTLSTimeout:  cfg.Duration("smtpd_starttls_timeout"),
		perRequest:       cfg.Bool("smtpd_per_request_deadline"),
		minRate:          cfg.Int("smtpd_min_data_rate"),
		bareLFCode:       cfg.Int("smtpd_forbid_bare_newline_reject_code"),
		forbidPipelining: cfg.Bool("smtpd_forbid_unauth_pipelining"),
		discardMaps:      cfg.Strings("smtpd_discard_ehlo_keyword_address_maps"),
		footerMaps:       cfg.Strings("smtpd_reject_footer_maps"),
		filterMaps:       cfg.Strings("smtpd_reject_filter_maps"),
		footer:           cfg.Str("smtpd_reject_footer"),
		commandFilter:    cfg.Str("smtpd_command_filter"),
		expansionFilter:  config.Unescape(cfg.Str("smtpd_expansion_filter")),
		limits: limits{
			connections:    cfg.Int("smtpd_client_connection_count_limit"),
			connectionRate: cfg.Int("smtpd_client_connection_rate_limit"),
			messages:       cfg.Int("smtpd_client_message_rate_limit"),
			recipients:     cfg.Int("smtpd_client_recipient_rate_limit"),
			newTLS:         cfg.Int("smtpd_client_new_tls_session_rate_limit"),
			auths:          cfg.Int("smtpd_client_auth_rate_limit"),
			bits4:          cfg.Int("smtpd_client_ipv4_prefix_length"),
			bits6:          cfg.Int("smtpd_client_ipv6_prefix_length"),
		},
	}
	s.discard = parseDiscard(cfg.Str("smtpd_discard_ehlo_keywords"))
	s.bareLF = r.bareLF()
	s.proxyProtocol = r.proxyProtocol()
	s.lists = r.lists()
	s.sasl = r.sasl()
	s.tls = r.tls()
	return s, errors.Join(r.errs...)
}

func (r *settingsReader) list(param string) *matchlist.List {
	l, err := rewrite.MatchList(r.cfg, r.w, param)
	if err != nil {
		r.errs = append(r.errs, err)
	}
	return l
}

func (r *settingsReader) lists() lists {
	return lists{
		noop:           r.list("smtpd_noop_commands"),
		forbidden:      r.list("smtpd_forbidden_commands"),
		xclient:        r.list("smtpd_authorized_xclient_hosts"),
		xforward:       r.list("smtpd_authorized_xforward_hosts"),
		verp:           r.list("smtpd_authorized_verp_clients"),
		noLimits:       r.list("smtpd_client_event_limit_exceptions"),
		bareLF:         r.list("smtpd_forbid_bare_newline_exclusions"),
		saslHidden:     r.list("smtpd_sasl_exceptions_networks"),
		saslMechanisms: r.list("smtpd_sasl_mechanism_filter"),
		fastFlush:      r.list("fast_flush_domains"),
	}
}

func (r *settingsReader) bareLF() bareLF {
	switch v := strings.ToLower(r.cfg.Str("smtpd_forbid_bare_newline")); v {
	case "no":
		return bareAllow
	case "yes", "normalize":
		return bareNormalize
	case "note":
		return bareNote
	case "reject":
		return bareReject
	default:
		r.fail("smtpd_forbid_bare_newline", "unknown value %q; give no, normalize, note or reject", v)
		return bareNormalize
	}
}

func (r *settingsReader) proxyProtocol() bool {
	switch v := r.cfg.Str("smtpd_upstream_proxy_protocol"); v {
	case "":
		return false
	case "haproxy":
		return true
	default:
		r.fail("smtpd_upstream_proxy_protocol", "unknown protocol %q; give haproxy or nothing", v)
		return false
	}
}
