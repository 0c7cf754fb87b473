package queue

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/queue/commitlog"
)

// A file cut off anywhere is either set aside or, when only what was recorded
// about recipients is missing, a message whose recipients are tried again.
func TestFileCutOffAtEveryByte(t *testing.T) {
	s := newSite(t)
	id := s.putFile(t, "Subject: x\n\nhello\n", envelope("x@a.test", "y@b.test"))
	m := s.next(t)
	st, err := os.Stat(s.path(messages, id))
	if err != nil {
		t.Fatal(err)
	}
	whole := st.Size()
	if err := m.Record([]deliver.Result{{Recipient: 1, Status: deliver.Sent}}); err != nil {
		t.Fatal(err)
	}
	path := s.path(messages, id)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range len(file) + 1 {
		if err := os.WriteFile(path, file[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s.log.Reset()
		s.restart(t)
		if int64(n) < whole {
			s.nothingDue(t)
			kept, err := os.ReadFile(s.path(corrupt, id))
			if n > 0 && (err != nil || !bytes.Equal(kept, file[:n])) || !strings.Contains(s.log.String(), id) {
				t.Fatalf("cut at %d: kept %d bytes, %v; log %q", n, len(kept), err, s.log)
			}
			os.Remove(s.path(corrupt, id))
			continue
		}
		m := s.next(t)
		if read(t, m) != "Subject: x\n\nhello\n" || m.Progress()[1].Done() != (n == len(file)) {
			t.Fatalf("cut at %d: progress %+v", n, m.Progress())
		}
		if logged := s.log.Len() > 0; logged != (int64(n) > whole && n < len(file)) {
			t.Fatalf("cut at %d: log %q", n, s.log)
		}
		if err := m.Record([]deliver.Result{{Recipient: 0, Status: deliver.Sent}}); err != nil {
			t.Fatal(err)
		}
		s.restart(t)
		if !s.next(t).Progress()[0].Done() {
			t.Fatalf("cut at %d: what was recorded after the repair is lost", n)
		}
	}
}

// No changed byte may go unnoticed.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	s := newSite(t)
	id := s.putFile(t, "Subject: x\n\nhello\n", envelope("x@a.test"))
	path := s.path(messages, id)
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range file {
		changed := bytes.Clone(file)
		changed[i] ^= 0x20
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		s.restart(t)
		e, _, _ := s.claim()
		m := s.claimed(e)
		if m == nil {
			if err := os.Remove(s.path(corrupt, filepath.Base(path))); err != nil {
				t.Fatalf("byte %d: message is gone: %v", i, err)
			}
			continue
		}
		r, err := m.Open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(r); !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d changed, content read with error %v", i, err)
		}
		r.Close()
	}
}

func TestWhatMakesNoSenseIsSetAside(t *testing.T) {
	s := newSite(t)
	good := s.putFile(t, "x\n", envelope("x@a.test"))
	file, err := os.ReadFile(s.path(messages, good))
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(s.path(messages, "0000000001"), file, 0o600) // another one's file
	os.WriteFile(s.path(messages, "README"), []byte("?"), 0o600)
	os.WriteFile(s.path(corrupt, "README"), []byte("older"), 0o600)
	os.WriteFile(s.path(incoming, "draft"), []byte("?"), 0o600)
	s.restart(t)
	if m := s.next(t); m.env.QueueID != good {
		t.Errorf("got %s", m.env.QueueID)
	}
	s.nothingDue(t)
	files, err := os.ReadDir(filepath.Join(s.dir, corrupt))
	if err != nil || len(files) != 3 {
		t.Errorf("set aside: %v, %v; want the two and the older one", files, err)
	}
	if drafts, _ := os.ReadDir(filepath.Join(s.dir, incoming)); len(drafts) != 0 {
		t.Errorf("drafts left: %v", drafts)
	}
}

// A message that is damaged in the log is found when it is read, or when it is to
// leave the log, and does not keep the log from being given up.
func TestDamageInTheLog(t *testing.T) {
	for _, name := range []string{"read", "moved", "restarted"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			bad := s.put(t, strings.Repeat("bad\n", 1000), envelope("x@a.test"))
			good := s.put(t, "good\n", envelope("x@a.test"))
			s.restart(t) // nothing is in memory any more
			segment := s.segments(t)[0]
			file, err := os.ReadFile(segment)
			if err != nil {
				t.Fatal(err)
			}
			file[bytes.Index(file, []byte("bad\nbad"))] = 'B'
			f, err := os.OpenFile(segment, os.O_WRONLY, 0)
			if err == nil {
				_, err = f.Write(file)
			}
			if err != nil {
				t.Fatal(err)
			}
			f.Close()
			switch name {
			case "read":
				m := s.next(t)
				if _, err := m.Open(); m.env.QueueID != bad || !errors.Is(err, ErrDamaged) {
					t.Fatalf("%s is opened with error %v", m.env.QueueID, err)
				}
				m.SetAside(ErrDamaged)
			case "moved":
				s.evacuate(1)
			case "restarted":
				s.restart(t)
			}
			kept, err := filepath.Glob(s.path(corrupt, "*"+bad))
			if err != nil || len(kept) != 1 || !strings.Contains(s.log.String(), bad) {
				t.Errorf("kept %v, %v; log %s", kept, err, s.log)
			}
			if m := s.next(t); m.env.QueueID != good || read(t, m) != "good\n" || m.Remove() != nil {
				t.Errorf("got %s, want %s", m.env.QueueID, good)
			}
			s.nothingDue(t)
			s.put(t, "x\n", envelope("x@a.test")) // the log tidies up
			for deadline := time.Now().Add(20 * time.Second); slices.Contains(s.segments(t), segment); {
				if time.Now().After(deadline) {
					t.Fatal("the segment stays")
				}
			}
		})
	}
}

// segments are the files of the log.
func (s *site) segments(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(s.path(logDir, "0*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A machine that stops in the middle of Commit may leave a name without all of
// its file. Nobody was told that such a message is safe.
func TestUnfinishedIsRemoved(t *testing.T) {
	s := newSite(t)
	for id, file := range map[string][]byte{
		"0000000001": nil,
		"0000000002": make([]byte, 10),
		"0000000003": append(make([]byte, headerSize), "hello\n"...),
	} {
		if err := os.WriteFile(s.path(messages, id), file, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.restart(t)
	s.nothingDue(t)
	for _, dir := range []string{messages, corrupt} {
		if files, err := os.ReadDir(filepath.Join(s.dir, dir)); err != nil || len(files) != 0 {
			t.Errorf("%s: %v, %v", dir, files, err)
		}
	}
	if n := strings.Count(s.log.String(), "removed"); n != 3 {
		t.Errorf("log %s", s.log)
	}
}

const (
	childEnv = "SEKISHO_QUEUE_CRASH_CHILD" // directory of the spool
	killsEnv = "SEKISHO_CRASH_KILLS"       // how often to kill, default 20
	roleEnv  = "SEKISHO_QUEUE_CRASH_ROLE"  // what the child does, "" for the ordinary
)

// times is a number from the environment.
func times(t *testing.T, env string, usually int) int {
	t.Helper()
	s := os.Getenv(env)
	if s == "" {
		return usually
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		if os.Getenv(roleEnv) == "look" {
			lookChild(dir)
		} else {
			crashChild(dir)
		}
		return
	}
	// A few are enough for every day; -rapid.checks asks for more.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// smallLog makes a log whose segments are given up after a few messages.
var smallLog = commitlog.Options{SegmentSize: 1 << 20, Segments: 2, Spares: 1}

// crashChild commits messages from several goroutines and prints the id and
// checksum of each that was acknowledged, until it is killed.
func crashChild(dir string) {
	// Small segments, so that they are given up, evacuated and used again.
	o := smallLog
	if os.Getenv(roleEnv) == "no sync of the log" {
		o.Sync = func(*os.File) error { return nil }
	}
	q, err := open(dir, Options{Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv(roleEnv) == "no sync of names" {
		q.names.sync = func() error { return nil }
	}
	var mu sync.Mutex
	for n := range 4 {
		go func() {
			for i := 0; ; i++ {
				lines := 1 + rand.IntN(3000)
				if i%20 == 0 {
					lines = maxHot / 3 // a file of its own
				}
				text := strings.Repeat(fmt.Sprintf("%d %d\n", n, i), lines)
				id := q.NewID()
				d, err := q.Create(id)
				if err == nil {
					io.WriteString(d, text)
					err = d.Commit(envelope("x@a.test", "y@a.test"))
				}
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Printf("ok %s %d\n", id, crc32.ChecksumIEEE([]byte(text)))
				}
				mu.Unlock()
			}
		}()
	}
	for { // and delivers one in three
		m, err := q.Next(context.Background())
		if err != nil {
			continue
		}
		id := m.Envelope().QueueID
		if rand.IntN(3) == 0 {
			mu.Lock()
			fmt.Printf("gone %s\n", id)
			mu.Unlock()
			m.Remove()
			continue
		}
		m.Record([]deliver.Result{{Recipient: 0, Status: deliver.Sent}})
		mu.Lock()
		fmt.Printf("sent %s\n", id)
		mu.Unlock()
		m.Defer(time.Now().Add(time.Hour), nil)
	}
}

// Killed at any moment, the spool has every acknowledged message that was not
// removed, whole, and remembers the recipients that were done.
func TestKilledAtAnyMoment(t *testing.T) {
	kills := times(t, killsEnv, 20)
	dir := filepath.Join(t.TempDir(), "spool")
	var acked, left int
	for range kills {
		said := killChild(t, dir, "")
		acked += len(said.ok)
		left += said.verify(t, dir)
	}
	if acked == 0 || left == 0 {
		t.Errorf("%d acknowledged, %d left: nothing was tested", acked, left)
	}
	t.Logf("%d kills: %d messages acknowledged, %d of them found whole, none lost", kills, acked, left)
}

// said is what a child printed before it was killed.
type said struct {
	ok   map[string]uint64 // id: checksum
	gone map[string]bool
	sent map[string]bool
}

// child is this test as another process on the spool.
func child(t *testing.T, dir, role string) *exec.Cmd {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), childEnv+"="+dir, roleEnv+"="+role)
	return cmd
}

func killChild(t *testing.T, dir, role string) said {
	t.Helper()
	cmd := child(t, dir, role)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r := said{ok: map[string]uint64{}, gone: map[string]bool{}, sent: map[string]bool{}}
	deadline := 1 + rand.IntN(300)
	in := bufio.NewScanner(out)
	for n := 0; in.Scan(); n++ {
		if n == deadline {
			cmd.Process.Kill()
		}
		r.note(t, strings.Fields(in.Text()))
	}
	cmd.Wait()
	return r
}

func (r said) note(t *testing.T, words []string) {
	switch words[0] {
	case "ok":
		r.ok[words[1]], _ = strconv.ParseUint(words[2], 10, 32)
	case "gone":
		r.gone[words[1]] = true
	case "sent":
		r.sent[words[1]] = true
	default:
		t.Errorf("child said %q", words)
	}
}

// verify opens the spool, compares, empties it and returns how many messages
// were found.
func (r said) verify(t *testing.T, dir string) int {
	t.Helper()
	var log bytes.Buffer
	q, err := open(dir, Options{Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(&log, nil))}, smallLog)
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	found := map[string]bool{}
	for _, info := range q.List() {
		id := info.Message.Envelope().QueueID
		if found[id] {
			t.Errorf("%s is there twice", id)
		}
		found[id] = true
		text := read(t, info.Message)
		if sum, acked := r.ok[id]; acked && sum != uint64(crc32.ChecksumIEEE([]byte(text))) {
			t.Errorf("%s has changed", id)
		}
		if r.sent[id] && !info.Message.Progress()[0].Done() {
			t.Errorf("%s: a recipient that was done would get it again", id)
		}
		if err := q.Delete(id); err != nil {
			t.Error(err)
		}
	}
	for id := range r.ok {
		if !found[id] && !r.gone[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
	// A kill may cut a write short; nothing else makes no sense.
	for line := range strings.Lines(log.String()) {
		if !strings.Contains(line, "maybe never acknowledged") {
			t.Errorf("after a kill: %s", line)
		}
	}
	return len(found)
}
