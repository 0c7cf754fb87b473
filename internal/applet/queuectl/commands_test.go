package queuectl_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/postcat"
	"sekisho/internal/applet/postqueue"
	"sekisho/internal/applet/postsuper"
	"sekisho/internal/applet/queuectl"
	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

// arrived is a Wednesday. The commands show local time, so it is local.
var arrived = time.Date(2026, 11, 25, 17, 9, 5, 123456000, time.Local)

// site is a configuration folder with a spool that has four messages:
//
//	AAAA000001  waits for two of its three recipients
//	AAAA000002  a bounce that has not been tried
//	AAAA000003  is on hold
//	AAAA000004  is being delivered, and will be returned
type site struct {
	dir    string
	clock  *clock.Manual
	queue  *queue.Queue
	server *control.Server
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: t.TempDir(), clock: clock.NewManual(arrived)}
	mainCf := "sekisho_spool_directory = spool\nfast_flush_domains = y.test\n"
	if err := errors.Join(os.WriteFile(filepath.Join(s.dir, "main.cf"), []byte(mainCf), 0o644), os.Mkdir(filepath.Join(s.dir, "spool"), 0o700)); err != nil {
		t.Fatal(err)
	}
	o := queue.Options{Clock: s.clock, Log: slog.New(slog.DiscardHandler)}
	var err error
	if s.queue, err = queue.Open(filepath.Join(s.dir, "spool"), o); err != nil {
		t.Fatal(err)
	}
	client := mail.Client{Name: "c.test", Address: "192.0.2.1", Port: "4711", ReverseName: "c.test", Helo: "me", Protocol: "ESMTP"}
	s.put(t, mail.Envelope{QueueID: "AAAA000001", Sender: "a b@x.test", Client: client, Ret: "HDRS", Body: "8BITMIME", Recipients: []mail.Recipient{
		{Address: "b@y.test", Original: "alias@y.test", Notify: mail.NotifySuccess | mail.NotifyDelay, ORCPT: "rfc822;foo+40bar"},
		{Address: "done@y.test"}, {Address: "c@y.test"},
	}})
	s.claim(t).Defer(arrived.Add(10*time.Minute), []deliver.Result{
		{Recipient: 0, DSN: "4.4.1", Text: "connect to y.test[192.0.2.9]:25: Connection refused"},
		{Recipient: 1, Status: deliver.Sent, DSN: "2.0.0", Text: "ok"},
		{Recipient: 2, DSN: "4.4.1", Text: "connect to y.test[192.0.2.9]:25: Connection refused"},
	})
	s.put(t, mail.Envelope{QueueID: "AAAA000004", Sender: "late@x.test", Recipients: []mail.Recipient{{Address: "d@z.test"}}})
	s.claim(t)
	if err := s.queue.Expire("AAAA000004"); err != nil {
		t.Fatal(err)
	}
	s.put(t, mail.Envelope{QueueID: "AAAA000002", Recipients: []mail.Recipient{{Address: "e@z.test"}}})
	s.put(t, mail.Envelope{QueueID: "AAAA000003", Sender: "held@x.test", Hold: true, Recipients: []mail.Recipient{{Address: "f@z.test"}}})
	if s.server, err = control.Serve(s.queue, filepath.Join(s.dir, "spool"), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.server != nil {
			s.stop(t)
		}
	})
	return s
}

func (s *site) put(t *testing.T, env mail.Envelope) {
	t.Helper()
	env.Arrived = arrived
	d, err := s.queue.Create(env.QueueID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, "Subject: hi\n\nhello\n"); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(env); err != nil {
		t.Fatal(err)
	}
}

func (s *site) claim(t *testing.T) *queue.Message {
	t.Helper()
	m, err := s.queue.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stop ends the server, so that commands open the spool themselves.
func (s *site) stop(t *testing.T) {
	t.Helper()
	if err := errors.Join(s.server.Close(), s.queue.Close()); err != nil {
		t.Error(err)
	}
	s.server = nil
}

// run runs a command line of one of Postfix's commands and returns all that it
// prints and its exit status, if that is not 0.
func (s *site) run(t *testing.T, in string, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	status := 0
	switch args[0] {
	case "postqueue":
		status = postqueue.Run(&postqueue.Env{Out: &out, Err: &out, Config: s.dir, Clock: s.clock}, args[1:])
	case "postsuper":
		status = postsuper.Run(&postsuper.Env{In: strings.NewReader(in), Err: &out, Config: s.dir, Clock: s.clock}, args[1:])
	case "postcat":
		status = postcat.Run(&postcat.Env{Out: &out, Err: &out, Config: s.dir, Clock: s.clock}, args[1:])
	}
	if status != 0 {
		fmt.Fprintf(&out, "%v\n", exit.Status(status))
	}
	return out.String()
}

func (s *site) check(t *testing.T, want string, args ...string) {
	t.Helper()
	if got := s.run(t, "", args...); got != want {
		t.Errorf("%s:\n%s\nwant\n%s", strings.Join(args, " "), got, want)
	}
}

const list = `-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------
AAAA000004*      19 Wed Nov 25 17:09:05  late@x.test
                                         d@z.test

AAAA000002       19 Wed Nov 25 17:09:05  MAILER-DAEMON
                                         e@z.test

AAAA000001       19 Wed Nov 25 17:09:05  "a b"@x.test
                         (connect to y.test[192.0.2.9]:25: Connection refused)
                                         b@y.test
                                         c@y.test

AAAA000003!      19 Wed Nov 25 17:09:05  held@x.test
                                         f@z.test

-- 0 Kbytes in 4 Requests.
`

func TestPostqueue(t *testing.T) {
	s := newSite(t)
	size := fmt.Sprint(s.size(t))
	s.check(t, strings.ReplaceAll(list, "      19 ", fmt.Sprintf("%8s ", size)), "postqueue", "-p")
	got := strings.Split(s.run(t, "", "postqueue", "-j"), "\n")
	want := fmt.Sprintf(`{"queue_name": "deferred", "queue_id": "AAAA000001", "arrival_time": %d, "message_size": %s, "forced_expire": false, "sender": "\"a b\"@x.test", `+
		`"recipients": [{"address": "b@y.test", "delay_reason": "connect to y.test[192.0.2.9]:25: Connection refused"}, `+
		`{"address": "c@y.test", "delay_reason": "connect to y.test[192.0.2.9]:25: Connection refused"}]}`, arrived.Unix(), size)
	if len(got) != 5 || got[2] != want {
		t.Errorf("-j:\n%s\nwant the third\n%s", strings.Join(got, "\n"), want)
	}
	const usage = "postqueue: fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\nexit status 69\n"
	s.check(t, usage, "postqueue")
	s.check(t, usage, "postqueue", "-p", "-f")
	s.check(t, usage, "postqueue", "-p", "x")
	s.check(t, "postqueue: invalid option -- 'z'\n"+usage, "postqueue", "-z")
	s.check(t, "postqueue: fatal: Cannot flush queue ID - invalid name: \"a/b\"\nexit status 69\n", "postqueue", "-i", "a/b")
	s.check(t, "", "postqueue", "-i", "ABCDEF")
	s.check(t, "postqueue: fatal: Cannot flush mail queue - invalid destination: \"a..\"\nexit status 69\n", "postqueue", "-s", "a..")
	s.check(t, "postqueue: fatal: Flush service is not configured for destination \"z.test\"\nexit status 69\n", "postqueue", "-s", "z.test")
	s.check(t, "", "postqueue", "-s", "y.test")
	s.due(t, "AAAA000001")
}

// due checks that a message is due now.
func (s *site) due(t *testing.T, id string) {
	t.Helper()
	if i, err := s.queue.Show(id); err != nil || i.Due.After(s.clock.Now()) {
		t.Errorf("%s is due %v, want now: %v", id, i.Due, err)
	}
}

func (s *site) size(t *testing.T) int64 {
	t.Helper()
	i, err := s.queue.Show("AAAA000001")
	if err != nil {
		t.Fatal(err)
	}
	return i.Message.Envelope().Size
}

func TestFlush(t *testing.T) {
	for _, args := range [][]string{{"-f"}, {"-i", "AAAA000001"}} {
		s := newSite(t)
		s.check(t, "", append([]string{"postqueue"}, args...)...)
		s.due(t, "AAAA000001")
	}
}

func TestServerIsDown(t *testing.T) {
	s := newSite(t)
	s.stop(t)
	const down = "postqueue: warning: Mail system is down -- accessing queue directly (Connect to the Postfix showq service: Connection refused)\n"
	if got := s.run(t, "", "postqueue", "-p"); !strings.HasPrefix(got, down) || !strings.Contains(got, "in 4 Requests") {
		t.Error(got)
	}
	s.check(t, "postqueue: fatal: Cannot flush mail queue - mail system is down\nexit status 69\n", "postqueue", "-f")
	s.check(t, "postsuper: AAAA000001: removed\npostsuper: Deleted: 1 message\n", "postsuper", "-d", "AAAA000001")
	s.check(t, "postsuper: Deleted: 3 messages\n", "postsuper", "-d", "ALL")
	s.check(t, down+"Mail queue is empty\n", "postqueue", "-p")
}

func TestPostsuper(t *testing.T) {
	s := newSite(t)
	s.check(t, "", "postsuper")
	s.check(t, "", "postsuper", "-s", "-p")
	s.check(t, "postsuper: AAAA000001: placed on hold\npostsuper: Placed on hold: 1 message\n", "postsuper", "-h", "AAAA000001")
	s.check(t, "postsuper: Placed on hold: 0 messages\n", "postsuper", "-h", "AAAA000001")
	s.check(t, "postsuper: AAAA000001: released from hold\npostsuper: Released from hold: 1 message\n", "postsuper", "-H", "AAAA000001")
	s.due(t, "AAAA000001")
	s.check(t, "postsuper: Released from hold: 0 messages\n", "postsuper", "-H", "AAAA000001")
	s.check(t, "postsuper: AAAA000003: expired\npostsuper: AAAA000003: released from hold\n"+
		"postsuper: Force-expired: 1 message\npostsuper: Released from hold: 1 message\n", "postsuper", "-f", "AAAA000003")
	s.check(t, "postsuper: Placed on hold: 0 messages\n", "postsuper", "-h", "ALL", "hold")
	s.check(t, "postsuper: Placed on hold: 4 messages\n", "postsuper", "-h", "ALL")
	s.check(t, "postsuper: AAAA000002: requeued\npostsuper: Requeued: 1 message\npostsuper: Released from hold: 3 messages\n",
		"postsuper", "-r", "AAAA000002", "-H", "ALL")
	s.check(t, "postsuper: warning: invalid mail queue id: a/b\npostsuper: Deleted: 0 messages\n", "postsuper", "-d", "a/b")
	s.check(t, "postsuper: fatal: invalid directory name: corrupt\nexit status 1\n", "postsuper", "-d", "ALL", "corrupt")
	if got := s.run(t, "AAAA000002\nNONE\nAAAA000001\n", "postsuper", "-d", "-"); got != "postsuper: AAAA000002: removed\npostsuper: AAAA000001: removed\npostsuper: Deleted: 2 messages\n" {
		t.Errorf("-d -: %s", got)
	}
	s.check(t, "postsuper: Deleted: 2 messages\n", "postsuper", "-d", "ALL")
	s.check(t, "postsuper: Deleted: 0 messages\n", "postsuper", "-d", "ALL")
	if got := s.run(t, "", "postsuper", "-z"); !strings.HasPrefix(got, "postsuper: invalid option -- 'z'\npostsuper: fatal: usage: postsuper [-c config_dir]") {
		t.Error(got)
	}
}

func TestPostcat(t *testing.T) {
	s := newSite(t)
	size := s.size(t)
	s.check(t, fmt.Sprintf(`*** ENVELOPE RECORDS deferred/A/AAAA000001 ***
        0 message_size: %15[1]d             609               3               0 %15[1]d               0
       97 message_arrival_time: Wed Nov 25 17:09:05 2026
      116 create_time: Wed Nov 25 17:09:05 2026
      140 named_attribute: log_ident=AAAA000001
      162 named_attribute: ret_flags=2
      175 sender: a b@x.test
      187 named_attribute: encoding=8bit
      202 named_attribute: log_client_name=c.test
      226 named_attribute: log_client_address=192.0.2.1
      256 named_attribute: log_client_port=4711
      278 named_attribute: log_message_origin=c.test[192.0.2.1]
      316 named_attribute: log_helo_name=me
      334 named_attribute: log_protocol_name=ESMTP
      359 named_attribute: client_name=c.test
      379 named_attribute: reverse_client_name=c.test
      407 named_attribute: client_address=192.0.2.1
      433 named_attribute: client_port=4711
      451 named_attribute: helo_name=me
      465 named_attribute: protocol_name=ESMTP
      486 named_attribute: client_address_type=2
      509 named_attribute: notify_flags=10
      526 named_attribute: dsn_orig_rcpt=rfc822;foo@bar
      556 original_recipient: alias@y.test
      570 recipient: b@y.test
      580 original_recipient: 
      582 done_recipient: done@y.test
      595 original_recipient: 
      597 recipient: c@y.test
      607 *** MESSAGE CONTENTS deferred/A/AAAA000001 ***
      609 Subject: hi
      622 
      624 hello
      631 *** HEADER EXTRACTED deferred/A/AAAA000001 ***
      633 *** MESSAGE FILE END deferred/A/AAAA000001 ***
`, size), "postcat", "-qo", "AAAA000001")
	s.check(t, "Subject: hi\n", "postcat", "-qh", "AAAA000003")
	s.check(t, "\nhello\n", "postcat", "-qb", "AAAA000003")
	s.check(t, "Subject: hi\n\nhello\n", "postcat", "-qhb", "AAAA000003")
	s.check(t, "regular_text: \nregular_text: hello\n", "postcat", "-vqb", "AAAA000003")
	s.check(t, "", "postcat")
	s.check(t, "postcat: fatal: open queue file ABCDEF: No such file or directory\nexit status 1\n", "postcat", "-q", "ABCDEF")
	s.check(t, "postcat: fatal: bad mail queue ID: a/b\nexit status 1\n", "postcat", "-q", "a/b")
	if got := s.run(t, "", "postcat", "-e", "-q", "AAAA000002"); strings.Contains(got, "Subject") || !strings.Contains(got, "*** MESSAGE CONTENTS incoming/AAAA000002 ***\n*** HEADER") {
		t.Error(got)
	}
}

// queue runs a command of "sekisho queue" and returns what it prints.
func (s *site) queueCmd(t *testing.T, c interface{ Run(*queuectl.Env) error }) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := c.Run(&queuectl.Env{Out: out, Err: out, Config: s.dir, Clock: s.clock}); err != nil {
		fmt.Fprintf(out, "%v\n", err)
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestQueue(t *testing.T) {
	s := newSite(t)
	at := arrived.UTC().Format(time.RFC3339)
	list := &queuectl.ListCmd{Choice: queuectl.Choice{To: "y.test"}}
	want := fmt.Sprintf("AAAA000001\tdeferred\t%s\t%d\t%s\t<\"a b\"@x.test>\t<b@y.test>\tconnect to y.test[192.0.2.9]:25: Connection refused\n",
		at, s.size(t), arrived.Add(10*time.Minute).UTC().Format(time.RFC3339))
	if got := s.queueCmd(t, list); got != want+strings.ReplaceAll(want, "<b@", "<c@") {
		t.Errorf("list --to y.test:\n%s\nwant\n%s", got, want)
	}
	for _, c := range []struct {
		choice queuectl.Choice
		want   string
	}{
		{queuectl.Choice{}, "1234"},
		{queuectl.Choice{Queue: "hold"}, "3"},
		{queuectl.Choice{Queue: "active"}, "4"},
		{queuectl.Choice{From: "<>"}, "2"},
		{queuectl.Choice{From: "x.test"}, "134"},
		{queuectl.Choice{From: "Late@x.test"}, "4"},
		{queuectl.Choice{To: "done@y.test"}, ""},
		{queuectl.Choice{To: "@z.test", From: "x.test"}, "34"},
		{queuectl.Choice{Older: time.Hour}, ""},
	} {
		got := s.queueCmd(t, &queuectl.ListCmd{Choice: c.choice, JSON: true})
		found := ""
		for n := range 4 {
			if strings.Contains(got, fmt.Sprintf(`"id":"AAAA00000%d"`, n+1)) {
				found += fmt.Sprint(n + 1)
			}
		}
		if found != c.want {
			t.Errorf("list %+v: messages %s, want %s", c.choice, found, c.want)
		}
	}
	got := s.queueCmd(t, &queuectl.ShowCmd{IDs: []string{"AAAA000001"}})
	for _, want := range []string{
		"queue:     deferred\n", "next try:  " + arrived.Add(10*time.Minute).Format("2006-01-02 15:04:05 -0700") + ", in 10m00s\n",
		"client:    c.test[192.0.2.1]\n", "to:        <b@y.test>\n           was <alias@y.test>\n",
		"           waits (4.4.1): connect to y.test[192.0.2.9]:25: Connection refused\n", "           delivered (2.0.0): ok\n",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("show lacks %q:\n%s", want, got)
		}
	}
	if got := s.queueCmd(t, &queuectl.CatCmd{ID: "AAAA000001"}); got != "Subject: hi\n\nhello\n" {
		t.Errorf("cat: %q", got)
	}
}

func TestQueueWork(t *testing.T) {
	s := newSite(t)
	hold, release, requeue, del := &queuectl.HoldCmd{}, &queuectl.ReleaseCmd{}, &queuectl.RequeueCmd{}, &queuectl.DeleteCmd{}
	if got := s.queueCmd(t, hold); !strings.Contains(got, "which messages?") {
		t.Error(got)
	}
	hold.Queue = "deferred"
	if got := s.queueCmd(t, hold); got != "1 on hold\n" {
		t.Error(got)
	}
	release.IDs = []string{"AAAA000003", "NONE"}
	if got := s.queueCmd(t, release); got != "AAAA000003 released\nNONE: not in the queue\n" {
		t.Error(got)
	}
	release.All = true
	if got := s.queueCmd(t, release); !strings.Contains(got, "either") {
		t.Error(got)
	}
	requeue.Queue = "hold"
	if got := s.queueCmd(t, requeue); got != "1 requeued\n" {
		t.Error(got)
	}
	s.due(t, "AAAA000001")
	if got := s.queueCmd(t, &queuectl.FlushCmd{Site: "z.test"}); got != "2 messages are tried now\n" {
		t.Error(got)
	}
	del.To = "z.test"
	if got := s.queueCmd(t, del); got != "3 deleted\n" {
		t.Error(got)
	}
	if left := s.queue.List(); len(left) != 1 {
		t.Errorf("%d messages are left", len(left))
	}
}
