package mailbox

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
)

func TestParseQuota(t *testing.T) {
	for s, want := range map[string]Quota{"0": {}, "1000": {1000, 0}, " 5S,7C ": {5, 7}, "3C": {0, 3}} {
		if got, err := ParseQuota(s); err != nil || got != want {
			t.Errorf("%q: %v %v", s, got, err)
		}
	}
	for _, s := range []string{"", "x", "-1", "1M", "S", "1S,"} {
		if got, err := ParseQuota(s); err == nil {
			t.Errorf("%q: %v, want an error", s, got)
		}
	}
}

type quotaBox struct {
	*Store
	clk *clock.Manual
	dir string
}

func newQuotaBox(t *testing.T) *quotaBox {
	clk := clock.NewManual(time.Now())
	return &quotaBox{&Store{Clock: clk, Log: slog.New(slog.DiscardHandler)}, clk, t.TempDir() + "/box/"}
}

// deliver delivers a message whose file has size bytes.
func (q *quotaBox) deliver(quota Quota, size int) error {
	headers := Copy{Sender: "s@x"}.headers()
	text := strings.Repeat("x", size-len(headers))
	return q.Deliver(context.Background(), Box{Path: q.dir, UID: os.Getuid(), GID: os.Getgid(), Quota: quota}, Copy{
		Sender: "s@x", Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil },
	})
}

func (q *quotaBox) sizes(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(q.dir + sizeFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func full(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.Full && f.DSN == "5.2.2"
}

func TestQuota(t *testing.T) {
	q, limit := newQuotaBox(t), Quota{Bytes: 1000}
	for range 3 {
		if err := q.deliver(limit, 300); err != nil {
			t.Fatal(err)
		}
	}
	if got := q.sizes(t); got != "1000S\n0 0\n300 1\n300 1\n300 1\n" {
		t.Errorf("maildirsize %q", got)
	}
	if err := q.deliver(limit, 101); !full(err) {
		t.Errorf("101 bytes more: %v", err)
	}
	if err := q.deliver(limit, 100); err != nil {
		t.Errorf("100 bytes more: %v", err)
	}
	if got := q.sizes(t); got != "1000S\n900 3\n100 1\n" { // a no is never said unseen
		t.Errorf("maildirsize %q", got)
	}
	names, err := filepath.Glob(q.dir + "new/*,S=300")
	if err != nil || len(names) != 3 {
		t.Fatalf("messages %q %v", names, err)
	}
	if left, _ := filepath.Glob(q.dir + "tmp/*"); len(left) > 0 {
		t.Errorf("left in tmp: %q", left)
	}
	os.Remove(names[0]) // by a reader that does not count
	q.clk.Advance(time.Hour)
	if err := q.deliver(limit, 200); err != nil {
		t.Errorf("after one was removed: %v", err)
	}
	if err := q.deliver(Quota{Messages: 4}, 100); !full(err) {
		t.Errorf("a fifth message: %v", err)
	}
	if err := q.deliver(Quota{Messages: 5}, 100); err != nil {
		t.Errorf("another limit: %v", err)
	}
	if got := q.sizes(t); got != "5C\n900 4\n100 1\n" {
		t.Errorf("maildirsize %q", got)
	}
}

// What folders hold counts, by the size that names tell; other files don't.
func TestCount(t *testing.T) {
	q := newQuotaBox(t)
	for name, text := range map[string]string{
		"cur/1.a,S=500:2,S": "x", "new/2.a": "12345", ".Sent/cur/3.a:2,": "123", ".Sent/tmp/4.a": "12345", "cur/.hidden": "1",
		"other/cur/5.a": "1", "maildirsize": "garbage\n",
	} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(q.dir+name), 0o700), os.WriteFile(q.dir+name, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.deliver(Quota{Bytes: 1 << 20}, 50); err != nil {
		t.Fatal(err)
	}
	if got := q.sizes(t); got != "1048576S\n508 3\n50 1\n" {
		t.Errorf("maildirsize %q", got)
	}
}

// A long maildirsize and one that makes no sense are made anew.
func TestSizeFileAnew(t *testing.T) {
	for _, text := range []string{"100S\n" + strings.Repeat("0 0\n", 2000), "100S\nx y\n", "100S\n-5 1\n", "7S\n1 1\n", ""} {
		q := newQuotaBox(t)
		if err := errors.Join(os.Mkdir(q.dir, 0o700), os.WriteFile(q.dir+sizeFile, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
		if err := q.deliver(Quota{Bytes: 100}, 50); err != nil {
			t.Fatal(err)
		}
		if got := q.sizes(t); got != "100S\n0 0\n50 1\n" {
			t.Errorf("%.20q: %q", text, got)
		}
	}
}

func TestLeftovers(t *testing.T) {
	q := newQuotaBox(t)
	if err := os.MkdirAll(q.dir+"tmp", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, age := range map[string]time.Duration{"old": 37 * time.Hour, "young": 35 * time.Hour} {
		at := q.clk.Now().Add(-age)
		if err := errors.Join(os.WriteFile(q.dir+"tmp/"+name, nil, 0o600), os.Chtimes(q.dir+"tmp/"+name, at, at)); err != nil {
			t.Fatal(err)
		}
	}
	if err := q.deliver(Quota{}, 50); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(q.dir + "tmp/*"); len(left) != 1 || filepath.Base(left[0]) != "young" {
		t.Errorf("left %q", left)
	}
}
