package queue

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// start is later than any file's real time, which would count as not due.
var start = time.Date(2036, 11, 25, 12, 0, 0, 0, time.UTC)

// site is a spool and what belongs to it.
type site struct {
	*Queue
	dir   string
	clock *clock.Manual
	log   *bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{dir: filepath.Join(t.TempDir(), "spool"), clock: clock.NewManual(start), log: &bytes.Buffer{}}
	s.open(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *site) open(t *testing.T) {
	t.Helper()
	q, err := Open(s.dir, Options{Clock: s.clock, Log: slog.New(slog.NewTextHandler(s.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s.Queue = q
}

// restart is what a crash is to the next process.
func (s *site) restart(t *testing.T) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.open(t)
}

func (s *site) put(t *testing.T, text string, env mail.Envelope) string {
	t.Helper()
	id := s.NewID()
	d, err := s.Create(id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, text); err != nil {
		t.Fatal(err)
	}
	if err := d.Commit(env); err != nil {
		t.Fatal(err)
	}
	return id
}

// next claims a message that must be due.
func (s *site) next(t *testing.T) *Message {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	m, err := s.Next(ctx)
	if err != nil {
		t.Fatalf("no message is due: %v", err)
	}
	return m
}

func (s *site) nothingDue(t *testing.T) {
	t.Helper()
	for {
		e, wait, _ := s.claim()
		if e == nil {
			if wait <= 0 {
				t.Fatalf("wait %v", wait)
			}
			return
		}
		if s.claimed(e) != nil { // else it could not be delivered
			t.Fatalf("%s is due", e.id)
		}
	}
}

// cold moves every message out of the log.
func (s *site) cold(t *testing.T) {
	t.Helper()
	for _, e := range s.all() {
		if e.hot != nil {
			if err := s.moveOut(e, e.hot.place.Segment()); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// large is content that gets a file of its own.
var large = strings.Repeat("0123456789abcde\n", maxHot/16+1)

// putFile is put for a message that gets a file.
func (s *site) putFile(t *testing.T, text string, env mail.Envelope) string {
	t.Helper()
	id := s.put(t, text, env)
	s.cold(t)
	return id
}

func read(t *testing.T, m *Message) string {
	t.Helper()
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func envelope(rcpts ...string) mail.Envelope {
	env := mail.Envelope{Sender: "a@sender.test"}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r})
	}
	return env
}

func TestMessageComesOutAsItWentIn(t *testing.T) {
	s := newSite(t)
	env := envelope("x@a.test", "y@b.test")
	env.Recipients[0].Original, env.Recipients[0].Notify = "alias@a.test", mail.NotifyDelay
	env.Client = mail.Client{Name: "good.client.test", Address: "127.0.0.2"}
	for text, size := range map[string]int64{
		"": 0, "Subject: x\n\nhello\n": 12 + 2 + 7,
		strings.Repeat("0123456789abcdef\n", 10000): 180000,
		strings.Repeat("x", 127) + "\n":             129,
		strings.Repeat("x", 128) + "\n":             131,
		strings.Repeat("x", 2048) + "\n":            2051,
		strings.Repeat("x", 2050) + "\nend":         2051 + 4 + 5,
	} {
		id := s.put(t, text, env)
		m := s.next(t)
		want := env
		want.QueueID, want.Arrived, want.Size = id, start, size
		if got := fmt.Sprint(*m.Envelope()); got != fmt.Sprint(want) {
			t.Errorf("envelope %s, want %s", got, fmt.Sprint(want))
		}
		if got := read(t, m); got != text || m.Size() != int64(len(text)) {
			t.Errorf("content of %d bytes, Size %d, want %d", len(got), m.Size(), len(text))
		}
		if err := m.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	s.restart(t)
	s.nothingDue(t)
}

func TestNextWaitsForTheTime(t *testing.T) {
	s := newSite(t)
	first := s.put(t, "1\n", envelope("x@a.test"))
	second := s.put(t, "2\n", envelope("x@a.test"))
	m := s.next(t)
	if m.env.QueueID != first {
		t.Errorf("%s came first, want the one that arrived first, %s", m.env.QueueID, first)
	}
	if err := m.Defer(start.Add(5*time.Minute), nil); err != nil {
		t.Fatal(err)
	}
	if m := s.next(t); m.env.QueueID != second || m.Remove() != nil {
		t.Errorf("%s came second, want %s", m.env.QueueID, second)
	}
	s.nothingDue(t)

	got := make(chan *Message)
	go func() {
		m, _ := s.Next(t.Context())
		got <- m
	}()
	for s.clock.Sleepers() == 0 {
		runtime.Gosched()
	}
	s.clock.Advance(5 * time.Minute)
	if m := <-got; m == nil || m.env.QueueID != first {
		t.Errorf("after the wait came %v, want %s", m, first)
	}
}

func TestNextSeesWhatArrivesWhileItWaits(t *testing.T) {
	s := newSite(t)
	got := make(chan *Message)
	go func() {
		m, _ := s.Next(t.Context())
		got <- m
	}()
	for s.clock.Sleepers() == 0 {
		runtime.Gosched()
	}
	id := s.put(t, "x\n", envelope("x@a.test"))
	if m := <-got; m == nil || m.env.QueueID != id {
		t.Errorf("got %v, want %s", m, id)
	}
}

func TestNextEndsWithItsContext(t *testing.T) {
	s := newSite(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

func TestWhatIsRecordedOutlivesTheProcess(t *testing.T) {
	s := newSite(t)
	s.put(t, "x\n", envelope("x@a.test", "y@b.test", "z@c.test"))
	m := s.next(t)
	sent := deliver.Result{Recipient: 1, Status: deliver.Sent, DSN: "2.0.0", Text: "delivered to maildir", Relay: "virtual"}
	bounced := deliver.Result{Recipient: 2, Status: deliver.Bounced, DSN: "5.1.1", Text: "unknown user", RemoteMTA: "mx.c.test"}
	for _, err := range []error{
		m.Record([]deliver.Result{sent, bounced}),
		m.RecordTold([]int{2}),
		m.RecordWarned(),
		m.Defer(start.Add(time.Hour), nil),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	s.restart(t)
	s.nothingDue(t)
	s.clock.Advance(time.Hour)
	m = s.next(t)
	want := []Progress{{}, {Result: sent}, {Result: bounced, Told: true}}
	for i, p := range m.Progress() {
		if p != want[i] || p.Done() != (i != 0) {
			t.Errorf("recipient %d: %+v, want %+v", i, p, want[i])
		}
	}
	if !m.Warned() {
		t.Error("forgotten that the sender was warned")
	}
}

func TestClaimedMessagesAreDueAfterACrash(t *testing.T) {
	s := newSite(t)
	id := s.put(t, "x\n", envelope("x@a.test"))
	s.next(t)
	s.nothingDue(t)
	s.restart(t)
	if m := s.next(t); m.env.QueueID != id {
		t.Errorf("got %s, want %s", m.env.QueueID, id)
	}
}

func TestHold(t *testing.T) {
	s := newSite(t)
	env := envelope("x@a.test")
	env.Hold = true
	held := s.put(t, "x\n", env)
	other := s.put(t, "x\n", envelope("x@a.test"))
	if err := s.Hold(other); err != nil {
		t.Fatal(err)
	}
	s.Flush()
	s.restart(t)
	s.nothingDue(t)
	if err := s.Release(held); err != nil {
		t.Fatal(err)
	}
	if err := s.Release(held); !errors.Is(err, ErrNotHeld) {
		t.Errorf("released twice: %v", err)
	}
	m := s.next(t)
	if m.env.QueueID != held {
		t.Errorf("got %s, want the released %s", m.env.QueueID, held)
	}
	list := s.List()
	if len(list) != 2 || !list[0].Active || list[0].Held || !list[1].Held || list[1].Message.Envelope().QueueID != other {
		t.Errorf("list %+v", list)
	}
}

func TestFlush(t *testing.T) {
	s := newSite(t)
	for range 5 {
		s.put(t, "x\n", envelope("x@a.test"))
	}
	for i := range 5 {
		if err := s.next(t).Defer(start.Add(time.Duration(10-i)*time.Minute), nil); err != nil {
			t.Fatal(err)
		}
	}
	s.nothingDue(t)
	s.Flush()
	for range 5 {
		s.next(t)
	}
	s.nothingDue(t)
}

func TestDiscardLeavesNothing(t *testing.T) {
	s := newSite(t)
	d, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, large)
	d.Discard()
	d.Discard()
	files, err := os.ReadDir(filepath.Join(s.dir, incoming))
	if err != nil || len(files) != 1 {
		t.Fatalf("left: %v, %v; want one file to be used again", files, err)
	}
	if st, err := files[0].Info(); err != nil || st.Size() != 0 {
		t.Errorf("left: %v, %v", st, err)
	}
	s.nothingDue(t)
}

func TestNothingIsWrittenAfterCommit(t *testing.T) {
	s := newSite(t)
	d, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, "one\n")
	if err := d.Commit(envelope("x@a.test")); err != nil {
		t.Fatal(err)
	}
	other, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(d, "late\n"); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Write after Commit: %v", err)
	}
	io.WriteString(other, "two\n")
	if err := other.Commit(envelope("y@a.test")); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"one\n", "two\n"} {
		if got := read(t, s.next(t)); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
}

// A file that is used again shows nothing of what it held before.
func TestFilesAreUsedAgain(t *testing.T) {
	s := newSite(t)
	inode := func(id string) uint64 {
		st, err := os.Stat(s.path(messages, id))
		if err != nil {
			t.Fatal(err)
		}
		return st.Sys().(*syscall.Stat_t).Ino
	}
	first := s.putFile(t, strings.Repeat("long\n", 10000), envelope("x@a.test"))
	used := inode(first)
	if err := s.next(t).Remove(); err != nil {
		t.Fatal(err)
	}
	second := s.putFile(t, "short\n", envelope("y@a.test"))
	if inode(second) != used {
		t.Errorf("a new file was made")
	}
	s.clock.Advance(time.Second)
	third := s.putFile(t, "third\n", envelope("z@a.test"))
	if inode(third) == used {
		t.Error("a file in use was taken")
	}
	s.restart(t)
	for _, want := range []string{"short\n", "third\n"} {
		if got := read(t, s.next(t)); got != want {
			t.Errorf("content %q, want %q", got, want)
		}
	}
	s.nothingDue(t)
}

func TestSparesAreBounded(t *testing.T) {
	s := newSite(t)
	var drafts []*Draft
	for range maxSpares + 10 {
		d, err := s.Create(s.NewID())
		if err != nil {
			t.Fatal(err)
		}
		if err := d.spill(); err != nil {
			t.Fatal(err)
		}
		drafts = append(drafts, d)
	}
	for _, d := range drafts {
		d.Discard()
	}
	if files, err := os.ReadDir(filepath.Join(s.dir, incoming)); err != nil || len(files) != maxSpares {
		t.Errorf("%d files kept, %v; want %d", len(files), err, maxSpares)
	}
}

func TestOneProcessOnly(t *testing.T) {
	s := newSite(t)
	_, err := Open(s.dir, Options{Clock: s.clock, Log: s.Queue.log})
	if err == nil || !strings.Contains(err.Error(), "in use by another process") {
		t.Errorf("opened twice: %v", err)
	}
}

func TestDiskErrorsCanBeRecognised(t *testing.T) {
	s := newSite(t)
	d, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, large)
	d.f.Close() // a disk that no longer takes anything
	io.WriteString(d, large)
	if err := d.Commit(envelope("x@a.test")); !errors.Is(err, os.ErrClosed) {
		t.Errorf("Commit: %v, want the cause to be recognisable", err)
	}
	if files, _ := os.ReadDir(filepath.Join(s.dir, incoming)); len(files) != 0 {
		t.Errorf("left: %v", files)
	}
	s.nothingDue(t)
}

// A message whose name could not be synced was not acknowledged, so it must
// not be delivered either.
func TestCommitFailsWhenTheDirectoryCannotBeSynced(t *testing.T) {
	s := newSite(t)
	broken := errors.New("broken disk")
	s.names.sync = func() error { return broken }
	d, err := s.Create(s.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, large)
	if err := d.Commit(envelope("x@a.test")); !errors.Is(err, broken) {
		t.Errorf("Commit: %v, want %v", err, broken)
	}
	s.nothingDue(t)
	s.restart(t)
	s.nothingDue(t)
}

func TestConcurrentCommitsShareDirectorySyncs(t *testing.T) {
	s := newSite(t)
	var syncs int
	release := make(chan bool)
	s.names.sync = func() error { syncs++; <-release; return nil }
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			d, err := s.Create(s.NewID())
			if err != nil {
				t.Error(err)
				return
			}
			io.WriteString(d, large)
			if err := d.Commit(envelope("x@a.test")); err != nil {
				t.Error(err)
			}
		})
	}
	for { // all have renamed their files and wait, or are about to
		if files, _ := os.ReadDir(filepath.Join(s.dir, messages)); len(files) == 20 {
			break
		}
		runtime.Gosched()
	}
	close(release)
	wg.Wait()
	if syncs > 10 || syncs < 1 { // one for most, or one under way and one for them, and stragglers
		t.Errorf("%d syncs for 20 messages", syncs)
	}
	for range 20 {
		s.next(t)
	}
}

// A sync that began before the call does not count: the name may have come too
// late for it.
func TestSyncBeginsAfterTheCall(t *testing.T) {
	began, end := make(chan bool), make(chan bool)
	d := &dirSync{sync: func() error { began <- true; <-end; return nil }}
	first, second := make(chan error), make(chan error)
	go func() { first <- d.Sync() }()
	<-began
	go func() { second <- d.Sync() }()
	end <- true
	<-first
	<-began // of a second sync
	select {
	case <-second:
		t.Fatal("Sync returned before its sync ended")
	default:
	}
	end <- true
	if err := <-second; err != nil {
		t.Fatal(err)
	}
}

func TestIDs(t *testing.T) {
	s := newSite(t)
	seen := map[string]bool{}
	for range 1000 {
		id := s.NewID()
		if len(id) != 10 || strings.Trim(id, "0123456789ABCDEF") != "" || seen[id] {
			t.Fatalf("id %q", id)
		}
		seen[id] = true
	}
}

func TestFree(t *testing.T) {
	s := newSite(t)
	if n, err := s.Free(); err != nil || n <= 0 {
		t.Errorf("Free: %d, %v", n, err)
	}
}

// While many messages come in few are handed out, but at least these, and for a
// limited time.
func TestRush(t *testing.T) {
	for name, then := range map[string]func(s *site, active []*Message) error{
		"one is done":      func(_ *site, active []*Message) error { return active[0].Remove() },
		"the rush is over": func(s *site, _ []*Message) error { s.clock.Advance(2 * rushWindow); return nil },
		"one waits for long": func(s *site, _ []*Message) error {
			s.clock.Advance(rushPatience)
			for range rushMessages {
				s.countRush(s.clock.Now())
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range rushMessages {
				s.put(t, "x\n", envelope("x@a.test"))
			}
			var active []*Message
			for range rushActive {
				active = append(active, s.next(t))
			}
			s.nothingNow(t)
			if err := then(s, active); err != nil {
				t.Fatal(err)
			}
			s.next(t)
		})
	}
	s := newSite(t)
	for range rushMessages - 1 {
		s.put(t, "x\n", envelope("x@a.test"))
	}
	for range rushMessages - 1 { // that is no rush
		s.next(t)
	}
}

// nothingNow checks that Next would wait, whatever is due.
func (s *site) nothingNow(t *testing.T) {
	t.Helper()
	if e, wait, _ := s.claim(); e != nil || wait <= 0 {
		t.Fatalf("%v is handed out, wait %v", e, wait)
	}
}

// A reader keeps its content though the message goes and its memory is used
// again.
func TestReaderOutlivesItsMessage(t *testing.T) {
	s := newSite(t)
	s.put(t, "first\n", envelope("x@a.test"))
	m := s.next(t)
	r, err := m.Open()
	if err != nil {
		t.Fatal(err)
	}
	var one [1]byte
	if _, err := r.Read(one[:]); err != nil {
		t.Fatal(err)
	}
	if err := m.Remove(); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		s.put(t, "other\n", envelope("x@a.test"))
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "irst\n" {
		t.Errorf("read %q, %v", rest, err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := r.Read(one[:]); !errors.Is(err, os.ErrClosed) {
		t.Errorf("read after Close: %v", err)
	}
	for range 10 {
		if err := s.next(t).Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.memory.Load(); n != 0 {
		t.Errorf("%d bytes of memory are not given back", n)
	}
}
