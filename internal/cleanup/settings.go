package cleanup

import (
	"fmt"
	"slices"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/matchlist"
	"sekisho/internal/rewrite"
)

// tables is a list of tables under the parameter that names them.
type tables struct {
	param string
	maps  []string
}

// place is a kind of address that canonical maps and masquerading can be
// limited to.
type place uint8

const (
	envelopeSender place = 1 << iota
	envelopeRecipient
	headerSender
	headerRecipient
)

var placeNames = map[string]place{
	"envelope_sender": envelopeSender, "envelope_recipient": envelopeRecipient,
	"header_sender": headerSender, "header_recipient": headerRecipient,
}

// mapping is a canonical map with the places where it holds.
type mapping struct {
	tables
	places place
}

// settings are cleanup's own parameters, by their names in postconf(5).
type settings struct {
	myhostname  string
	longIDs     bool
	delayDigits int // of logged delays

	headerChecks, mimeChecks, nestedChecks, bodyChecks tables
	bodyChecksLimit                                    int64

	senderCanonical, recipientCanonical, canonical mapping
	masqueradeDomains                              []string
	masqueradePlaces                               place
	masqueradeExceptions                           *matchlist.List
	propagateCanonical, propagateVirtual           bool

	virtualAlias                   tables
	expansion, recursion, addrSize int
	duplicates                     int
	originalRecipient              bool

	alwaysBcc               string
	senderBcc, recipientBcc tables
	emptyRecipient          string

	headers       map[string]header // by lower-case name
	always        bool              // always_add_missing_headers
	undisclosed   string
	fromObsolete  bool              // header_from_format
	remote        *rewrite.Resolver // nil: headers of strangers stay as they are
	hops          int
	tokens        int
	headerSize    int
	lineLength    int
	messageSize   int64
	straySpace    bool // cleanup_replace_stray_cr_lf
	rejectChars   string
	stripChars    string
	detect8bit    bool
	plain         bool // disable_mime_input_processing
	strictHeaders bool
	strictBody    bool
	strictDomain  bool
	boundarySize  int
	nesting       int
}

// intake are the parameters that belong to whoever brings a message.
type intake struct {
	filter       string // content_filter
	noChecks     bool
	noMappings   bool
	localClients []config.Item
	relayCerts   []string
	mynetworks   *matchlist.List

	askCertificate bool
}

// reader reads parameters and collects what is wrong with them.
type reader struct {
	cfg      *config.Config
	problems []Problem
}

func (r *reader) fail(param, format string, args ...any) {
	r.problems = append(r.problems, Problem{r.cfg.Pos(param), param, fmt.Sprintf(format, args...)})
}

func (r *reader) tables(param string) tables { return tables{param, r.cfg.Strings(param)} }

func (r *reader) places(param string) place {
	var p place
	for _, it := range r.cfg.List(param) {
		bit := placeNames[strings.ToLower(it.Text)]
		if bit == 0 {
			r.fail(param, "unknown class %q: use envelope_sender, envelope_recipient, header_sender or header_recipient", it.Text)
		}
		p |= bit
	}
	return p
}

func (r *reader) canonical(param, classes string) mapping {
	return mapping{r.tables(param), r.places(classes)}
}

func (r *reader) settings(w World) settings {
	c := r.cfg
	s := settings{
		myhostname: c.Str("myhostname"), longIDs: c.Bool("enable_long_queue_ids"), delayDigits: c.Int("delay_logging_resolution_limit"),
		headerChecks: r.tables("header_checks"), mimeChecks: r.tables("mime_header_checks"),
		nestedChecks: r.tables("nested_header_checks"), bodyChecks: r.tables("body_checks"),
		bodyChecksLimit: int64(c.Int("body_checks_size_limit")),

		senderCanonical:    r.canonical("sender_canonical_maps", "sender_canonical_classes"),
		recipientCanonical: r.canonical("recipient_canonical_maps", "recipient_canonical_classes"),
		canonical:          r.canonical("canonical_maps", "canonical_classes"),
		masqueradeDomains:  c.Strings("masquerade_domains"), masqueradePlaces: r.places("masquerade_classes"),

		virtualAlias: r.tables("virtual_alias_maps"), expansion: c.Int("virtual_alias_expansion_limit"),
		recursion: c.Int("virtual_alias_recursion_limit"), addrSize: c.Int("virtual_alias_address_length_limit"),
		duplicates: c.Int("duplicate_filter_limit"), originalRecipient: c.Bool("enable_original_recipient"),

		alwaysBcc: c.Str("always_bcc"), senderBcc: r.tables("sender_bcc_maps"), recipientBcc: r.tables("recipient_bcc_maps"),
		emptyRecipient: c.Str("empty_address_recipient"),

		headers: knownHeaders(c.Strings("message_drop_headers")), always: c.Bool("always_add_missing_headers"),
		undisclosed: c.Str("undisclosed_recipients_header"),

		fromObsolete: c.Str("header_from_format") == "obsolete",
		hops:         c.Int("hopcount_limit"), tokens: c.Int("header_address_token_limit"),
		headerSize: c.Int("header_size_limit"), lineLength: max(c.Int("line_length_limit"), 1),
		messageSize: int64(c.Int("message_size_limit")), straySpace: c.Bool("cleanup_replace_stray_cr_lf"),
		rejectChars: config.Unescape(c.Str("message_reject_characters")), stripChars: config.Unescape(c.Str("message_strip_characters")),
		detect8bit: c.Bool("detect_8bit_encoding_header"), plain: c.Bool("disable_mime_input_processing"),
		boundarySize: c.Int("mime_boundary_length_limit"), nesting: c.Int("mime_nesting_limit"),
	}
	strict := c.Bool("strict_8bitmime")
	s.strictHeaders = strict || c.Bool("strict_7bit_headers")
	s.strictBody = strict || c.Bool("strict_8bitmime_body")
	s.strictDomain = c.Bool("strict_mime_encoding_domain")
	extensions := c.Strings("propagate_unmatched_extensions")
	s.propagateCanonical, s.propagateVirtual = slices.Contains(extensions, "canonical"), slices.Contains(extensions, "virtual")
	if d := c.Str("remote_header_rewrite_domain"); d != "" {
		s.remote = w.Resolver.Remote(d)
	}
	if c.Str("masquerade_exceptions") != "" {
		list, err := rewrite.MatchList(c, w.Lists, "masquerade_exceptions")
		if err != nil {
			r.fail("masquerade_exceptions", "%v", err)
		}
		s.masqueradeExceptions = list
	}
	return s
}

func (r *reader) intake(mynetworks *matchlist.List) intake {
	in := intake{
		filter: r.cfg.Str("content_filter"), mynetworks: mynetworks,
		localClients: r.cfg.List("local_header_rewrite_clients"), relayCerts: r.cfg.Strings("relay_clientcerts"),
		askCertificate: r.cfg.Bool("smtpd_tls_ask_ccert"),
	}
	for _, it := range r.cfg.List("receive_override_options") {
		switch strings.ToLower(it.Text) {
		case "no_header_body_checks":
			in.noChecks = true
		case "no_address_mappings":
			in.noMappings = true
		case "no_unknown_recipient_checks", "no_milters":
		default:
			r.fail("receive_override_options", "unknown option %q", it.Text)
		}
	}
	return in
}
