package rewrite

import (
	"strings"

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
	RecipientDelimiter                   string
	OwnerRequestSpecial                  bool
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
	TransportParentStyle                 bool     // parent_domain_matches_subdomains has transport_maps
	PropagateCanonical, PropagateVirtual bool     // propagate_unmatched_extensions
	// Partial says of a table whether it is looked up with partial keys.
	Partial func(table string) bool
}

// Resolver resolves addresses. It never changes and is safe for concurrent
// use.
type Resolver struct{ o Options }

// New returns a resolver.
func New(o Options) *Resolver { return &Resolver{o: o} }

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
	if addr == "" {
		addr = r.o.EmptyAddressRecipient
	}
	local, domain, done := s.split(r.Rewrite(addr))
	if done {
		return s.out
	}
	s.out.Recipient = local + "@" + domain
	if local == "" || !r.validDomain(domain) {
		s.out.Invalid = true
	}
	s.out.Routed = strings.ContainsAny(local, "@%!") && (strings.Contains(local, "@") ||
		r.o.AllowPercentHack && strings.Contains(local, "%") || r.o.SwapBangpath && strings.Contains(local, "!"))
	s.classify(domain)
	if !s.out.Failed {
		s.route(domain)
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

// split cuts an address into local part and domain. While the domain is ours
// and the local part holds another address, that one is meant.
func (s *resolution) split(addr string) (local, domain string, failed bool) {
	for range 100 {
		local, domain, _ = mail.SplitAddress(addr)
		domain = trimFinalDot(domain)
		ours, failed := s.isLocal(domain)
		if failed {
			return "", "", true
		}
		s.local = ours
		if !ours {
			return local, domain, false
		}
		inner, ok := s.r.inner(local)
		if !ok {
			return local, domain, false
		}
		addr = inner
	}
	return local, domain, false
}

// inner finds the address inside the local part of one of our own domains.
func (r *Resolver) inner(local string) (string, bool) {
	if strings.Contains(local, "@") {
		return local, true
	}
	if r.o.SwapBangpath {
		if host, user, ok := strings.Cut(local, "!"); ok {
			return user + "@" + host, true
		}
	}
	if r.o.AllowPercentHack {
		if i := strings.LastIndexByte(local, '%'); i >= 0 {
			return local[:i] + "@" + local[i+1:], true
		}
	}
	return "", false
}

// isLocal reports whether a domain is in mydestination or is the literal of
// one of our addresses.
func (s *resolution) isLocal(domain string) (ours, failed bool) {
	m := s.r.o.Mydestination.MatchString(s.src, domain)
	s.out.Warnings = append(s.out.Warnings, m.Warnings...)
	if m.Failed {
		s.out.Failed = true
		return false, true
	}
	if m.Match {
		return true, false
	}
	if !strings.HasPrefix(domain, "[") || !strings.HasSuffix(domain, "]") {
		return false, false
	}
	addr, ok := mail.ValidMailHostAddr(domain[1 : len(domain)-1])
	if !ok {
		return false, false
	}
	for _, own := range s.r.o.OwnAddresses {
		if strings.EqualFold(own, addr) {
			return true, false
		}
	}
	return false, false
}

// validDomain reports whether mail can be addressed to a domain.
func (r *Resolver) validDomain(domain string) bool {
	switch {
	case domain == "":
		return r.o.ResolveNullDomain
	case domain[0] == '[':
		if domain[len(domain)-1] != ']' {
			return false
		}
		_, ok := mail.ValidMailHostAddr(domain[1 : len(domain)-1])
		return ok
	case mail.IsNumericHostname(domain):
		return r.o.ResolveNumeric && mail.ValidHostAddr(domain)
	}
	return mail.ValidHostname(mail.ASCIIDomain(domain))
}

// classify finds the class and its transport.
func (s *resolution) classify(domain string) {
	o := &s.r.o
	switch {
	case s.local:
		s.out.Class = Local
		s.transport(o.LocalTransport, o.Myhostname)
		s.warnBoth(domain, "mydestination", "virtual_alias_domains", o.VirtualAliasDomains)
		s.warnBoth(domain, "mydestination", "virtual_mailbox_domains", o.VirtualMailboxDomains)
	case s.in(o.VirtualAliasDomains, "virtual_alias_domains", domain, (*matchlist.List).MatchString):
		s.out.Class = VirtualAlias
		s.out.Transport, s.out.Nexthop = "error", "5.1.1 User unknown"
		if o.ShowUserUnknownTable {
			s.out.Nexthop += " in virtual alias table"
		}
		s.warnBoth(domain, "virtual_alias_domains", "virtual_mailbox_domains", o.VirtualMailboxDomains)
	case s.in(o.VirtualMailboxDomains, "virtual_mailbox_domains", domain, (*matchlist.List).MatchString):
		s.out.Class = VirtualMailbox
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

// transport splits "transport:nexthop"; an empty next hop is replaced.
func (s *resolution) transport(value, nexthop string) {
	name, hop, _ := strings.Cut(value, ":")
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
	v, ok := s.bySender(s.r.o.SenderRelayhostMaps)
	if ok && !strings.EqualFold(v, "DUNNO") {
		return v
	}
	return s.r.o.Relayhost
}

func (s *resolution) defaultTransport() string {
	v, ok := s.bySender(s.r.o.SenderTransportMaps)
	if ok && !strings.EqualFold(v, "DUNNO") {
		return v
	}
	return s.r.o.DefaultTransport
}

// bySender looks the envelope sender up, whole, without extension, by domain.
func (s *resolution) bySender(maps []string) (string, bool) {
	if len(maps) == 0 || s.out.Failed {
		return "", false
	}
	sender := s.sender
	if sender == "" {
		sender = s.r.o.EmptyAddressRecipient
	}
	m := s.r.Find(s.src, maps, sender)
	s.take(m)
	return m.Value, m.Found
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
			s.out.Nexthop = "5.0.0 Address is undeliverable"
		}
	}
	if hop != "" {
		s.out.Nexthop = hop
	}
}
