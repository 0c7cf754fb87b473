//go:build linux

package addresses

import (
	"fmt"
	"math/rand"
	"strings"
	"unicode/utf8"
)

// generator makes configurations and addresses out of pools in which most
// things meet.
type generator struct {
	*rand.Rand
	tables map[string]string // files made so far
	asked  bool              // daemons of Postfix ask trivial-rewrite, too
}

func (g *generator) pick(pool ...string) string { return pool[g.Intn(len(pool))] }

const mainCF = `compatibility_level = 3.6
myhostname = mx.ours.test
mydomain = ours.test
mydestination = local.test, localhost
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
proxy_interfaces = 192.0.2.1, 2001:db8::1
inet_protocols = all
alias_maps =
local_recipient_maps =
in_flow_delay = 0
maillog_file = /var/log/mail.log
virtual_alias_maps =
`

const masterCF = `rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
tlsmgr unix - - n 1000? 1 tlsmgr
`

var domains = []string{
	"local.test", "localhost", "ours.test", "mx.ours.test", "alias.test", "mailbox.test", "relay.test", "sub.relay.test", "x.sub.relay.test",
	"far.test", "far.test", "sub.far.test", "deep.sub.far.test", "far", "one", "Far.TEST", "far.test.", "far.test..", ".far.test", "local.test.",
	"far..test", "-bad.test", "bad-.test", "under_score.test", "*.far.test", "[192.0.2.1]", "[127.0.0.1]", "[192.0.2.9]", "[IPv6:2001:db8::1]",
	"[ipv6:2001:DB8:0::1]", "[IPv6:2001:db8::9]", "[2001:db8::1]", "[::1]", "[junk]", "[192.0.2.1", "192.0.2.1]", "192.0.2.1", "192.0.2.9", "1.2.3", "0.0.0.0",
	"[0.1.2.3]", "[192.0.2.256]", "2001:db8::1", "bücher.test", "xn--bcher-kva.test", "BÜCHER.test", "日本.test", "ü", "xn--zzz-.test", "straße.test",
	"\xff.test", "far\u3002test", "far test", "far.test ", `"far".test`, `far\.test`, "test.", ".", "..", "", "[]", "[ 192.0.2.1 ]", "far.test[1]", "a,b.test",
	strings.Repeat("l", 63) + ".test", strings.Repeat("l", 64) + ".test", strings.Repeat("long.", 60) + "test", "(c)far.test", "far.test(c)", "<far.test>",
}

var locals = []string{
	"x", "user", "user", "user+ext", "user-ext", "user+a-b", "user-a+b", "User", "x+", "+x", "+", "-x", "x.y", ".x", "x.", "x..y", "postmaster", "PostMaster+x",
	"mailer-daemon", "double-bounce", "owner-list", "list-request", "owner-list+x", `"quoted user"`, "quoted user", `"a@far.test"`, `"user%far.test"`, `"far.test!user"`,
	"user%far.test", "user%far.test%relay.test", "far.test!user", "relay.test!far.test!user", "a!b%c", "user%", "%user", "!user", "user!", `"x"`, `"x".y`, `"a b".c`,
	`a\@b`, `a\ b`, `"a\"b"`, `"a\\b"`, "ü", `"ü ü"`, "日本", "\xff", "", `""`, " ", "a,b", "a;b", "a:b", "<x>", "(c)x", "x(c)", "x (c)", "x y", `"`, `\`, "moved", "=?x?=", "a/b", "#",
	"list+request", "user@local.test", "user@", "@user", "'x'", "x@local.test@relay.test", "[x]", "user+ext%far.test", strings.Repeat("l", 200),
}

const soup = "ab@!%.[]\"\\<>(),:; \t-+=|ü\xff1"

func (g *generator) domain() string { return g.pick(domains...) }
func (g *generator) local() string  { return g.pick(locals...) }

// address is any address, or something that is none.
func (g *generator) address() string {
	switch g.Intn(16) {
	case 0:
		return g.local()
	case 1:
		return "@a.test,@b.test:" + g.local() + "@" + g.domain()
	case 2:
		return g.local() + "@" + g.domain() + "@" + g.pick("local.test", "mailbox.test", "relay.test", "[127.0.0.1]", g.domain())
	case 3:
		return g.local() + "@"
	case 4:
		return g.local() + g.pick("%", "!") + g.domain() + "@" + g.pick("local.test", "[127.0.0.1]", g.domain())
	case 5:
		return g.domain() + g.pick("!", "%", "@", ":", "") + g.local()
	case 6:
		return "@" + g.domain() + g.pick(":", ",@b.test:", ":@c.test:", "") + g.local() + "@" + g.domain()
	case 7:
		var b strings.Builder
		for range g.Intn(12) {
			i := g.Intn(len(soup))
			b.WriteByte(soup[i])
		}
		return b.String()
	case 8:
		return g.local() + "@" + g.domain() + "." + g.pick("", "test", "ours.test")
	}
	return g.local() + "@" + g.domain()
}

func (g *generator) question() question {
	sender := g.pick("", "x@far.test", "user+ext@far.test", "user@ours.test", "user", g.address())
	q := question{Sender: octets(sender), Address: octets(g.address())}
	switch g.Intn(4) {
	case 0:
		// Nobody asks about blanks, which trivial-rewrite does not survive.
		if strings.Trim(string(q.Address), " \t") != "" {
			q.Rule = octets(g.pick("local", "local", "remote"))
		}
	}
	return q
}

// table makes a table whose keys are made by key and values by value, and
// returns its specification.
func (g *generator) table(n int, key, value func() string) string {
	switch g.Intn(24) {
	case 0:
		return "fail:broken"
	case 1, 2:
		return "static:{" + strings.ReplaceAll(value(), "$", "$$") + "}"
	}
	name := fmt.Sprint("table", len(g.tables))
	var b strings.Builder
	regexp, seen := g.Intn(10) == 0, map[string]bool{}
	for range g.Intn(n) + 1 {
		k, v := key(), value()
		if regexp {
			k = "/" + g.pick("^", "") + strings.NewReplacer("/", "", "(", "", ")", "", "[", "", "]", "", `\`, "", "*", "", "+", `\+`, ".", `\.`, "\xff", "").Replace(k) + g.pick("$", "") + "/"
			v = strings.ReplaceAll(v, "$", "$$")
		} else if k == "" || strings.ContainsAny(k, " \t") && !strings.HasPrefix(k, `"`) {
			continue
		}
		if fold := strings.ToLower(k); seen[fold] {
			continue // Postfix does not open a texthash table with the same key twice
		} else {
			seen[fold] = true
		}
		if strings.HasPrefix(k, "#") || !regexp && (strings.ContainsAny(k, `"\`) || !utf8.ValidString(k)) {
			continue
		}
		b.WriteString(k + " " + v + "\n")
	}
	g.tables[name] = b.String()
	if regexp {
		return "regexp:$config_directory/" + name
	}
	return "texthash:$config_directory/" + name
}

// plain are the domains that make sense as keys and values.
func (g *generator) plain() string { return strings.Trim(g.pick(domains[:20]...), ".") }

// addressKey is a key of an address table: all its forms.
func (g *generator) addressKey() string {
	local := g.pick("user", "user", "user+ext", "x", "moved", "postmaster", "owner-list", "list", "user-ext", "double-bounce", "far.test!user", "user%far.test", "ü")
	domain := g.pick(g.plain(), g.plain(), "[192.0.2.1]", "bücher.test", "xn--bcher-kva.test", "far.test")
	return g.pick(local+"@"+domain, local+"@"+domain, local, "@"+domain, domain, "."+domain, "*", local+"@", `"quoted user"@`+domain)
}

func (g *generator) address2() string {
	return g.pick("user@far.test", "x", "new@elsewhere.test", "user+more@relay.test", "@other.test", "new@elsewhere.test, x", "somewhere, call 555", "<x@far.test>", `"a b"@far.test`, "x@far", "-x@far.test")
}

func (g *generator) nexthop() string {
	return g.pick("[hop.test]", "hop.test", "hop.test:2525", "[192.0.2.7]:26", "unix:private/x", "a,b", "ü.test", "")
}

func (g *generator) transport() string {
	return g.pick("smtp:"+g.nexthop(), "slow:"+g.nexthop(), ":"+g.nexthop(), ":", "lmtp:", "smtp", "error:", "error:5.7.0 no such place", "error", "retry:4.4.1 later", "retry",
		"discard:", "relay:"+g.nexthop(), "virtual", "error:no place", "local:$myhostname")
}

// wholeTransport is a transport where there is none to fall back on. Daemons that
// ask about addresses wait until there is one: they must not get none.
func (g *generator) wholeTransport() string {
	for {
		if t := g.transport(); !g.asked || !strings.HasPrefix(t, ":") {
			return t
		}
	}
}

// names is a match list of domains.
func (g *generator) names(some ...string) string {
	var items []string
	for range g.Intn(4) {
		items = append(items, g.pick(g.pick(some...), g.pick(some...), g.pick(some...), "!"+g.pick(some...), "."+g.pick(some...), g.plain(), "bücher.test", "xn--bcher-kva.test",
			"BÜCHER.test", g.table(4, func() string { return strings.ToLower(g.addressKey()) }, func() string { return "x" })))
	}
	if g.Intn(40) == 0 {
		items = append(items, "fail:broken")
	}
	return strings.Join(items, g.pick(", ", " "))
}

func (g *generator) maps(key, value func() string) string {
	var items []string
	for range 1 + g.Intn(2) {
		items = append(items, g.table(8, key, value))
	}
	return strings.Join(items, ", ")
}

// rewriteParams are parameters of trivial-rewrite, at random.
func rewriteParams(g *generator) []string {
	pools := []struct {
		odds int // one in so many variants has the parameter
		text func() string
	}{
		{3, func() string {
			return "myorigin = " + g.pick("$mydomain", "far.test", "one", "[192.0.2.1]", "bücher.test", "$myhostname")
		}},
		{1, func() string {
			return "mydestination = " + g.names("local.test", "localhost", "ours.test", "mx.ours.test")
		}},
		{1, func() string { return "virtual_alias_domains = " + g.names("alias.test", "local.test", "far.test") }},
		{1, func() string {
			return "virtual_mailbox_domains = " + g.names("mailbox.test", "alias.test", "bücher.test")
		}},
		{1, func() string {
			return "relay_domains = " + g.names("relay.test", "sub.relay.test", "far.test", "mailbox.test")
		}},
		{2, func() string { return "transport_maps = " + g.maps(g.addressKey, g.transport) }},
		{4, func() string { return "relocated_maps = " + g.maps(g.addressKey, g.address2) }},
		{3, func() string { return "relayhost = " + g.nexthop() }},
		{4, func() string {
			return "sender_dependent_relayhost_maps = " + g.maps(g.addressKey, func() string { return g.pick(g.nexthop(), "DUNNO", "dunno") })
		}},
		{4, func() string {
			return "sender_dependent_default_transport_maps = " + g.maps(g.addressKey, func() string { return g.pick(g.wholeTransport(), "DUNNO") })
		}},
		{4, func() string { return "default_transport = " + g.wholeTransport() }},
		{4, func() string { return "local_transport = " + g.wholeTransport() }},
		{4, func() string { return "virtual_transport = " + g.wholeTransport() }},
		{4, func() string { return "relay_transport = " + g.wholeTransport() }},
		{3, func() string { return "allow_percent_hack = no" }},
		{3, func() string { return "swap_bangpath = no" }},
		{4, func() string { return "append_at_myorigin = no" }},
		{2, func() string { return "append_dot_mydomain = " + g.pick("yes", "no") }},
		{5, func() string { return "mydomain = " + g.pick("test", "far.test") }},
		{2, func() string { return "remote_header_rewrite_domain = " + g.pick("domain.invalid", "one", "") }},
		{6, func() string { return "empty_address_recipient = " + g.pick("x", "postmaster@far.test", "user+ext") }},
		{6, func() string { return "empty_address_relayhost_maps_lookup_key = " + g.pick("user@far.test", "x") }},
		{6, func() string {
			return "empty_address_default_transport_maps_lookup_key = " + g.pick("user@far.test", "x")
		}},
		{3, func() string { return "resolve_null_domain = yes" }},
		{3, func() string { return "resolve_dequoted_address = no" }},
		{3, func() string { return "resolve_numeric_domain = yes" }},
		{3, func() string { return "allow_min_user = yes" }},
		{2, func() string { return "recipient_delimiter = " + g.pick("+", "-", "+-", "-+", "=", "x") }},
		{4, func() string { return "owner_request_special = no" }},
		{4, func() string { return "show_user_unknown_table_name = no" }},
		{6, func() string { return "double_bounce_sender = " + g.pick("user", "double+bounce") }},
		{5, func() string { return "smtputf8_enable = no" }},
		{2, func() string {
			return "parent_domain_matches_subdomains = " + g.pick("", "relay_domains", "transport_maps", "relay_domains transport_maps mydestination virtual_alias_domains")
		}},
	}
	var out []string
	for _, p := range pools {
		if g.Intn(p.odds) == 0 {
			out = append(out, p.text())
		}
	}
	return out
}

// files is a configuration directory with n rewrite services.
func (g *generator) files(n int, params func(*generator) []string) map[string]string {
	var b strings.Builder
	b.WriteString(masterCF)
	for i := range n {
		fmt.Fprintf(&b, "rewrite%d unix - - n - - trivial-rewrite\n", i)
		for _, o := range params(g) {
			fmt.Fprintf(&b, " -o { %s }\n", o)
		}
	}
	g.tables["main.cf"], g.tables["master.cf"] = mainCF, b.String()
	return g.tables
}
