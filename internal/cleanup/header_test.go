package cleanup

import (
	"slices"
	"strings"
	"testing"
)

// added are the headers that a message of our own gets at 10:33 UTC on
// 5 November 2026.
const (
	addedDate = "Date: Thu,  5 Nov 2026 10:33:00 +0000 (UTC)\n"
	addedFrom = "From: s@sender.test\n"
)

func TestMissingHeaders(t *testing.T) {
	for _, c := range []struct {
		name, main, client string
		lines              []string
		want               string // ID stands for the queue id
		log                string
	}{
		{"stranger", "", stranger, []string{"S: x", "", "b"}, "S: x\n\nb\n", "ID: message-id=<>"},
		{"ours", "", "127.0.0.1", []string{"S: x", "", "b"},
			"S: x\nMessage-Id: <20261105103300.ID@mx.example.com>\n" + addedDate + addedFrom + "\nb\n", "ID: message-id=<20261105103300.ID@mx.example.com>"},
		{"always", "always_add_missing_headers = yes\nundisclosed_recipients_header = To: all:;\n", stranger, []string{"", "b"},
			"Message-Id: <20261105103300.ID@mx.example.com>\n" + addedDate + addedFrom + "To: all:;\n\nb\n", "ID: message-id=<20261105103300.ID@mx.example.com>"},
		{"all there", "undisclosed_recipients_header = To: all:;\n", "127.0.0.1",
			[]string{"message-id: <m>", "DATE: d", "from: f@g.h", "cc: i@j.k"}, "message-id: <m>\nDATE: d\nfrom: f@g.h\ncc: i@j.k\n", "ID: message-id=<m>"},
		{"resent", "", "127.0.0.1", []string{"Message-Id: <m>", "Resent-From: r@s.t"},
			"Message-Id: <m>\nResent-From: r@s.t\nResent-Message-Id: <20261105103300.ID@mx.example.com>\nResent-" + addedDate, "ID: message-id=<m>|ID: resent-message-id=<20261105103300.ID@mx.example.com>"},
		{"networks", "local_header_rewrite_clients = check_address_map own\n", "198.51.100.1", []string{"From: f", "Date: d", "Message-Id: m"}, "From: f@example.com\nDate: d\nMessage-Id: m\n", "ID: message-id=m"},
	} {
		s := newSite(t, c.main, map[string]map[string]string{"own": {"198.51.100.1": "x"}})
		m := s.begin(c.client, "s@sender.test", "a@example.com")
		_, got := s.finish(m, c.lines...)
		id := m.env.QueueID
		if text := strings.ReplaceAll(got.content, id, "ID"); text != c.want {
			t.Errorf("%s: got\n%q\nwant\n%q", c.name, text, c.want)
		}
		if log := strings.ReplaceAll(strings.Join(s.logged(), "|"), id, "ID"); log != c.log {
			t.Errorf("%s: log %q, want %q", c.name, log, c.log)
		}
	}
}

// TestHeaders holds what becomes of headers; the rewritten ones were compared
// with Postfix 3.7.11.
func TestHeaders(t *testing.T) {
	for _, c := range []struct{ client, in, want string }{
		{stranger, "Return-Path: <a@b>|Bcc: c|Content-Length: 3|Resent-Bcc: d|X: y", "X: y"},
		{stranger, "To: a, b , c", "To: a, b , c"},
		{stranger, "Subject : x|X\t :  y", "Subject: x|X:  y"},
		{stranger, "Subject: a\x00b| c\x00d|X: y", "Subject: a| c|X: y"},
		{stranger, "Subject: a\rb", "Subject: a b"},
		{stranger, "no header|X: y", "|no header|X: y"},
		{stranger, ": x", "|: x"},
		{"127.0.0.1", "To: a@b.c,  d@e.f", "To: a@b.c,  d@e.f"},
		{"127.0.0.1", "To: foo,  d@e.f", "To: foo@example.com, d@e.f"},
		{"127.0.0.1", "to:  Foo Bar <foo> (x), group: a, b;", "to: Foo Bar <foo@example.com>(x), group: a@example.com,|\tb@example.com;"},
		{"127.0.0.1", "Cc: foo bar", "Cc: foo@example.com, bar@example.com"},
		{"127.0.0.1", "Reply-To: @r.s:u@v.w", "Reply-To: u@v.w"},
		{"127.0.0.1", "From: \"plain\"@a.b", "From: plain@a.b"},
		{"127.0.0.1", "From: \"a b\"@c.d.", "From: \"a b\"@c.d"},
		{"127.0.0.1", "Sender: h!u", "Sender: u@h"},
		{"127.0.0.1", "Errors-To: u%h", "Errors-To: u@h"},
		{"127.0.0.1", "From: \xe3\x81\x82 <u>", "From: \xe3\x81\x82 <u@example.com>"},
		{"127.0.0.1", "To: <>", "To: <>"},
		{"127.0.0.1", "To: @", `To: ""`},
		{"127.0.0.1", "X-To: foo", "X-To: foo"},
		{"127.0.0.1", "To: aaaaaaaaaaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbbbbbbbbbbbbbbb, c", "To: aaaaaaaaaaaaaaaaaaaaaaaa@example.com,|\tbbbbbbbbbbbbbbbbbbbbbbbbbbbbb@example.com, c@example.com"},
		{"127.0.0.1", "To: (" + strings.Repeat("x", 260) + ") foo", "To: <foo@example.com>"},
		{"127.0.0.1", "Content-Type: message/rfc822||To: foo", "Content-Type: message/rfc822||To: foo"},
	} {
		s := newSite(t, "append_dot_mydomain = no\n", nil)
		_, got := s.finish(s.begin(c.client, "s@sender.test", "a@example.com"), strings.Split(c.in, "|")...)
		lines := strings.Split(strings.TrimSuffix(got.content, "\n"), "\n")
		lines = slices.DeleteFunc(lines, func(l string) bool { // what ours gets besides
			return strings.HasPrefix(l, "Message-Id: <2026") || l+"\n" == addedDate || l+"\n" == addedFrom
		})
		if text := strings.Join(lines, "|"); text != c.want {
			t.Errorf("%q became %q, want %q", c.in, text, c.want)
		}
	}
}

func TestRemoteRewriteDomain(t *testing.T) {
	s := newSite(t, "remote_header_rewrite_domain = domain.invalid\n", nil)
	_, got := s.send("From: f", "To: g@h.i", "Date: d", "Message-Id: m")
	if want := "From: f@domain.invalid\nTo: g@h.i\nDate: d\nMessage-Id: m\n"; got.content != want {
		t.Errorf("got %q, want %q", got.content, want)
	}
}

func TestLimits(t *testing.T) {
	s := newSite(t, "header_size_limit = 100\nmessage_size_limit = 2000\nhopcount_limit = 3\n", nil)
	long := "X: " + strings.Repeat("x", 70)
	_, got := s.send(long, " "+strings.Repeat("y", 50), " z", "S: x")
	if want := long + "\n " + strings.Repeat("y", 25) + "\nS: x\n"; got.content != want {
		t.Errorf("long header became %q, want %q", got.content, want)
	}
	_, got = s.send(long+strings.Repeat("x", 22), " yyyy", " z", "S: x")
	if want := long + strings.Repeat("x", 22) + "\nS: x\n"; got.content != want {
		t.Errorf("header cut at a line became %q, want %q", got.content, want)
	}
	res, got := s.send("S: x", "", strings.Repeat("b", 1990))
	if want := "552 5.3.4 Error: message file too big"; got != nil || res.Reply.String() != want {
		t.Errorf("reply %q, want %q", res.Reply, want)
	}
	if _, got := s.send("Received: 1", "Received: 2", "S: x"); got == nil {
		t.Error("two hops refused")
	}
	s.logged()
	res, got = s.send("Received: 1", "Received: 2", "Received: 3", "S: x", "", "b")
	if want := "554 5.4.0 Error: too many hops"; got != nil || res.Reply.String() != want {
		t.Errorf("reply %q, want %q", res.Reply, want)
	}
	if l := s.logged(); len(l) != 1 || !strings.HasSuffix(l[0], ": message rejected: hopcount exceeded") {
		t.Errorf("log %q", l)
	}
}

func TestCharacters(t *testing.T) {
	s := newSite(t, `message_reject_characters = \0`+"\n"+`message_strip_characters = \101z`+"\n", nil)
	if _, got := s.send("S: xAz", "", "bAz"); got.content != "S: x\n\nb\n" {
		t.Errorf("got %q", got.content)
	}
	if res, _ := s.send("S: x", "", "a\x00b"); res.Reply.String() != "550 5.7.1 disallowed character" {
		t.Errorf("reply %q", res.Reply)
	}
}

func TestParts(t *testing.T) {
	s := newSite(t, "line_length_limit = 512\nbody_checks = bc\n", map[string]map[string]string{"bc": {strings.Repeat("7", 512): "REPLACE seven"}})
	m := s.begin(stranger, "s@sender.test", "a@example.com")
	for _, p := range []string{"X: a", "bcd "} {
		if err := m.WritePart([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	if _, got := s.finish(m, "e", "", strings.Repeat("7", 1025), "--"); got.content != "X: abcd e\n\nsevenseven7\n--\n" {
		t.Errorf("got %q", got.content)
	}
}
