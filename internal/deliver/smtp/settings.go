package smtp

import (
	"crypto"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/config"
	"sekisho/internal/dnsfilter"
	"sekisho/internal/matchlist"
	"sekisho/internal/table"
)

// Settings are the parameters of one service: smtp_ ones, or for LMTP those
// that begin with lmtp_.
type Settings struct {
	LMTP           bool   // speak LMTP; a next hop is then unix:path, inet:host or host
	QueueDirectory string // relative paths of sockets begin there
	AssumeFinal    bool   // lmtp_assume_final: as flags=X

	Myhostname string
	HeloName   string
	// Port is used where the next hop names none.
	Port       int
	Relayhost  string   // to tell mistakes of ours from those of other domains
	Fallback   []string // smtp_fallback_relay
	DNS        bool     // ask for MX records
	LookupDNS  bool     // smtp_host_lookup: dns
	LookupHost bool     // smtp_host_lookup: native, for names the DNS has not

	IPv4, IPv6        bool   // inet_protocols
	AddressPreference string // any, ipv4 or ipv6
	Randomize         bool   // smtp_randomize_addresses
	AddressLimit      int    // smtp_mx_address_limit; 0: none
	SessionLimit      int    // smtp_mx_session_limit; 0: none
	DeferIfNoMX       bool   // smtp_defer_if_no_mx_address_found
	IgnoreMXError     bool   // ignore_mx_lookup_error
	BindIPv4          net.IP // smtp_bind_address; nil: the system chooses
	BindIPv6          net.IP // smtp_bind_address6
	BindEnforce       bool   // put mail off when these are not ours
	Balance           bool   // smtp_balance_inet_protocols

	Skip5xxGreeting bool
	SkipQuit        bool // smtp_skip_quit_response: do not wait for the reply to QUIT
	AlwaysEHLO      bool
	NeverEHLO       bool
	DiscardEHLO     []string // keywords to ignore, lower case
	DiscardEHLOMaps []string // tables of such keywords by the host's address
	LineLimit       int      // bytes of a line of content; 0: none
	RawAddresses    bool     // smtp_quote_rfc821_envelope is no
	KeepEightBit    bool     // disable_mime_output_conversion
	SoftBounce      bool
	PIXWorkarounds  []string // what is done for old PIX firewalls, lower case
	// PIXWorkaroundMaps say the same by the host's address; PIXThreshold is how old
	// a message must be before the final dot waits for PIXDelay.
	PIXWorkaroundMaps      []string
	PIXThreshold, PIXDelay time.Duration
	SendXforward           bool
	ReplyFilter            string // table that edits the lines of replies; empty: none
	StatusFilter           []string
	DNSReplyFilter         dnsfilter.Filter
	GenericMaps            []string
	PropagateGeneric       bool // propagate_unmatched_extensions
	Checks                 Checks
	// Limits of MIME structure, for Checks and the conversion to 7 bits.
	HeaderLimit, BoundaryLimit, NestingLimit int

	// CacheDestinations are those whose connections are always kept, nil is
	// none; CacheOnDemand keeps those of busy ones. A connection waits for CacheTime
	// and serves ReuseTime long or ReuseCount times (0: no limit).
	CacheDestinations    *matchlist.List
	CacheOnDemand        bool
	CacheTime, ReuseTime time.Duration
	ReuseCount           int

	Chunking  bool // sekisho_smtp_chunking
	ProbeData bool // smtp_address_verify_target: DATA, and not RCPT, answers an address probe

	SASL *Login // nil: never log in

	TLS              TLSLevel
	TLSConfig        *tls.Config // without ServerName
	TLSLogLevel      int
	TLSDefaults      TLSDefaults
	Digest           crypto.Hash // smtp_tls_fingerprint_digest
	RequireTLS       bool        // requiretls_enable: heed the sender's REQUIRETLS
	RequireTLSPolicy []string    // smtp_requiretls_policy: actions and tables of them by destination
	HeedTLSRequired  bool        // tls_required_enable: "TLS-Required: no" lowers the level
	WrapperMode      bool        // TLS from the first byte
	NoteSTARTTLS     bool        // log who offers TLS to whom we do not want it
	BlockEarlyReply  bool        // give up on servers that answer MAIL before it is sent

	ConnectTimeout, HeloTimeout, StartTLSTimeout time.Duration
	MailTimeout, RcptTimeout                     time.Duration
	DataInitTimeout, DataXferTimeout             time.Duration
	DataDoneTimeout, QuitTimeout                 time.Duration
	RsetTimeout, XforwardTimeout                 time.Duration
	RequestDeadline                              bool // the limits are for whole requests
	MinDataRate                                  int  // bytes/s that a host must take, with RequestDeadline
	// MinimalBackoff is how old a message must be before it goes out in the
	// clear after TLS has failed.
	MinimalBackoff time.Duration
}

// FromConfig returns the settings of a service that speaks SMTP, or LMTP. It
// fails when the TLS files cannot be read or a value makes no sense, and says
// where the value stands.
func FromConfig(cfg *config.Config, lmtp bool) (Settings, error) {
	c := params{cfg, lmtp}
	s := Settings{
		LMTP:              lmtp,
		QueueDirectory:    c.Str("queue_directory"),
		AssumeFinal:       c.Bool("lmtp_assume_final"),
		Myhostname:        c.Str("myhostname"),
		HeloName:          c.Str("smtp_helo_name"),
		Relayhost:         c.Str("relayhost"),
		Fallback:          c.Strings("smtp_fallback_relay"),
		AddressPreference: c.Str("smtp_address_preference"),
		Randomize:         c.Bool("smtp_randomize_addresses"),
		AddressLimit:      c.Int("smtp_mx_address_limit"),
		SessionLimit:      c.Int("smtp_mx_session_limit"),
		DeferIfNoMX:       c.Bool("smtp_defer_if_no_mx_address_found"),
		IgnoreMXError:     c.Bool("ignore_mx_lookup_error"),
		BindIPv4:          net.ParseIP(strings.Trim(c.Str("smtp_bind_address"), "[]")),
		BindIPv6:          net.ParseIP(strings.Trim(c.Str("smtp_bind_address6"), "[]")),
		Skip5xxGreeting:   c.Bool("smtp_skip_5xx_greeting"),
		AlwaysEHLO:        c.Bool("smtp_always_send_ehlo"),
		NeverEHLO:         c.Bool("smtp_never_send_ehlo"),
		DiscardEHLO:       keywords(c.Str("smtp_discard_ehlo_keywords")),
		DiscardEHLOMaps:   c.Strings("smtp_discard_ehlo_keyword_address_maps"),
		LineLimit:         c.Int("smtp_line_length_limit"),
		TLSLogLevel:       c.Int("smtp_tls_loglevel"),
		ConnectTimeout:    c.Duration("smtp_connect_timeout"),
		HeloTimeout:       c.Duration("smtp_helo_timeout"),
		StartTLSTimeout:   c.Duration("smtp_starttls_timeout"),
		MailTimeout:       c.Duration("smtp_mail_timeout"),
		RcptTimeout:       c.Duration("smtp_rcpt_timeout"),
		DataInitTimeout:   c.Duration("smtp_data_init_timeout"),
		DataXferTimeout:   c.Duration("smtp_data_xfer_timeout"),
		DataDoneTimeout:   c.Duration("smtp_data_done_timeout"),
		QuitTimeout:       c.Duration("smtp_quit_timeout"),
		RsetTimeout:       c.Duration("smtp_rset_timeout"),
		MinimalBackoff:    c.Duration("minimal_backoff_time"),
		SkipQuit:          c.Bool("smtp_skip_quit_response"),
		BindEnforce:       c.Bool("smtp_bind_address_enforce"),
		Balance:           c.Bool("smtp_balance_inet_protocols"),
		RawAddresses:      !c.Bool("smtp_quote_rfc821_envelope"),
		KeepEightBit:      c.Bool("disable_mime_output_conversion"),
		SoftBounce:        c.Bool("soft_bounce"),
		PIXWorkarounds:    keywords(c.Str("smtp_pix_workarounds")),
		PIXWorkaroundMaps: c.Strings("smtp_pix_workaround_maps"),
		PIXThreshold:      c.Duration("smtp_pix_workaround_threshold_time"),
		PIXDelay:          c.Duration("smtp_pix_workaround_delay_time"),
		SendXforward:      c.Bool("smtp_send_xforward_command"),
		XforwardTimeout:   c.Duration("smtp_xforward_timeout"),
		ReplyFilter:       c.Str("smtp_reply_filter"),
		StatusFilter:      c.Strings("smtp_delivery_status_filter"),
		DNSReplyFilter:    dnsfilter.Filter{Param: c.name("smtp_dns_reply_filter"), Tables: c.Strings("smtp_dns_reply_filter")},
		GenericMaps:       c.Strings("smtp_generic_maps"),
		PropagateGeneric:  slices.Contains(c.Strings("propagate_unmatched_extensions"), "generic"),
		Checks: Checks{
			Header: c.Strings("smtp_header_checks"), MIME: c.Strings("smtp_mime_header_checks"),
			Nested: c.Strings("smtp_nested_header_checks"), Body: c.Strings("smtp_body_checks"),
		},
		HeaderLimit:      c.Int("header_size_limit"),
		BoundaryLimit:    c.Int("mime_boundary_length_limit"),
		NestingLimit:     c.Int("mime_nesting_limit"),
		CacheOnDemand:    c.Bool("smtp_connection_cache_on_demand"),
		CacheTime:        c.Duration("smtp_connection_cache_time_limit"),
		ReuseTime:        c.Duration("smtp_connection_reuse_time_limit"),
		ReuseCount:       c.Int("smtp_connection_reuse_count_limit"),
		RequestDeadline:  c.Bool("smtp_per_request_deadline"),
		MinDataRate:      c.Int("smtp_min_data_rate"),
		Chunking:         c.c.Bool("sekisho_smtp_chunking"),
		RequireTLS:       c.c.Bool("requiretls_enable"),
		RequireTLSPolicy: c.Strings("smtp_requiretls_policy"),
		HeedTLSRequired:  c.c.Bool("tls_required_enable"),
		WrapperMode:      c.Bool("smtp_tls_wrappermode"),
		NoteSTARTTLS:     c.Bool("smtp_tls_note_starttls_offer"),
		BlockEarlyReply:  c.Bool("smtp_tls_block_early_mail_reply"),
	}
	s.DNS = !c.Bool("disable_dns_lookups") || c.Set("smtp_dns_support_level") && c.Str("smtp_dns_support_level") != "disabled"
	for _, word := range c.Strings("smtp_host_lookup") {
		s.LookupDNS = s.LookupDNS || word == "dns"
		s.LookupHost = s.LookupHost || word == "native"
	}
	for _, word := range c.Strings("inet_protocols") {
		s.IPv4 = s.IPv4 || word == "all" || word == "ipv4"
		s.IPv6 = s.IPv6 || word == "all" || word == "ipv6"
	}
	return s, s.finish(c)
}

// keywords splits a list of EHLO keywords.
func keywords(s string) []string {
	return strings.FieldsFunc(strings.ToLower(s), func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })
}

// finish fills in what can fail.
func (s *Settings) finish(c params) error {
	if items := c.List("smtp_connection_cache_destinations"); len(items) > 0 {
		list, err := matchlist.Parse(c.name("smtp_connection_cache_destinations"), items, matchlist.Options{Partial: table.Partial, ReadFile: os.ReadFile})
		if err != nil {
			return err
		}
		s.CacheDestinations = list
	}
	var err error
	if s.SASL, err = loginSettings(c); err != nil {
		return err
	}
	port, err := portNumber(c.Str("smtp_tcp_port"))
	if err != nil {
		return c.errorf("smtp_tcp_port", "%w", err)
	}
	s.Port = port
	switch target := c.Str("smtp_address_verify_target"); strings.ToLower(target) {
	case "rcpt":
	case "data":
		s.ProbeData = true
	default:
		return c.errorf("smtp_address_verify_target", "%q is neither rcpt nor data", target)
	}
	if s.TLS, err = tlsLevel(c); err != nil {
		return err
	}
	if s.TLSConfig, err = tlsConfig(c); err != nil {
		return err
	}
	return s.tlsDefaults(c)
}

// portNumber reads a port given by number or by service name.
func portNumber(s string) (int, error) {
	if n, err := strconv.Atoi(s); err == nil {
		if n < 1 || n > 65535 {
			return 0, fmt.Errorf("bad network port: %s", s)
		}
		return n, nil
	}
	known := map[string]int{"smtp": 25, "submission": 587, "smtps": 465, "submissions": 465, "lmtp": 24}
	if n, ok := known[s]; ok {
		return n, nil
	}
	n, err := net.LookupPort("tcp", s)
	if err != nil {
		return 0, fmt.Errorf("unknown service: %s/tcp", s)
	}
	return n, nil
}
