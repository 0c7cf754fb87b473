package main

import (
	"fmt"
	"strings"
)

// indexed are the table types for which Postfix needs a database beside the text.
// Each has the file of its name.
var indexed = []string{"hash", "btree", "cdb", "lmdb"}

// table is an access table.
func (a *author) table() string {
	dir := "$config_directory/" + tableDir + "/"
	switch a.Intn(30) {
	case 0, 1, 2, 3:
		typ := a.oneOf(indexed...)
		return typ + ":" + dir + typ
	case 4, 5, 6:
		return "regexp:" + dir + "regexp"
	case 7, 8:
		return "pcre:" + dir + "pcre"
	case 9, 10:
		return "cidr:" + dir + "cidr"
	case 11:
		return "static:" + a.oneOf("DUNNO", "OK", "defer_if_reject", "REJECT", "{REJECT static text}", "{450 4.7.1 later}", "warn_if_reject,reject")
	case 12, 13:
		return a.inline()
	case 14:
		return "fail:" + a.oneOf("x", "broken")
	case 15, 16:
		return "unionmap:{" + a.plainTable() + ", " + a.plainTable() + "}"
	case 17:
		return "pipemap:{texthash:" + dir + "pipe, " + a.oneOf("texthash:"+dir+"actions", "static:DUNNO", "regexp:"+dir+"regexp", "fail:x") + "}"
	case 18:
		return "unionmap:{" + a.oneOf("fail:x", "static:DUNNO", "static:REJECT") + ", " + a.plainTable() + "}"
	case 19:
		return a.oneOf("regexp:{{/^user@/ REJECT inline regexp}, {/reject/ 554 5.7.1 pattern}}", "pcre:{{/^(.*)\\.test$$/ WARN pcre inline}}",
			"cidr:{{192.0.2.0/24 REJECT cidr}, {2001:db8:2::/48 DEFER}}", "regexp:{{!/test/ REJECT no test}}")
	case 20:
		return "proxy:texthash:" + dir + "proxied"
	case 21:
		return a.oneOf("tcp:"+tcpTablePort, "socketmap:inet:"+socketmapPort+":access", "environ:x", "randmap:{DUNNO}")
	}
	return "texthash:" + dir + "access"
}

func (a *author) plainTable() string {
	dir := "$config_directory/" + tableDir + "/"
	return a.oneOf("texthash:"+dir+"access", "regexp:"+dir+"regexp", "hash:"+dir+"hash", "cidr:"+dir+"cidr", "static:DUNNO", "inline:{a.test=reject}")
}

func (a *author) inline() string {
	return "inline:{" + a.key() + "=" + a.oneOf("reject", "OK", "DUNNO", "defer", "HOLD") + ", {" + a.key() + " = " + a.oneOf("REJECT with text",
		"450 4.7.1 wait", "DEFER_IF_PERMIT", "WARN") + "} " + a.oneOf("", "", "", "", "", "", "", "a.test = OK x=y") + "}"
}

// hostTable is a table for the names and addresses of MX, NS and A records.
func (a *author) hostTable() string {
	dir := "$config_directory/" + tableDir + "/"
	switch a.Intn(10) {
	case 0:
		return "cidr:" + dir + "cidr"
	case 1:
		return "regexp:" + dir + "regexp"
	case 2:
		return a.oneOf("static:DUNNO", "static:OK", "fail:x", "static:REJECT", "inline:{192.0.2.10=REJECT, ns.a.test=OK}")
	case 3:
		return "texthash:" + dir + "access"
	}
	return "texthash:" + dir + "hosts"
}

// actions are values of access tables, of all kinds.
var actions = []string{
	"REJECT", "REJECT", "REJECT go away", "REJECT 5.1.1 mapped status", "REJECT 5.1.6 moved", "REJECT 4.2.1 wrong class", "reject",
	"450 4.2.0 later", "550 5.1.7 no", "550", "4", "0", "450", "421 4.3.2 closing", "521 5.7.1 closing too", "599 odd", "600 odd", "399 odd",
	"550 no status", "550 5.7 short status", "450 5.7.1 other class", "OK", "OK", "ok with text", "RELAY", "DUNNO", "DUNNO", "dunno x", "DEFER",
	"DEFER not now", "DEFER_IF_PERMIT", "DEFER_IF_PERMIT 4.1.2 text", "DEFER_IF_REJECT", "DEFER_IF_REJECT some text", "HOLD", "HOLD because", "DISCARD",
	"DISCARD silently", "REDIRECT a@b.test", "REDIRECT nobody", "REDIRECT", "FILTER smtp:[127.0.0.1]:9", "FILTER nothing", "FILTER", "BCC x@y.test", "BCC",
	"PREPEND X-A: b", "PREPEND nothing", "PREPEND", "INFO hello", "INFO", "WARN", "WARN careful", "HANGUP", "HANGUP bye", "strict", "soft, reject", "nest", "deep", "tables",
	"reject_unauth_destination, permit", "warn_if_reject reject_unauth_destination, permit", "permit_mynetworks, reject", "frobnicate",
	"check_sender_access texthash:/x", "reject_unknown_sender_domain", "reject_non_fqdn_recipient, defer", "permit_auth_destination reject",
	"reject_unlisted_recipient", "reject_rbl_client rbl.test", "permit", "defer", "defer_if_permit", "defer_if_reject reject", "sleep 0, reject",
	"{reject}", "5.7.1 status alone", "REJECT   two   blanks", "REJECT caf\u00e9", "reject_unauth_pipelining", "permit_sasl_authenticated, reject",
	"reject_unknown_client_hostname", "reject_sender_login_mismatch", "REJECT $1 ${1} $$", "OK OK", "NOT_AN_ACTION 1", "REJECT text; more, \"quoted\"",
}

// action is one of them, or one on the side of going on.
func (a *author) action() string {
	if a.in(5) {
		return a.oneOf("DUNNO", "WARN", "INFO x", "permit_mynetworks", "warn_if_reject reject", "PREPEND X-B: c")
	}
	return a.oneOf(actions...)
}

// keys of access tables beyond the domains.
var keys = []string{
	"user@", "user+ext@", "x@", "root@", "user+ext@a.test", "x@a.test", "x@mailbox.test", `"quoted user"@a.test`, "owned@a.test", "alice", "bob",
	"192.0.2.7", "192.0.2", "192.0", "198.51.100.1", "10.1", "10", "2001:db8:2", "2001:db8:2::7", "2001:db8:2:0:0:0:0:7", "[192.0.2.9]", "192.0.2.1", "unknown", "<>", "NULL", "test",
	".test", ".a.test", "a.test.", "[192.0.2.1]", "[junk]", "localhost", "one", "postmaster@", "root", "user", "1.2.3.4", "xn--bcher-kva.test", "b\u00fccher.test", "[]",
	"[IPv6:2001:db8::1]", "IPv6:2001:db8::1", "2001", "2001:db8", "::1", "127.0.0.1", "127",
}

func (a *author) key() string {
	if a.in(2) {
		return a.oneOf(keys...)
	}
	return a.oneOf(domains...)
}

// accessText is an indexed table.
func (a *author) accessText(n int) string {
	var b strings.Builder
	seen := map[string]bool{}
	for range n {
		key := a.key()
		if a.in(12) {
			key = a.local() + "@" + a.oneOf(domains...)
		}
		if a.in(20) {
			key = strings.ToUpper(key)
		}
		if folded := strings.ToLower(key); seen[folded] && !a.in(500) {
			continue
		} else {
			seen[folded] = true
		}
		fmt.Fprintf(&b, "%s %s\n", key, a.action())
		if a.in(40) {
			b.WriteString(a.oneOf("# remark\n", "\n", "  continued\n", "alone\n", "\"unended value\n", "with: colon\n"))
		}
	}
	return b.String()
}

// hostsText has the names and addresses that records point to.
func (a *author) hostsText() string {
	var b strings.Builder
	for _, key := range a.some(2, []string{
		"mx.a.test", "ns.a.test", "ns2.a.test", "a.test", "b.test", "c.test", "192.0.2.10", "192.0.2.11", "192.0.2", "2001:db8::11", "2001:db8", "127.0.0.1",
		"mx.null.test", "test", "host.a.test", "192.0.2.3", "ns.test", "nx.test", "servfail.test", "192.0.2.1", "203.0.113.5", "203.0.113", "many.test", "localhost",
	}) {
		fmt.Fprintf(&b, "%s %s\n", key, a.action())
	}
	return b.String()
}

// patternText is a regexp or pcre table.
func (a *author) patternText(pcre bool) string {
	var b strings.Builder
	for range 3 + a.Intn(8) {
		pattern := a.oneOf(`^user\+`, `b\.test$`, `^host\.`, `^(.+)@reject\.test$`, `^\[`, `^[0-9.]+$`, `(hold|ok)\.test`, `^x@`, `^$`, `^<>$`, `UNKNOWN`,
			`^(.*)\.(.*)$`, `\.a\.test$`, `@(.*)\.test$`, `:`, `alice`, `^one$`, `"`, `^[^@]*$`)
		if pcre && a.in(3) {
			pattern = a.oneOf(`^(?!x)(.*)@a\.test$`, `\d+\.\d+`, `^\w+\+(\w+)@`, `(?i)HOST`, `^(?:a|b)\.test$`)
		}
		flags := a.oneOf("", "", "", "i", "x", "m", "i")
		action := a.action()
		if a.in(4) {
			action = a.oneOf("REJECT hit $1", "WARN ${1} seen", "450 4.7.1 for $(1)", "REJECT $$1")
		}
		switch a.Intn(10) {
		case 0:
			fmt.Fprintf(&b, "!/%s/%s %s\n", pattern, flags, a.oneOf("DUNNO", "WARN not", "REJECT not that"))
		case 1:
			fmt.Fprintf(&b, "if /%s/%s\n/./ %s\nendif\n", a.oneOf("test", "@", "user", "^[0-9]"), flags, a.oneOf("REJECT inside", "DUNNO", "WARN inside"))
		case 2:
			fmt.Fprintf(&b, "if !/%s/\n/%s/ %s\nendif\n", a.oneOf("a.test", "@"), pattern, a.oneOf("REJECT without", "OK", "HOLD"))
		default:
			fmt.Fprintf(&b, "/%s/%s %s\n", pattern, flags, action)
		}
	}
	return b.String()
}

func (a *author) cidrText() string {
	var b strings.Builder
	for range 2 + a.Intn(6) {
		network := a.oneOf("192.0.2.0/24", "192.0.2.4/30", "192.0.2.7", "198.51.100.0/24", "10.0.0.0/8", "2001:db8:2::/48", "2001:db8::/32", "192.0.2.10",
			"192.0.2.0/25", "0.0.0.0/0", "::/0", "!192.0.2.0/24", "192.0.2.1/24", "127.0.0.0/8", "203.0.113.0/24")
		fmt.Fprintf(&b, "%s %s\n", network, a.action())
	}
	return b.String()
}

// files are the tables of a world.
func (a *author) files() map[string]string {
	f := map[string]string{
		"access": a.accessText(60), "hosts": a.hostsText(), "regexp": a.patternText(false), "pcre": a.patternText(true), "cidr": a.cidrText(),
		"pipe": "a.test one\nb.test two\nx@a.test three\n192.0.2.7 one\nunknown two\nuser@ one\n", "actions": "one REJECT piped\ntwo DUNNO\nthree WARN\n",
		"tcp": a.accessText(12), "socketmap": a.accessText(12),
		"rblreply": "templ.rbl.test $rbl_code 5.7.9 Go away: $rbl_what $client_name $sender_domain $recipient_name $helo_name\nbad.rbl.test 200 what\n" +
			"fixed.rbl.test 521 4.7.1 No ${rbl_reason?because $rbl_reason} $rbl_class ${rbl_txt:none} $recipient ${sender} $client_address\n",
		"mailbox":   "x@mailbox.test x\nuser@mailbox.test y\nowned@mailbox.test z\n\"quoted user\"@mailbox.test q\n",
		"virtual":   "x@alias.test x@mailbox.test\nroot root@elsewhere.test\n@all.test y@mailbox.test\n",
		"canonical": "canon@mailbox.test x@mailbox.test\n",
		"relay":     "x@relay.test y\n@sub.relay.test z\nuser@ q\n",
		"footer":    "a.test \\c. Ask $client_name\n192.0.2.2 See http://ours.test/$server_name\\nor call\n",
	}
	for _, typ := range indexed {
		f[typ] = a.accessText(25)
	}
	// Nobody folds the keys of a texthash table behind proxymap.
	for line := range strings.Lines(a.accessText(25)) {
		key, action, _ := strings.Cut(line, " ")
		f["proxied"] += strings.ToLower(key) + " " + action
	}
	for _, lookup := range []string{"tcp", "socketmap"} { // where Postfix shows what is in memory behind a lone status
		f[lookup] = strings.ReplaceAll(f[lookup], " 5.7.1\n", " 5.7.1 text\n")
	}
	for line := range strings.Lines(f["tcp"]) {
		if a.in(8) {
			key, _, _ := strings.Cut(line, " ")
			f["tcp"] += key + "2 !broken\n"
		}
	}
	f["socketmap"] += "b.test !TEMP later\nc.test !PERM never\nhost.a.test !TIMEOUT slow\none !nonsense\n"
	return f
}
