package qmgr

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
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/bounce"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/errormail"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/queue"
	"sekisho/internal/rewrite"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// agent is a delivery agent that answers by the local part of the recipient:
// ok, later, never; anything else is left out of the results.
type agent struct {
	mu       sync.Mutex
	requests []deliver.Request
	now, max int           // deliveries at once
	busy     bool          // what the recipient of that name is; changed between attempts
	gate     chan struct{} // when set, a delivery waits for a value
}

func (a *agent) Deliver(ctx context.Context, r *deliver.Request) (results []deliver.Result) {
	a.mu.Lock()
	a.requests = append(a.requests, *r)
	a.now++
	a.max = max(a.max, a.now)
	a.mu.Unlock()
	defer func() { a.mu.Lock(); a.now--; a.mu.Unlock() }()
	if a.gate != nil {
		select {
		case <-a.gate:
		case <-ctx.Done():
			return r.Defer("4.4.2", "none", "cut short")
		}
	}
	c, err := r.Content()
	if err != nil {
		return r.Defer("4.3.0", "none", err.Error())
	}
	defer c.Close()
	if _, err := io.ReadAll(c); err != nil {
		return r.Defer("4.3.0", "none", err.Error())
	}
	for i, to := range r.Recipients {
		switch local, _, _ := mail.SplitAddress(to.Address); strings.TrimRight(local, "0123456789") {
		case "ok":
			results = append(results, deliver.Result{Recipient: i, Status: deliver.Sent, DSN: "2.0.0", Relay: "virtual", Text: "delivered to maildir"})
		case "dsn":
			results = append(results, deliver.Result{Recipient: i, Status: deliver.Sent, DSN: "2.0.0", Relay: "mx", Text: "250 ok", Relayed: true, Reports: true})
		case "later":
			results = append(results, deliver.Result{Recipient: i, Status: deliver.Deferred, DSN: "4.2.0", Relay: "virtual", Text: "busy"})
		case "team": // an alias of one that gets it and one that does not
			x := &deliver.Expansion{Alias: true, Parts: []deliver.Part{
				{To: mail.Recipient{Address: "ann@example.com", Original: to.Address}, Result: deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Relay: "virtual", Text: "delivered"}},
				{To: mail.Recipient{Address: "gone@example.com", Original: to.Address}, Result: deliver.Result{Status: deliver.Bounced, DSN: "5.1.1", Relay: "virtual", Text: "unknown user"}},
			}}
			sum := x.Sum()
			sum.Recipient = i
			results = append(results, sum)
		case "busy":
			res := deliver.Result{Recipient: i, Status: deliver.Sent, DSN: "2.0.0", Relay: "virtual", Text: "delivered"}
			if a.busy {
				res = deliver.Result{Recipient: i, DSN: "4.2.0", Relay: "virtual", Text: "busy"}
			}
			results = append(results, res)
		case "never":
			results = append(results, deliver.Result{Recipient: i, Status: deliver.Bounced, DSN: "5.1.1", Relay: "virtual", Text: "unknown user"})
		}
	}
	return results
}

// site is a queue manager in a scripted world.
type site struct {
	t          *testing.T
	queue      *queue.Queue
	dir        string
	clock      *clock.Manual
	log        *syncBuffer
	agent      *agent
	manager    *Manager
	postErr    error
	notices    []mail.Envelope
	verified   []string // outcomes of probes
	mu         sync.Mutex
	stop       func()
	stopped    chan struct{}
	transports map[string]Transport
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

const mainCF = `
myhostname = mx.example.com
mydestination = here.test
virtual_mailbox_domains = example.com, one.test
relay_domains =
transport_maps = inline:{ {gone.test = nosuch:} {err.test = error:5.1.1 no such user} {multi.test = multi:} {fail.test = multi:} }
defer_transports = uucp
recipient_delimiter = +
multi_destination_recipient_limit = 3
multi_destination_concurrency_limit = 2
virtual_destination_recipient_limit = 1
notify_classes = resource, software
`

// newSite starts nothing yet; extra is added to main.cf.
func newSite(t *testing.T, extra string) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), clock: clock.NewManual(start), log: &syncBuffer{}, agent: &agent{}}
	confDir := filepath.Join(s.dir, "etc")
	if err := errors.Join(os.Mkdir(confDir, 0o700), os.WriteFile(filepath.Join(confDir, "main.cf"), []byte(mainCF+extra), 0o600),
		os.WriteFile(filepath.Join(confDir, "master.cf"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	cfg, _, err := config.Load(confDir)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(maillog.NewHandler(s.log, "mx", s.clock))
	s.queue, err = queue.Open(filepath.Join(s.dir, "spool"), queue.Options{Clock: s.clock, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := rewrite.Compile(cfg, rewrite.World{Partial: func(string) bool { return true }, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	probes, err := rewrite.CompileProbes(cfg, rewrite.World{Partial: func(string) bool { return true }, ReadFile: os.ReadFile})
	if err != nil {
		t.Fatal(err)
	}
	service := func(name string) *slog.Logger { return log.With(maillog.Service("postfix/" + name)) }
	s.transports = map[string]Transport{
		"virtual": {Agent: s.agent, Log: service("virtual")},
		"multi":   {Agent: s.agent, Log: service("multi")},
		"local":   {Agent: s.agent, Log: service("local")},
		"error":   {Agent: errormail.Agent{}, Log: service("error")},
		"retry":   {Agent: errormail.Agent{Retry: true}, Log: service("error")},
	}
	settings := FromConfig(cfg)
	s.manager = New(Options{
		Settings: settings, Queue: s.queue, Resolver: resolver, Transports: s.transports,
		World: &evidence.World{Clock: s.clock, Lookup: lookupInline},
		Bouncer: bounce.New(bounce.Options{
			Myhostname: "mx.example.com", Myorigin: "mx.example.com", MailName: "Postfix", DoubleBounceSender: "double-bounce",
			QueueLifetime: settings.QueueLifetime,
			Clock:         s.clock, Log: service("bounce"), Post: s.post,
		}),
		Probes: probes, Verified: s.verify,
		Clock: s.clock, Log: log, SyslogName: "postfix",
	})
	t.Cleanup(func() { s.end(); s.queue.Close() })
	return s
}

// lookupInline answers from the transport table in mainCF.
func lookupInline(table, key string) (string, bool, error) {
	if key == "fail.test" {
		return "", false, errors.New("table down")
	}
	for _, m := range regexp.MustCompile(`\{(\S+) = ([^}]*)\}`).FindAllStringSubmatch(table, -1) {
		if m[1] == key {
			return m[2], true, nil
		}
	}
	return "", false, nil
}

func (s *site) post(_ context.Context, env mail.Envelope, write func(string, io.Writer) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.postErr != nil {
		return s.postErr
	}
	if err := write("NOTICE", io.Discard); err != nil {
		return err
	}
	s.notices = append(s.notices, env)
	return nil
}

func (s *site) verify(original, address string, r deliver.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.verified = append(s.verified, fmt.Sprintf("%s (%s): %s, %s", original, address, r.Status, r.Text))
}

func (s *site) put(sender string, rcpts ...string) string {
	s.t.Helper()
	env := mail.Envelope{Sender: sender}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r, Original: r})
	}
	return s.putEnvelope(env)
}

func (s *site) putEnvelope(env mail.Envelope, text ...string) string {
	s.t.Helper()
	id := s.queue.NewID()
	d, err := s.queue.Create(id)
	if err != nil {
		s.t.Fatal(err)
	}
	io.WriteString(d, "Subject: x\n\nhello\n"+strings.Join(text, ""))
	if err := d.Commit(env); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func (s *site) start() {
	ctx, stop := context.WithCancel(context.Background())
	s.stop, s.stopped = stop, make(chan struct{})
	go func() {
		s.manager.Run(ctx, context.Background())
		close(s.stopped)
	}()
}

func (s *site) end() {
	if s.stop != nil {
		s.stop()
		<-s.stopped
		s.stop = nil
	}
}

// settle runs the manager until nothing is due, and returns the log since.
func (s *site) settle() string {
	s.t.Helper()
	before := len(s.log.String())
	s.start()
	s.await(func() bool {
		for _, i := range s.queue.List() {
			if i.Active || !i.Held && !i.Due.After(s.clock.Now()) {
				return false
			}
		}
		return true
	})
	s.end()
	return tidy(s.log.String()[before:])
}

func (s *site) await(what func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !what(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("nothing happens; log:\n%s", s.log)
		}
	}
}

var (
	stamp = regexp.MustCompile(`(?m)^.{15} mx (\S+)\[\d+\]: `)
	id    = regexp.MustCompile(`\b[0-9A-F]{10}\b`)
	delay = regexp.MustCompile(`delay=\S+, delays=\S+, `)
)

// tidy masks what changes and sorts, as deliveries run side by side.
func tidy(log string) string {
	log = stamp.ReplaceAllString(log, "$1: ")
	log = delay.ReplaceAllString(id.ReplaceAllString(log, "QID"), "")
	lines := strings.Split(strings.TrimSpace(log), "\n")
	sort.Strings(lines)
	return strings.Join(lines, "\n")
}

func want(lines ...string) string { sort.Strings(lines); return strings.Join(lines, "\n") }

const (
	active  = "postfix/qmgr: QID: from=<s@x.test>, size=21, nrcpt=%d (queue active)"
	removed = "postfix/qmgr: QID: removed"
)

func TestDelivered(t *testing.T) {
	s := newSite(t, "")
	s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{
		{Address: "ok1@example.com", Original: "Postmaster"}, {Address: "ok2@example.com", Original: "OK2@example.com"}}})
	got := s.settle()
	if w := want(fmt.Sprintf(active, 2),
		"postfix/virtual: QID: to=<ok1@example.com>, orig_to=<Postmaster>, relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		"postfix/virtual: QID: to=<ok2@example.com>, relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		removed); got != w {
		t.Errorf("log\n%s\nwant\n%s", got, w)
	}
	if len(s.queue.List()) != 0 || len(s.notices) != 0 {
		t.Errorf("left %v, notices %v", s.queue.List(), s.notices)
	}
}

func TestBounced(t *testing.T) {
	s := newSite(t, "")
	s.put("s@x.test", "never@example.com", "ok@example.com", "nobody@err.test")
	got := s.settle()
	if w := want(fmt.Sprintf(active, 3),
		"postfix/virtual: QID: to=<never@example.com>, relay=virtual, dsn=5.1.1, status=bounced (unknown user)",
		"postfix/virtual: QID: to=<ok@example.com>, relay=virtual, dsn=2.0.0, status=sent (delivered to maildir)",
		"postfix/error: QID: to=<nobody@err.test>, relay=none, dsn=5.1.1, status=bounced (no such user)",
		"postfix/bounce: QID: sender non-delivery notification: NOTICE", removed); got != w {
		t.Errorf("log\n%s\nwant\n%s", got, w)
	}
	if len(s.notices) != 1 || s.notices[0].Recipients[0].Address != "s@x.test" {
		t.Errorf("notices %+v", s.notices)
	}
}

// What goes where, in Postfix's words.
func TestRoutes(t *testing.T) {
	for rcpt, line := range map[string]string{
		"x@gone.test":             "postfix/error: QID: to=<x@gone.test>, relay=none, dsn=4.3.0, status=deferred (mail transport unavailable)",
		"x@fail.test":             "postfix/error: QID: to=<x@fail.test>, relay=none, dsn=4.3.0, status=deferred (address resolver failure)",
		"double-bounce@here.test": "postfix/qmgr: QID: to=<double-bounce@here.test>, relay=none, dsn=2.0.0, status=sent (undeliverable postmaster notification discarded)",
		"silent@example.com":      "postfix/virtual: QID: to=<silent@example.com>, relay=none, dsn=4.3.0, status=deferred (unknown mail transport error)",
	} {
		s := newSite(t, "")
		s.put("s@x.test", rcpt)
		if got := s.settle(); !slices.Contains(strings.Split(got, "\n"), line) {
			t.Errorf("%s: log\n%s\nwant %s", rcpt, got, line)
		}
	}
	s := newSite(t, "defer_transports = virtual\n")
	s.put("s@x.test", "ok@example.com")
	if got, w := s.settle(), "postfix/error: QID: to=<ok@example.com>, relay=none, dsn=4.3.2, status=deferred (deferred transport)"; !strings.Contains(got, w) {
		t.Errorf("log\n%s\nwant %s", got, w)
	}
}

func TestContentFilter(t *testing.T) {
	for filter, nexthop := range map[string]string{"multi:[127.0.0.1]:10025": "[127.0.0.1]:10025", "multi:": "example.com", "multi": "example.com"} {
		s := newSite(t, "")
		s.putEnvelope(mail.Envelope{Sender: "s@x.test", Filter: filter, Recipients: []mail.Recipient{{Address: "ok@example.com"}}})
		s.settle()
		if len(s.agent.requests) != 1 || s.agent.requests[0].Nexthop != nexthop {
			t.Errorf("%s: %+v", filter, s.agent.requests)
		}
	}
}

func TestMissingTransportIsWarnedAboutOnce(t *testing.T) {
	s := newSite(t, "")
	s.put("s@x.test", "x@gone.test")
	s.put("s@x.test", "y@gone.test")
	s.settle()
	if n := strings.Count(s.log.String(), "warning: connect to transport private/nosuch: No such file or directory"); n != 1 {
		t.Errorf("warned %d times:\n%s", n, s.log)
	}
}

// Recipients of one destination travel together up to the limit; the others
// one by one.
func TestBatches(t *testing.T) {
	s := newSite(t, "")
	s.put("s@x.test", "ok1@multi.test", "ok2@multi.test", "ok3@multi.test", "ok4@multi.test", "ok5@example.com", "ok6@example.com")
	s.settle()
	var sizes []string
	for _, r := range s.agent.requests {
		sizes = append(sizes, fmt.Sprintf("%s:%d", r.Nexthop, len(r.Recipients)))
	}
	sort.Strings(sizes)
	if got := strings.Join(sizes, " "); got != "example.com:1 example.com:1 multi.test:1 multi.test:3" {
		t.Errorf("deliveries %s", got)
	}
}

// Recipients of one delivery are in Postfix's order.
func TestOrder(t *testing.T) {
	s := newSite(t, "")
	s.put("s@x.test", "ok2@multi.test", "ok3@multi.test", "ok1@multi.test")
	s.settle()
	var got []string
	for _, to := range s.agent.requests[0].Recipients {
		got = append(got, to.Address)
	}
	if w := []string{"ok1@multi.test", "ok2@multi.test", "ok3@multi.test"}; !slices.Equal(got, w) {
		t.Errorf("order %v, want %v", got, w)
	}
}

func TestConcurrencyLimits(t *testing.T) {
	s := newSite(t, "")
	s.agent.gate = make(chan struct{})
	for range 6 {
		s.put("s@x.test", "ok@multi.test")
	}
	s.start()
	for range 6 {
		s.await(func() bool { s.agent.mu.Lock(); defer s.agent.mu.Unlock(); return s.agent.now > 0 })
		s.agent.gate <- struct{}{}
	}
	s.await(func() bool { return len(s.queue.List()) == 0 })
	if s.agent.max != 2 {
		t.Errorf("%d deliveries at once, want 2", s.agent.max)
	}

	s = newSite(t, "")
	s.agent.gate = make(chan struct{})
	s.transports["virtual"] = Transport{Agent: s.agent, Log: s.transports["virtual"].Log, Processes: 1}
	s.put("s@x.test", "ok1@example.com", "ok2@example.com", "ok3@one.test")
	s.start()
	for range 3 {
		s.agent.gate <- struct{}{}
	}
	s.await(func() bool { return len(s.queue.List()) == 0 })
	if s.agent.max != 1 {
		t.Errorf("%d deliveries at once, want 1", s.agent.max)
	}
}

// The wait is as long as the message is old, between the two limits.
func TestBackoff(t *testing.T) {
	s := newSite(t, "maximal_backoff_time = 1000s\n")
	s.put("s@x.test", "later@example.com", "ok@example.com")
	due := start
	for _, wait := range []time.Duration{300, 300, 600, 1000, 1000} {
		got := s.settle()
		if n := strings.Count(got, "to=<ok@example.com>"); n != map[bool]int{true: 1}[due.Equal(start)] {
			t.Fatalf("delivered again, or not at all:\n%s", got)
		}
		list := s.queue.List()
		if want := due.Add(wait * time.Second); len(list) != 1 || !list[0].Due.Equal(want) {
			t.Fatalf("due %v, want %v", list, want)
		}
		due = list[0].Due
		s.clock.Advance(due.Sub(s.clock.Now()))
	}
}

func TestExpired(t *testing.T) {
	for sender, lifetime := range map[string]time.Duration{"s@x.test": 2 * time.Hour, "": time.Hour} {
		s := newSite(t, "maximal_queue_lifetime = 2h\nbounce_queue_lifetime = 1h\n")
		s.put(sender, "later@example.com")
		s.settle()
		s.clock.Advance(lifetime - time.Second)
		if got := s.settle(); strings.Contains(got, "expired") {
			t.Errorf("expired too early:\n%s", got)
		}
		s.clock.Advance(time.Second)
		s.queue.Flush()
		got := s.settle()
		if !strings.Contains(got, "postfix/qmgr: QID: from=<"+sender+">, status=expired, returned to sender") || !strings.Contains(got, removed) {
			t.Errorf("sender %q: log\n%s", sender, got)
		}
		if told := len(s.notices) == 1; told != (sender != "") {
			t.Errorf("sender %q: notices %v", sender, s.notices)
		}
	}
}

func TestDelayWarning(t *testing.T) {
	s := newSite(t, "delay_warning_time = 1h\n")
	s.put("s@x.test", "later@example.com")
	if got := s.settle(); strings.Contains(got, "notification") {
		t.Errorf("warned at once:\n%s", got)
	}
	for i, wantWarning := range []bool{true, false} {
		s.clock.Advance(2 * time.Hour)
		if got := s.settle(); strings.Contains(got, "postfix/bounce: QID: sender delay notification: NOTICE") != wantWarning {
			t.Errorf("attempt %d:\n%s", i, got)
		}
	}
}

func TestSuccessNotification(t *testing.T) {
	s := newSite(t, "")
	s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{
		{Address: "ok@example.com", Notify: mail.NotifySuccess}, {Address: "dsn@example.com", Notify: mail.NotifySuccess},
		{Address: "later@example.com", Notify: mail.NotifySuccess}}})
	if got := s.settle(); strings.Count(got, "sender delivery status notification: NOTICE") != 1 {
		t.Errorf("log\n%s", got)
	}
	s.queue.Flush()
	if got := s.settle(); strings.Contains(got, "notification") {
		t.Errorf("told again:\n%s", got)
	}
}

// Nobody is forgotten when a notification cannot be sent.
func TestNotificationIsTriedAgain(t *testing.T) {
	s := newSite(t, "")
	s.postErr = errors.New("no space left on device")
	s.put("s@x.test", "never@example.com")
	if got := s.settle(); !strings.Contains(got, "no space left on device") || strings.Contains(got, removed) {
		t.Errorf("log\n%s", got)
	}
	s.postErr = nil
	s.clock.Advance(time.Hour)
	got := s.settle()
	if strings.Contains(got, "status=") || !strings.Contains(got, "sender non-delivery notification: NOTICE") || !strings.Contains(got, removed) {
		t.Errorf("log\n%s", got)
	}
}

func TestSoftBounce(t *testing.T) {
	s := newSite(t, "soft_bounce = yes\n")
	s.put("s@x.test", "never@example.com")
	if got := s.settle(); !strings.Contains(got, "dsn=4.1.1, status=SOFTBOUNCE (unknown user)") || len(s.queue.List()) != 1 {
		t.Errorf("log\n%s", got)
	}
}

func TestDamagedMessage(t *testing.T) {
	s := newSite(t, "")
	text := strings.Repeat("0123456789\n", 1<<16) // too much for the queue's log
	id := s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{{Address: "ok@example.com"}}}, text)
	path := filepath.Join(s.dir, "spool", "messages", id)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file[30] ^= 1
	os.WriteFile(path, file, 0o600)
	got := s.settle()
	if strings.Contains(got, "status=sent") || !strings.Contains(got, "file moved to") || len(s.queue.List()) != 0 {
		t.Errorf("log\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "spool", "corrupt", id)); err != nil {
		t.Error(err)
	}
}

// A manager that is told to end finishes what is under way; when it is killed
// the message is due again at once.
func TestEnd(t *testing.T) {
	for _, killed := range []bool{false, true} {
		s := newSite(t, "")
		s.agent.gate = make(chan struct{})
		s.put("s@x.test", "ok@example.com")
		ctx, stop := context.WithCancel(t.Context())
		hard, kill := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { s.manager.Run(ctx, hard); close(ended) }()
		s.await(func() bool { s.agent.mu.Lock(); defer s.agent.mu.Unlock(); return s.agent.now == 1 })
		stop()
		select {
		case <-ended:
			t.Fatal("did not wait for the delivery")
		default:
		}
		if killed {
			kill()
		} else {
			s.agent.gate <- struct{}{}
		}
		<-ended
		kill()
		list := s.queue.List()
		if left := len(list) == 1; left != killed || left && list[0].Due.After(s.clock.Now()) {
			t.Errorf("killed %v: left %+v", killed, list)
		}
	}
}
