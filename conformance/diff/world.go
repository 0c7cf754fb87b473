package main

import (
	_ "embed"
	"math/rand"
	"slices"
	"strings"
)

var (
	//go:embed base.cf
	baseMain string
	//go:embed master.cf
	baseMaster string
)

// makeWorld makes a world up: so many services, with so many dialogues each.
func makeWorld(seed int64, services, talks int) *world {
	a := &author{rnd: rnd{rand.New(rand.NewSource(seed))}}
	w := &world{Main: a.mainSettings(), Files: a.files(), Zone: a.zone()}
	for n := range services {
		s := a.service()
		s.Verbose = n%10 == 9
		a.eod = slices.ContainsFunc(s.Settings, func(p setting) bool { return p.Name == "smtpd_end_of_data_restrictions" })
		for range talks {
			s.Talks = append(s.Talks, a.talk())
		}
		w.Services = append(w.Services, s)
	}
	return w
}

// choice is a parameter with some of its values.
type choice struct {
	name   string
	values []string
}

func (a *author) choose(n int, from []choice) []setting {
	var out []setting
	for _, c := range from {
		if a.in(n) {
			out = append(out, setting{Name: c.name, Value: a.oneOf(c.values...)})
		}
	}
	return out
}

// mainSettings are those that other daemons than smtpd read too.
func (a *author) mainSettings() []setting {
	dir := "$config_directory/" + tableDir + "/"
	out := []setting{
		{Name: "mydestination", Value: a.oneOf("local.test, localhost", "local.test, localhost", "local.test, $myhostname, localhost", "!a.test, local.test localhost")},
		{Name: "relay_domains", Value: a.oneOf("relay.test, listed-relay.test", "relay.test, listed-relay.test", "!sub.relay.test relay.test", "inline:{relay.test=x}", ".relay.test, relay.test")},
		{Name: "virtual_mailbox_domains", Value: "mailbox.test"},
		{Name: "virtual_alias_domains", Value: "alias.test"},
		{Name: "virtual_mailbox_maps", Value: "texthash:" + dir + "mailbox"},
		{Name: "virtual_alias_maps", Value: "texthash:" + dir + "virtual"},
		{Name: "canonical_maps", Value: a.oneOf("", "texthash:"+dir+"canonical")},
		{Name: "local_recipient_maps", Value: a.oneOf("inline:{ root=x, ext=x }", "inline:{ root=x, ext=x }", "")},
		{Name: "relay_recipient_maps", Value: a.oneOf("texthash:"+dir+"relay", "")},
		{Name: "relocated_maps", Value: "inline:{ moved@mailbox.test=new@elsewhere.test }"},
		{Name: "transport_maps", Value: "inline:{ broken.test={error:5.7.0 no such place}, slow.test={retry:4.4.1 later please} plain.test=error: }"},
		{Name: "mynetworks", Value: a.oneOf("127.0.0.2/32, 10.0.0.0/8, [2001:db8:1::]/48", "!10.1.2.3 10.0.0.0/8", "10.0.0.0/8 host.a.test", "192.0.2.0/29")},
		{Name: "recipient_delimiter", Value: a.oneOf("+", "+", "", "+-")},
	}
	return append(out, a.choose(12, []choice{
		{"append_dot_mydomain", []string{"yes"}}, {"append_at_myorigin", []string{"no"}}, {"swap_bangpath", []string{"no"}},
		{"allow_percent_hack", []string{"no"}}, {"parent_domain_matches_subdomains", []string{"", "relay_domains"}},
		{"relayhost", []string{"[127.0.0.1]:9"}}, {"resolve_numeric_domain", []string{"yes"}},
		{"proxy_interfaces", []string{"192.0.2.99"}}, {"resolve_dequoted_address", []string{"no"}}, {"allow_min_user", []string{"yes"}},
	})...)
}

// lists are the restriction lists with their usual length.
var lists = []struct {
	name  string
	limit int
	early bool
	often int // about once in so many services
}{
	{"smtpd_client_restrictions", 4, true, 2}, {"smtpd_helo_restrictions", 3, true, 2}, {"smtpd_sender_restrictions", 4, false, 2},
	{"smtpd_relay_restrictions", 4, false, 3}, {"smtpd_recipient_restrictions", 6, false, 1}, {"smtpd_data_restrictions", 3, false, 4},
	{"smtpd_end_of_data_restrictions", 3, false, 6}, {"smtpd_etrn_restrictions", 3, false, 4},
}

// relayControl ends the list that a server must have to start.
var relayControl = []string{"reject_unauth_destination", "reject_unauth_destination", "defer_unauth_destination"}

// service makes the settings of one service.
func (a *author) service() service {
	var s service
	relay := setting{Name: "smtpd_relay_restrictions", List: true, Items: []string{"permit_mynetworks", "permit_sasl_authenticated"}}
	for _, l := range lists {
		if !a.in(l.often) {
			continue
		}
		p := setting{Name: l.name, List: true, Items: a.list(l.limit, l.early)}
		if l.name == relay.Name {
			relay = p
			continue
		}
		if strings.HasSuffix(l.name, "data_restrictions") {
			p.Items = slices.DeleteFunc(p.Items, unlisted)
		}
		s.Settings = append(s.Settings, p)
	}
	relay.Items = startable(append(relay.Items, a.oneOf(relayControl...)))
	s.Settings = append(s.Settings, relay)
	s.Settings = append(s.Settings, a.classes()...)
	s.Settings = append(s.Settings, a.choose(8, smtpdChoices)...)
	if a.in(2) {
		s.Settings = append(s.Settings, a.choose(6, a.tableChoices())...)
	}
	return s
}

// unlisted says whether a restriction looks for a recipient. Of one that was
// accepted unseen, like postmaster, Postfix remembers at DATA what it has looked for
// in another session.
func unlisted(item string) bool {
	item = strings.ToLower(item)
	return strings.HasPrefix(item, "reject_unlisted_recipient") || strings.HasPrefix(item, "check_recipient_maps")
}

// startable leaves out what would keep Postfix from seeing the list's relay
// control: it does not look behind a permit, nor at what is only warned of.
func startable(items []string) []string {
	return slices.DeleteFunc(items, func(i string) bool {
		if restrictions[strings.ToLower(i)] != none { // it would take the next item for its argument
			return true
		}
		return slices.ContainsFunc(strings.Fields(i), func(word string) bool {
			return strings.EqualFold(word, "permit") || strings.EqualFold(word, "warn_if_reject")
		})
	})
}

// classes are the restriction classes that lists and tables name.
func (a *author) classes() []setting {
	class := func(name string, items ...string) setting { return setting{Name: name, List: true, Items: items} }
	own := func(limit int) []string {
		return slices.DeleteFunc(a.list(limit, true), func(i string) bool {
			return i == "nest" || i == "deep" || i == "strict" || i == "soft" || i == "tables" || unlisted(i)
		})
	}
	return []setting{
		class("smtpd_restriction_classes", "strict", "soft", "nest", "deep", "tables"),
		class("strict", "reject_non_fqdn_sender", "reject_unknown_sender_domain", "check_sender_access texthash:$config_directory/t/access"),
		class("soft", append([]string{"warn_if_reject", "reject_unknown_helo_hostname"}, own(2)...)...),
		class("nest", "strict", "warn_if_reject", "soft", "permit_mynetworks"),
		class("deep", append(own(3), "soft")...),
		class("tables", "check_client_access "+a.table(), "check_recipient_access "+a.table()),
	}
}

// codes are reply codes, wrong ones among them.
var codes = []string{"421", "450", "451", "459", "500", "521", "550", "554", "559", "599", "704", "250"}

// deferCodes are those that Postfix starts with.
var deferCodes = []string{"421", "451", "459", "250"}

// smtpdChoices are parameters that smtpd alone reads.
var smtpdChoices = []choice{
	{"smtpd_delay_reject", []string{"no"}}, {"smtpd_delay_reject", []string{"no"}}, {"smtpd_relay_before_recipient_restrictions", []string{"no"}},
	{"soft_bounce", []string{"yes"}}, {"smtpd_reject_unlisted_sender", []string{"yes"}}, {"smtpd_reject_unlisted_recipient", []string{"no"}},
	{"reject_tempfail_action", []string{"defer"}}, {"unknown_address_tempfail_action", []string{"defer"}},
	{"unknown_helo_hostname_tempfail_action", []string{"defer", "defer_if_permit"}}, {"unverified_sender_tempfail_action", []string{"defer"}},
	{"unverified_recipient_tempfail_action", []string{"defer"}}, {"allow_untrusted_routing", []string{"yes"}}, {"show_user_unknown_table_name", []string{"no"}},
	{"reject_code", codes}, {"defer_code", codes}, {"access_map_reject_code", codes}, {"access_map_defer_code", codes},
	{"unknown_address_reject_code", codes}, {"maps_rbl_reject_code", codes}, {"relay_domains_reject_code", []string{"559", "550", "500"}},
	{"non_fqdn_reject_code", codes}, {"unknown_client_reject_code", codes}, {"invalid_hostname_reject_code", codes},
	{"unknown_hostname_reject_code", codes}, {"multi_recipient_bounce_reject_code", codes}, {"plaintext_reject_code", codes},
	{"unverified_sender_reject_code", deferCodes}, {"unverified_recipient_reject_code", deferCodes}, {"unverified_sender_defer_code", deferCodes},
	{"unverified_recipient_defer_code", deferCodes}, {"unverified_sender_reject_reason", []string{"no such sender", "5.1.0 own status"}},
	{"unverified_recipient_reject_reason", []string{"nobody here"}},
	{"unknown_local_recipient_reject_code", codes}, {"unknown_virtual_alias_reject_code", codes[:9]}, {"unknown_virtual_mailbox_reject_code", codes},
	{"unknown_relay_recipient_reject_code", codes},
	{"smtpd_log_access_permit_actions", []string{"static:all", "permit_mynetworks, permit", "check_client_access", "inline:{permit_auth_destination=x}"}},
	{"smtpd_null_access_lookup_key", []string{"NULL", "x"}}, {"strict_rfc821_envelopes", []string{"yes"}}, {"smtpd_helo_required", []string{"yes"}},
	{"receive_override_options", []string{"no_unknown_recipient_checks"}}, {"disable_vrfy_command", []string{"yes"}},
	{"smtpd_recipient_limit", []string{"1", "2"}}, {"smtpd_soft_error_limit", []string{"1"}}, {"smtpd_hard_error_limit", []string{"2", "4"}},
	{"smtpd_junk_command_limit", []string{"1"}}, {"message_size_limit", []string{"1000", "0"}}, {"smtpd_discard_ehlo_keywords", []string{"dsn, vrfy", "chunking", "auth", "etrn silent-discard"}},
	{"smtpd_noop_commands", []string{"FROB"}}, {"smtpd_forbidden_commands", []string{"CONNECT GET POST FROB"}}, {"broken_sasl_auth_clients", []string{"yes"}},
	{"smtpd_delay_open_until_valid_rcpt", []string{"no"}}, {"smtpd_reject_footer", []string{"\\c. Ask $client_name", "$localtime_ask postmaster", "See http://$server_name/?$client_address\\nor call"}},
	{"smtpd_expansion_filter", []string{"abcdefghijklmnopqrstuvwxyz."}}, {"smtpd_client_port_logging", []string{"no"}},
	{"smtpd_authorized_verp_clients", []string{"127.0.0.1"}}, {"smtpd_sasl_authenticated_header", []string{"yes"}}, {"strict_smtputf8", []string{"yes"}},
	{"smtpd_sasl_local_domain", []string{"ours.test"}}, {"smtpd_command_filter", []string{"inline:{FROB=NOOP}", "pcre:{{/^EXPN (.*)/ VRFY $$1}}"}},
	{"smtpd_forbid_unauth_pipelining", []string{"yes"}}, {"smtpd_forbid_bare_newline", []string{"normalize", "reject"}},
	{"double_bounce_sender", []string{"bounce-double"}}, {"smtpd_sasl_exceptions_networks", []string{"127.0.0.1"}},
	{"smtpd_tls_auth_only", []string{"no"}}, {"info_log_address_format", []string{"internal"}},
}

// tableChoices are parameters whose values are tables or lists.
func (a *author) tableChoices() []choice {
	dir := "$config_directory/" + tableDir + "/"
	return []choice{
		{"smtpd_sender_login_maps", []string{
			"inline:{ owned@a.test=alice, shared@a.test={alice,bob} @mailbox.test=alice }", "inline:{ owned@a.test=alice, shared@a.test={alice,bob} @mailbox.test=alice }",
			"fail:x", "static:bob", "inline:{ x@a.test={Alice bob}, x=alice }"}},
		{"rbl_reply_maps", []string{"texthash:" + dir + "rblreply", "texthash:" + dir + "rblreply", "fail:x"}},
		{"default_rbl_reply", []string{"$rbl_code 5.7.1 $rbl_class $rbl_what", "not a reply"}},
		{"smtpd_reject_footer_maps", []string{"texthash:" + dir + "footer"}},
		{"mynetworks", []string{"192.0.2.0/24", "host.a.test", "fail:x", "192.0.2.1/24", "!192.0.2.2 192.0.2.0/24", "inline:{192.0.2.2=x}", "cidr:" + dir + "cidr"}},
		{"virtual_mailbox_maps", []string{"fail:x", "", "regexp:" + dir + "regexp"}}, {"relay_recipient_maps", []string{"fail:x", "static:x", "texthash:" + dir + "relay"}},
		{"local_recipient_maps", []string{"fail:x", "", "inline:{user=x}"}}, {"virtual_alias_maps", []string{"fail:x", "texthash:" + dir + "virtual, fail:x"}},
		{"canonical_maps", []string{"fail:x", ""}}, {"sender_canonical_maps", []string{"inline:{x@mailbox.test=y@mailbox.test}"}},
		{"recipient_canonical_maps", []string{"inline:{user@alias.test=y@mailbox.test}"}},
		{"permit_mx_backup_networks", []string{"192.0.2.0/24", "10.0.0.0/8"}},
		{"smtpd_dns_reply_filter", []string{"regexp:{{/ MX 0 /  IGNORE}}", "pcre:{{/ A 192\\.0\\.2\\.1$$/ IGNORE}}", "fail:x", "static:IGNORE", "static:x"}},
		{"address_verify_sender", []string{"", "<>", "probe@ours.test"}},
		{"smtpd_policy_service_default_action", []string{"DUNNO", "reject", "451 4.3.5 no policy"}},
		{"smtpd_discard_ehlo_keyword_address_maps", []string{"inline:{192.0.2.2={dsn vrfy}}"}},
	}
}
