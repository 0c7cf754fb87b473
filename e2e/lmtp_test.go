package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// lmtpSite runs the server and a Dovecot that takes its mail over nexthop,
// where {lmtp} stands for the address.
func lmtpSite(t *testing.T, nexthop, more string) (s *site, d *dovecot, addr string, stop func()) {
	t.Helper()
	s = newSite(t, `virtual_mailbox_domains = example.test
virtual_mailbox_maps = static:x
virtual_mailbox_base =
smtpd_recipient_restrictions = permit_mynetworks, reject
mynetworks = 127.0.0.0/8
`)
	d = newDovecot(t, s, mailbox{"alice@example.test", ""}, mailbox{"erin@example.test", ""},
		mailbox{"carol@example.test", "userdb_quota_rule=*:bytes=100"}, mailbox{"dave@example.test", ""})
	s.add(t, "virtual_transport = lmtp:"+strings.ReplaceAll(nexthop, "{lmtp}", d.lmtp)+"\n"+more)
	addr = freePorts(t, 1)[0]
	s.services(t, addr+" inet n - n - - smtpd\nlmtp unix - - n - - lmtp\n")
	stop = d.start(t)
	s.serve(t, addr)
	return s, d, addr, stop
}

// send hands the server a message and returns its queue ID.
func send(t *testing.T, addr, from, content string, to ...string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	commands := []string{"EHLO client.test", "MAIL FROM:<" + from + "> BODY=8BITMIME"}
	for _, r := range to {
		commands = append(commands, "RCPT TO:<"+r+">")
	}
	commands = append(commands, "DATA", string(stuffed([]byte(content)))+".")
	r := bufio.NewReader(conn)
	last := answer(t, r)
	for _, c := range commands {
		fmt.Fprintf(conn, "%s\r\n", c)
		if last = answer(t, r); last[0] != '2' && last[0] != '3' {
			t.Fatalf("%s: %s", c, last)
		}
	}
	_, id, ok := strings.Cut(last, "queued as ")
	if !ok {
		t.Fatalf("no queue ID in %q", last)
	}
	return id
}

// answer reads one reply and returns its last line.
func answer(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if len(line) < 4 || line[3] != '-' {
			return strings.TrimRight(line, "\r\n")
		}
	}
}

// outcome waits for the log's line about one recipient of a message, whose
// text has to match pattern after the delays.
func (s *site) outcome(t *testing.T, id, to, pattern string) {
	t.Helper()
	whole := regexp.MustCompile(`/lmtp\[\d+\]: ` + id + `: to=<` + regexp.QuoteMeta(to) + `>, (.*)`)
	want := regexp.MustCompile("^" + pattern + "$")
	var seen []string
	await(t, 30*time.Second, "outcome of "+to, func() bool {
		b, err := os.ReadFile(s.log)
		if err != nil {
			return false
		}
		seen = nil
		for _, m := range whole.FindAllStringSubmatch(string(b), -1) {
			seen = append(seen, delays.ReplaceAllString(m[1], ""))
		}
		return len(seen) > 0
	})
	for _, line := range seen {
		if want.MatchString(line) {
			return
		}
	}
	t.Errorf("%s: %q, want %s", to, seen, pattern)
}

// awaitSent waits until n messages were delivered to a recipient.
func (s *site) awaitSent(t *testing.T, to string, n int) {
	t.Helper()
	line := regexp.MustCompile(`/lmtp\[\d+\]: \w+: to=<` + regexp.QuoteMeta(to) + `>, .*, status=sent \(`)
	await(t, 30*time.Second, fmt.Sprintf("%d messages to %s", n, to), func() bool {
		b, err := os.ReadFile(s.log)
		return err == nil && len(line.FindAll(b, -1)) >= n
	})
}

var delays = regexp.MustCompile(`delay=\S+, delays=\S+, `)

// One message, four recipients, a different answer to each from a real Dovecot;
// what it took is in the mailboxes that its IMAP shows.
func TestDovecotTakesMailByLMTP(t *testing.T) {
	for _, way := range []struct{ nexthop, relay string }{
		{"unix:private/dovecot-lmtp", "mx.example.test[private/dovecot-lmtp]"},
		{"inet:{lmtp}", "127.0.0.1[127.0.0.1]:PORT"},
		{"{lmtp}", "127.0.0.1[127.0.0.1]:PORT"},
	} {
		t.Run(way.nexthop, func(t *testing.T) {
			s, d, addr, _ := lmtpSite(t, way.nexthop, "")
			if err := os.WriteFile(filepath.Join(s.mail, "dave@example.test"), nil, 0o600); err != nil { // where a home should be
				t.Fatal(err)
			}
			relay := "relay=" + regexp.QuoteMeta(strings.ReplaceAll(way.relay, "PORT", portOf(d.lmtp))) + ", "
			host := "host " + regexp.QuoteMeta(strings.ReplaceAll(way.relay, ":PORT", "")) + " said: "
			const body = ".dot\r\n..\r\nl\xc3\xb6ffel\r\n"
			id := send(t, addr, "alice@example.test", "Subject: l\xc3\xa4uft\r\n\r\n"+body, "alice@example.test", "bob@example.test", "carol@example.test", "dave@example.test", "erin@example.test")
			saved := relay + `dsn=2\.0\.0, status=sent \(250 2\.0\.0 <USER@example\.test> \S+ Saved\)`
			s.outcome(t, id, "alice@example.test", strings.ReplaceAll(saved, "USER", "alice"))
			s.outcome(t, id, "erin@example.test", strings.ReplaceAll(saved, "USER", "erin"))
			s.outcome(t, id, "bob@example.test", relay+`dsn=5\.1\.1, status=bounced \(`+host+`550 5\.1\.1 <bob@example\.test> User doesn't exist: bob@example\.test \(in reply to RCPT TO command\)\)`)
			s.outcome(t, id, "carol@example.test", relay+`dsn=5\.2\.2, status=bounced \(`+host+`552 5\.2\.2 <carol@example\.test> Quota exceeded \(mailbox for user is full\) \(in reply to end of DATA command\)\)`)
			s.outcome(t, id, "dave@example.test", relay+`dsn=4\.[23]\.0, status=deferred \(`+host+`451 4\.[23]\.0 <dave@example\.test> .*\)`)
			for _, part := range []string{"Subject: l\xc3\xa4uft\r\n", "\r\n\r\n" + body, "Return-Path: <alice@example.test>\r\n", "by mx.example.test (", " id " + id} {
				if got := d.read(t, "erin@example.test"); !strings.Contains(got, part) {
					t.Errorf("erin's INBOX has no %q: %q", part, got)
				}
			}
			s.awaitSent(t, "alice@example.test", 2)
			for _, part := range []string{body, "Return-Path: <>\r\n", "Subject: Undelivered Mail Returned to Sender\r\n", "Final-Recipient: rfc822; bob@example.test\r\n",
				"Remote-MTA: dns; " + strings.Split(way.relay, "[")[0] + "\r\nDiagnostic-Code: smtp; 552 5.2.2 <carol@example.test> Quota exceeded"} {
				if got := d.read(t, "alice@example.test"); !strings.Contains(got, part) {
					t.Errorf("alice's INBOX has no %q: %q", part, got)
				}
			}
		})
	}
}

// While Dovecot is away mail waits, and goes on its way when it is back.
func TestMailWaitsForDovecot(t *testing.T) {
	s, d, addr, stop := lmtpSite(t, "unix:private/dovecot-lmtp", "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n")
	stop()
	id := send(t, addr, "someone@else.test", "Subject: patience\r\n\r\nx\r\n", "alice@example.test")
	s.outcome(t, id, "alice@example.test", `relay=none, dsn=4\.4\.1, status=deferred \(connect to mx\.example\.test\[private/dovecot-lmtp\]: (No such file or directory|Connection refused)\)`)
	d.start(t)
	s.awaitSent(t, "alice@example.test", 1)
	if got := d.read(t, "alice@example.test"); !strings.Contains(got, "Subject: patience\r\n") {
		t.Errorf("alice's INBOX: %q", got)
	}
}
