//go:build linux

package random

import (
	"fmt"
	"math/rand"
	"strings"
)

const firstPort = 10001

// generator makes configurations and sessions out of pools in which most
// things meet.
type generator struct{ *rand.Rand }

func (g generator) pick(pool ...string) string { return pool[g.Intn(len(pool))] }

const peerMain = `compatibility_level = 3.6
myhostname = mx.ours.test
mydomain = ours.test
myorigin = ours.test
mydestination = local.test, localhost
virtual_mailbox_domains = mailbox.test
virtual_mailbox_maps = texthash:$config_directory/mailbox
virtual_alias_domains = alias.test
virtual_alias_maps = texthash:$config_directory/virtual
canonical_maps = texthash:$config_directory/canonical
relay_domains = relay.test, listed-relay.test
relay_recipient_maps = texthash:$config_directory/relay
local_recipient_maps = inline:{ root=x, ext=x }
alias_maps =
relocated_maps = inline:{ moved@mailbox.test=new@elsewhere.test }
transport_maps = inline:{ broken.test={error:5.7.0 no such place}, slow.test={retry:4.4.1 later please} plain.test=error: }
mynetworks = 127.0.0.2/32, 10.0.0.0/8, [2001:db8:1::]/48
recipient_delimiter = +
inet_interfaces = 127.0.0.1
inet_protocols = all
maillog_file = /var/log/mail.log
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_soft_error_limit = 1000
smtpd_client_connection_rate_limit = 0
smtpd_restriction_classes = strict, soft, nest
strict = reject_non_fqdn_sender, reject_unknown_sender_domain, check_sender_access texthash:$config_directory/access
soft = warn_if_reject, reject_unknown_helo_hostname, check_helo_access texthash:$config_directory/access, defer_if_permit
nest = strict, warn_if_reject soft, permit_mynetworks
smtpd_sender_login_maps = inline:{ owned@a.test=alice, shared@a.test={alice,bob} @mailbox.test=alice }
rbl_reply_maps = inline:{ templ.rbl.test={$rbl_code 5.7.9 Go away: $rbl_what $client_name $sender_domain $recipient_name $helo_name}, bad.rbl.test={200 what} }
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination
`

const peerAccess = `
reject.test REJECT
rejecttext.test REJECT go away
dsn.test REJECT 5.1.1 mapped status
dsn6.test REJECT 5.1.6 moved
four.test 450 4.2.0 later
five.test 550 5.1.7 no
onlydigits.test 550
ok.test OK
relay.test RELAY
dunno.test DUNNO
defer.test DEFER
dip.test DEFER_IF_PERMIT
diptext.test DEFER_IF_PERMIT 4.1.2 text
dir.test DEFER_IF_REJECT some text
hold.test HOLD
holdtext.test HOLD because
discard.test DISCARD
redirect.test REDIRECT a@b.test
badredirect.test REDIRECT nobody
filter.test FILTER smtp:[127.0.0.1]:9
badfilter.test FILTER nothing
emptyfilter.test FILTER
bcc.test BCC x@y.test
prepend.test PREPEND X-A: b
badprepend.test PREPEND nothing
info.test INFO hello
warn.test WARN
class.test strict
soft.test soft, reject
list.test reject_unauth_destination, permit
warnlist.test warn_if_reject reject_unauth_destination, permit
unknown.test frobnicate
table.test check_sender_access texthash:/x
reject2.test reject
user@ REJECT localpart
user+ext@dunno.test REJECT extension
"quoted user"@a.test REJECT quoted
192.0.2.7 REJECT by address
192.0.2 REJECT by net
10.1 DUNNO
2001:db8:2 REJECT by net6
[192.0.2.9] REJECT literal
unknown WARN unknown name
<> REJECT null sender
lower.reject.test DUNNO
`

const peerZone = `
a.test MX 10 mx.a.test
mx.a.test A 192.0.2.10
b.test A 192.0.2.11
c.test AAAA 2001:db8::11
cname.test CNAME b.test
null.test MX 0 .
nulltwo.test MX 0 .
nulltwo.test MX 10 mx.a.test
servfail.test SERVFAIL
refused.test REFUSED
nodata.test EXISTS
mxservfail.a.test MX 10 servfail.test
reject.test A 192.0.2.1
ok.test A 192.0.2.1
relay.test A 192.0.2.1
host.a.test A 192.0.2.3
mxonly.test MX 10 mx.a.test
# servers behind names
a.test NS ns.a.test
a.test NS ns.hold.test
ns.a.test A 192.0.2.20
ns.hold.test A 192.0.2.21
test NS ns.nowhere.test
b.test MX 20 mx.dip.test
b.test MX 10 mx.ours.test
b.test NS ns.ok.test
mx.dip.test A 192.0.2.22
mx.ours.test A 127.0.0.1
ns.ok.test A 192.0.2.23
c.test MX 10 mx.a.test
c.test MX 30 second.c.test
second.c.test A 127.0.0.1
c.test NS 192.0.2.7
mailbox.test NS ns.servfail.test
ns.servfail.test SERVFAIL
nodata.test MX 10 nowhere.test
nodata.test MX 20 192.0.2.7
relay.test MX 10 mx.servfail.test
relay.test MX 20 local.test
mx.servfail.test SERVFAIL
ok.test MX 10 mx.warn.test
mx.warn.test A 192.0.2.24
mx.warn.test AAAA 2001:db8:2::9
hold.test MX 5 backup.hold.test
hold.test MX 10 mx.ours.test
backup.hold.test A 10.1.2.3
backup.hold.test A 10.1.2.4
dunno.test MX 5 mx.a.test
dunno.test MX 10 local.test
mxservfail.a.test MX 20 mx.ours.test
cname.test NS ns.reject.test
192.0.2.10.a.test A 192.0.2.1
filtered.test MX 10 ignored.test
filtered.test A 192.0.2.66
filtered.test NS ignored.test
half.test MX 10 ignored.test
half.test MX 20 mx.a.test
half.test A 192.0.2.66
unclear.test A 192.0.2.67
ignored.test A 192.0.2.68
6.2.0.192.rbl.test A 127.0.0.66
6.2.0.192.rbl.test TXT "ignored"
xn--bcher-kva.test MX 10 mx.a.test
# lists
2.2.0.192.rbl.test A 127.0.0.2
2.2.0.192.rbl.test TXT "listed, see http://rbl.test/?192.0.2.2"
3.2.0.192.rbl.test A 127.0.0.10
3.2.0.192.rbl.test A 127.0.1.4
3.2.0.192.rbl.test TXT "one"
3.2.0.192.rbl.test TXT "two"
4.2.0.192.rbl.test SERVFAIL
2.2.0.192.templ.rbl.test A 127.0.0.2
2.2.0.192.bad.rbl.test A 127.0.0.2
2.2.0.192.wl.test A 127.0.0.2
5.2.0.192.wl.test A 127.0.0.3
4.2.0.192.wl.test SERVFAIL
7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.8.b.d.0.1.0.0.2.rbl.test A 127.0.0.4
xn--bcher-kva.test.rhsbl.test A 127.0.0.2
a.test.rhsbl.test A 127.0.0.2
a.test.rhsbl.test TXT "bad domain"
reject.test.rhsbl.test A 127.0.0.5
host.a.test.rhsbl.test A 127.0.0.2
localhost.rhsbl.test A 127.0.0.2
servfail.test.rhsbl.test SERVFAIL
`

var domains = []string{
	"a.test", "b.test", "c.test", "cname.test", "null.test", "nulltwo.test", "servfail.test", "refused.test", "nodata.test", "nx.test",
	"mailbox.test", "alias.test", "relay.test", "sub.relay.test", "listed-relay.test", "local.test", "localhost", "ours.test", "mx.ours.test",
	"broken.test", "slow.test", "plain.test", "a.test.", "A.Test", "[192.0.2.1]", "[127.0.0.1]", "[IPv6:2001:db8::1]", "[junk]",
	"sub.reject.test", "lower.reject.test", "mxservfail.a.test", "xn--bcher-kva.test", "under_score.test", "-bad.test", "a..test", "1.2.3.4", "one",
	"hold.test", "dunno.test", "filtered.test", "half.test", "unclear.test", "x.y.a.test",
}

// domain is one of the domains, or one with an entry in the access table.
func (g generator) domain() string {
	if g.Intn(2) == 0 {
		return domains[g.Intn(len(domains))]
	}
	lines := strings.Split(strings.TrimSpace(peerAccess), "\n")
	key, _, _ := strings.Cut(lines[g.Intn(len(lines))], " ")
	if strings.ContainsAny(key, "@<:[\"") || !strings.Contains(key, ".test") {
		return "a.test"
	}
	return key
}

func (g generator) local() string {
	return g.pick("x", "x", "user", "user", "user+ext", "root", "ext+more", "alice", "moved", "postmaster", "owned", "shared", "x+", "+x",
		`"quoted user"`, `"a@b.test"`, `"user%b.test"`, "u%b.test", "b.test!u", "u%a.test%relay.test", `"x"`, "User", "x.y", "double-bounce", "mailer-daemon", "-x", `a\@b`)
}

func (g generator) address() string {
	switch g.Intn(24) {
	case 20, 21:
		return g.pick("x", "ü", `"ü ü"`, "日本") + "@" + g.pick("bücher.test", "a.test", "ü.reject.test", "日本.test", "mailbox.test")
	case 0:
		return g.local()
	case 1:
		return "@a.test,@b.test:" + g.local() + "@" + g.domain()
	case 2:
		return g.local() + "@" + g.domain() + "@" + g.pick("local.test", "mailbox.test", "relay.test", "[127.0.0.1]")
	case 3:
		return g.local() + "@"
	}
	return g.local() + "@" + g.domain()
}

func (g generator) session() peerCase {
	pc := peerCase{
		Name: g.pick("host.a.test", "host.reject.test", "unknown.ok.test", "[UNAVAILABLE]", "[TEMPUNAVAIL]", "x.hold.test", "dip.test", "dir.test"),
		Addr: g.pick("192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.5", "192.0.2.6", "192.0.2.7", "198.51.100.1", "198.51.100.1", "10.1.2.3",
			"IPV6:2001:db8:2::7", "IPV6:2001:db8:1::7"),
		Reverse: g.pick("host.a.test", "host.reject.test", "ok.test", "[UNAVAILABLE]", "[TEMPUNAVAIL]"),
		Login:   g.pick("", "", "", "alice", "bob"),
		Helo: g.pick("host.a.test", "a.test.", "one", "[192.0.2.1]", "[192.0.2.9]", "[IPv6:2001:db8::1]", "[junk]", "[192.0.2.1", "192.0.2.1", "-bad.test", "a..test",
			"null.test", "nx.test", "servfail.test", "refused.test", "mxonly.test", g.domain(), g.domain(), "localhost", "under_score.test", "b.test", "c.test", "nodata.test"),
		Sender: g.address(),
	}
	pc.UTF8 = g.Intn(5) == 0
	if g.Intn(8) == 0 {
		pc.Sender = ""
	}
	for range 1 + g.Intn(3) {
		pc.Recipients = append(pc.Recipients, g.address())
	}
	if g.Intn(10) == 0 {
		pc.Recipients[0] = g.pick("postmaster", "PostMaster", "double-bounce")
	}
	for range g.Intn(3) {
		pc.Last = append(pc.Last, g.pick("DATA", "DATA", "VRFY <"+g.address()+">"))
	}
	pc.Last = append(pc.Last, "QUIT")
	return pc
}

// item is one restriction with its argument.
func (g generator) item() string {
	access := "texthash:$config_directory/access"
	switch g.Intn(8) {
	case 0, 1, 2:
		return g.pick("check_client_access", "check_helo_access", "check_sender_access", "check_recipient_access",
			"check_reverse_client_hostname_access", "check_sasl_access") + " " +
			g.pick(access, access, access, "regexp:$config_directory/regexp", "inline:{a.test=reject, {alice=REJECT x}}", "fail:x",
				"static:DUNNO", "static:defer_if_reject", "cidr:{{192.0.2.0/24 REJECT cidr}}")
	case 3:
		if g.Intn(2) == 0 {
			return "check_" + g.pick("client", "reverse_client_hostname", "helo", "sender", "recipient") + "_" + g.pick("a", "mx", "ns") + "_access " +
				g.pick(access, access, "regexp:$config_directory/regexp", "inline:{{192.0.2.10=REJECT by address}}", "inline:{{2001:db8=WARN network}}", "static:DUNNO",
					"fail:x", "cidr:{{192.0.2.0/24 REJECT cidr}, {2001:db8::/32 WARN six}}", "inline:{test=OK}", "inline:{test=DISCARD}")
		}
		return g.pick("reject_rbl_client rbl.test", "reject_rbl_client rbl.test=127.0.0.[2..11]", "reject_rbl_client rbl.test=127.0.1.4",
			"reject_rbl_client rbl.test=127.0.[0;2].[3;4]", "reject_rbl_client templ.rbl.test", "reject_rbl_client bad.rbl.test",
			"reject_rhsbl_client rhsbl.test", "reject_rhsbl_reverse_client rhsbl.test", "reject_rhsbl_helo rhsbl.test",
			"reject_rhsbl_sender rhsbl.test", "reject_rhsbl_recipient rhsbl.test", "permit_dnswl_client wl.test",
			"permit_dnswl_client wl.test=127.0.0.3", "permit_rhswl_client rhsbl.test")
	case 4:
		return g.pick("defer_if_permit", "defer_if_reject", "permit", "reject", "defer", "warn_if_reject", "strict", "soft", "nest", "reject_plaintext_session")
	case 5:
		return g.pick("permit_mynetworks", "permit_mx_backup", "permit_mx_backup, reject", "permit_sasl_authenticated", "permit_auth_destination", "reject_unauth_destination",
			"defer_unauth_destination", "reject_unlisted_sender", "reject_unlisted_recipient")
	case 6:
		return g.pick("reject_sender_login_mismatch", "reject_known_sender_login_mismatch", "reject_authenticated_sender_login_mismatch",
			"reject_unauthenticated_sender_login_mismatch", "reject_multi_recipient_bounce", "reject_unauth_pipelining", "WARN_IF_REJECT",
			"Reject_Unknown_Sender_Domain")
	}
	return g.pick("reject_unknown_client_hostname", "reject_unknown_reverse_client_hostname", "reject_invalid_helo_hostname",
		"reject_unknown_helo_hostname", "reject_non_fqdn_helo_hostname", "reject_unknown_sender_domain", "reject_non_fqdn_sender",
		"reject_unknown_recipient_domain", "reject_non_fqdn_recipient", "reject_unknown_address", "check_recipient_maps")
}

func (g generator) list(max int, early bool) string {
	var items []string
	for range g.Intn(max + 1) {
		if g.Intn(6) == 0 {
			items = append(items, "warn_if_reject")
		}
		if g.Intn(8) == 0 {
			items = append(items, "texthash:$config_directory/access")
			continue
		}
		it := g.item()
		if early && it == "reject_unlisted_sender" {
			continue // Postfix remembers there what it checked in an earlier session
		}
		items = append(items, it)
	}
	return strings.Join(items, ", ")
}

// files is a configuration directory with n smtpd services.
func (g generator) files(n int) map[string]string {
	var b strings.Builder
	b.WriteString(`rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
local unix - n n - - local
virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
discard unix - - n - - discard
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
`)
	for i := range n {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - 1 smtpd\n", firstPort+i)
		for _, o := range g.variant() {
			fmt.Fprintf(&b, " -o { %s }\n", o)
		}
	}
	return map[string]string{
		"main.cf": peerMain, "master.cf": b.String(), "access": peerAccess,
		"mailbox":   "x@mailbox.test x\nuser@mailbox.test y\nowned@mailbox.test z\n\"quoted user\"@mailbox.test q\n",
		"virtual":   "x@alias.test x@mailbox.test\nroot root@elsewhere.test\n@all.test y@mailbox.test\n",
		"canonical": "canon@mailbox.test x@mailbox.test\n",
		"relay":     "x@relay.test y\n@sub.relay.test z\n",
		"replies":   "/ MX .* ignored\\.test\\.$/ IGNORE\n/ NS ignored/ ignore it\n/ A (192\\.0\\.2|127\\.0\\.0)\\.66$/ IGNORE\n/ A 192.0.2.67/ KEEP\n/^c\\.test\\. [0-9]+ IN AAAA 2001:db8::11$/ IGNORE\n",
		"regexp":    "/^user\\+/ REJECT regexp\n/b\\.test$/ warn_if_reject, reject_unknown_sender_domain\n/^host\\./ DUNNO\n",
	}
}

func (g generator) variant() []string {
	out := []string{
		"smtpd_client_restrictions = " + g.list(4, true),
		"smtpd_helo_restrictions = " + g.list(3, true),
		"smtpd_sender_restrictions = " + g.list(4, false),
		"smtpd_recipient_restrictions = " + g.list(6, false),
	}
	for _, o := range []string{
		"smtpd_delay_reject = no", "smtpd_relay_before_recipient_restrictions = no", "soft_bounce = yes", "smtpd_reject_unlisted_sender = yes",
		"smtpd_reject_unlisted_recipient = no", "unknown_address_tempfail_action = defer", "allow_untrusted_routing = yes",
		"show_user_unknown_table_name = no", "reject_code = 521", "access_map_reject_code = 459", "unknown_address_reject_code = 550",
		"maps_rbl_reject_code = 450", "relay_domains_reject_code = 559", "non_fqdn_reject_code = 704", "unknown_client_reject_code = 550",
		"smtpd_log_access_permit_actions = static:all", "smtpd_null_access_lookup_key = NULL", "invalid_hostname_reject_code = 555",
		"unknown_hostname_reject_code = 550", "strict_rfc821_envelopes = yes", "smtpd_sasl_auth_enable = no",
		"smtpd_dns_reply_filter = regexp:$config_directory/replies", "smtpd_dns_reply_filter = fail:x",
		"permit_mx_backup_networks = 10.0.0.0/8, 192.0.2.0/24", "permit_mx_backup_networks = fail:x",
		"receive_override_options = no_unknown_recipient_checks", "smtpd_relay_restrictions = " + g.list(4, false) + " reject_unauth_destination",
		"smtpd_data_restrictions = " + g.list(4, false),
	} {
		if g.Intn(6) == 0 {
			out = append(out, o)
		}
	}
	return out
}
