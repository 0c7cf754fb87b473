package control

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

var start = time.Date(2036, 11, 25, 12, 0, 0, 0, time.UTC)

// site is a spool with some messages.
type site struct {
	dir   string
	o     queue.Options
	q     *queue.Queue
	clock *clock.Manual
	ids   map[string]string // by what they are
}

func newSite(t *testing.T) *site {
	t.Helper()
	c := clock.NewManual(start)
	s := &site{dir: filepath.Join(t.TempDir(), strings.Repeat("long", 30), "spool"), clock: c, ids: map[string]string{}}
	s.o = queue.Options{Clock: c, Log: slog.New(slog.NewTextHandler(t.Output(), nil))}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.q, err = queue.Open(s.dir, s.o); err != nil {
		t.Fatal(err)
	}
	s.put(t, "deferred", "x@a.test", "y@b.test")
	m, err := s.q.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Defer(start.Add(time.Hour), []deliver.Result{
		{Recipient: 0, Status: deliver.Sent, DSN: "2.0.0", Text: "ok"},
		{Recipient: 1, DSN: "4.4.1", Text: "connect to mx.b.test: timed out"},
	}); err != nil {
		t.Fatal(err)
	}
	s.put(t, "incoming", "z@c.test")
	s.put(t, "hold", "z@c.test")
	if err := s.q.Hold(s.ids["hold"]); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) put(t *testing.T, what string, rcpts ...string) {
	t.Helper()
	d, err := s.q.Create(s.q.NewID())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(d, what+" text\n")
	env := mail.Envelope{Sender: "s@x.test"}
	for _, r := range rcpts {
		env.Recipients = append(env.Recipients, mail.Recipient{Address: r})
	}
	if err := d.Commit(env); err != nil {
		t.Fatal(err)
	}
	s.ids[what] = d.ID()
}

// both runs a test on the spool of a server that runs and of one that does not.
func both(t *testing.T, test func(t *testing.T, s *site, spool Spool)) {
	t.Run("running", func(t *testing.T) {
		s := newSite(t)
		defer s.q.Close()
		srv, err := Serve(s.q, s.dir, s.o)
		if err != nil {
			t.Fatal(err)
		}
		defer srv.Close()
		spool, err := Open(s.dir, s.o)
		if err != nil {
			t.Fatal(err)
		}
		defer spool.Close()
		if _, asks := spool.(*remote); !asks {
			t.Fatalf("the spool is a %T", spool)
		}
		test(t, s, spool)
	})
	t.Run("stopped", func(t *testing.T) {
		s := newSite(t)
		if err := s.q.Close(); err != nil {
			t.Fatal(err)
		}
		spool, err := Open(s.dir, s.o)
		if err != nil {
			t.Fatal(err)
		}
		defer spool.Close()
		test(t, s, spool)
	})
}

func states(t *testing.T, spool Spool) string {
	t.Helper()
	n := map[State]int{}
	for m, err := range spool.All() {
		if err != nil {
			t.Fatal(err)
		}
		n[m.State]++
	}
	var out []string
	for _, s := range []State{Active, Incoming, Deferred, Held} {
		out = append(out, strings.Repeat(string(s[0]), n[s]))
	}
	return strings.Join(out, "")
}

func TestWhatThereIs(t *testing.T) {
	both(t, func(t *testing.T, s *site, spool Spool) {
		if got := states(t, spool); got != "idh" {
			t.Errorf("states %s", got)
		}
		m, err := spool.Show(s.ids["deferred"])
		if err != nil {
			t.Fatal(err)
		}
		if m.State != Deferred || !m.Due.Equal(start.Add(time.Hour)) || m.Envelope.Sender != "s@x.test" || m.Bytes != 14 {
			t.Errorf("%+v", m)
		}
		if p := m.Progress; !p[0].Done || p[1].Done || p[1].Last.Text != "connect to mx.b.test: timed out" {
			t.Errorf("progress %+v", m.Progress)
		}
		r, err := spool.Content(s.ids["incoming"])
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if b, err := io.ReadAll(r); err != nil || string(b) != "incoming text\n" {
			t.Errorf("content %q, %v", b, err)
		}
	})
}

func TestOperations(t *testing.T) {
	both(t, func(t *testing.T, s *site, spool Spool) {
		for _, step := range []struct {
			do   func() error
			want string
		}{
			{func() error { return spool.Release(s.ids["hold"]) }, "iid"},
			{func() error { return spool.Hold(s.ids["deferred"]) }, "iih"},
			{func() error { return spool.Flush() }, "iih"},
			{func() error { return spool.FlushMessage(s.ids["deferred"]) }, "iih"},
			{func() error { return spool.Requeue(s.ids["deferred"]) }, "iii"},
			{func() error { return spool.Expire(s.ids["deferred"]) }, "iii"},
			{func() error { return spool.Delete(s.ids["incoming"]) }, "ii"},
		} {
			if err := step.do(); err != nil {
				t.Fatal(err)
			}
			if got := states(t, spool); got != step.want {
				t.Errorf("states %s, want %s", got, step.want)
			}
		}
		if m, err := spool.Show(s.ids["deferred"]); err != nil || !m.Expired {
			t.Errorf("%+v, %v; want it to be expired", m, err)
		}
		for name, do := range map[string]func(string) error{
			"hold": spool.Hold, "release": spool.Release, "requeue": spool.Requeue, "expire": spool.Expire,
			"delete": spool.Delete, "flush": spool.FlushMessage,
			"show":    func(id string) error { _, err := spool.Show(id); return err },
			"content": func(id string) error { _, err := spool.Content(id); return err },
		} {
			if err := do("0000000000"); !errors.Is(err, queue.ErrNotFound) || !strings.Contains(err.Error(), "0000000000") {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := spool.Release(s.ids["hold"]); !errors.Is(err, queue.ErrNotHeld) {
			t.Errorf("released twice: %v", err)
		}
	})
}

func TestFlushSite(t *testing.T) {
	both(t, func(t *testing.T, s *site, spool Spool) {
		for domain, want := range map[string]int{"a.test": 0, "B.TEST": 1} { // x@a.test has it
			if n, err := spool.FlushSite(domain); n != want || err != nil {
				t.Errorf("%s: %d, %v; want %d", domain, n, err, want)
			}
		}
		if got := states(t, spool); got != "iih" {
			t.Errorf("states %s", got)
		}
	})
}

func TestNoSpool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if _, err := Open(dir, queue.Options{}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("it was made")
	}
}

// A client that asks for nothing, or for nonsense, harms nobody; Close does not
// wait for him.
func TestStrangeClients(t *testing.T) {
	s := newSite(t)
	defer s.q.Close()
	var log bytes.Buffer
	s.o.Log = slog.New(slog.NewTextHandler(&log, nil))
	srv, err := Serve(s.q, s.dir, s.o)
	if err != nil {
		t.Fatal(err)
	}
	addr, d, err := socket(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for _, says := range []string{"", "?\n", `{"op":"dance"}` + "\n", strings.Repeat("x", maxRequest+1)} {
		conn, err := net.DialUnix("unix", nil, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, says); err != nil {
			t.Fatal(err)
		}
		if says == "" {
			continue // stays
		}
		b, _ := io.ReadAll(conn)
		if strings.Contains(says, "dance") != bytes.Contains(b, []byte("knows no request")) {
			t.Errorf("%.20q is answered %q", says, b)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	closed := make(chan error)
	go func() { closed <- srv.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Error(err)
		}
	case <-ctx.Done():
		t.Error("Close waits for a client that says nothing")
	}
}
