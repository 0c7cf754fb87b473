package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

const basics = `
compatibility_level = 3.6
myhostname = mx.example.com
myorigin = example.com
mydestination = localhost, local.test
inet_interfaces = 127.0.0.1
recipient_delimiter = +
alias_maps = aliases
`

// site is an agent with users ann and bea, who are the tester himself, and a
// record of what it posted.
type site struct {
	agent *Agent
	dir   string
	log   bytes.Buffer

	posted  []mail.Envelope
	content string
	full    bool // the queue takes nothing
}

func newSite(t *testing.T, mainCf string, aliases map[string]string) *site {
	t.Helper()
	s := &site{dir: t.TempDir()}
	mainCf = strings.ReplaceAll(basics+mainCf, "DIR", s.dir)
	passwd := ""
	for _, name := range []string{"ann", "bea"} {
		passwd += fmt.Sprintf("%s:x:%d:%d::%s/%s:/bin/sh\n", name, os.Geteuid(), os.Getegid(), s.dir, name)
	}
	for name, text := range map[string]string{"main.cf": mainCf, "master.cf": "", "passwd": passwd} {
		if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"spool", "ann", "bea"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := rewrite.Compile(cfg, rewrite.World{Partial: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	clk := clock.NewManual(time.Date(2026, 11, 5, 10, 33, 0, 0, time.UTC))
	world := &evidence.World{Clock: clk, Lookup: func(table, key string) (string, bool, error) {
		v, ok := aliases[key]
		if v == "broken" {
			return "", false, errors.New("broken")
		}
		return v, ok, nil
	}}
	s.agent, err = New(Options{
		Name: "local", Config: cfg, Resolver: resolver, World: world, Post: s.post, Users: Users{filepath.Join(s.dir, "passwd")}, Clock: clk,
		Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) post(_ context.Context, env mail.Envelope, write func(string, io.Writer) error) error {
	if s.full {
		return errors.New("no space")
	}
	var b bytes.Buffer
	if err := write("NEW", &b); err != nil {
		return err
	}
	s.posted, s.content = append(s.posted, env), b.String()
	return nil
}

func (s *site) deliver(content, to string) deliver.Result {
	r := &deliver.Request{
		QueueID: "Q", Envelope: &mail.Envelope{Sender: "s@sender.test", EnvID: "e"},
		Recipients: []mail.Recipient{{Address: to, Original: to, Notify: mail.NotifySuccess}},
		Content:    func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
	return s.agent.Deliver(context.Background(), r)[0]
}

const message = "Subject: x\n\nFrom here\nb\n"

// words are the outcomes of all that a recipient stood for.
func words(res deliver.Result) string {
	var list []string
	res.Each(mail.Recipient{}, func(p deliver.Part) {
		list = append(list, p.Result.Status.String()+" "+p.Result.DSN+" "+p.Result.Text)
	})
	return strings.Join(list, " / ")
}

// TestOutcomes holds the words of local(8) of Postfix 3.7.11.
func TestOutcomes(t *testing.T) {
	aliases := map[string]string{
		"one": "a@example.com", "list:": `a@example.com, "b c"@x.test`, "owner-list": "x", "cmd": `"|/bin/cat"`, "file": "/tmp/f",
		"inc": ":include:/etc/list", "empty": ",", "bad": "broken", "ann": "ann", "bea": `\bea@local.test, a@example.com`,
		"loop1": "loop2@localhost", "loop2": "loop1@localhost",
	}
	for _, c := range []struct{ to, want, posted, mailbox string }{
		{"one@localhost", "sent 2.0.0 forwarded as NEW", "s@sender.test: one@localhost>a@example.com", ""},
		{"one+ext@localhost", "sent 2.0.0 forwarded as NEW", "s@sender.test: one+ext@localhost>a@example.com", ""},
		{"list@localhost", "sent 2.0.0 forwarded as NEW", "owner-list@example.com: >a@example.com >b c@x.test", ""},
		{"cmd@localhost", "deferred 4.3.5 mail system configuration error", "", ""},
		{"file@localhost", "deferred 4.3.5 mail system configuration error", "", ""},
		{"inc@localhost", "bounced 5.3.5 mail system configuration error", "", ""},
		{"empty@localhost", "deferred 4.3.0 alias database unavailable", "", ""},
		{"bad@localhost", "deferred 4.3.0 alias database unavailable", "", ""},
		{"Bea+x@localhost", "sent 2.0.0 delivered to mailbox / sent 2.0.0 forwarded as NEW", "s@sender.test: Bea+x@localhost>a@example.com", "bea"},
		{"loop1@localhost", "bounced 5.4.6 recipient nesting limit exceeded", "", ""}, // as Postfix 3.12
		{"nosuch+x@localhost", `bounced 5.1.1 unknown user: "nosuch"`, "", ""},
		{"+x@localhost", `bounced 5.1.1 unknown user: "+x"`, "", ""},
		{"postmaster@localhost", "sent 2.0.0 discarded", "", ""},
		{"..@localhost", `bounced 5.1.1 unknown user: ".."`, "", ""},
	} {
		s := newSite(t, "mail_spool_directory = DIR/spool\n", aliases)
		res := s.deliver(message, c.to)
		if got := words(res); got != c.want || res.Relay != "local" {
			t.Errorf("%s: %s (relay %s), want %s", c.to, got, res.Relay, c.want)
		}
		var posted string
		for _, e := range s.posted {
			posted += e.Sender + ":"
			for _, r := range e.Recipients {
				posted += " " + r.Original + ">" + r.Address
				if r.Notify != mail.NotifyNever {
					t.Errorf("%s: NOTIFY %s went on", c.to, r.Notify)
				}
			}
		}
		if posted != c.posted {
			t.Errorf("%s: posted %q, want %q", c.to, posted, c.posted)
		}
		if files, _ := filepath.Glob(s.dir + "/spool/*"); len(files) != len(c.mailbox)/3 {
			t.Errorf("%s: mailboxes %q", c.to, files)
		}
	}
}

func TestForwardedMail(t *testing.T) {
	s := newSite(t, "", map[string]string{"one": "a@example.com"})
	s.deliver(message, "ONE@localhost")
	want := `^Received: by mx\.example\.com \(Postfix\)\n\tid NEW; Thu,  5 Nov 2026 1\d:33:00 .*\nDelivered-To: one@localhost\n` + regexp.QuoteMeta(message) + `$`
	if !regexp.MustCompile(want).MatchString(s.content) {
		t.Errorf("got %q", s.content)
	}
	if e := s.posted[0]; e.EnvID != "e" {
		t.Errorf("ENVID %q lost", e.EnvID)
	}
	for _, loop := range []string{"Delivered-To: one@localhost\n", "X: y\n z\nDELIVERED-TO : <One@Localhost>\n"} {
		if res := s.deliver(loop+message, "one@localhost"); res.DSN != "5.4.6" || res.Text != "mail forwarding loop for one@localhost" {
			t.Errorf("%q: %+v", loop, res)
		}
	}
	if res := s.deliver(message+"\nDelivered-To: one@localhost\n", "one@localhost"); res.Status != deliver.Sent {
		t.Errorf("Delivered-To in the body: %+v", res)
	}
	s.full = true
	if res := s.deliver(message, "one@localhost"); res.Status != deliver.Deferred || res.DSN != "4.3.0" {
		t.Errorf("with a full queue: %+v", res)
	}
}

func TestMailboxes(t *testing.T) {
	for _, c := range []struct{ main, text, path, want string }{
		{"mail_spool_directory = DIR/spool", "delivered to mailbox", "spool/ann", "From s@sender.test  Thu Nov  5 1"},
		{"mail_spool_directory = DIR/spool/", "delivered to maildir", "spool/ann/new/*", "Return-Path: <s@sender.test>\nX-Original-To: Ann+x@localhost\nDelivered-To: Ann+x@localhost\nSubject: x\n\nFrom here\nb\n"},
		{"home_mailbox = Maildir/", "delivered to maildir", "ann/Maildir/new/*", "Return-Path: <s@sender.test>\n"},
		{"home_mailbox = mbox\nprepend_delivered_header = forward", "delivered to mailbox", "ann/mbox", "From s@sender.test  Thu Nov  5 1"},
	} {
		s := newSite(t, c.main+"\n", nil)
		res := s.deliver(message, "Ann+x@localhost")
		if res.Status != deliver.Sent || res.Text != c.text {
			t.Fatalf("%s: %+v", c.main, res)
		}
		files, _ := filepath.Glob(filepath.Join(s.dir, c.path))
		if len(files) != 1 {
			t.Fatalf("%s: files %q", c.main, files)
		}
		text, err := os.ReadFile(files[0])
		if err != nil || !strings.HasPrefix(string(text), c.want) {
			t.Errorf("%s: %q, %v; want %q", c.main, text, err, c.want)
		}
		if strings.Contains(c.main, "forward") == strings.Contains(string(text), "Delivered-To") {
			t.Errorf("%s: Delivered-To in %q", c.main, text)
		}
	}
	s := newSite(t, "mail_spool_directory = DIR/nowhere/at/all\n", nil)
	if res := s.deliver(message, "ann@localhost"); res.Status != deliver.Bounced || res.DSN != "5.2.0" || !strings.HasPrefix(res.Text, "cannot update mailbox ") {
		t.Errorf("no spool directory: %+v", res)
	}
}

// An address probe is told what a name is, and nothing is delivered or
// forwarded.
func TestProbe(t *testing.T) {
	s := newSite(t, "home_mailbox = Maildir/\n", map[string]string{"team": "ann, far@else.test", "pipe": "|/bin/cat", "bad": "broken"})
	for to, want := range map[string]deliver.Result{
		"ann@local.test":    {Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to maildir", Relay: "local"},
		"ann+x@local.test":  {Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to maildir", Relay: "local"},
		"team@local.test":   {Status: deliver.Sent, DSN: "2.0.0", Text: "aliased to ann, far@else.test", Relay: "local"},
		"pipe@local.test":   {Status: deliver.Sent, DSN: "2.0.0", Text: "aliased to |/bin/cat", Relay: "local"},
		"bad@local.test":    {Status: deliver.Deferred, DSN: "4.3.0", Text: "alias database unavailable", Relay: "local"},
		"nobody@local.test": {Status: deliver.Bounced, DSN: "5.1.1", Text: `unknown user: "nobody"`, Relay: "local"},
	} {
		r := &deliver.Request{
			Envelope: &mail.Envelope{}, Recipients: []mail.Recipient{{Address: to}}, Probe: true,
			Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("Date: x\n\n")), nil },
		}
		if got := s.agent.Deliver(t.Context(), r); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, want %+v", to, got, want)
		}
	}
	if left, err := filepath.Glob(s.dir + "/ann/*"); err != nil || len(left) > 0 || len(s.posted) > 0 {
		t.Errorf("probes left %v %v, %v", left, s.posted, err)
	}
}
