//go:build linux

package addresses

import (
	"cmp"
	"fmt"
	"strings"
)

// envelope is an address as it may stand in an envelope: in internal form, and
// one that smtpd lets pass.
func (g *generator) envelope() string {
	local := g.pick("x", "user", "user", "user+ext", "User", "user-ext", "a b", "moved", "postmaster", "mailer-daemon", "owner-list", "list", "list+request", "ü", "user%far.test", "far.test!user", "a@far.test", `a"b`, "x.", strings.Repeat("l", 100))
	if g.Intn(6) == 0 {
		return local
	}
	return local + "@" + g.pick("local.test", "ours.test", "mx.ours.test", "far.test", "sub.far.test", "deep.sub.far.test", "Far.TEST", "one", "alias.test", "mailbox.test", "[192.0.2.1]", "[127.0.0.1]", "bücher.test", "relay.test", "far.test.")
}

// listed is an address as it may stand in a header.
func (g *generator) listed() string {
	a := g.pick("x", "user", "user+ext", `"a b"`, `"a\"b"`, "a.b", "moved", "ü", "user%far.test", "far.test!user", "=?utf-8?q?x?=") +
		g.pick("", "@far.test", "@sub.far.test", "@local.test", "@ours.test", "@one", "@Far.TEST", "@[192.0.2.1]", "@far.test.", " @ far . test", "@bücher.test")
	switch g.Intn(14) {
	case 0:
		return "<" + a + ">"
	case 1:
		return "Name Name <" + a + ">"
	case 2:
		return `"Name, \"N" <` + a + ">"
	case 3:
		return a + " (a comment)"
	case 4:
		return "(c) " + a
	case 5:
		return "group: " + a + ", x@one;"
	case 6:
		return "=?utf-8?q?N=C3=BC?= <" + a + ">"
	case 7:
		return "<@a.test,@b.test:" + a + ">"
	case 8:
		return g.pick("undisclosed-recipients:;", "", "<>", "a b c", ",", "Name <>", "<x", "x>", `"unclosed`, "(unclosed", "a@b c@d", "x@", "@", "@far.test", "::", "Ñame <"+a+">", strings.Repeat("word ", 60)+"<"+a+">", a+" ("+strings.Repeat("c", 300)+")")
	}
	return a
}

// header is a header, possibly of several lines.
func (g *generator) header() []octets {
	name := g.pick("From", "To", "To", "Cc", "Cc", "Bcc", "Reply-To", "Sender", "Return-Path", "Errors-To", "Resent-From", "Resent-To", "Resent-Cc", "Resent-Bcc", "Resent-Sender",
		"Resent-Reply-To", "Resent-Date", "Resent-Message-Id", "Mail-Followup-To", "Disposition-Notification-To", "Return-Receipt-To", "Apparently-To", "Date", "Message-ID", "Subject", "X-To", "FROM", "to ", "Content-Length", "Delivered-To")
	switch strings.ToLower(strings.TrimPrefix(name, "Resent-")) {
	case "date", "message-id", "subject", "content-length":
		return []octets{octets(name + ": something <x@one>")}
	}
	var list []string
	for range 1 + g.Intn(4) {
		list = append(list, g.listed())
	}
	text := strings.Join(list, g.pick(", ", ", ", ",", "\n\t", ",\n  ", " , ", " "))
	var out []octets
	for i, l := range strings.Split(text, "\n") {
		if i == 0 {
			l = name + g.pick(": ", ": ", ":", " : ", ":\t") + l
		}
		out = append(out, octets(l))
	}
	return out
}

func (g *generator) message() message {
	m := message{Local: g.Intn(3) > 0, Sender: octets(g.pick("", g.envelope(), g.envelope(), g.envelope()))}
	for range 1 + g.Intn(4) {
		m.Recipients = append(m.Recipients, octets(g.envelope()))
		m.Notify = append(m.Notify, []int{0, 0, 0, 1, 2, 4, 6, 14}[g.Intn(8)])
	}
	if g.Intn(3) == 0 {
		m.Recipients[0] = m.Recipients[len(m.Recipients)-1]
	}
	m.Lines = append(m.Lines, "Received: from one")
	for range g.Intn(7) {
		m.Lines = append(m.Lines, g.header()...)
	}
	m.Lines = append(m.Lines, "", "text")
	return m
}

// result is what an address table says: one address, several, or nonsense.
func (g *generator) result() string {
	one := func() string {
		return g.pick("user@far.test", "new@elsewhere.test", "x", "user+more@relay.test", "@other.test", `"a b"@far.test`, "<x@far.test>", "x@far", "moved@local.test", "User@Far.Test", "Name <n@far.test>", "user@sub.far.test")
	}
	switch g.Intn(10) {
	case 0:
		return one() + ", " + one()
	case 1:
		return one() + " " + one() + ", " + one()
	case 2:
		return g.pick("<>", "(comment)", "somewhere, call 555", "@", "a@b@c", "user%far.test", "far.test!user", strings.Repeat("l", 150)+"@far.test", ":", `"`)
	}
	return one()
}

// cleanupParams are parameters of cleanup, at random.
func cleanupParams(g *generator) []string {
	classes := func(names ...string) string {
		var out []string
		for _, n := range names {
			if g.Intn(2) == 0 {
				out = append(out, n)
			}
		}
		return cmp.Or(strings.Join(out, ", "), names[0])
	}
	places := []string{"envelope_sender", "envelope_recipient", "header_sender", "header_recipient"}
	address := func() string { return g.maps(g.addressKey, g.result) }
	pools := []struct {
		odds int
		text func() string
	}{
		{2, func() string { return "canonical_maps = " + address() }},
		{3, func() string { return "sender_canonical_maps = " + address() }},
		{3, func() string { return "recipient_canonical_maps = " + address() }},
		{3, func() string { return "canonical_classes = " + classes(places...) }},
		{4, func() string { return "sender_canonical_classes = " + classes(places[0], places[2]) }},
		{4, func() string { return "recipient_canonical_classes = " + classes(places[1], places[3]) }},
		{2, func() string { return "virtual_alias_maps = " + address() }},
		{4, func() string { return "propagate_unmatched_extensions = " + classes("canonical", "virtual") }},
		{3, func() string {
			return "masquerade_domains = " + g.pick("far.test", "!deep.sub.far.test far.test", "sub.far.test far.test", "FAR.test", "$mydomain", "!far.test", "test")
		}},
		{3, func() string { return "masquerade_classes = " + classes(places...) }},
		{3, func() string { return "masquerade_exceptions = " + g.pick("user", "root, x", `"a b"`, "a b", "User") }},
		{4, func() string { return "sender_bcc_maps = " + g.maps(g.addressKey, g.bcc) }},
		{4, func() string { return "recipient_bcc_maps = " + g.maps(g.addressKey, g.bcc) }},
		{4, func() string { return "always_bcc = " + g.bcc() }},
		{4, func() string { return "enable_original_recipient = no" }},
		{4, func() string { return "always_add_missing_headers = yes" }},
		{4, func() string {
			return "undisclosed_recipients_header = " + g.pick("", "To: undisclosed-recipients:;", "nonsense", "X-None: y")
		}},
		{4, func() string {
			return "message_drop_headers = " + g.pick("", "bcc", "to, from", "Return-Path, subject, X-To, Date")
		}},
		{6, func() string { return "duplicate_filter_limit = 1" }},
		{4, func() string { return "virtual_alias_expansion_limit = " + g.pick("1", "2", "3") }},
		{4, func() string { return "virtual_alias_recursion_limit = " + g.pick("1", "2", "3") }},
		{4, func() string { return "virtual_alias_address_length_limit = " + g.pick("20", "100") }},
		{6, func() string { return "header_address_token_limit = " + g.pick("5", "20") }},
		{4, func() string { return "header_size_limit = " + g.pick("50", "100", "200") }},
		{4, func() string { return "empty_address_recipient = " + g.pick("x", "postmaster@far.test") }},
	}
	var out []string
	for _, p := range pools {
		if g.Intn(p.odds) == 0 {
			out = append(out, p.text())
		}
	}
	return out
}

func (g *generator) bcc() string {
	return g.pick("bcc@far.test", "bcc", "user+x@ours.test", `"a b"@far.test`, "user@sub.far.test", "moved@local.test", "a@far.test b@far.test")
}

// sharedParams are those of both services.
func sharedParams(g *generator) []string {
	var out []string
	for _, text := range []string{
		"myorigin = " + g.pick("$mydomain", "far.test", "one", "bücher.test"),
		"mydestination = " + g.pick("local.test", "local.test, far.test", "$mydomain one", ""),
		"recipient_delimiter = " + g.pick("+", "+", "-", "+-"),
		"append_dot_mydomain = " + g.pick("yes", "no"),
		"remote_header_rewrite_domain = " + g.pick("domain.invalid", "one"),
		g.pick("append_at_myorigin", "swap_bangpath", "allow_percent_hack", "owner_request_special") + " = no",
	} {
		if g.Intn(2) == 0 {
			out = append(out, text)
		}
	}
	return out
}

// cleanupFiles is a configuration directory with n cleanup services, each with
// a trivial-rewrite service of its own.
func (g *generator) cleanupFiles(n int) map[string]string {
	shared := make([][]string, n)
	for i := range shared {
		shared[i] = sharedParams(g)
	}
	i := 0
	files := g.files(n, func(*generator) []string { i++; return shared[i-1] })
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "cleanup%d unix n - n - 0 cleanup\n", i)
		for _, o := range append(append([]string{fmt.Sprint("rewrite_service_name = rewrite", i)}, shared[i]...), cleanupParams(g)...) {
			fmt.Fprintf(&b, " -o { %s }\n", o)
		}
	}
	files["master.cf"] += b.String()
	return files
}
