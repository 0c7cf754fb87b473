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
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/clock"
	"sekisho/internal/lossyfs"
)

// newSiteOn is newSite on a file system of its own, of that many bytes.
func newSiteOn(t *testing.T, size int) *site {
	t.Helper()
	mounted := t.TempDir()
	if err := unix.Mount("tmpfs", mounted, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount: %v", err)
		}
		t.Skipf("mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(mounted, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	s := &site{dir: filepath.Join(mounted, "spool"), clock: clock.NewManual(start), log: &bytes.Buffer{}}
	s.openSmall(t)
	t.Cleanup(func() { s.Close() })
	return s
}

func (s *site) openSmall(t *testing.T) {
	t.Helper()
	q, err := open(s.dir, Options{Clock: s.clock, Log: slog.New(slog.NewTextHandler(s.log, nil))}, smallLog)
	if err != nil {
		t.Fatal(err)
	}
	s.Queue = q
}

// try is put for a disk that may refuse.
func (s *site) try(text string) (id string, err error) {
	id = s.NewID()
	d, err := s.Create(id)
	if err != nil {
		return id, err
	}
	defer d.Discard()
	if _, err := io.WriteString(d, text); err != nil {
		return id, err
	}
	return id, d.Commit(envelope("x@a.test"))
}

// whole checks that the queue has these messages and no others, after a restart
// too.
func (s *site) whole(t *testing.T, texts map[string]string) {
	t.Helper()
	for range 2 {
		found := 0
		for i := range s.All() {
			id := i.Message.Envelope().QueueID
			if text, ok := texts[id]; !ok || read(t, i.Message) != text {
				t.Errorf("%s is not what was accepted", id)
			}
			found++
		}
		if found != len(texts) {
			t.Errorf("%d messages, want %d", found, len(texts))
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		s.openSmall(t)
	}
	if strings.Contains(s.log.String(), "damage") {
		t.Errorf("log %s", s.log)
	}
}

// A full disk takes nothing and harms nothing, and the queue goes on when there
// is room again.
func TestDiskFull(t *testing.T) {
	for name, text := range map[string]string{"small": strings.Repeat("small\n", 10000), "large": large + large} {
		t.Run(name, func(t *testing.T) {
			s := newSiteOn(t, 8<<20)
			texts := map[string]string{}
			fill := func() error {
				for {
					id, err := s.try(text)
					if err != nil {
						return err
					}
					texts[id] = text
				}
			}
			if err := fill(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("error %v, want ENOSPC", err)
			}
			if err := fill(); !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("error %v, want ENOSPC again", err)
			}
			if len(texts) < 5 {
				t.Fatalf("only %d messages fitted", len(texts))
			}
			s.whole(t, texts)
			if err := s.next(t).Defer(start.Add(time.Hour), nil); err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Error(err)
			}
			for id := range texts {
				if err := s.Delete(id); err != nil {
					t.Fatal(err)
				}
				delete(texts, id)
			}
			s.hasRoom(t, func() error {
				id, err := s.try(text)
				if err == nil {
					texts[id] = text
				}
				return err
			})
			s.whole(t, texts)
		})
	}
}

// hasRoom waits for the log to give up its segments.
func (s *site) hasRoom(t *testing.T, try func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		if err = try(); err == nil {
			return
		}
	}
	t.Fatalf("still no room: %v", err)
}

// A disk that becomes read-only, or fails, takes nothing; messages can be
// delivered, and that they were is written down when it can be.
func TestFailingDisk(t *testing.T) {
	for _, why := range []syscall.Errno{syscall.EROFS, syscall.EIO} {
		t.Run(why.Error(), func(t *testing.T) {
			d, dir := lossyfs.NewDisk(), t.TempDir()
			unmount := mount(t, d, dir)
			s := &site{dir: filepath.Join(dir, "spool"), clock: clock.NewManual(start), log: &bytes.Buffer{}}
			s.openSmall(t)
			defer func() { s.Close(); unmount() }()
			texts := map[string]string{}
			put := func(text string) error {
				id, err := s.try(text)
				if err == nil {
					texts[id] = text
				}
				return err
			}
			if err := errors.Join(put("one\n"), put("two\n"), put(large)); err != nil {
				t.Fatal(err)
			}
			d.Refuse(why)
			for _, text := range []string{"small\n", large, "small\n"} {
				if err := put(text); !errors.Is(err, why) {
					t.Errorf("error %v, want %v", err, why)
				}
			}
			m := s.next(t)
			if got := read(t, m); got != texts[m.env.QueueID] {
				t.Errorf("content %q", got)
			}
			if err := m.Remove(); err != nil {
				t.Fatal(err)
			}
			delete(texts, m.env.QueueID)
			d.Refuse(0)
			if err := put("after\n"); err != nil {
				t.Fatal(err)
			}
			s.whole(t, texts)
		})
	}
}

// Without file descriptors nothing new is taken, and nothing that is there gets
// lost: it is tried again later.
func TestNoFileDescriptors(t *testing.T) {
	s := newSite(t)
	inFile := s.putFile(t, "in a file\n", envelope("x@a.test"))
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = uint64(len(files)) + 8
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &small); err != nil {
		t.Fatal(err)
	}
	restore := func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	defer restore()
	var taken []*os.File
	for {
		f, err := os.Open(os.DevNull)
		if err != nil {
			break
		}
		taken = append(taken, f)
	}
	if _, err := s.try(large); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("a large message: %v, want EMFILE", err)
	}
	id, err := s.try("small\n") // needs none: the log is open
	if err != nil {
		t.Errorf("a small message: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if m, err := s.Next(ctx); err != nil || m.env.QueueID != id {
		t.Errorf("Next: %v, %v; want the one that can be read", m, err)
	}
	for _, f := range taken {
		f.Close()
	}
	restore()
	s.nothingDue(t)
	s.clock.Advance(retryLoad)
	if m := s.next(t); m.env.QueueID != inFile || read(t, m) != "in a file\n" {
		t.Errorf("got %s, want %s", m.env.QueueID, inFile)
	}
}
