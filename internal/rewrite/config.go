package rewrite

import (
	"errors"

	"sekisho/internal/config"
	"sekisho/internal/matchlist"
)

// World is what Compile needs to know besides the configuration.
type World struct {
	OwnAddresses []string // of inet_interfaces and proxy_interfaces
	Partial      func(table string) bool
	ReadFile     func(name string) ([]byte, error)
}

// Compile builds the resolver of a configuration. Lists that cannot be read
// are errors, each with its place.
func Compile(cfg *config.Config, w World) (*Resolver, error) {
	c := compiler{cfg: cfg, w: w}
	o := Options{
		Myhostname:            cfg.Str("myhostname"),
		Myorigin:              cfg.Str("myorigin"),
		Mydomain:              cfg.Str("mydomain"),
		SwapBangpath:          cfg.Bool("swap_bangpath"),
		AllowPercentHack:      cfg.Bool("allow_percent_hack"),
		AppendDotMydomain:     cfg.Bool("append_dot_mydomain"),
		ResolveNullDomain:     cfg.Bool("resolve_null_domain"),
		ResolveNumeric:        cfg.Bool("resolve_numeric_domain"),
		SMTPUTF8:              cfg.Bool("smtputf8_enable"),
		AllowMinUser:          cfg.Bool("allow_min_user"),
		RecipientDelimiter:    cfg.Str("recipient_delimiter"),
		OwnerRequestSpecial:   cfg.Bool("owner_request_special"),
		NoAppendAtMyorigin:    !cfg.Bool("append_at_myorigin"),
		NoDequote:             !cfg.Bool("resolve_dequoted_address"),
		NullRelayhostKey:      cfg.Str("empty_address_relayhost_maps_lookup_key"),
		NullTransportKey:      cfg.Str("empty_address_default_transport_maps_lookup_key"),
		DoubleBounceSender:    cfg.Str("double_bounce_sender"),
		EmptyAddressRecipient: cfg.Str("empty_address_recipient"),
		ShowUserUnknownTable:  cfg.Bool("show_user_unknown_table_name"),
		Mydestination:         c.list("mydestination"),
		RelayDomains:          c.list("relay_domains"),
		VirtualAliasDomains:   c.list("virtual_alias_domains"),
		VirtualMailboxDomains: c.list("virtual_mailbox_domains"),
		OwnAddresses:          w.OwnAddresses,
		LocalTransport:        cfg.Str("local_transport"),
		VirtualTransport:      cfg.Str("virtual_transport"),
		RelayTransport:        cfg.Str("relay_transport"),
		DefaultTransport:      cfg.Str("default_transport"),
		Relayhost:             cfg.Str("relayhost"),
		TransportMaps:         cfg.Strings("transport_maps"),
		RelocatedMaps:         cfg.Strings("relocated_maps"),
		SenderRelayhostMaps:   cfg.Strings("sender_dependent_relayhost_maps"),
		SenderTransportMaps:   cfg.Strings("sender_dependent_default_transport_maps"),
		TransportParentStyle:  c.has("parent_domain_matches_subdomains", "transport_maps"),
		PropagateCanonical:    c.has("propagate_unmatched_extensions", "canonical"),
		PropagateVirtual:      c.has("propagate_unmatched_extensions", "virtual"),
		Partial:               w.Partial,
	}
	return New(o), errors.Join(c.errs...)
}

// CompileProbes is Compile for the recipients of address probes, which the
// address_verify_ parameters can send another way than mail
// (ADDRESS_VERIFICATION_README).
func CompileProbes(cfg *config.Config, w World) (*Resolver, error) {
	r, err := Compile(cfg, w)
	o := r.o
	o.LocalTransport = cfg.Str("address_verify_local_transport")
	o.VirtualTransport = cfg.Str("address_verify_virtual_transport")
	o.RelayTransport = cfg.Str("address_verify_relay_transport")
	o.DefaultTransport = cfg.Str("address_verify_default_transport")
	o.Relayhost = cfg.Str("address_verify_relayhost")
	o.TransportMaps = cfg.Strings("address_verify_transport_maps")
	o.SenderRelayhostMaps = cfg.Strings("address_verify_sender_dependent_relayhost_maps")
	o.SenderTransportMaps = cfg.Strings("address_verify_sender_dependent_default_transport_maps")
	return New(o), err
}

// MatchList parses a match list parameter; it is a matching parent style list
// when parent_domain_matches_subdomains says so.
func MatchList(cfg *config.Config, w World, param string) (*matchlist.List, error) {
	c := compiler{cfg: cfg, w: w}
	return c.list(param), errors.Join(c.errs...)
}

type compiler struct {
	cfg  *config.Config
	w    World
	errs []error
}

func (c *compiler) list(param string) *matchlist.List {
	items := c.cfg.List(param)
	if param == "mynetworks" {
		items = c.cfg.Networks()
	}
	l, err := matchlist.Parse(param, items, matchlist.Options{
		Parent:   c.has("parent_domain_matches_subdomains", param),
		Octets:   !c.cfg.Bool("smtputf8_enable"),
		Partial:  c.w.Partial,
		ReadFile: c.w.ReadFile,
	})
	if err != nil {
		c.errs = append(c.errs, err)
	}
	return l
}

func (c *compiler) has(param, word string) bool {
	for _, w := range c.cfg.Strings(param) {
		if w == word {
			return true
		}
	}
	return false
}
