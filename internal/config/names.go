package config

import (
	"maps"
	"path"
	"slices"
	"strings"
)

// transportSuffixes are the parameters that every transport has under its own
// name, and those they default to (qmgr(8), pipe(8), spawn(8)).
var transportSuffixes = map[string]string{
	"_delivery_slot_cost":                          "default_delivery_slot_cost",
	"_delivery_slot_discount":                      "default_delivery_slot_discount",
	"_delivery_slot_loan":                          "default_delivery_slot_loan",
	"_destination_concurrency_failed_cohort_limit": "default_destination_concurrency_failed_cohort_limit",
	"_destination_concurrency_limit":               "default_destination_concurrency_limit",
	"_destination_concurrency_negative_feedback":   "default_destination_concurrency_negative_feedback",
	"_destination_concurrency_positive_feedback":   "default_destination_concurrency_positive_feedback",
	"_destination_rate_delay":                      "default_destination_rate_delay",
	"_destination_recipient_limit":                 "default_destination_recipient_limit",
	"_extra_recipient_limit":                       "default_extra_recipient_limit",
	"_initial_destination_concurrency":             "initial_destination_concurrency",
	"_minimum_delivery_slots":                      "default_minimum_delivery_slots",
	"_recipient_limit":                             "default_recipient_limit",
	"_recipient_refill_delay":                      "default_recipient_refill_delay",
	"_recipient_refill_limit":                      "default_recipient_refill_limit",
	"_transport_rate_delay":                        "default_transport_rate_delay",
	"_time_limit":                                  "command_time_limit",
}

// TransportParameters returns the names of the parameters that the services of
// master.cf bring along, in order.
func TransportParameters(services []Service) []string {
	names := make(map[string]bool)
	for _, s := range services {
		for _, suffix := range suffixesOf(path.Base(s.Command)) {
			names[s.Name+suffix] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func suffixesOf(command string) []string {
	const limit = "_time_limit"
	switch command {
	case "spawn":
		return []string{limit}
	case "pipe":
		return slices.Sorted(maps.Keys(transportSuffixes))
	case "local", "virtual", "smtp", "lmtp", "error":
		return slices.DeleteFunc(slices.Sorted(maps.Keys(transportSuffixes)), func(s string) bool { return s == limit })
	}
	return nil
}

// Usage is which names a configuration uses beyond the parameters of the table,
// as postconf(1) finds it out: a name is in use when a restriction class, a
// client of a database or a $reference in some value asks for it.
type Usage struct {
	Names     []string  // of main.cf, in order
	Unused    []Warning // set, and nobody asks for it
	Undefined []Warning // asked for, and nobody sets it
}

// Usage looks at all values of main.cf and of the services' -o.
func (c *Config) Usage() Usage {
	u := &usage{c: c, names: make(map[string]bool), services: make(map[string]bool)}
	for _, n := range TransportParameters(c.Services) {
		u.services[n] = true
	}
	for _, s := range c.Services {
		u.service(s)
	}
	u.classes(c.Strings("smtpd_restriction_classes"), c.mainPos(), nil)
	for _, n := range c.order {
		u.value(n, c.values[n].raw, c.mainPos(), nil)
		u.databases(c.values[n].raw)
	}
	for _, n := range slices.Sorted(maps.Keys(c.over)) {
		if !u.known(n) && !u.names[n] && !slices.Contains(c.order, n) {
			u.Unused = append(u.Unused, Warning{c.mainPos(), "unused parameter: " + n + "=" + c.over[n].raw})
		}
	}
	for _, n := range c.order {
		if !u.known(n) && !u.names[n] {
			u.Unused = append(u.Unused, Warning{c.values[n].pos, "unused parameter: " + n + "=" + c.values[n].raw})
		}
	}
	u.Names = slices.Sorted(maps.Keys(u.names))
	return u.Usage
}

type usage struct {
	Usage
	c        *Config
	names    map[string]bool // in use and set by main.cf
	services map[string]bool // brought along by transports
}

func (c *Config) mainPos() Pos { return Pos{File: c.Dir + "/main.cf"} }

func (u *usage) known(name string) bool {
	_, ok := u.c.params[name]
	return ok || u.services[name]
}

// service looks at the -o values of one service; names that they ask for may be
// set by other -o of the service.
func (u *usage) service(s Service) {
	local := make(map[string]bool)
	for _, o := range s.Overrides {
		local[o.Name] = false
	}
	pos := Pos{File: u.c.Dir + "/master.cf"}
	for _, o := range s.Overrides {
		u.value(o.Name, o.Value, pos, local)
		if o.Name == "smtpd_restriction_classes" {
			u.classes(strings.FieldsFunc(o.Value, isListSeparator), pos, local)
		}
	}
	for _, o := range s.Overrides {
		if used := local[o.Name]; !used && !u.known(o.Name) && !u.names[o.Name] {
			u.Unused = append(u.Unused, Warning{o.Pos, "unused parameter: " + o.Name + "=" + o.Value})
		}
	}
}

func isListSeparator(r rune) bool { return strings.ContainsRune(blank+",", r) }

// value marks the $names in a value.
func (u *usage) value(name, text string, pos Pos, local map[string]bool) {
	if u.c.params[name].Type == TypeRaw {
		return
	}
	_ = References(text, func(n string) { u.mark(n, pos, local) })
}

func (u *usage) classes(names []string, pos Pos, local map[string]bool) {
	for _, n := range names {
		u.mark(n, pos, local)
	}
}

func (u *usage) mark(name string, pos Pos, local map[string]bool) {
	if _, ok := local[name]; ok {
		local[name] = true
		return
	}
	_, set := u.c.values[name]
	_, over := u.c.over[name]
	switch {
	case u.known(name):
	case set || over:
		u.names[name] = true
	default:
		u.Undefined = append(u.Undefined, Warning{pos, "undefined parameter: " + name})
	}
}

// databaseSuffixes are the parameters of tables that may stand in main.cf with
// the table's name before them: those of ldap_table(5), mysql_table(5),
// pgsql_table(5), sqlite_table(5) and memcache_table(5).
var databaseSuffixes = map[string][]string{
	"ldap": append([]string{
		"bind", "bind_dn", "bind_pw", "cache", "cache_expiry", "cache_size", "chase_referrals", "debuglevel",
		"dereference", "leaf_result_attribute", "query_filter", "recursion_limit", "require_result_set",
		"result_attribute", "sasl_authz_id", "sasl_mechs", "sasl_minssf", "sasl_realm", "scope", "search_base",
		"server_host", "server_port", "size_limit", "special_result_attribute", "start_tls", "terminal_result_attribute",
		"timeout", "tls_ca_cert_dir", "tls_ca_cert_file", "tls_cert", "tls_cipher_suite", "tls_key",
		"tls_random_file", "tls_require_cert", "version",
	}, commonSuffixes...),
	"mysql": append([]string{
		"additional_conditions", "dbname", "hosts", "idle_interval", "option_file", "option_group", "password", "query",
		"require_result_set", "retry_interval", "select_field", "table", "tls_CAfile", "tls_CApath", "tls_cert_file",
		"tls_ciphers", "tls_key_file", "tls_verify_cert", "user", "where_field",
	}, commonSuffixes...),
	"pgsql": append([]string{
		"additional_conditions", "dbname", "hosts", "idle_interval", "password", "query", "retry_interval",
		"select_field", "select_function", "table", "user", "where_field",
	}, commonSuffixes...),
	"sqlite": append([]string{
		"additional_conditions", "dbpath", "query", "select_field", "table", "where_field",
	}, commonSuffixes...),
	"memcache": append([]string{
		"backup", "data_size_limit", "flags", "key_format", "line_size_limit", "max_try", "memcache", "retry_pause",
		"timeout", "ttl",
	}, commonSuffixes...),
}

var commonSuffixes = []string{"domain", "expansion_limit", "result_filter", "result_format"}

// databases marks the parameters in main.cf of the tables that a value names.
func (u *usage) databases(text string) {
	for _, w := range strings.FieldsFunc(text, isListSeparator) {
		typ, name, ok := strings.Cut(strings.TrimPrefix(w, "proxy:"), ":")
		if !ok || strings.ContainsAny(name, "/.") {
			continue
		}
		for _, suffix := range databaseSuffixes[typ] {
			if _, set := u.c.values[name+"_"+suffix]; set {
				u.names[name+"_"+suffix] = true
			}
		}
	}
}
