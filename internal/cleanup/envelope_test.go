package cleanup

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// recipients shows an envelope's recipients as "original>address", those that
// want no notification with an exclamation mark.
func recipients(env mail.Envelope) []string {
	var out []string
	for _, r := range env.Recipients {
		s := r.Original + ">" + r.Address
		if r.Notify == mail.NotifyNever {
			s += "!"
		}
		out = append(out, s)
	}
	return out
}

func TestVirtualAliases(t *testing.T) {
	const mainCf = "virtual_alias_maps = va\nrecipient_delimiter = +\nvirtual_alias_expansion_limit = 5\nvirtual_alias_recursion_limit = 5\nvirtual_alias_address_length_limit = 30\n"
	table := map[string]string{
		"one@d.test": "a@example.com", "two@d.test": "a@example.com, b@example.com", "deep@d.test": "two@d.test c@example.com",
		"self@d.test": "self@d.test, a@example.com", "@cat.test": "@example.com", "full+x@d.test": "b@example.com",
		"l1@d.test": "l2@d.test", "l2@d.test": "l1@d.test",
		"many@d.test": "a@x.test b@x.test c@x.test d@x.test e@x.test f@x.test",
		"long@d.test": strings.Repeat("a", 40) + "@d.test", "name@d.test": `Ann <a@example.com> (x), "b c"@example.com`,
		"bare@d.test": "a",
	}
	for _, c := range []struct {
		to    []string
		want  []string // nil: deferred
		reply string
	}{
		{to: []string{"one@d.test"}, want: []string{"one@d.test>a@example.com"}},
		{to: []string{"One@D.test"}, want: []string{"One@D.test>a@example.com"}},
		{to: []string{"one+ext@d.test"}, want: []string{"one+ext@d.test>a+ext@example.com"}},
		{to: []string{"full+x@d.test"}, want: []string{"full+x@d.test>b@example.com"}},
		{to: []string{"deep@d.test"}, want: []string{"deep@d.test>a@example.com", "deep@d.test>c@example.com", "deep@d.test>b@example.com"}},
		{to: []string{"self@d.test"}, want: []string{"self@d.test>self@d.test", "self@d.test>a@example.com"}},
		{to: []string{"u+e@cat.test"}, want: []string{"u+e@cat.test>u+e@example.com"}},
		{to: []string{"name@d.test"}, want: []string{"name@d.test>a@example.com", "name@d.test>b c@example.com"}},
		{to: []string{"bare@d.test"}, want: []string{"bare@d.test>a@example.com"}},
		// the same mailbox by two ways is two deliveries, by one way one
		{to: []string{"one@d.test", "a@example.com", "one@d.test"}, want: []string{"one@d.test>a@example.com", "a@example.com>a@example.com"}},
		{to: []string{"l1@d.test"}, reply: "451 4.6.0 Alias expansion error"},
		{to: []string{"many@d.test"}, reply: "451 4.6.0 Alias expansion error"},
		{to: []string{"long@d.test"}, reply: "451 4.6.0 Alias expansion error"},
	} {
		s := newSite(t, mainCf, map[string]map[string]string{"va": table})
		res, got := s.finish(s.begin(stranger, "s@sender.test", c.to...), "S: x", "", "b")
		if c.reply != "" {
			if got != nil || res.Reply.String() != c.reply {
				t.Errorf("%s: reply %q, want %q", c.to, res.Reply, c.reply)
			}
			continue
		}
		if got == nil || !slices.Equal(recipients(got.env), c.want) {
			t.Errorf("%s: got %v, want %q", c.to, got, c.want)
		}
	}
}

func TestDuplicatesWithoutOriginals(t *testing.T) {
	s := newSite(t, "virtual_alias_maps = va\nenable_original_recipient = no\n", map[string]map[string]string{"va": {"one@d.test": "A@example.com"}})
	_, got := s.finish(s.begin(stranger, "s@sender.test", "one@d.test", "a@example.com", "a@EXAMPLE.com"), "S: x")
	if want := []string{"one@d.test>A@example.com"}; !slices.Equal(recipients(got.env), want) {
		t.Errorf("got %q, want %q", recipients(got.env), want)
	}
}

func TestBrokenAlias(t *testing.T) {
	s := newSite(t, "virtual_alias_maps = va\n", map[string]map[string]string{"va": nil})
	res, got := s.send("S: x", "", "b")
	if want := "451 4.3.0 Error: queue file write error"; got != nil || res.Reply.String() != want {
		t.Errorf("reply %q, queued %v, want %q", res.Reply, got, want)
	}
	want := []string{`va lookup error for "a@example.com"`, "virtual_alias_maps map lookup problem for a@example.com -- message not accepted, try again later"}
	for i, l := range s.logged() {
		if !strings.HasPrefix(l, "warning: ") || i >= len(want) || !strings.HasSuffix(l, want[i]) {
			t.Errorf("logged %q", l)
		}
	}
}

func TestSendersAndCopies(t *testing.T) {
	const mainCf = `
canonical_maps = canon
sender_canonical_maps = sc
recipient_canonical_maps = rc
masquerade_domains = !keep.m.test m.test
masquerade_exceptions = root
sender_bcc_maps = sb
recipient_bcc_maps = rb
always_bcc = archive@example.com
`
	tables := map[string]map[string]string{
		"canon": {"c@x.test": "d@x.test", "self@x.test": "self@x.test", "@whole.test": "@other.test", "t1@x.test": "t2@x.test", "t2@x.test": "t1@x.test"},
		"sc":    {"s@x.test": "c@x.test"},
		"rc":    {"r@x.test": "c@x.test"},
		"sb":    {"watched@x.test": "w@example.com"},
		"rb":    {"a@example.com": "copy@example.com"},
	}
	for _, c := range []struct{ sender, want, to, wantTo string }{
		{"plain", "plain@example.com", "u@y.test", "u@y.test>u@y.test archive@example.com>archive@example.com!"},
		{"s@x.test", "d@x.test", "r@x.test", "r@x.test>d@x.test archive@example.com>archive@example.com!"},
		{"self@x.test", "self@x.test", "s@x.test", "s@x.test>s@x.test archive@example.com>archive@example.com!"},
		{"u@whole.test", "u@other.test", "a@example.com", "a@example.com>a@example.com copy@example.com>copy@example.com! archive@example.com>archive@example.com!"},
		{"u@h.m.test", "u@m.test", "u@h.m.test", "u@h.m.test>u@h.m.test archive@example.com>archive@example.com!"},
		{"root@h.m.test", "root@h.m.test", "u@y.test", "u@y.test>u@y.test archive@example.com>archive@example.com!"},
		{"u@h.keep.m.test", "u@h.keep.m.test", "u@y.test", "u@y.test>u@y.test archive@example.com>archive@example.com!"},
		{"watched@x.test", "watched@x.test", "u@y.test", "w@example.com>w@example.com! u@y.test>u@y.test archive@example.com>archive@example.com!"},
		{"MAILER-DAEMON@example.com", "", "u@y.test", "u@y.test>u@y.test archive@example.com>archive@example.com!"},
		{"", "", "u@y.test", "u@y.test>u@y.test archive@example.com>archive@example.com!"},
	} {
		s := newSite(t, mainCf, tables)
		_, got := s.finish(s.begin(stranger, c.sender, c.to), "S: x", "", "b")
		if to := strings.Join(recipients(got.env), " "); got.env.Sender != c.want || to != c.wantTo {
			t.Errorf("%s: sender %q to %q; want %q %q", c.sender, got.env.Sender, to, c.want, c.wantTo)
		}
		other, _ := s.c.For(s.config("receive_override_options = no_address_mappings\n"), nil)
		s.c = other
		if _, got := s.finish(s.begin(stranger, c.sender, c.to), "S: x"); len(got.env.Recipients) != 1 {
			t.Errorf("%s: no_address_mappings: %q", c.sender, recipients(got.env))
		}
	}
	s := newSite(t, mainCf, tables)
	s.finish(s.begin(stranger, "t1@x.test", "u@y.test"), "S: x")
	if l := s.logged(); !strings.HasSuffix(l[0], "unreasonable canonical_maps map nesting for t1@x.test -- message not accepted, try again later") {
		t.Errorf("log %q", l)
	}
}

func TestEffects(t *testing.T) {
	for _, c := range []struct {
		effects []restrict.Effect
		want    string // hold, filter, recipients
		content string
	}{
		{nil, "false  [a@example.com>a@example.com]", "S: x\n"},
		{[]restrict.Effect{{Kind: restrict.Hold}}, "true  [a@example.com>a@example.com]", "S: x\n"},
		{[]restrict.Effect{{Kind: restrict.Filter, Arg: "smtp:[::1]:1"}}, "false smtp:[::1]:1 [a@example.com>a@example.com]", "S: x\n"},
		{[]restrict.Effect{{Kind: restrict.Redirect, Arg: "x@y.test"}, {Kind: restrict.Redirect, Arg: "z"}}, "false  [a@example.com>z@example.com]", "S: x\n"},
		{[]restrict.Effect{{Kind: restrict.Bcc, Arg: "x@y.test"}}, "false  [a@example.com>a@example.com x@y.test>x@y.test!]", "S: x\n"},
		{[]restrict.Effect{{Kind: restrict.Prepend, Arg: "P: 1"}}, "false  [a@example.com>a@example.com]", "P: 1\nS: x\n"},
		{[]restrict.Effect{{Kind: restrict.Discard}}, "", ""},
	} {
		s := newSite(t, "", nil)
		m := s.begin(stranger, "s@sender.test", "a@example.com")
		for _, e := range c.effects {
			m.Effect(e)
		}
		res, got := s.finish(m, "S: x")
		if !res.Reply.IsZero() {
			t.Errorf("%v: reply %q", c.effects, res.Reply)
		}
		var text, content string
		if got != nil {
			text = fmt.Sprintf("%v %s %s", got.env.Hold, got.env.Filter, recipients(got.env))
			content = got.content
		}
		if text != c.want || content != c.content {
			t.Errorf("%v: %q %q, want %q %q", c.effects, text, content, c.want, c.content)
		}
	}
}

func TestAliasKeepsSuccessToItself(t *testing.T) {
	s := newSite(t, "virtual_alias_maps = va\n", map[string]map[string]string{"va": {"one@d.test": "a@example.com"}})
	env := mail.Envelope{QueueID: s.q.NewID(), Sender: "s@sender.test", Recipients: []mail.Recipient{
		{Address: "one@d.test", Notify: mail.NotifySuccess | mail.NotifyFailure, ORCPT: "rfc822;o@d.test"}, {Address: "b@d.test", Notify: mail.NotifySuccess}}}
	m, err := s.c.Begin(context.Background(), env, nil, s)
	if err != nil {
		t.Fatal(err)
	}
	_, got := s.finish(m, "S: x")
	r := got.env.Recipients
	if r[0].Notify != mail.NotifyFailure || r[0].ORCPT != "rfc822;o@d.test" || r[1].Notify != mail.NotifySuccess || r[1].ORCPT != "rfc822;b@d.test" {
		t.Errorf("got %+v", r)
	}
}

func TestAbortLeavesNothing(t *testing.T) {
	s := newSite(t, "", nil)
	m := s.begin(stranger, "s@sender.test", "a@example.com")
	if err := m.WriteLine([]byte("S: x")); err != nil {
		t.Fatal(err)
	}
	m.Abort()
	m.Abort()
	if n := len(s.q.List()); n != 0 {
		t.Errorf("%d messages in the queue", n)
	}
}

// TestOddAddresses: what cleanup makes of envelopes that only mappings touch.
func TestOddAddresses(t *testing.T) {
	tables := map[string]map[string]string{
		"null": {`""`: "nobody@example.com"}, "quoted": {"a@example.com": `"b c"@example.com`},
	}
	for _, c := range []struct{ mainCf, sender, to, want string }{
		{"", "mailer-daemon", "a", ": a@example.com(rfc822;a@example.com)"},
		{"append_at_myorigin = no", "mailer-daemon", "a", "mailer-daemon: a(rfc822;a)"},
		{"", "s", "a b", "s@example.com: a b@example.com(rfc822;a+20b@example.com)"},
		{"sender_canonical_maps = null", "", "a", "nobody@example.com: a@example.com(rfc822;a@example.com)"},
		{"recipient_bcc_maps = quoted", "", "a", `: a@example.com(rfc822;a@example.com) "b c"@example.com()`},
	} {
		s := newSite(t, c.mainCf, tables)
		_, got := s.finish(s.begin("127.0.0.1", c.sender, c.to), "S: x", "", "b")
		text := got.env.Sender + ":"
		for _, r := range got.env.Recipients {
			text += " " + r.Address + "(" + r.ORCPT + ")"
		}
		if text != c.want {
			t.Errorf("%s: %s to %s became\n%s, want\n%s", c.mainCf, c.sender, c.to, text, c.want)
		}
	}
}
