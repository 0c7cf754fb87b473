//go:build linux

package addresses

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sekisho/internal/clock"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
)

// pair is the sender and a recipient of a message that goes no further, in
// internal form.
type pair struct{ Sender, Recipient octets }

const firstPort = 10001

// command says how smtpd is told: as an address in external form.
func command(verb string, addr octets) string {
	return verb + ":<" + mail.Quote(string(addr)) + "> "
}

// talk plays MAIL and RCPT for each pair and returns both replies joined.
func talk(port int, pairs []pair) ([]octets, error) {
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	in := bufio.NewReader(conn)
	say := func(line string) string {
		if line != "" {
			fmt.Fprintf(conn, "%s\r\n", strings.TrimRight(line, " "))
		}
		for {
			reply, e := in.ReadString('\n')
			if e != nil || len(reply) < 4 || reply[3] != '-' {
				err = e
				return strings.TrimRight(reply, "\r\n")
			}
		}
	}
	say("")
	say("EHLO client.test")
	var out []octets
	for _, p := range pairs {
		replies := say(command("MAIL FROM", p.Sender) + "SMTPUTF8")
		if strings.HasPrefix(replies, "250") {
			replies = say(command("RCPT TO", p.Recipient))
			say("RSET")
		}
		if err != nil {
			return nil, fmt.Errorf("%+q: %w", p, err)
		}
		out = append(out, octets(replies))
	}
	return out, nil
}

// door is our smtpd, as far as it decides about addresses.
type door struct {
	resolver *rewrite.Resolver
	program  *restrict.Program
	lookup   func(table, key string) (string, bool, error)
}

func (m *mine) door(t *testing.T, v int) *door {
	t.Helper()
	r, _ := m.resolver(t, v)
	cfg := m.Config.Service(m.service(fmt.Sprint("127.0.0.1:", firstPort+v)))
	nets, err := rewrite.MatchList(cfg, m.world(), "mynetworks")
	if err != nil {
		t.Fatal(err)
	}
	w := m.world()
	p, problems := restrict.Compile(cfg, restrict.World{Resolver: r, Mynetworks: nets, OwnAddresses: w.OwnAddresses, Partial: w.Partial})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return &door{r, p, m.Tables.Lookup}
}

func (d *door) reply(p pair) string {
	src := evidence.NewSession(context.Background(), &evidence.World{Lookup: d.lookup, Clock: clock.System{}})
	f := mail.Facts{
		ClientName: "localhost", ClientNameStatus: mail.NameOK, ClientAddress: "127.0.0.1",
		ReverseClientName: "localhost", ReverseClientNameStatus: mail.NameOK, ProtocolName: "ESMTP", HeloName: "client.test",
	}
	f.SenderKnown, f.Sender, f.SMTPUTF8 = true, string(p.Sender), true
	if p.Sender != "" && d.resolver.Resolve(src, "", f.Sender).Invalid {
		return "501 5.1.7 Bad sender address syntax"
	}
	f.ProtocolState = "MAIL"
	out := d.program.Decide(restrict.StageMail, &f, src, restrict.Carry{})
	if !out.Reply.IsZero() {
		return out.Reply.String()
	}
	f.RecipientKnown, f.Recipient, f.ProtocolState = true, string(p.Recipient), "RCPT"
	if p.Recipient == "" || d.resolver.Resolve(src, f.Sender, f.Recipient).Invalid {
		return "501 5.1.3 Bad recipient address syntax"
	}
	if out = d.program.Decide(restrict.StageRcpt, &f, src, out.Carry); !out.Reply.IsZero() {
		return out.Reply.String()
	}
	return "250 2.1.5 Ok"
}

// TestRecipients compares whom smtpd and package restrict accept.
func TestRecipients(t *testing.T) {
	g, variants, cases := setUp(t)
	g.asked = true
	files := g.smtpdFiles(variants)
	theirs := start(t, files)
	mine := load(t, files)
	for v := range variants {
		var r reply
		req := request{Service: fmt.Sprint(firstPort + v)}
		for range cases {
			req.Pairs = append(req.Pairs, g.pair())
		}
		if err := theirs.Call(req, &r); err != nil {
			t.Fatal(err)
		}
		d, wrong := mine.door(t, v), 0
		for i, p := range req.Pairs {
			if got, want := d.reply(p), string(r.Replies[i]); got != want && wrong < 5 {
				t.Errorf("variant %d: %+q\nPostfix: %q\nSekisho: %q", v, p, want, got)
				wrong++
			}
		}
		if wrong > 0 {
			t.Logf("variant %d was\n%s%s", v, mine.overrides(fmt.Sprint("rewrite", v), files), mine.overrides(fmt.Sprint("127.0.0.1:", firstPort+v), files))
		}
	}
}

// pair makes addresses that a client can send: no control characters, and not
// of the forms that package smtpd reads in its own way.
func (g *generator) pair() pair {
	address := func() octets {
		for {
			a := g.envelope()
			if g.Intn(4) == 0 {
				a = mail.Unquote(g.address())
			}
			if utf8.ValidString(a) && len(a) < 300 && (a != "" && !strings.ContainsAny(a, "\t\r\n <>()\"\\@:;,[]") || plainEnough(a)) {
				return octets(a)
			}
		}
	}
	p := pair{Recipient: address(), Sender: address()}
	if g.Intn(3) == 0 {
		p.Sender = octets(g.pick("", "x@far.test", "user@mailbox.test"))
	}
	return p
}

// plainEnough reports whether a domain is one without odd characters.
func plainEnough(a string) bool {
	local, domain, _ := mail.SplitAddress(a)
	switch {
	case local == "" || domain == "" || local[0] == '@':
		return false
	case strings.ContainsAny(a, "\t\r\n") || strings.ContainsAny(domain, " ()<>\"\\,;"):
		return false
	}
	return (domain[0] == '[') == strings.HasSuffix(domain, "]") && !strings.Contains(domain[1:], "[")
}

// smtpdFiles is a configuration directory with n smtpd services, each with a
// trivial-rewrite service of its own.
func (g *generator) smtpdFiles(n int) map[string]string {
	rewriting := make([][]string, n)
	for i := range rewriting {
		rewriting[i] = slices.DeleteFunc(rewriteParams(g), func(p string) bool {
			// Every command says SMTPUTF8. A sender that is the one of probes is not the client's any more.
			return strings.HasPrefix(p, "smtputf8_enable") || strings.HasPrefix(p, "double_bounce_sender")
		})
	}
	i := 0
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - - smtpd\n", firstPort+i)
		for _, o := range append(append([]string{fmt.Sprint("rewrite_service_name = rewrite", i)}, rewriting[i]...), smtpdParams(g)...) {
			fmt.Fprintf(&b, " -o { %s }\n", o)
		}
	}
	files := g.files(n, func(*generator) []string { i++; return rewriting[i-1] })
	files["master.cf"] += b.String() + "anvil unix - - n - 1 anvil\n"
	files["main.cf"] += "smtpd_client_connection_rate_limit = 0\nsmtpd_error_sleep_time = 0\nsmtpd_hard_error_limit = 1000000\nsmtpd_soft_error_limit = 1000000\nsmtpd_junk_command_limit = 1000000\nsmtpd_peername_lookup = no\n"
	return files
}

// smtpdParams are parameters of smtpd, at random.
func smtpdParams(g *generator) []string {
	users := func() string { return g.maps(g.addressKey, func() string { return "x" }) }
	aliases := func() string { return g.maps(g.addressKey, g.result) }
	access := func() string {
		return g.table(6, g.addressKey, func() string {
			return g.pick("OK", "REJECT", "DUNNO", "REJECT why", "450 4.1.1 no", "permit_auth_destination")
		})
	}
	out := []string{"smtpd_relay_restrictions = " + g.pick("reject_unauth_destination", "permit_auth_destination, reject",
		"defer_unauth_destination", "permit_auth_destination, defer")}
	for _, p := range []struct {
		odds int
		text func() string
	}{
		{2, func() string { return "local_recipient_maps = " + users() }},
		{2, func() string { return "relay_recipient_maps = " + users() }},
		{2, func() string { return "virtual_mailbox_maps = " + users() }},
		{3, func() string { return "virtual_alias_maps = " + aliases() }},
		{5, func() string { return "canonical_maps = " + aliases() }},
		{5, func() string { return "sender_canonical_maps = " + aliases() }},
		{5, func() string { return "recipient_canonical_maps = " + aliases() }},
		{5, func() string { return "unknown_local_recipient_reject_code = 450" }},
		{5, func() string { return "unknown_relay_recipient_reject_code = 559" }},
		{5, func() string { return "unknown_virtual_alias_reject_code = 450" }},
		{5, func() string { return "unknown_virtual_mailbox_reject_code = 551" }},
		{4, func() string { return "smtpd_reject_unlisted_recipient = no" }},
		{2, func() string { return "smtpd_reject_unlisted_sender = yes" }},
		{4, func() string { return "allow_untrusted_routing = yes" }},
		{4, func() string { return "smtpd_relay_before_recipient_restrictions = no" }},
		{3, func() string {
			return "smtpd_sender_restrictions = " + g.pick("reject_unlisted_sender", "check_sender_access "+access())
		}},
		{3, func() string {
			return "smtpd_recipient_restrictions = " + g.pick("reject_unlisted_recipient", "check_recipient_access "+access(), "permit_auth_destination, reject", "reject_unlisted_recipient, permit")
		}},
	} {
		if g.Intn(p.odds) == 0 {
			out = append(out, p.text())
		}
	}
	return out
}
