package commitlog

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekisho/internal/clock"
)

var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// site is a log and what was found when it was opened.
type site struct {
	*Log
	t        *testing.T
	dir      string
	o        Options
	clock    *clock.Manual
	found    []string // ID and content
	places   []Place
	damage   []Damage
	mu       sync.Mutex
	trouble  []error
	evacuate func(segment uint64)
}

func newSite(t *testing.T, o Options) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), clock: clock.NewManual(start), o: o}
	s.o.Clock = s.clock
	s.o.Found = func(r Record, p Place) {
		s.found = append(s.found, fmt.Sprintf("%c%d %s %s%s", r.Kind, r.Flags, r.ID, r.Meta, r.Body))
		s.places = append(s.places, p)
	}
	s.o.Damaged = func(d Damage) { d.Data = bytes.Clone(d.Data); s.damage = append(s.damage, d) }
	s.o.Trouble = func(err error) { s.mu.Lock(); defer s.mu.Unlock(); s.trouble = append(s.trouble, err) }
	s.o.Evacuate = func(n uint64) {
		if s.evacuate != nil {
			s.evacuate(n)
		}
	}
	s.open()
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *site) open() {
	s.t.Helper()
	s.found, s.places, s.damage = nil, nil, nil
	var err error
	if s.Log, err = Open(s.dir, s.o); err != nil {
		s.t.Fatal(err)
	}
}

// reopen closes the log in order and opens it again.
func (s *site) reopen() {
	s.t.Helper()
	if err := s.Close(); err != nil {
		s.t.Fatal(err)
	}
	s.open()
}

func (s *site) append(id, meta, body string) Place {
	s.t.Helper()
	p, err := s.Append(Record{Kind: 'M', ID: id, Meta: []byte(meta), Body: []byte(body)})
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// files are the names in the log's directory of which ok is true.
func (s *site) files(prefix string) []string {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, prefix+"*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return files
}

// await waits for something that other goroutines do.
func (s *site) await(what string, is func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			s.t.Fatal("waited in vain: " + what)
		}
	}
}

func TestWhatIsAppendedIsFound(t *testing.T) {
	s := newSite(t, Options{SegmentSize: 64 << 10})
	var want []string
	for i := range 100 {
		body := strings.Repeat("x", i*37)
		p, err := s.Append(Record{Kind: 'M', Flags: byte(i % 2), ID: fmt.Sprintf("ID%d", i), Meta: []byte("m"), Body: []byte(body)})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("M%d ID%d m%s", i%2, i, body))
		if meta, err := s.ReadMeta(p); err != nil || string(meta) != "m" {
			t.Fatalf("meta %q, %v", meta, err)
		}
		if _, got, err := s.Read(p); err != nil || string(got) != body || p.Body() != int64(len(body)) {
			t.Fatalf("body %q, %v", got, err)
		}
		if i%10 == 0 {
			s.Note(Record{Kind: 'R', ID: "note"})
			want = append(want, "R0 note ")
		}
	}
	s.reopen()
	if !slices.Equal(s.found, want) || len(s.damage) > 0 {
		t.Errorf("found %d records, damage %v; want %d", len(s.found), s.damage, len(want))
	}
	for i, p := range s.places {
		if meta, body, err := s.Read(p); err != nil || !strings.HasSuffix(s.found[i], string(meta)+string(body)) {
			t.Errorf("record %d is read as %q, %v", i, body, err)
		}
	}
	if n := len(s.files("0")); n < 3 {
		t.Errorf("%d segments: too few for the test", n)
	}
}

func TestTooLarge(t *testing.T) {
	s := newSite(t, Options{SegmentSize: 64 << 10})
	if _, err := s.Append(Record{Kind: 'M', ID: "x", Body: make([]byte, 64<<10)}); err == nil {
		t.Error("no error")
	}
	s.append("x", "", strings.Repeat("x", 50<<10))
}

// Those who append while a sync is under way share the next one.
func TestSharedSyncs(t *testing.T) {
	s := newSite(t, Options{})
	var syncs atomic.Int32
	release := make(chan bool)
	s.sync = func(*os.File) error { syncs.Add(1); <-release; return nil }
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() { s.append(fmt.Sprint(i), "", "text") })
	}
	waiting := func() int { s.Log.mu.Lock(); defer s.Log.mu.Unlock(); return len(s.waiting) }
	release <- true // the first has been written, maybe with some others
	s.await("the others", func() bool { return waiting() > 0 || syncs.Load() > 1 })
	close(release)
	wg.Wait()
	if n := syncs.Load(); n > 10 || n < 2 {
		t.Errorf("%d syncs for 20 records", n)
	}
}

// A sync that fails fails everybody in its batch; nothing of it comes back, and
// what was there before stays.
func TestFailingSync(t *testing.T) {
	s := newSite(t, Options{})
	s.append("before", "", "x")
	broken := errors.New("broken disk")
	real := s.sync
	s.sync = func(*os.File) error { return broken }
	if _, err := s.Append(Record{Kind: 'M', ID: "failed", Body: []byte("x")}); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
	s.sync = real
	s.append("after", "", "x")
	if n := len(s.files("0")); n != 2 {
		t.Errorf("%d segments, want another one after the failure", n)
	}
	s.reopen()
	if want := []string{"M0 before x", "M0 after x"}; !slices.Equal(s.found, want) {
		t.Errorf("found %q, want %q", s.found, want)
	}
}

// Records that nobody waits for survive a disk that fails for a while, and the
// segments that could not be written are not kept.
func TestNotesOutliveAFailure(t *testing.T) {
	s := newSite(t, Options{})
	broken := errors.New("broken disk")
	real := s.sync
	s.sync = func(*os.File) error { return broken }
	for range 3 {
		s.Note(Record{Kind: 'R', ID: "note"})
		if _, err := s.Append(Record{Kind: 'M', ID: "failed"}); !errors.Is(err, broken) {
			t.Errorf("error %v", err)
		}
	}
	if n := len(s.files("0")); n > 1 {
		t.Errorf("%d empty segments", n)
	}
	s.sync = real
	s.append("after", "", "")
	s.reopen()
	if want := []string{"R0 note ", "R0 note ", "R0 note ", "M0 after "}; !slices.Equal(s.found, want) {
		t.Errorf("found %q, want %q", s.found, want)
	}
}

// Segments go in order, and their files are used again without what they held.
func TestSegmentsAreUsedAgain(t *testing.T) {
	s := newSite(t, Options{SegmentSize: 64 << 10, Spares: 2})
	var places []Place
	for i := range 40 { // some ten segments
		places = append(places, s.append(fmt.Sprintf("old%d", i), "", strings.Repeat("o", 15<<10)))
	}
	full := len(s.files("0"))
	last := places[len(places)-1]
	s.Release(places[20 : len(places)-1]...)
	s.append("x", "", "")
	if n := len(s.files("0")); n != full {
		t.Errorf("%d segments of %d left while the oldest is needed", n, full)
	}
	s.Release(places[:20]...)
	s.await("segments to go", func() bool { return len(s.files("0")) <= 2 && len(s.files("spare")) == 2 })
	for i := range 10 {
		s.append(fmt.Sprintf("new%d", i), "", strings.Repeat("n", 15<<10))
	}
	if n := len(s.files("spare")); n != 0 {
		t.Errorf("%d spare files not used", n)
	}
	if _, body, err := s.Read(last); err != nil || len(body) != 15<<10 {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	s.reopen()
	if len(s.damage) > 0 {
		t.Errorf("damage %v", s.damage)
	}
	for _, f := range s.found {
		if strings.HasPrefix(f, "M0 old") && !strings.HasPrefix(f, "M0 old39") && !strings.HasPrefix(f, "M0 old38") && !strings.HasPrefix(f, "M0 old37") && !strings.HasPrefix(f, "M0 old36") {
			t.Errorf("found %.20q, which had gone with its segment", f)
		}
	}
}

// The oldest segment is evacuated when it has hardly anything left for a while,
// or when there are too many.
func TestEvacuation(t *testing.T) {
	for _, tt := range []struct {
		name  string
		keep  int // bytes that stay needed in the first segment
		late  time.Duration
		more  int // segments that follow
		asked bool
	}{
		{"hardly anything, but fresh", 100, 0, 1, false},
		{"hardly anything", 100, evacuateAfter + 1, 1, true},
		{"nothing", 0, evacuateAfter + 1, 1, false},
		{"much", 10 << 10, evacuateAfter + 1, 1, false},
		{"too many segments", 10 << 10, 0, 4, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, Options{SegmentSize: 64 << 10, Segments: 2})
			asked := make(chan uint64, 10)
			var kept Place
			s.evacuate = func(n uint64) { s.Release(kept); asked <- n }
			if tt.keep > 0 {
				kept = s.append("kept", "", strings.Repeat("x", tt.keep))
			}
			for range 1 + tt.more { // the last one is being written
				s.Release(s.append("gone", "", strings.Repeat("x", 40<<10)))
			}
			s.clock.Advance(tt.late)
			s.append("x", "", "") // after the second one the writer
			s.append("x", "", "") // has seen to what followed the first
			s.Log.mu.Lock()
			got := s.evacuating || len(asked) > 0
			s.Log.mu.Unlock()
			if got != tt.asked {
				t.Errorf("evacuation %v, want %v", got, tt.asked)
			}
			if !tt.asked {
				return
			}
			if n := <-asked; n != 1 {
				t.Errorf("segment %d, want the oldest", n)
			}
			s.await("the segment to go", func() bool { return len(s.files("0000000000000001")) == 0 })
		})
	}
}

// What a record contains is never taken for a record, not even after damage.
func TestContentIsNoRecord(t *testing.T) {
	s := newSite(t, Options{})
	s.append("first", "", "")
	// A sender who knows the format, but not this segment's salt.
	forged := (&head{kind: 'M', id: "forged"}).append(nil, [8]byte([]byte("01234567")))
	carrier := s.append("carrier", "", strings.Repeat(string(forged), 10))
	s.append("last", "", "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s.flip(carrier.off + 3)
	s.open()
	if want := []string{"M0 first ", "M0 last "}; !slices.Equal(s.found, want) || len(s.damage) != 1 || s.damage[0].Offset != carrier.off || s.damage[0].Tail {
		t.Errorf("found %.50q, damage %v", s.found, s.damage)
	}
}

// flip changes a byte of the only segment.
func (s *site) flip(off int64) {
	s.t.Helper()
	f, err := os.OpenFile(s.files("0")[0], os.O_RDWR, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], off); err != nil {
		s.t.Fatal(err)
	}
	b[0] ^= 0x10
	if _, err := f.WriteAt(b[:], off); err != nil {
		s.t.Fatal(err)
	}
}

// threeRecords makes a log of three groups and returns its only file, as it is
// after an orderly end or after a crash.
func (s *site) threeRecords(crash bool) (path string, file []byte) {
	s.t.Helper()
	s.append("one", "meta1", "body1")
	s.append("two", "meta2", strings.Repeat("body2", 20))
	s.append("three", "meta3", "body3")
	path = s.files("0")[0]
	if !crash {
		if err := s.Close(); err != nil {
			s.t.Fatal(err)
		}
	}
	file, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if crash {
		s.Close()
	}
	return path, file
}

// interesting are all bytes of the records, and a few of the zeros between.
func interesting(i int) bool { return i%page < recordSize(5, 100)+align || i%509 == 0 }

var three = []string{"M0 one meta1body1", "M0 two meta2" + strings.Repeat("body2", 20), "M0 three meta3body3"}

// Any byte of the log may change: it costs at most the record it is in, and is
// reported.
func TestEveryChangedByteIsNoticed(t *testing.T) {
	for _, crash := range []bool{false, true} {
		s := newSite(t, Options{SegmentSize: 20 << 10})
		path, file := s.threeRecords(crash)
		for i := range 3 * page {
			if !interesting(i) {
				continue
			}
			changed := bytes.Clone(file)
			changed[i] ^= 0x20
			if err := os.WriteFile(path, changed, 0o600); err != nil {
				t.Fatal(err)
			}
			s.open()
			s.checkThree(fmt.Sprintf("byte %d", i), i/page, crash)
			s.Close()
		}
	}
}

// checkThree compares what was found with the three records, of which the one
// numbered hurt may be missing.
func (s *site) checkThree(what string, hurt int, crash bool) {
	s.t.Helper()
	without := slices.Delete(slices.Clone(three), hurt, hurt+1)
	lost := slices.Equal(s.found, without)
	if !lost && !slices.Equal(s.found, three) {
		s.t.Fatalf("%s: found %q", what, s.found)
	}
	if lost && len(s.damage) != 1 {
		s.t.Fatalf("%s: a record is lost, damage %v", what, s.damage)
	}
	for _, d := range s.damage {
		if d.Offset/page != int64(hurt) || d.Tail != (crash && hurt == 2) || len(d.Data) == 0 {
			s.t.Fatalf("%s: damage %v", what, d)
		}
	}
}

// The log may end anywhere: what is before the end is found.
func TestCutOffAtEveryByte(t *testing.T) {
	s := newSite(t, Options{SegmentSize: 20 << 10})
	path, file := s.threeRecords(true)
	ends := []int{recordSize(5, 5), page + recordSize(5, 100), 2*page + recordSize(5, 5)}
	for n := range 3*page + 1 {
		if !interesting(n) {
			continue
		}
		if err := os.WriteFile(path, file[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		s.open()
		whole := 0
		for whole < 3 && n >= ends[whole]-padding(whole) {
			whole++
		}
		if len(s.found) != whole || !slices.Equal(s.found, three[:whole]) {
			t.Fatalf("cut at %d: found %q, want %d", n, s.found, whole)
		}
		for _, d := range s.damage {
			if !d.Tail {
				t.Fatalf("cut at %d: damage %v", n, d)
			}
		}
		s.Close()
	}
}

// padding is how many zeros follow a record of threeRecords.
func padding(i int) int {
	body := []int{5, 100, 5}[i]
	return recordSize(5, body) - headSize - 5 - body
}

// A record that has changed since is not read.
func TestReadChecks(t *testing.T) {
	s := newSite(t, Options{})
	p := s.append("x", "meta", "body")
	for off := range int64(headSize + 8) {
		s.flip(p.off + off)
		if _, _, err := s.Read(p); !errors.Is(err, ErrChanged) {
			t.Errorf("byte %d changed: %v", off, err)
		}
		s.flip(p.off + off)
	}
	if _, _, err := s.Read(p); err != nil {
		t.Error(err)
	}
}

func TestClosedLog(t *testing.T) {
	s := newSite(t, Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Append(Record{Kind: 'M'}); !errors.Is(err, ErrClosed) {
		t.Errorf("error %v", err)
	}
	if n := len(s.files("")); n != 0 {
		t.Errorf("%d files of a log that was not written to", n)
	}
	s.open()
}

// FuzzOpen reads segments that may be anything.
func FuzzOpen(f *testing.F) {
	salt := [8]byte([]byte("12345678"))
	h := head{kind: 'M', id: "x", meta: 3, body: 4}
	f.Add(h.append(nil, salt))
	h.meta = 1 << 31
	f.Add(h.append(make([]byte, page), salt))
	f.Add([]byte(magic))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := os.WriteFile(filepath.Join(dir, name(1, salt)), file, 0o600); err != nil {
			t.Fatal(err)
		}
		var places []Place
		l, err := Open(dir, Options{
			Clock: clock.NewManual(start), Damaged: func(Damage) {}, Trouble: func(error) {}, SegmentSize: 1 << 20,
			Found: func(_ Record, p Place) { places = append(places, p) },
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range places {
			if _, _, err := l.Read(p); err != nil && err != io.EOF {
				t.Errorf("found, but cannot be read: %v", err)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	})
}
