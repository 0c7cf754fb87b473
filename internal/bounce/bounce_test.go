package bounce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

var arrived = time.Date(2026, 11, 25, 13, 41, 27, 0, time.UTC)

// settings are those of the office.
var settings = config.Defaults().With([]config.Override{{Name: "myhostname", Value: "mx.example.com"}, {Name: "delay_warning_time", Value: "4h"}})

// office is a Bouncer whose post can be looked into.
type office struct {
	*Bouncer
	log    bytes.Buffer
	posted []posted
	broken error
}

type posted struct {
	env     mail.Envelope
	content string
}

func newOffice(classes ...string) *office {
	f := &office{}
	texts, err := builtin(settings)
	if err != nil {
		panic(err)
	}
	f.Bouncer = New(Options{
		Myhostname: "mx.example.com", Myorigin: "mx.example.com", MailName: "Postfix",
		DoubleBounceSender: "double-bounce", NotifyClasses: classes,
		BounceNotice: "postmaster", DoubleBounceNotice: "postmaster", DelayNotice: "postmaster",
		SizeLimit: 50000, QueueLifetime: 5 * 24 * time.Hour, Templates: texts,
		Clock: clock.NewManual(arrived.Add(20 * time.Second)),
		Log:   slog.New(slog.NewTextHandler(&f.log, nil)),
		Post: func(_ context.Context, env mail.Envelope, write func(string, io.Writer) error) error {
			if f.broken != nil {
				return f.broken
			}
			var b bytes.Buffer
			if err := write("NEWID", &b); err != nil {
				return err
			}
			f.posted = append(f.posted, posted{env, b.String()})
			return nil
		},
	})
	return f
}

const original = "Received: from c.test (localhost [127.0.0.1])\n\tby mx.example.com (Postfix) with ESMTP id OLDID\nSubject: one\n\nhello\n"

func report(sender string, entries ...Entry) Report {
	env := &mail.Envelope{QueueID: "OLDID", Arrived: arrived, Sender: sender, Size: int64(len(original))}
	for _, e := range entries {
		env.Recipients = append(env.Recipients, e.Recipient)
	}
	return Report{Envelope: env, Entries: entries,
		Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(original)), nil }}
}

func entry(address, orig, text string) Entry {
	return Entry{mail.Recipient{Address: address, Original: orig},
		deliver.Result{Status: deliver.Bounced, DSN: "5.1.1", Text: text, Relay: "virtual"}, "", false, false}
}

// As Postfix 3.7 wrote it, but for the ids and the date.
const bounceMessage = `Received: by mx.example.com (Postfix)
	id NEWID; Wed, 25 Nov 2026 13:41:47 +0000 (UTC)
Date: Wed, 25 Nov 2026 13:41:47 +0000 (UTC)
From: Mail Delivery System <MAILER-DAEMON@mx.example.com>
Subject: Undelivered Mail Returned to Sender
To: bob@example.test
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="OLDID.1795614107/mx.example.com"
Content-Transfer-Encoding: 8bit
Message-Id: <20261125134147.NEWID@mx.example.com>

This is a MIME-encapsulated message.

--OLDID.1795614107/mx.example.com
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is the mail system at host mx.example.com.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

For further assistance, please send mail to postmaster.

If you do so, please include this problem report. You can
delete your own text from the attached returned message.

                   The mail system

<x@example.test> (expanded from <al@example.test>): unknown user:
    "x@example.test"

<y@example.test>: host mx.y.test[192.0.2.1] said: 550 5.1.1 no (in reply to
    RCPT TO command)

--OLDID.1795614107/mx.example.com
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com
Original-Envelope-Id: abc+d
X-Postfix-Queue-ID: OLDID
X-Postfix-Sender: rfc822; bob@example.test
Arrival-Date: Wed, 25 Nov 2026 13:41:27 +0000 (UTC)

Final-Recipient: rfc822; x@example.test
Original-Recipient: rfc822;al@orig.test
Action: failed
Status: 5.1.1
Diagnostic-Code: X-Postfix; unknown user: "x@example.test"

Final-Recipient: rfc822; y@example.test
Original-Recipient: rfc822;y@example.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.y.test
Diagnostic-Code: smtp; 550 5.1.1 no

--OLDID.1795614107/mx.example.com
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <bob@example.test>
Received: from c.test (localhost [127.0.0.1])
	by mx.example.com (Postfix) with ESMTP id OLDID
Subject: one

hello

--OLDID.1795614107/mx.example.com--
`

func TestBounce(t *testing.T) {
	f := newOffice("resource", "software")
	x := entry("x@example.test", "al@example.test", `unknown user: "x@example.test"`)
	x.Recipient.ORCPT = "rfc822;al@orig.test"
	y := entry("y@example.test", "y@example.test", "host mx.y.test[192.0.2.1] said: 550 5.1.1 no (in reply to RCPT TO command)")
	y.Result.RemoteMTA, y.Result.Diagnostic = "mx.y.test", "550 5.1.1 no"
	r := report("bob@example.test", x, y)
	r.Envelope.EnvID = "abc+2Bd"
	if err := f.Failed(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	if len(f.posted) != 1 || f.posted[0].content != bounceMessage {
		t.Fatalf("posted %+v\nwant\n%s", f.posted, bounceMessage)
	}
	env := f.posted[0].env
	if env.Sender != "" || len(env.Recipients) != 1 || env.Recipients[0].Address != "bob@example.test" {
		t.Errorf("envelope %+v", env)
	}
	if !strings.Contains(f.log.String(), "OLDID: sender non-delivery notification: NEWID") {
		t.Errorf("log %s", &f.log)
	}
}

// Who is told what, by sender, NOTIFY and notify_classes.
func TestWhoIsTold(t *testing.T) {
	never, failureOnly, delayOnly, success := mail.NotifyNever, mail.NotifyFailure, mail.NotifyDelay, mail.NotifySuccess
	failed, delayed, delivered := (*Bouncer).Failed, (*Bouncer).Delayed, (*Bouncer).Delivered
	const bob = "bob@example.test"
	for name, c := range map[string]struct {
		tell    func(*Bouncer, context.Context, Report) error
		sender  string
		notify  []mail.Notify // of the recipients
		classes string
		want    string // receivers: number of recipients reported
	}{
		"failure":                 {failed, bob, []mail.Notify{0, 0}, "", bob + ":2"},
		"failure, some":           {failed, bob, []mail.Notify{0, never, delayOnly, failureOnly}, "", bob + ":2"},
		"failure, nobody":         {failed, bob, []mail.Notify{never, success}, "", ""},
		"failure, postmaster too": {failed, bob, []mail.Notify{never, 0}, "bounce", bob + ":1 postmaster:2"},
		"bounce of a bounce":      {failed, "", []mail.Notify{0}, "resource software", ""},
		"2bounce":                 {failed, "", []mail.Notify{never}, "2bounce", "postmaster:1"},
		"our own notice":          {failed, "Double-Bounce@mx.example.com", []mail.Notify{0}, "bounce 2bounce", ""},
		"delay":                   {delayed, bob, []mail.Notify{0, delayOnly, failureOnly, never}, "", bob + ":2"},
		"delay, postmaster too":   {delayed, bob, []mail.Notify{0}, "delay", bob + ":1 postmaster:1"},
		"delay of a bounce":       {delayed, "", []mail.Notify{0}, "delay", ""},
		"delay of our own notice": {delayed, "double-bounce@mx.example.com", []mail.Notify{0}, "delay", ""},
		"success":                 {delivered, bob, []mail.Notify{0, success, never}, "", bob + ":1"},
		"success, not asked":      {delivered, bob, []mail.Notify{0, failureOnly}, "bounce", ""},
		"success of a bounce":     {delivered, "", []mail.Notify{success}, "", ""},
	} {
		f := newOffice(strings.Fields(c.classes)...)
		var entries []Entry
		for _, n := range c.notify {
			e := entry("x@example.test", "x@example.test", "why")
			e.Recipient.Notify = n
			entries = append(entries, e)
		}
		if err := c.tell(f.Bouncer, t.Context(), report(c.sender, entries...)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		var got []string
		for _, p := range f.posted {
			n := strings.Count(p.content, "Final-Recipient:")
			got = append(got, p.env.Recipients[0].Address+":"+string(rune('0'+n)))
			if want := map[bool]string{true: "double-bounce@mx.example.com"}[p.env.Recipients[0].Address == "postmaster"]; p.env.Sender != want {
				t.Errorf("%s: sent by %q, want %q", name, p.env.Sender, want)
			}
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: told %q, want %q", name, g, c.want)
		}
	}
}

func TestDelayAndSuccess(t *testing.T) {
	f := newOffice()
	late := entry("x@defer.test", "x@defer.test", "come back later")
	late.Result.Status, late.Result.DSN = deliver.Deferred, "4.0.0"
	if err := f.Delayed(t.Context(), report("bob@example.test", late)); err != nil {
		t.Fatal(err)
	}
	done := entry("x@y.test", "x@y.test", "250 ok")
	done.Recipient.Notify = mail.NotifySuccess
	done.Result = deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "250 ok", Relay: "mx.y.test[192.0.2.1]:25", Relayed: true, RemoteMTA: "mx.y.test", Diagnostic: "250 ok"}
	if err := f.Delivered(t.Context(), report("bob@example.test", done)); err != nil {
		t.Fatal(err)
	}
	for i, wants := range [][]string{
		{"Subject: Delayed Mail (still being retried)\n", "more than 4 hour(s).\nIt will be retried until it is 5 day(s) old.",
			"Action: delayed\nStatus: 4.0.0\nDiagnostic-Code: X-Postfix; come back later\nWill-Retry-Until: Mon, 30 Nov 2026 13:41:27 +0000 (UTC)\n",
			"Content-Description: Undelivered Message Headers\nContent-Type: text/rfc822-headers\n"},
		{"Subject: Successful Mail Delivery Report\n", "<x@y.test>: delivery via mx.y.test[192.0.2.1]:25: 250 ok\n",
			"Action: relayed\nStatus: 2.0.0\nRemote-MTA: dns; mx.y.test\nDiagnostic-Code: smtp; 250 ok\n",
			"Content-Description: Message Headers\n"},
	} {
		for _, want := range wants {
			if !strings.Contains(f.posted[i].content, want) {
				t.Errorf("lacks %q:\n%s", want, f.posted[i].content)
			}
		}
		if strings.Contains(f.posted[i].content, "\nhello\n") {
			t.Errorf("has the body:\n%s", f.posted[i].content)
		}
	}
}

func TestHowMuchIsReturned(t *testing.T) {
	for _, c := range []struct {
		ret  string
		size int64
		body bool
	}{{"", 100, true}, {"FULL", 100, true}, {"HDRS", 100, false}, {"FULL", 50001, false}} {
		f := newOffice()
		r := report("bob@example.test", entry("x@a.test", "x@a.test", "why"))
		r.Envelope.Ret, r.Envelope.Size = c.ret, c.size
		if err := f.Failed(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		content := f.posted[0].content
		if got := strings.Contains(content, "\nhello\n"); got != c.body || !strings.Contains(content, "\tby mx.example.com (Postfix) with ESMTP id OLDID\nSubject: one\n") {
			t.Errorf("RET=%s, %d bytes: body %v, want %v", c.ret, c.size, got, c.body)
		}
	}
}

func TestPostmasterCopy(t *testing.T) {
	f := newOffice("2bounce")
	if err := f.Failed(t.Context(), report("", entry("x@a.test", "x@a.test", "why"))); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Subject: Postmaster Copy: Undelivered Mail\nTo: postmaster@mx.example.com\nAuto-Submitted: auto-generated\n",
		"Content-Transfer-Encoding: 8bit\n\n\n<x@a.test>: why\n",
		"X-Postfix-Sender: rfc822; MAILER-DAEMON@mx.example.com\n",
		"Return-Path: <MAILER-DAEMON@mx.example.com>\n",
	} {
		if !strings.Contains(f.posted[0].content, want) {
			t.Errorf("lacks %q:\n%s", want, f.posted[0].content)
		}
	}
	if !strings.Contains(f.log.String(), "OLDID: postmaster non-delivery notification: NEWID") {
		t.Errorf("log %s", &f.log)
	}
}

func TestFailuresAreTold(t *testing.T) {
	f := newOffice()
	r := report("bob@example.test", entry("x@a.test", "x@a.test", "why"))
	f.broken = errors.New("no space left on device")
	if err := f.Failed(t.Context(), r); !errors.Is(err, f.broken) {
		t.Errorf("post failed: %v", err)
	}
	f = newOffice()
	unreadable := errors.New("unreadable")
	r.Content = func() (io.ReadCloser, error) { return nil, unreadable }
	if err := f.Failed(t.Context(), r); !errors.Is(err, unreadable) || len(f.posted) != 0 {
		t.Errorf("content failed: %v, posted %v", err, f.posted)
	}
}

func TestSMTPUTF8(t *testing.T) {
	f := newOffice()
	r := report("bob@example.test", entry("ユーザ@a.test", "ユーザ@a.test", "why"))
	r.Envelope.SMTPUTF8 = true
	if err := f.Failed(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"Content-Type: message/global-delivery-status\nContent-Transfer-Encoding: 8bit\n",
		"Final-Recipient: utf-8; ユーザ@a.test\nOriginal-Recipient: utf-8;ユーザ@a.test\n", "Content-Type: message/global\n",
	} {
		if !strings.Contains(f.posted[0].content, want) {
			t.Errorf("lacks %q:\n%s", want, f.posted[0].content)
		}
	}
	if !f.posted[0].env.SMTPUTF8 {
		t.Error("the notification does not ask for SMTPUTF8")
	}
}

func TestWrap(t *testing.T) {
	word := strings.Repeat("w", 100)
	for in, want := range map[string]string{
		"":                              "",
		"short":                         "short",
		word:                            word,
		"a " + word + " b":              "a|    " + word + "|    b",
		strings.Repeat("123456789 ", 8): strings.TrimRight(strings.Repeat("123456789 ", 8), " "),
		strings.Repeat("123456789 ", 9): strings.TrimRight(strings.Repeat("123456789 ", 8), " ") + "|    123456789",
	} {
		if got := strings.Join(mail.Wrap(strings.TrimRight(in, " "), 79), "|"); got != want {
			t.Errorf("%q:\n%q, want\n%q", in, got, want)
		}
	}
}

func TestHeaderLine(t *testing.T) {
	for line, want := range map[string]bool{
		"Subject: x": true, "X:": true, "\tfolded": true, " folded": true, "Name : x": true,
		"": false, "\n": false, ": x": false, "no header": false, "bad\x01name: x": false,
	} {
		if headerLine([]byte(line)) != want {
			t.Errorf("%q: want %v", line, want)
		}
	}
}

func TestXtext(t *testing.T) {
	for in, want := range map[string]string{"abc+2Bd": "abc+d", "rfc822;a+3Db": "rfc822;a=b", "+": "+", "+2": "+2", "+zz": "+zz", "a+0Ab": "a?b"} {
		if got := decodeXtext(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}
