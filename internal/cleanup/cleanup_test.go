package cleanup

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/queue"
	"sekisho/internal/rewrite"
)

// site is a cleanup service with a queue of its own, tables from a map, and
// its log.
type site struct {
	t      *testing.T
	c      *Cleaner
	q      *queue.Queue
	clk    *clock.Manual
	log    bytes.Buffer
	tables map[string]map[string]string // table, key; a nil map fails

	verified []string // answers to address probes
}

const basics = `
compatibility_level = 3.6
myhostname = mx.example.com
mydomain = example.com
myorigin = example.com
mydestination = localhost
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.0/8
`

func newSite(t *testing.T, mainCf string, tables map[string]map[string]string) *site {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": basics + mainCf, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, clk: clock.NewManual(time.Date(2026, 11, 5, 10, 33, 0, 0, time.UTC)), tables: tables}
	log := slog.New(maillog.NewHandler(&s.log, "mx", s.clk))
	if s.q, err = queue.Open(filepath.Join(dir, "spool"), queue.Options{Clock: s.clk, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.q.Close() })
	lists := rewrite.World{OwnAddresses: []string{"127.0.0.1"}, Partial: func(string) bool { return true }, ReadFile: os.ReadFile}
	resolver, err := rewrite.Compile(cfg, lists)
	if err != nil {
		t.Fatal(err)
	}
	c, problems := New(cfg, World{Resolver: resolver, Lists: lists, Queue: s.q, Clock: s.clk, Log: log, Verified: s.verify})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	s.c = c
	return s
}

func (s *site) verify(original, address string, r deliver.Result) {
	s.verified = append(s.verified, original+" ("+address+"): "+r.Status.String()+", "+r.Text)
}

// Ask answers from the site's tables.
func (s *site) Ask(q evidence.Question) evidence.Answer {
	table, ok := s.tables[q.Name]
	if !ok || table == nil {
		return evidence.Answer{Status: evidence.Failed, Reason: "broken"}
	}
	key := q.Arg
	if !strings.HasSuffix(q.Name, "c") || q.Name == "sc" || q.Name == "rc" { // those for addresses fold case
		key = strings.ToLower(key)
	}
	v, found := table[key]
	if !found {
		return evidence.Answer{Status: evidence.NotFound}
	}
	return evidence.Answer{Status: evidence.Found, Value: v}
}

func (s *site) begin(client, sender string, to ...string) *Message {
	s.t.Helper()
	env := mail.Envelope{
		QueueID: s.q.NewID(), Arrived: s.clk.Now(), Sender: sender,
		Client: mail.Client{Name: "good.client.test", Address: client, Helo: "client.test", Protocol: "ESMTP"},
	}
	for _, a := range to {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: a})
	}
	m, err := s.c.Begin(context.Background(), env, &mail.Facts{ClientName: "good.client.test", ClientAddress: client}, s)
	if err != nil {
		s.t.Fatal(err)
	}
	s.clk.Advance(time.Microsecond)
	return m
}

// stranger is a client whose mail is not completed.
const stranger = "192.0.2.7"

// accepted is what lies in the queue: the envelope and the content.
type accepted struct {
	env     mail.Envelope
	content string
}

// send sends lines from a stranger to a@example.com; got is nil when nothing is
// in the queue.
func (s *site) send(lines ...string) (Result, *accepted) {
	s.t.Helper()
	return s.finish(s.begin(stranger, "s@sender.test", "a@example.com"), lines...)
}

func (s *site) finish(m *Message, lines ...string) (Result, *accepted) {
	s.t.Helper()
	for _, l := range lines {
		if err := m.WriteLine([]byte(l)); err != nil && err != ErrDecided {
			s.t.Fatal(err)
		}
	}
	res := m.Close()
	list := s.q.List()
	if len(list) == 0 {
		return res, nil
	}
	got := &accepted{env: *list[0].Message.Envelope()}
	r, err := list[0].Message.Open()
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		s.t.Fatal(err)
	}
	r.Close()
	got.content = string(text)
	if list[0].Held {
		if err := s.q.Release(got.env.QueueID); err != nil {
			s.t.Fatal(err)
		}
	}
	qm, err := s.q.Next(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	if err := qm.Remove(); err != nil {
		s.t.Fatal(err)
	}
	return res, got
}

// logged returns the lines logged since the last call, without date and
// process id.
func (s *site) logged() []string {
	var out []string
	for _, l := range strings.Split(strings.TrimSpace(s.log.String()), "\n") {
		if _, text, ok := strings.Cut(l, "]: "); ok {
			out = append(out, text)
		}
	}
	s.log.Reset()
	return out
}

func TestSizeIsPostfixs(t *testing.T) {
	s := newSite(t, "", nil)
	// Counted in queue files of Postfix 3.7.11.
	for _, c := range []struct {
		n    int
		size int64
	}{{5, 6 + 2 + 7}, {127, 6 + 2 + 129}, {128, 6 + 2 + 131}, {2047, 6 + 2 + 2050}, {2048, 6 + 2 + 2051 + 2}, {2049, 6 + 2 + 2051 + 3}, {4096, 6 + 2 + 2*2051 + 2}} {
		res, got := s.send("S: s", "", strings.Repeat("b", c.n))
		if res.Size != c.size || got.env.Size != c.size {
			t.Errorf("size of a line of %d = %d, %d; want %d", c.n, res.Size, got.env.Size, c.size)
		}
		if want := "S: s\n\n" + strings.Repeat("b", c.n) + "\n"; got.content != want {
			t.Errorf("line of %d came out as %q", c.n, got.content)
		}
	}
}

// config reads a configuration of its own.
func (s *site) config(mainCf string) *config.Config {
	s.t.Helper()
	dir := s.t.TempDir()
	for name, text := range map[string]string{"main.cf": basics + mainCf, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		s.t.Fatal(err)
	}
	return cfg
}
