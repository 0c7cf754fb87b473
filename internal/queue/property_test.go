package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/queue/commitlog"
)

// ideal is what should be known of one message.
type ideal struct {
	text    string
	done    [2]bool // of its recipients
	told    bool    // of the first
	warned  bool
	expired bool
	due     time.Time
	held    bool
	claim   *Message // it was handed out
}

// String leaves the text out.
func (i *ideal) String() string {
	return fmt.Sprintf("%d bytes, done %v told %v warned %v expired %v held %v claimed %v due %v",
		len(i.text), i.done, i.told, i.warned, i.expired, i.held, i.claim != nil, i.due)
}

// machine is a queue beside a simple model of it.
type machine struct {
	q      *Queue
	dir    string
	base   string
	number int // of directories
	clock  *clock.Manual
	log    *bytes.Buffer
	model  map[string]*ideal
	gone   map[string]bool // removed; after a crash they may be there again
}

// tinyLog has room for a few messages in a segment and keeps few segments.
var tinyLog = commitlog.Options{SegmentSize: 512 << 10, Segments: 1, Spares: 1}

func (m *machine) open(t *rapid.T) {
	var err error
	if m.q, err = open(m.dir, Options{Clock: m.clock, Log: slog.New(slog.NewTextHandler(m.log, nil))}, tinyLog); err != nil {
		t.Fatal(err)
	}
}

// pick draws a message that is as wanted.
func (m *machine) pick(t *rapid.T, want func(*ideal) bool) (string, *ideal) {
	var ids []string
	for id, i := range m.model {
		if want(i) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		t.Skip("none")
	}
	slices.Sort(ids)
	id := rapid.SampledFrom(ids).Draw(t, "message")
	return id, m.model[id]
}

func whatever(*ideal) bool        { return true }
func claimed(i *ideal) bool       { return i.claim != nil }
func waiting(i *ideal) bool       { return i.claim == nil }
func onHold(i *ideal) bool        { return i.held }
func (m *machine) now() time.Time { return m.clock.Now() }

func (m *machine) put(t *rapid.T) {
	lines := rapid.SampledFrom([]int{0, 1, 10, 1000, 5000, maxHot/16 + 1}).Draw(t, "lines")
	text := strings.Repeat("0123456789abcde\n", lines)
	env := envelope("x@a.test", "y@b.test")
	env.Hold = rapid.IntRange(0, 9).Draw(t, "hold") == 0
	d, err := m.q.Create(m.q.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, text)
	if rapid.IntRange(0, 9).Draw(t, "discard") == 0 {
		d.Discard()
		return
	}
	if err := d.Commit(env); err != nil {
		t.Fatal(err)
	}
	m.model[d.ID()] = &ideal{text: text, due: m.now(), held: env.Hold}
}

// next claims a message: one that is due must come, if there is any.
func (m *machine) next(t *rapid.T) {
	due := func(i *ideal) bool { return i.claim == nil && !i.held && !i.due.After(m.now()) }
	var msg *Message
	for msg == nil {
		e, _, _ := m.q.claim()
		if e == nil {
			break
		}
		msg = m.q.claimed(e)
	}
	if msg == nil {
		for id, i := range m.model {
			if due(i) {
				t.Fatalf("%s is not handed out: %v", id, i)
			}
		}
		return
	}
	i := m.model[msg.e.id]
	if i == nil || !due(i) {
		t.Fatalf("%s is handed out: %v", msg.e.id, i)
	}
	i.claim = msg
	m.compare(t, msg, i)
}

// compare holds a message against its ideal.
func (m *machine) compare(t *rapid.T, msg *Message, i *ideal) {
	text, err := readAll(msg)
	if err != nil || string(text) != i.text || msg.Size() != int64(len(i.text)) {
		t.Fatalf("%s: content of %d bytes, %v; want %d", msg.e.id, len(text), err, len(i.text))
	}
	p := msg.Progress()
	if [2]bool{p[0].Done(), p[1].Done()} != i.done || p[0].Told != i.told || msg.Warned() != i.warned || msg.Expired() != i.expired {
		t.Fatalf("%s: %+v, want %v", msg.e.id, p, i)
	}
}

func (m *machine) record(t *rapid.T) {
	id, i := m.pick(t, claimed)
	r := rapid.IntRange(0, 1).Draw(t, "recipient")
	if err := i.claim.Record([]deliver.Result{{Recipient: r, Status: deliver.Sent, Text: id}}); err != nil {
		t.Fatal(err)
	}
	i.done[r] = true
}

func (m *machine) tell(t *rapid.T) {
	_, i := m.pick(t, claimed)
	if err := errors.Join(i.claim.RecordTold([]int{0}), i.claim.RecordWarned()); err != nil {
		t.Fatal(err)
	}
	i.told, i.warned = true, true
}

func (m *machine) giveBack(t *rapid.T) {
	_, i := m.pick(t, claimed)
	i.due = m.now().Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "minutes")) * time.Minute)
	if err := i.claim.Defer(i.due, nil); err != nil {
		t.Fatal(err)
	}
	i.claim = nil
}

func (m *machine) remove(t *rapid.T) {
	id, i := m.pick(t, claimed)
	if err := i.claim.Remove(); err != nil {
		t.Fatal(err)
	}
	m.drop(id)
}

func (m *machine) drop(id string) {
	delete(m.model, id)
	m.gone[id] = true
}

func (m *machine) delete(t *rapid.T) {
	id, i := m.pick(t, whatever)
	if err := m.q.Delete(id); err != nil {
		t.Fatal(err)
	}
	if i.claim != nil { // what is said of it is of no interest
		if err := errors.Join(i.claim.Record([]deliver.Result{{Status: deliver.Sent}}), i.claim.Defer(m.now(), nil)); err != nil {
			t.Fatal(err)
		}
	}
	m.drop(id)
	if _, err := m.q.Show(id); !errors.Is(err, ErrNotFound) {
		t.Fatalf("%s is there after Delete: %v", id, err)
	}
}

func (m *machine) hold(t *rapid.T) {
	id, i := m.pick(t, whatever)
	if err := m.q.Hold(id); err != nil {
		t.Fatal(err)
	}
	i.held = true
}

func (m *machine) release(t *rapid.T) {
	id, i := m.pick(t, onHold)
	if err := m.q.Release(id); err != nil {
		t.Fatal(err)
	}
	i.held = false
	if i.claim == nil {
		i.due = m.now()
	}
}

func (m *machine) requeue(t *rapid.T) {
	id, i := m.pick(t, waiting)
	if err := m.q.Requeue(id); err != nil {
		t.Fatal(err)
	}
	i.held, i.due = false, m.now()
}

func (m *machine) expire(t *rapid.T) {
	id, i := m.pick(t, waiting)
	if err := m.q.Expire(id); err != nil {
		t.Fatal(err)
	}
	i.expired = true
}

func (m *machine) advance(t *rapid.T) {
	m.clock.Advance(time.Duration(rapid.IntRange(1, 15).Draw(t, "minutes")) * time.Minute)
}

// restart ends the queue in order and opens it again.
func (m *machine) restart(t *rapid.T) {
	if err := m.q.Close(); err != nil {
		t.Fatal(err)
	}
	m.reopened(t, false)
}

// crash goes on with what the files are at this moment.
func (m *machine) crash(t *rapid.T) {
	old := m.q
	m.number++
	dir := filepath.Join(m.base, string(rune('a'+m.number%26))+time.Duration(m.number).String())
	copyTree(t, m.dir, dir)
	if err := old.Close(); err != nil {
		t.Fatal(err)
	}
	os.RemoveAll(m.dir)
	m.dir = dir
	m.reopened(t, true)
}

// copyTree copies what another process would find. The queue goes on meanwhile;
// the log is copied from its end, so that nothing is copied without what revokes
// it.
func copyTree(t *rapid.T, from, to string) {
	for _, sub := range []string{"", logDir, incoming, messages, corrupt} {
		if err := os.MkdirAll(filepath.Join(to, sub), 0o700); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(filepath.Join(from, sub))
		if err != nil {
			t.Fatal(err)
		}
		slices.Reverse(files)
		for _, f := range files {
			if f.IsDir() {
				continue
			}
			path := filepath.Join(from, sub, f.Name())
			st, err := os.Stat(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			data, err := os.ReadFile(path)
			if errors.Is(err, os.ErrNotExist) {
				continue
			}
			copied := filepath.Join(to, sub, f.Name())
			if err := errors.Join(err, os.WriteFile(copied, data, 0o600), os.Chtimes(copied, st.ModTime(), st.ModTime())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func (m *machine) reopened(t *rapid.T, crashed bool) {
	m.open(t)
	for _, i := range m.model {
		if i.claim != nil { // due again, if it was not put off before
			i.claim = nil
		}
	}
	for info := range m.q.All() {
		id := info.Message.e.id
		if m.model[id] == nil && crashed && m.gone[id] {
			if err := m.q.Delete(id); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !crashed {
		clear(m.gone)
	}
}

// check compares the whole of both.
func (m *machine) check(t *rapid.T) {
	found := map[string]bool{}
	for info := range m.q.All() {
		id := info.Message.e.id
		i := m.model[id]
		if i == nil || found[id] {
			t.Fatalf("%s is there, or twice", id)
		}
		found[id] = true
		m.compare(t, info.Message, i)
		if info.Held != i.held || info.Active != (i.claim != nil) {
			t.Fatalf("%s: held %v, active %v; want %v", id, info.Held, info.Active, i)
		}
	}
	if len(found) != len(m.model) {
		t.Fatalf("there are %d messages, want %v", len(found), slices.Sorted(maps.Keys(m.model)))
	}
	if strings.Contains(m.log.String(), "level=") {
		t.Fatalf("log %s", m.log)
	}
}

// Whatever is done with a queue, and whenever it stops, it is what a simple
// model says.
func TestQueueIsAsItsModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base, err := os.MkdirTemp("", "queue")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(base)
		m := &machine{
			base: base, dir: filepath.Join(base, "spool"), clock: clock.NewManual(start), log: &bytes.Buffer{},
			model: map[string]*ideal{}, gone: map[string]bool{},
		}
		m.open(t)
		defer func() { m.q.Close() }()
		t.Repeat(map[string]func(*rapid.T){
			"": m.check, "put": m.put, "put another": m.put, "next": m.next, "next too": m.next, "record": m.record, "tell": m.tell,
			"defer": m.giveBack, "remove": m.remove, "delete": m.delete, "hold": m.hold, "release": m.release,
			"requeue": m.requeue, "expire": m.expire, "advance": m.advance, "restart": m.restart, "crash": m.crash,
		})
	})
}
