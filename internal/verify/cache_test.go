package verify

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRestartKeepsTheCache(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	first := newSite(path, nil)
	first.Query(t.Context(), "a@b.test")
	first.Update("a@b.test", Undeliverable, `says "no": 550 5.1.1`)
	first.Query(t.Context(), "asked@b.test")
	first.Update(`odd "one"\ @b.test`, Deliverable, "")
	first.probes()
	second := newSite(path, nil) // the first has not been closed: a crash
	for addr, want := range map[string]Status{"a@b.test": Undeliverable, "asked@b.test": InProgress, `odd "one"\ @b.test`: Deliverable} {
		if e := second.Query(t.Context(), addr); e.Status != want {
			t.Errorf("%s: %+v, want status %d", addr, e, want)
		}
	}
	if p := second.probes(); p != "" {
		t.Errorf("probes after the restart: %s", p)
	}
	if e := second.Query(t.Context(), "a@b.test"); e.Text != `says "no": 550 5.1.1` {
		t.Errorf("%+v", e)
	}
}

// TestCrash cuts the file off at every byte: what is left is read, and never as
// something else than was written.
func TestCrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	s := newSite(path, nil)
	for i, status := range []Status{Deliverable, Undeliverable, Deferred} {
		s.clock.Advance(time.Minute)
		s.Update(fmt.Sprintf("u%d@b.test", i), status, "because")
	}
	s.Update("u1@b.test", Deliverable, "it came back")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(string(whole), "\n")
	for n := range len(whole) {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		complete := strings.Count(string(whole[:n]), "\n")
		got, damaged, err := Read(path)
		want := map[string]Entry{}
		for _, l := range lines[:complete] {
			addr, e, _, _ := parseLine(strings.TrimSuffix(l, "\n"))
			want[addr] = e
		}
		if err != nil || cmp.Diff(want, got) != "" || damaged != min(1, n-len(strings.Join(lines[:complete], ""))) {
			t.Fatalf("cut at %d: %v, %d damaged, %v; want %v", n, got, damaged, err, want)
		}
	}
}

func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	s := newSite(path, nil)
	s.Update("a@b.test", Undeliverable, "no")
	s.Update("b@b.test", Undeliverable, "no")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range text {
		changed := bytes.Clone(text)
		changed[i] ^= 1
		if err := os.WriteFile(path, changed, 0o600); err != nil {
			t.Fatal(err)
		}
		got, damaged, err := Read(path)
		if err != nil || damaged == 0 || len(got) > 1 {
			t.Errorf("byte %d: %v, %d damaged, %v", i, got, damaged, err)
		}
	}
	again := newSite(path, nil)
	again.Query(t.Context(), "a@b.test")
	if !strings.Contains(again.log.String(), "1 damaged lines skipped") {
		t.Errorf("log %s", again.log.String())
	}
	if _, damaged, err := Read(path); damaged != 0 || err != nil {
		t.Errorf("still damaged after it was opened: %d, %v", damaged, err)
	}
}

// The file is written anew when most of it is outdated.
func TestFileStaysSmall(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	s := newSite(path, nil)
	for i := range slack + 10 {
		s.Update("a@b.test", Undeliverable, fmt.Sprint(i))
	}
	text, err := os.ReadFile(path)
	if err != nil || bytes.Count(text, []byte("\n")) > 10 {
		t.Errorf("%d lines, %v", bytes.Count(text, []byte("\n")), err)
	}
	if got, _, err := Read(path); err != nil || got["a@b.test"].Text != fmt.Sprint(slack+9) {
		t.Errorf("%v, %v", got, err)
	}
}

// A cache that cannot be written works from memory, and says so once.
func TestNoPlaceForTheCache(t *testing.T) {
	s := newSite(filepath.Join(t.TempDir(), "missing", "cache"), nil)
	s.Update("a@b.test", Undeliverable, "no")
	s.Update("b@b.test", Deliverable, "yes")
	if e := s.Query(t.Context(), "a@b.test"); e.Status != Undeliverable {
		t.Errorf("%+v", e)
	}
	if n := strings.Count(s.log.String(), "a restart will forget what is learned from now on"); n != 1 {
		t.Errorf("said %d times: %s", n, s.log.String())
	}
}

func TestClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cache")
	c := NewCache(path, slog.New(slog.DiscardHandler))
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("a cache that nobody used has a file: %v", err)
	}
}

func TestPath(t *testing.T) {
	for spec, want := range map[string]string{
		"": "", "internal:x": "",
		"btree:/var/lib/postfix/verify_cache": "/var/lib/postfix/verify_cache.sekisho",
		"proxy:btree:/var/lib/postfix/verify": "/var/lib/postfix/verify.sekisho",
		"lmdb:/v":                             "/v.sekisho", "/v": "/v.sekisho",
		"memcache:/etc/postfix/mc.cf": "error", "btree:relative": "error", "redis:x": "error",
	} {
		got, err := Path(spec, "hash")
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %q, want %q (%v)", spec, got, want, err)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a@b.test", "0:0:1:x")
	f.Add("\"q\\\" \"@b.test", "")
	f.Add("a\n@\xff", "3:1:0:")
	f.Fuzz(func(t *testing.T, addr, value string) {
		e, ok := parseEntry(value)
		if ok && !strings.Contains(e.Text, "\n") {
			got, back, known, ok := parseLine(strings.TrimSuffix(string(appendLine(nil, addr, e.String())), "\n"))
			if !ok || !known || got != addr || back != e {
				t.Errorf("%q %+v became %q %+v", addr, e, got, back)
			}
		}
		parseLine(value) // does not panic
	})
}
