package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// site is a Verifier with a clock of its own and a record of its probes.
type site struct {
	*Verifier
	clock *clock.Manual
	log   bytes.Buffer

	mu   sync.Mutex
	sent []string
	fail bool
}

// hours of the parameters below, as Postfix has them by default.
const (
	day  = 24 * time.Hour
	week = 7 * day
)

func newSite(path string, change func(*Settings)) *site {
	s := &site{clock: clock.NewManual(start)}
	set := Settings{PositiveExpire: 31 * day, PositiveRefresh: week, NegativeExpire: 3 * day, NegativeRefresh: 3 * time.Hour, NegativeCache: true}
	if change != nil {
		change(&set)
	}
	log := slog.New(slog.NewTextHandler(&s.log, nil))
	s.Verifier = New(Options{
		Settings: set, Sender: NewSender("probe@here.test", 0, func(s string) string { return s }),
		Cache: NewCache(path, log), Clock: s.clock, Log: log,
		Post: func(_ context.Context, sender, recipient string) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.fail {
				return errors.New("queue is full")
			}
			s.sent = append(s.sent, sender+" "+recipient)
			return nil
		},
	})
	return s
}

// probes returns, and forgets, what was sent.
func (s *site) probes() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := strings.Join(s.sent, ", ")
	s.sent = nil
	return out
}

// TestLife goes through the life of an address: what a query answers at a time,
// and whether it has a probe sent. Steps are "query ANSWER" and "query ANSWER
// probe", "good", "bad" and "later" for outcomes, a duration for the clock.
func TestLife(t *testing.T) {
	uncached := func(s *Settings) { s.NegativeCache = false }
	for name, c := range map[string]struct {
		change func(*Settings)
		steps  string
	}{
		"first":                         {nil, "query 3 probe; query 3; good; query 0; 168h; query 0; 1s; query 0 probe; query 0"},
		"good, and still":               {nil, "query 3 probe; good; 169h; query 0 probe; good; 169h; query 0 probe"},
		"good, and bad at last":         {nil, "query 3 probe; good; 169h; query 0 probe; bad; query 0; 1000s; query 0; 1s; query 0 probe; 744h; query 3 probe; bad; query 2"},
		"good, long ago":                {nil, "query 3 probe; good; 745h; query 3 probe; bad; query 2; 1001s; query 2"},
		"bad":                           {nil, "query 3 probe; bad; query 2; 3h; query 2; 1s; query 2 probe; query 2; good; query 0"},
		"bad, long ago":                 {nil, "query 3 probe; bad; 72h; query 2 probe; 1001s; query 3 probe"},
		"later":                         {nil, "query 3 probe; later; query 1; 3h1s; query 1 probe; bad; query 2"},
		"a probe that is lost":          {nil, "query 3 probe; 1000s; query 3; 1s; query 3 probe; query 3"},
		"not remembered":                {uncached, "query 3 probe; query 3 probe; bad; query 3 probe; good; query 0"},
		"not remembered, once good":     {uncached, "query 3 probe; good; 169h; query 0 probe; bad; query 0; 745h; query 3 probe; query 3 probe; later; query 3 probe"},
		"a result nobody had asked for": {nil, "bad; query 2; good; query 0; bad; query 0"},
	} {
		s := newSite("", c.change)
		for i, step := range strings.Split(c.steps, "; ") {
			switch word, rest, _ := strings.Cut(step, " "); word {
			case "query":
				e := s.Query(t.Context(), "a@b.test")
				got := fmt.Sprint(uint8(e.Status))
				if p := s.probes(); p == "probe@here.test a@b.test" {
					got += " probe"
				} else if p != "" {
					got += " " + p
				}
				if got != rest {
					t.Errorf("%s, step %d: query says %s, want %s", name, i, got, rest)
				}
			case "good":
				s.Update("a@b.test", Deliverable, "fine")
			case "bad":
				s.Update("a@b.test", Undeliverable, "no")
			case "later":
				s.Update("a@b.test", Deferred, "not now")
			default:
				d, err := time.ParseDuration(word)
				if err != nil {
					t.Fatal(err)
				}
				s.clock.Advance(d)
			}
		}
	}
}

func TestTexts(t *testing.T) {
	s := newSite("", nil)
	if e := s.Query(t.Context(), "a@[IPv6:::1]"); e.Text != "Address verification in progress" {
		t.Errorf("%+v", e)
	}
	s.Update("a@[IPv6___1]", Undeliverable, "so\nsays \x01 it: 5:5 \u00e9") // a colon is as good as "_"
	if e := s.Query(t.Context(), "a@[IPv6:::1]"); e.Text != "so?says ? it: 5:5 \u00e9" || e.Status != Undeliverable {
		t.Errorf("%+v", e)
	}
	if e := s.Query(t.Context(), "A@[IPv6:::1]"); e.Status != InProgress {
		t.Errorf("another case: %+v", e)
	}
}

// A probe that cannot be sent is sent by the next query.
func TestFullQueue(t *testing.T) {
	s := newSite("", nil)
	s.fail = true
	if e := s.Query(t.Context(), "a@b.test"); e.Status != InProgress || s.probes() != "" {
		t.Errorf("%+v", e)
	}
	if !strings.Contains(s.log.String(), "cannot send a probe for a@b.test: queue is full") {
		t.Errorf("log %s", s.log.String())
	}
	s.fail = false
	if e := s.Query(t.Context(), "a@b.test"); e.Status != InProgress || s.probes() == "" {
		t.Errorf("%+v, no probe", e)
	}
	s.Update("a@b.test", Deliverable, "fine")
	s.clock.Advance(8 * day)
	s.fail = true
	s.Query(t.Context(), "a@b.test")
	s.fail = false
	if e := s.Query(t.Context(), "a@b.test"); e.Status != Deliverable || s.probes() == "" {
		t.Errorf("%+v, no probe", e)
	}
}

// Poll ends with the outcome, when its patience ends, or with the client.
func TestPoll(t *testing.T) {
	poll := func(s *site, ctx context.Context) (Entry, int) {
		done := make(chan Entry)
		go func() { done <- s.Poll(ctx, "a@b.test", 3, 3*time.Second) }()
		for slept := 0; ; {
			select {
			case e := <-done:
				return e, slept
			default:
			}
			runtime.Gosched()
			if s.clock.Sleepers() > 0 {
				s.clock.Advance(3 * time.Second)
				slept++
			}
		}
	}
	s := newSite("", nil)
	if e, slept := poll(s, t.Context()); e.Status != InProgress || slept != 2 || s.probes() != "probe@here.test a@b.test" {
		t.Errorf("%+v after %d sleeps", e, slept)
	}
	s = newSite("", func(set *Settings) { set.NegativeCache = false })
	if e, slept := poll(s, t.Context()); e.Status != InProgress || slept != 2 || strings.Count(s.probes(), "a@b") != 3 {
		t.Errorf("without negative cache: %+v after %d sleeps", e, slept)
	}

	s = newSite("", nil)
	done := make(chan Entry)
	go func() { done <- s.Poll(t.Context(), "a@b.test", 3, time.Hour) }()
	for s.clock.Sleepers() == 0 {
		runtime.Gosched()
	}
	s.Update("b@b.test", Deliverable, "another")
	s.Update("a@b.test", Undeliverable, "no")
	if e := <-done; e.Status != Undeliverable || s.clock.Now() != start {
		t.Errorf("%+v at %v", e, s.clock.Now())
	}
	if len(s.waiting) != 0 {
		t.Errorf("still waiting: %v", s.waiting)
	}

	gone, leave := context.WithCancel(t.Context())
	leave()
	if e := newSite("", nil).Poll(gone, "a@b.test", 3, time.Hour); e.Status != InProgress {
		t.Errorf("client gone: %+v", e)
	}
}

// Many at once ask for one address: one probe answers them all.
func TestOneProbeForAll(t *testing.T) {
	s := newSite("", nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if e := s.Poll(t.Context(), "a@b.test", 2, time.Hour); e.Status != Deliverable {
				t.Errorf("%+v", e)
			}
		})
	}
	for s.clock.Sleepers() < 50 {
		runtime.Gosched()
	}
	s.Update("a@b.test", Deliverable, "fine")
	all.Wait()
	if p := s.probes(); p != "probe@here.test a@b.test" {
		t.Errorf("probes %s", p)
	}
}

func TestCleanup(t *testing.T) {
	s := newSite(filepath.Join(t.TempDir(), "cache"), func(set *Settings) { set.Cleanup = 12 * time.Hour })
	s.Update("good@b.test", Deliverable, "fine")
	s.Update("bad@b.test", Undeliverable, "no")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { s.Run(ctx); close(ended) }()
	for range 7 { // the first two days nothing is old enough
		for s.clock.Sleepers() == 0 {
			runtime.Gosched()
		}
		s.clock.Advance(12 * time.Hour)
	}
	for s.clock.Sleepers() == 0 {
		runtime.Gosched()
	}
	stop()
	<-ended
	if log := s.log.String(); !strings.Contains(log, "full cleanup: retained=1 dropped=1 entries") || !strings.Contains(log, "full cleanup: retained=2 dropped=0 entries") {
		t.Errorf("log %s", log)
	}
	if got, _, err := Read(s.o.Cache.path); err != nil || len(got) != 1 || got["good@b.test"].Status != Deliverable {
		t.Errorf("left: %v, %v", got, err)
	}
}
