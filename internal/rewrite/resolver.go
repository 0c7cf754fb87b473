package rewrite

import (
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/matchlist"
)

// Class is the address class of a recipient's domain (ADDRESS_CLASS_README).
type Class uint8

const (
	Default Class = iota // somewhere else
	Local
	VirtualAlias
	VirtualMailbox
	Relay
)

// String returns the class by its name in Postfix's documentation.
func (c Class) String() string {
	return [...]string{"default", "local", "virtual alias", "virtual mailbox", "relay"}[c]
}

// Options are the parameters that decide about addresses.
type Options struct {
	Myhostname, Myorigin, Mydomain       string
	SwapBangpath, AllowPercentHack       bool
	AppendDotMydomain                    bool
	ResolveNullDomain, ResolveNumeric    bool
	AllowMinUser                         bool
	SMTPUTF8                             bool // smtputf8_enable: domains may have U-labels
	RecipientDelimiter                   string
	OwnerRequestSpecial                  bool
	NoAppendAtMyorigin                   bool // append_at_myorigin = no
	NoDequote                            bool // resolve_dequoted_address = no
	DoubleBounceSender                   string
	EmptyAddressRecipient                string
	ShowUserUnknownTable                 bool
	Mydestination, RelayDomains          *matchlist.List
	VirtualAliasDomains                  *matchlist.List
	VirtualMailboxDomains                *matchlist.List
	OwnAddresses                         []string // inet_interfaces and proxy_interfaces
	LocalTransport, VirtualTransport     string
	RelayTransport, DefaultTransport     string
	Relayhost                            string
	TransportMaps, RelocatedMaps         []string
	SenderRelayhostMaps                  []string // sender_dependent_relayhost_maps
	SenderTransportMaps                  []string // sender_dependent_default_transport_maps
	NullRelayhostKey, NullTransportKey   string   // what stands for the null sender in those two
	TransportParentStyle                 bool     // parent_domain_matches_subdomains has transport_maps
	PropagateCanonical, PropagateVirtual bool     // propagate_unmatched_extensions
	// Partial says of a table whether it is looked up with partial keys.
	Partial func(table string) bool
}

// Resolver resolves addresses. It never changes and is safe for concurrent
// use.
type Resolver struct {
	o   Options
	own []netip.Addr
}

// New returns a resolver.
func New(o Options) *Resolver {
	r := &Resolver{o: o}
	for _, s := range o.OwnAddresses {
		if a, err := netip.ParseAddr(s); err == nil {
			r.own = append(r.own, a)
		}
	}
	return r
}

// Resolved is where mail for an address goes.
type Resolved struct {
	Transport string // service name of master.cf, such as "virtual", "smtp", "error"
	Nexthop   string // destination, or the text of error and retry
	Recipient string // standard form, internal
	Class     Class
	Routed    bool // the sender wrote a route into the local part
	Invalid   bool // no address at all: bad domain or no local part
	Failed    bool // a table failed; ask again later
	Warnings  []string
}

// Resolve finds class, transport and next hop of an address in internal form.
// sender is for the sender_dependent_ maps.
func (r *Resolver) Resolve(src evidence.Source, sender, addr string) Resolved {
	s := &resolution{r: r, src: src, sender: sender}
	s.out.Recipient = s.reduce(r.Rewrite(addr))
	if s.out.Failed {
		return s.out
	}
	domain := s.recipientDomain()
	if s.out.Invalid || s.out.Failed {
		return s.out
	}
	i := strings.IndexAny(s.out.Recipient, "@!%")
	s.out.Routed = s.out.Recipient[i+1:] != domain
	s.classify(domain)
	if !s.out.Failed {
		s.route(domain)
	}
	if !s.out.Failed && !r.o.AllowMinUser && strings.HasPrefix(s.out.Recipient, "-") {
		s.out.Invalid = true
	}
	return s.out
}

// resolution is one call of Resolve.
type resolution struct {
	r      *Resolver
	src    evidence.Source
	sender string
	out    Resolved
	local  bool // the domain is in mydestination or one of our addresses
}

// reduce finds the address that is meant, in the form user@domain.
func (s *resolution) reduce(addr string) string {
	if _, domain, ok := plain(addr); ok {
		s.local = s.isOurs(domain)
		return addr
	}
	return mail.JoinTokens(s.reduceTokens(addr))
}

// reduceTokens strips our own domain from an address as long as another address is
// left over. The result has the form user@domain.
func (s *resolution) reduceTokens(addr string) []mail.Token {
	ts, ours := scan(addr), []mail.Token(nil)
	for range len(addr) + 100 {
		ts = s.r.trimEnd(ts)
		if at := last(ts, '@'); at >= 0 {
			if at+1 < len(ts) && !s.isOurs(mail.JoinTokens(ts[at+1:])) {
				return ts
			}
			ts, ours = ts[:at], ts[at:]
		}
		inner, more := s.r.inner(ts)
		switch {
		case more:
			ts = inner
		case len(ts) == 0 || isEmpty(ts):
			ts = mail.ScanAddress(s.r.o.EmptyAddressRecipient)
		case ours == nil:
			ts = join(ts, op("@"), mail.ScanAddress(s.r.o.Myhostname))
		default:
			s.local = true
			return join(ts, ours)
		}
	}
	s.out.Warnings = append(s.out.Warnings, "resolve_addr: <"+addr+">: giving up")
	s.out.Failed = true
	return ts
}

// isOurs is isLocal for reduce, which a failure ends as well.
func (s *resolution) isOurs(domain string) bool {
	ours, failed := s.isLocal(domain)
	s.out.Failed = failed
	return ours && !failed
}

// trimEnd drops a final dot of the domain and, where empty domains are fine, a
// final @.
func (r *Resolver) trimEnd(ts []mail.Token) []mail.Token {
	if n := len(ts); n > 1 && ts[n-1].Is('.') && last(ts, '@') >= 0 && !ts[n-2].Is('.') && !ts[n-2].Is('@') {
		ts = ts[:n-1]
	}
	if n := len(ts); r.o.ResolveNullDomain && n > 0 && ts[n-1].Is('@') {
		ts = ts[:n-1]
	}
	return ts
}

// inner finds the address inside a local part of ours, in operators or in the
// text of a quoted string: the next server down the line may read it so.
func (r *Resolver) inner(ts []mail.Token) ([]mail.Token, bool) {
	if last(ts, '@') >= 0 || r.o.SwapBangpath && last(ts, '!') >= 0 || r.o.AllowPercentHack && last(ts, '%') >= 0 {
		return r.rewrite(ts), true
	}
	if r.o.NoDequote || len(ts) != 1 || ts[0].Kind != mail.QuotedString {
		return nil, false
	}
	text := ts[0].Text
	switch {
	case strings.Contains(text, "@"):
		text = mail.Quote(text)
	case r.o.AllowPercentHack && strings.Contains(text, "%"):
		i := strings.LastIndexByte(text, '%')
		text = mail.Quote(text[:i] + "@" + text[i+1:])
	case r.o.SwapBangpath && strings.Contains(text, "!"):
	default:
		return nil, false
	}
	return r.rewrite(mail.ScanAddress(text)), true
}

// recipientDomain checks the domain of the reduced address; a bare IP address
// becomes a literal where such are allowed.
func (s *resolution) recipientDomain() string {
	local, domain, _ := mail.SplitAddress(s.out.Recipient)
	switch {
	case strings.HasPrefix(domain, "["):
		s.out.Invalid = !isLiteral(domain)
	case s.r.o.SMTPUTF8 && !utf8.ValidString(s.out.Recipient):
		s.out.Invalid = true
	case s.r.validDomain(domain):
	case s.r.o.ResolveNumeric && mail.ValidHostAddr(domain):
		domain = "[" + domain + "]"
		s.out.Recipient = local + "@" + domain
		s.local = s.local || s.isOurs(domain)
	default:
		s.out.Invalid = true
	}
	return domain
}

func (r *Resolver) validDomain(domain string) bool {
	if r.o.SMTPUTF8 {
		domain = mail.ASCIIDomain(domain)
	}
	return mail.ValidHostname(domain)
}

// isLiteral reports whether s is an address literal, brackets included.
func isLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	_, ok := mail.ValidMailHostAddr(s[1 : len(s)-1])
	return ok
}

// isLocal reports whether a domain is in mydestination or is the literal of
// one of our addresses.
func (s *resolution) isLocal(domain string) (ours, failed bool) {
	domain = strings.TrimSuffix(domain, ".")
	if domain == "" || strings.HasSuffix(domain, ".") {
		return false, false
	}
	m := s.r.o.Mydestination.MatchString(s.src, domain)
	s.out.Warnings = append(s.out.Warnings, m.Warnings...)
	if m.Failed || m.Match {
		return m.Match, m.Failed
	}
	if len(domain) < 2 || domain[0] != '[' || domain[len(domain)-1] != ']' {
		return false, false
	}
	bare, ok := mail.ValidMailHostAddr(domain[1 : len(domain)-1])
	if !ok {
		if fault := mail.IPv4Fault(bare); !strings.Contains(bare, ":") && fault != "" {
			s.out.Warnings = append(s.out.Warnings, fault)
		}
		return false, false
	}
	addr, err := netip.ParseAddr(bare)
	return err == nil && slices.Contains(s.r.own, addr), false
}

// Local reports whether a domain is in mydestination or is the literal of one of
// our addresses.
func (r *Resolver) Local(src evidence.Source, domain string) (ours, failed bool, warnings []string) {
	s := resolution{r: r, src: src}
	ours, failed = s.isLocal(domain)
	return ours, failed, s.out.Warnings
}

// classify finds the class and its transport.
func (s *resolution) classify(domain string) {
	o := &s.r.o
	switch {
	case s.local:
		s.out.Class = Local
		s.transport(o.LocalTransport, domain)
		s.warnBoth(domain, "mydestination", "virtual_alias_domains", o.VirtualAliasDomains)
		s.warnBoth(domain, "mydestination", "virtual_mailbox_domains", o.VirtualMailboxDomains)
	case s.in(o.VirtualAliasDomains, "virtual_alias_domains", domain, (*matchlist.List).MatchString):
		s.out.Class = VirtualAlias
		s.out.Transport, s.out.Nexthop = "error", "5.1.1 User unknown"
		if o.ShowUserUnknownTable {
			s.out.Nexthop += " in virtual alias table"
		}
		s.warnBoth(domain, "virtual_alias_domains", "virtual_mailbox_domains", o.VirtualMailboxDomains)
		s.warnRelay(domain, "virtual_alias_domains")
	case s.in(o.VirtualMailboxDomains, "virtual_mailbox_domains", domain, (*matchlist.List).MatchString):
		s.out.Class = VirtualMailbox
		s.warnRelay(domain, "virtual_mailbox_domains")
		s.transport(o.VirtualTransport, domain)
	case s.in(o.RelayDomains, "relay_domains", domain, (*matchlist.List).MatchDomain):
		s.out.Class = Relay
		s.offHost(o.RelayTransport, domain)
	default:
		s.out.Class = Default
		s.offHost(s.defaultTransport(), domain)
	}
}

// in matches a domain against a list; a failure ends the whole resolution.
func (s *resolution) in(l *matchlist.List, name, domain string, match func(*matchlist.List, evidence.Source, string) matchlist.Result) bool {
	if s.out.Failed || l == nil {
		return false
	}
	m := match(l, s.src, domain)
	s.out.Warnings = append(s.out.Warnings, m.Warnings...)
	if m.Failed {
		s.out.Warnings = append(s.out.Warnings, name+" lookup failure")
		s.out.Failed = true
	}
	return m.Match
}

// warnBoth complains about a domain that is listed twice; the first list wins.
func (s *resolution) warnBoth(domain, first, second string, l *matchlist.List) {
	if l == nil {
		return
	}
	if m := l.MatchString(s.src, domain); m.Match {
		s.out.Warnings = append(s.out.Warnings, "do not list domain "+domain+" in BOTH "+first+" and "+second)
	}
}

// warnRelay is warnBoth for relay_domains, which match sub-domains too.
func (s *resolution) warnRelay(domain, first string) {
	if l := s.r.o.RelayDomains; l != nil && l.MatchDomain(s.src, domain).Match {
		s.out.Warnings = append(s.out.Warnings, "do not list domain "+domain+" in BOTH "+first+" and relay_domains")
	}
}

// transport splits "transport:nexthop"; an empty next hop is replaced.
func (s *resolution) transport(value, nexthop string) {
	name, hop, _ := strings.Cut(value, ":")
	if name == "" {
		s.out.Warnings = append(s.out.Warnings, "null transport is not allowed")
		s.out.Failed = true
	}
	if hop == "" {
		hop = nexthop
	}
	s.out.Transport, s.out.Nexthop = name, hop
}

// offHost is for mail that leaves: relayhost replaces the domain as next hop.
func (s *resolution) offHost(value, domain string) {
	hop := s.relayhost()
	if hop == "" {
		hop = domain
	}
	s.transport(value, hop)
}

// relayhost asks sender_dependent_relayhost_maps, then takes relayhost.
func (s *resolution) relayhost() string {
	if v := s.bySender(s.r.o.SenderRelayhostMaps, s.r.o.NullRelayhostKey); v != "" {
		return v
	}
	return s.r.o.Relayhost
}

func (s *resolution) defaultTransport() string {
	if v := s.bySender(s.r.o.SenderTransportMaps, s.r.o.NullTransportKey); v != "" {
		return v
	}
	return s.r.o.DefaultTransport
}

// bySender looks the envelope sender up; empty when no table has it or the
// one that has says DUNNO.
func (s *resolution) bySender(maps []string, null string) string {
	if len(maps) == 0 || s.out.Failed {
		return ""
	}
	sender := s.sender
	if sender == "" {
		sender = null
	}
	m := s.r.Find(s.src, maps, sender)
	s.take(m)
	if strings.EqualFold(m.Value, "DUNNO") {
		return ""
	}
	return m.Value
}

func (s *resolution) take(m Match) {
	s.out.Warnings = append(s.out.Warnings, m.Warnings...)
	s.out.Failed = s.out.Failed || m.Failed
}

// route applies transport_maps and relocated_maps.
func (s *resolution) route(domain string) {
	o := &s.r.o
	if len(o.TransportMaps) > 0 && s.out.Class != VirtualAlias {
		m := s.r.findTransport(s.src, s.out.Recipient)
		s.take(m)
		if m.Found {
			s.override(m.Value, domain)
		}
	}
	if s.out.Failed || len(o.RelocatedMaps) == 0 {
		return
	}
	m := s.r.Find(s.src, o.RelocatedMaps, s.out.Recipient)
	s.take(m)
	if m.Found {
		s.out.Transport, s.out.Nexthop = "error", "5.1.6 User has moved to "+m.Value
	}
}

// override applies the value of a transport table: each half may be empty and
// then stays as it is, but a new transport makes the domain the next hop.
func (s *resolution) override(value, domain string) {
	name, hop, _ := strings.Cut(value, ":")
	if name != "" {
		s.out.Transport, s.out.Nexthop = name, domain
		if name == "error" || name == "retry" {
			s.out.Nexthop = "Address is undeliverable"
		}
	}
	if hop != "" {
		s.out.Nexthop = hop
	}
}
