//go:build linux

package random

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
	"sekisho/internal/site"
	"sekisho/internal/zone"
)

// ours is the same site under Eval.
type ours struct {
	site   *site.Site
	zone   *zone.Zone
	system *dns.System
}

func newOurs(t *testing.T, files map[string]string) *ours {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := site.Load(dir, site.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	z, err := zone.Parse("zone", strings.NewReader(peerZone))
	if err != nil {
		t.Fatal(err)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	system := dns.NewSystem(z.Query, hosts)
	system.Route = func(netip.Addr) netip.Addr { return netip.Addr{} } // Postfix's network leads nowhere
	return &ours{s, z, system}
}

// refusesToStart reports whether a service does not refuse to relay: Postfix
// would not answer there.
func (o *ours) refusesToStart(v int) bool {
	name := o.site.Services[v].Entry.Name
	return slices.ContainsFunc(o.site.Problems, func(p site.Problem) bool {
		return p.Service == name && strings.Contains(p.What, "at least one working instance")
	})
}

func (o *ours) world() *evidence.World {
	return &evidence.World{Query: o.zone.Query, Host: o.system.Host, Lookup: o.site.Tables.Lookup, Clock: clock.System{}}
}

func (o *ours) compare(t *testing.T, v int, pc peerCase, got, want []string) {
	t.Helper()
	if slices.Equal(got, want) {
		return
	}
	var lists []string
	for _, l := range o.site.Services[v].Entry.Overrides {
		lists = append(lists, "  "+l.Name+" = "+l.Value)
	}
	same := 0
	for same < len(got) && same < len(want) && got[same] == want[same] {
		same++
	}
	t.Errorf("variant %d\n%s\n%+v\nfirst difference, Postfix:\n  %s\nSekisho:\n  %s", v, strings.Join(lists, "\n"), pc,
		strings.Join(want[same:], "\n  "), strings.Join(got[same:], "\n  "))
}

// play is what smtpd does around the decisions.
func (o *ours) play(s site.Service, pc peerCase) (replies, notes []string) {
	src := evidence.NewSession(context.Background(), o.world())
	f := pc.facts()
	if !s.Config.Bool("smtpd_sasl_auth_enable") {
		f.SASLUsername = "" // 3.7 does not take XCLIENT's word then, 3.8 does
	}
	carry := restrict.Carry{}
	decide := func(stage restrict.Stage, state string) mail.Reply {
		f.ProtocolState = state
		out := s.Program.Decide(stage, &f, src, carry)
		for _, n := range out.Notes {
			if keepNote(n.Text) {
				notes = append(notes, strings.ReplaceAll(n.Text, o.site.Config.Dir, "/etc/postfix"))
			}
		}
		carry = out.Carry
		return out.Reply
	}
	soft := s.Config.Bool("soft_bounce")
	fails := func(text string) {
		if soft && text[0] == '5' {
			i := strings.IndexByte(text, ' ') + 1
			text = "4" + text[1:i] + "4" + text[i+1:]
		}
		replies = append(replies, text)
	}
	helo := f.HeloName
	denied := func(r mail.Reply) bool {
		if r.Closes() {
			replies = append(replies, "closed")
		} else if !r.IsZero() {
			for range len(pc.Recipients) + len(pc.Last) { // MAIL, RCPT and those before QUIT
				fails("503 5.7.0 Error: access denied for " + f.NameAddr())
			}
		}
		return !r.IsZero()
	}
	seen := f
	f = mail.Facts{
		ClientName: "localhost", ClientNameStatus: mail.NameOK, ClientAddress: "127.0.0.1",
		ReverseClientName: "localhost", ReverseClientNameStatus: mail.NameOK, ProtocolName: "SMTP",
	}
	if denied(decide(restrict.StageConnect, "CONNECT")) {
		return replies, notes
	}
	f = seen
	f.HeloName = ""
	if denied(decide(restrict.StageConnect, "XCLIENT")) {
		return replies, notes
	}
	if f.HeloName = helo; helo != "" {
		if r := decide(restrict.StageHelo, "EHLO"); r.IsZero() {
			f.ProtocolName = "ESMTP"
		} else {
			f.HeloName = ""
		}
	}
	closed, first := false, ""
	reply := func(r mail.Reply, ok string) bool {
		closed = r.Closes()
		if r.IsZero() {
			replies = append(replies, ok)
			return true
		}
		replies = append(replies, r.String())
		return false
	}
	f.SenderKnown, f.Sender = true, internal(pc.Sender)
	f.SMTPUTF8 = pc.UTF8
	if pc.Sender != "" && o.invalid(src, &f, "", f.Sender) {
		fails("501 5.1.7 Bad sender address syntax")
		f.SenderKnown, f.SMTPUTF8 = false, false
	} else if !reply(decide(restrict.StageMail, "MAIL"), "250 2.1.0 Ok") {
		f.SenderKnown, f.SMTPUTF8, carry = false, false, carry.EndTransaction()
	}
	for _, rcpt := range pc.Recipients {
		if closed {
			return append(replies, "closed"), notes
		}
		if !f.SenderKnown {
			fails("503 5.5.1 Error: need MAIL command")
			continue
		}
		f.RecipientKnown, f.Recipient = true, internal(rcpt)
		if f.Recipient == "" || o.invalid(src, &f, f.Sender, f.Recipient) {
			fails("501 5.1.3 Bad recipient address syntax")
		} else if reply(decide(restrict.StageRcpt, "RCPT"), "250 2.1.5 Ok") {
			f.QueueID = "QID"
			f.RecipientCount++
		}
		if f.RecipientCount == 1 && first == "" && f.QueueID != "" {
			first = f.Recipient
		}
		f.RecipientKnown = false
	}
	for _, line := range pc.Last {
		if closed && line != "QUIT" {
			return append(replies, "closed"), notes
		}
		switch verb, arg, _ := strings.Cut(line, " "); verb {
		case "DATA":
			f.Recipient, f.RecipientKnown = first, f.RecipientCount == 1
			if !f.SenderKnown {
				fails("503 5.5.1 Error: need RCPT command")
			} else if f.RecipientCount == 0 {
				fails("554 5.5.1 Error: no valid recipients")
			} else if reply(decide(restrict.StageData, "DATA"), "354 End data with <CR><LF>.<CR><LF>") {
				if !reply(decide(restrict.StageEndOfData, "END-OF-MESSAGE"), "250 2.0.0 Ok: queued as QID") && carry.Discarded {
					break
				}
				f.SenderKnown, f.SMTPUTF8, f.RecipientCount, f.QueueID = false, false, 0, ""
				carry = carry.EndTransaction()
			}
			f.Recipient, f.RecipientKnown = "", false
		case "VRFY":
			f.Recipient, f.RecipientKnown = internal(strings.Trim(arg, "<>")), true
			utf8 := f.SMTPUTF8
			f.SMTPUTF8 = false // VRFY would have to ask for it itself
			bad := f.Recipient == "" || o.invalid(src, &f, "", f.Recipient)
			f.SMTPUTF8 = utf8
			if bad {
				fails("501 5.1.3 Bad recipient address syntax")
			} else {
				reply(decide(restrict.StageVrfy, "VRFY"), "252 2.0.0 "+arg)
			}
			f.Recipient, f.RecipientKnown = "", false
		}
	}
	return replies, notes
}

// invalid is what smtpd tests before it asks the restrictions.
func (o *ours) invalid(src evidence.Source, f *mail.Facts, sender, addr string) bool {
	res := o.site.Resolver.Resolve(src, sender, addr)
	_, domain, _ := mail.SplitAddress(res.Recipient)
	return res.Invalid || !f.SMTPUTF8 && domain != mail.ASCIIDomain(domain)
}

func (c peerCase) facts() mail.Facts {
	f := mail.Facts{
		ClientName: c.Name, ClientNameStatus: mail.NameOK, ClientAddress: strings.TrimPrefix(c.Addr, "IPV6:"),
		ReverseClientName: c.Reverse, ReverseClientNameStatus: mail.NameOK,
		HeloName: c.Helo, SASLUsername: c.Login, ProtocolName: "SMTP",
	}
	if c.Helo == "" {
		f.ProtocolName = "SMTP"
	}
	f.ClientName, f.ClientNameStatus = xclientName(c.Name)
	f.ReverseClientName, f.ReverseClientNameStatus = xclientName(c.Reverse)
	return f
}

func xclientName(s string) (string, mail.NameStatus) {
	switch s {
	case "[UNAVAILABLE]":
		return "unknown", mail.NamePerm
	case "[TEMPUNAVAIL]":
		return "unknown", mail.NameTemp
	}
	return s, mail.NameOK
}

// internal reads an address as smtpd does between its angle brackets.
func internal(addr string) string {
	if strings.HasPrefix(addr, "@") {
		if _, rest, ok := strings.Cut(addr, ":"); ok {
			addr = rest
		}
	}
	var b strings.Builder
	for _, tok := range mail.ScanAddress(addr) {
		switch tok.Kind {
		case mail.Literal:
			b.WriteString("[" + tok.Text + "]")
		case mail.Comment:
		default:
			b.WriteString(tok.Text)
		}
	}
	return b.String()
}

var (
	logHead  = regexp.MustCompile(`^\S+ +\d+ \S+ \S+ postfix/smtpd\[\d+\]: `)
	queuedAs = regexp.MustCompile(`queued as [0-9A-F]+`)
	queueID  = regexp.MustCompile(`^[0-9A-F]{6,}: `)
)

// theirLog keeps the lines of smtpd that decisions leave.
func theirLog(lines []string) []string {
	var out []string
	for _, l := range lines {
		head := logHead.FindString(l)
		if head == "" {
			continue
		}
		l = strings.TrimPrefix(l[len(head):], "warning: ")
		if strings.HasPrefix(l, "connect from") {
			out = nil // what a process says when it starts
		}
		l = queueID.ReplaceAllString(l, "QID: ")
		if keepNote(l) {
			out = append(out, l)
		}
	}
	return out
}

var unkept = []string{
	"connect from", "disconnect from", "QID: client=", "RBL lookup error", "Illegal address syntax from", "lost connection",
	"do not list domain", "numeric domain name", "malformed domain name", "valid_hostname", "lookup failure", "lookup error for",
	"valid_ipv4_hostaddr", "valid_ipv6_hostaddr", "dict_texthash", "table lookup problem", "valid_utf8", "midna_domain",
	"sender_login", "using backwards", "is unavailable. ", "socketmap server ",
	".rbl.test. 300 IN", "TXT lookup error", // Postfix remembers lists from session to session
}

func keepNote(l string) bool {
	return !slices.ContainsFunc(unkept, func(s string) bool { return strings.Contains(l, s) })
}
