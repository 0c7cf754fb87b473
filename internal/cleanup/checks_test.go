package cleanup

import (
	"slices"
	"strings"
	"testing"

	"sekisho/internal/mail"
)

const checksCf = `
header_checks = hc
mime_header_checks = mc
nested_header_checks = nc
body_checks = bc
`

// from is how a check's log lines go on after what matched.
const from = " from good.client.test[192.0.2.7]; from=<s@sender.test> to=<a@example.com> proto=ESMTP helo=<client.test>"

// TestActions holds what Postfix 3.7.11 logs, answers and keeps for each action
// of header_checks(5) on the header "X: 1".
func TestActions(t *testing.T) {
	const kept = "X: 1\nMessage-Id: <m@x>\n\nb\n"
	for _, c := range []struct {
		action  string
		reply   string
		log     string // without the log's frame: "ACTION: header X: 1 ..."; "" none
		warning string
		content string // "": nothing is queued
	}{
		{"REJECT", "550 5.7.1 message content rejected", "reject: header X: 1" + from + ": 5.7.1 message content rejected", "", ""},
		{"reject no way", "550 5.7.1 no way", "reject: header X: 1" + from + ": 5.7.1 no way", "", ""},
		{"REJECT 4.2.1 later", "451 4.2.1 later", "reject: header X: 1" + from + ": 4.2.1 later", "", ""},
		{"REJECT 2.1.1 odd", "451 4.1.1 odd", "reject: header X: 1" + from + ": 4.1.1 odd", "bad DSN action in 2.1.1 odd -- need 4.x.x or 5.x.x", ""},
		{"REJECT 550 5.1.1 no", "550 5.7.1 550 5.1.1 no", "reject: header X: 1" + from + ": 5.7.1 550 5.1.1 no", "", ""},
		{"DISCARD quietly", "", "discard: header X: 1" + from + ": quietly", "", ""},
		{"WARN w", "", "warning: header X: 1" + from + ": w", "", kept},
		{"INFO", "", "info: header X: 1" + from, "", kept},
		{"PASS", "", "pass: header X: 1" + from, "", kept},
		{"HOLD h", "", "hold: header X: 1" + from + ": h", "", kept},
		{"FILTER t:n", "", "filter: header X: 1" + from + ": t:n", "", kept},
		{"FILTER t", "", "", "bad FILTER command t in header_checks -- need transport:destination", kept},
		{"FILTER", "", "", "missing FILTER command argument in header_checks map", kept},
		{"REDIRECT b@example.com", "", "redirect: header X: 1" + from + ": b@example.com", "", kept},
		{"REDIRECT b", "", "", `bad REDIRECT target "b" in header_checks map -- need user@domain`, kept},
		{"BCC b@example.com", "", "bcc: header X: 1" + from + ": b@example.com", "", kept},
		{"BCC b", "", "", `bad BCC address "b" in header_checks map -- need user@domain`, kept},
		{"PREPEND Y: 2", "", "prepend: header X: 1" + from + ": Y: 2", "", "Y: 2\n" + kept},
		{"PREPEND y", "", "", `bad PREPEND header text "y" in header_checks map -- need "headername: headervalue"`, kept},
		{"PREPEND", "", "", "PREPEND action without text in header_checks map", kept},
		{"REPLACE Y: 2", "", "replace: header X: 1" + from + ": Y: 2", "", strings.Replace(kept, "X: 1", "Y: 2", 1)},
		{"REPLACE y", "", "", `bad REPLACE header text "y" in header_checks map -- need "headername: headervalue"`, kept},
		{"STRIP s", "", "strip: header X: 1" + from + ": s", "", strings.TrimPrefix(kept, "X: 1\n")},
		{"IGNORE s", "", "", "", strings.TrimPrefix(kept, "X: 1\n")},
		{"DUNNO", "", "", "", kept},
		{"OK", "", "", "", kept},
		{"550 5.7.8 text", "", "", "unknown command in header_checks map: 550 5.7.8 text", kept},
	} {
		s := newSite(t, checksCf, map[string]map[string]string{"hc": {"X: 1": c.action}, "mc": {}, "nc": {}, "bc": {}})
		res, got := s.send("X: 1", "Message-Id: <m@x>", "", "b")
		if res.Reply.String() != c.reply && !(res.Reply.IsZero() && c.reply == "") {
			t.Errorf("%s: reply %q, want %q", c.action, res.Reply, c.reply)
		}
		var content string
		if got != nil {
			content = got.content
			checkEnvelope(t, c.action, got.env)
		}
		if content != c.content {
			t.Errorf("%s: content %q, want %q", c.action, content, c.content)
		}
		var want []string
		if c.warning != "" {
			want = append(want, "warning: "+c.warning)
		}
		lines := s.logged()
		for i, l := range lines {
			if _, text, ok := strings.Cut(l, ": "); ok && !strings.HasPrefix(l, "warning") {
				lines[i] = text
			}
		}
		if c.log != "" {
			want = append(want, c.log)
		}
		if c.content != "" {
			want = append(want, "message-id=<m@x>")
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%s: log\n%q\nwant\n%q", c.action, lines, want)
		}
	}
}

func checkEnvelope(t *testing.T, action string, env mail.Envelope) {
	t.Helper()
	var to []string
	for _, r := range env.Recipients {
		to = append(to, r.Original+">"+r.Address)
	}
	want, hold, filter := []string{"a@example.com>a@example.com"}, false, ""
	switch action {
	case "HOLD h":
		hold = true
	case "FILTER t:n":
		filter = "t:n"
	case "REDIRECT b@example.com":
		want = []string{"a@example.com>b@example.com"}
	case "BCC b@example.com":
		want = append(want, "b@example.com>b@example.com")
	}
	if !slices.Equal(to, want) || env.Hold != hold || env.Filter != filter {
		t.Errorf("%s: recipients %q hold %v filter %q, want %q %v %q", action, to, env.Hold, env.Filter, want, hold, filter)
	}
}

func TestWhichHeadersAreChecked(t *testing.T) {
	table := map[string]string{"X: 1": "WARN", "X: 1\n 2": "WARN folded", "Content-Type: multipart/mixed; boundary=b": "WARN"}
	s := newSite(t, checksCf, map[string]map[string]string{
		"hc": table,
		"mc": {"X: 2": "WARN part", "Content-Type: message/rfc822": "WARN"},
		"nc": {"X: 3": "WARN nested"},
		"bc": {"X: 4": "WARN body", "--b": "WARN body"},
	})
	s.send("X: 1", " 2", "X:  1", "X : 1", "Content-Type: multipart/mixed; boundary=b", "",
		"X: 1", "--b", "X: 2", "Content-Type: message/rfc822", "", "X: 3", "", "X: 4", "--b--", "X: 4")
	var got []string
	for _, l := range s.logged() {
		if _, text, ok := strings.Cut(l, ": warning: "); ok {
			what, _, _ := strings.Cut(text, " from good")
			got = append(got, what)
		}
	}
	want := []string{"header X: 1? 2", "header X: 1", "body --b", "header Content-Type: message/rfc822", "header X: 3", "body X: 4", "body X: 4"}
	// "X: 2" is a header of the part, and checked as such before its own kind
	want = slices.Insert(want, 3, "header X: 2")
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

func TestBodyChecksLimit(t *testing.T) {
	s := newSite(t, checksCf+"body_checks_size_limit = 10\n", map[string]map[string]string{
		"hc": {}, "mc": {}, "nc": {}, "bc": {"1234567890": "STRIP", "x": "STRIP"}})
	_, got := s.send("A: b", "", "12345678", "x", "x")
	if want := "A: b\n\n12345678\nx\nx\n"; got.content != want {
		t.Errorf("got %q, want %q", got.content, want)
	}
	_, got = s.send("A: b", "", "1234567", "x", "x")
	if want := "A: b\n\n1234567\nx\n"; got.content != want {
		t.Errorf("got %q, want %q", got.content, want)
	}
}

func TestBrokenCheck(t *testing.T) {
	s := newSite(t, checksCf, map[string]map[string]string{"hc": nil, "mc": {}, "nc": {}, "bc": {}})
	res, got := s.send("X: 1", "Message-Id: <m@x>", "", "b")
	if want := "451 4.3.0 Error: queue file write error"; got != nil || res.Reply.String() != want {
		t.Errorf("reply %q, queued %v; want %q", res.Reply, got, want)
	}
	lines := s.logged()
	if len(lines) != 2 || lines[0] != `warning: hc lookup error for "X: 1"` ||
		!strings.HasSuffix(lines[1], ": header_checks map lookup problem -- message not accepted, try again later") {
		t.Errorf("log %q", lines)
	}
}

func TestPassAndRejectEndChecks(t *testing.T) {
	tables := map[string]map[string]string{"hc": {"X: 1": "PASS", "Y: 1": "REJECT late"}, "mc": {}, "nc": {}, "bc": {"b": "REJECT body"}}
	s := newSite(t, checksCf, tables)
	if res, got := s.send("X: 1", "Y: 1", "", "b"); !res.Reply.IsZero() || got == nil {
		t.Errorf("PASS: reply %q", res.Reply)
	}
	if res, _ := s.send("Y: 1", "", "b"); res.Reply.String() != "550 5.7.1 late" {
		t.Errorf("reply %q", res.Reply)
	}
	other, problems := s.c.For(s.config("receive_override_options = no_header_body_checks\n"), nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s.c = other
	if res, got := s.send("Y: 1", "", "b"); !res.Reply.IsZero() || got == nil {
		t.Errorf("no_header_body_checks: reply %q", res.Reply)
	}
}

func TestStrictMIME(t *testing.T) {
	deep := []string{"Content-Type: multipart/mixed; boundary=0"}
	for range 5 {
		deep = append(deep, "", "--0", "Content-Type: multipart/mixed; boundary=0")
	}
	for _, c := range []struct {
		main, reply string
		lines       []string
	}{
		{"", "", []string{"Subject: \xff", "", "\xff"}},
		{"strict_7bit_headers = yes", "550 5.6.0 improper use of 8-bit data in message header", []string{"Subject: \xff", "", "x"}},
		{"strict_8bitmime = yes", "550 5.6.0 improper use of 8-bit data in message header", []string{"Subject: \xff", "", "\xff"}},
		{"strict_8bitmime_body = yes", "550 5.6.0 improper use of 8-bit data in message body", []string{"Subject: x", "", "\xff"}},
		{"strict_8bitmime_body = yes", "", []string{"Content-Transfer-Encoding: 8bit", "", "\xff"}},
		{"strict_mime_encoding_domain = yes", "550 5.6.0 invalid message/* or multipart/* encoding domain", []string{"Content-Type: message/rfc822", "Content-Transfer-Encoding: base64", "", "x"}},
		{"strict_mime_encoding_domain = yes", "", []string{"Content-Type: message/rfc822", "Content-Transfer-Encoding: binary", "", "x"}},
		{"mime_nesting_limit = 3\nstrict_7bit_headers = yes", "550 5.6.0 MIME nesting exceeds safety limit", deep},
		{"mime_nesting_limit = 3", "", deep},
		{"strict_8bitmime = yes\ndisable_mime_input_processing = yes", "", []string{"Subject: \xff", "", "\xff"}},
	} {
		s := newSite(t, c.main+"\n", nil)
		res, got := s.send(c.lines...)
		if reply := res.Reply; reply.IsZero() != (c.reply == "") || !reply.IsZero() && reply.String() != c.reply {
			t.Errorf("%s: reply %q, want %q", c.main, reply, c.reply)
		}
		if (got == nil) != (c.reply != "") {
			t.Errorf("%s: queued %v", c.main, got)
		}
	}
}
