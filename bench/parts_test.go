package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

func TestSinkTakesPipelinedMail(t *testing.T) {
	k, err := openSink()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{addr: fmt.Sprintf("127.0.0.1:%d", k.port())}
	if err := c.send(0, 3, message(), sunk); err != nil {
		t.Error(err)
	}
	s, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	// A dot that ends no message, and a line longer than the sink's buffer.
	long := string(make([]byte, 40000))
	if err := s.command(250, "MAIL FROM:<a@b.test>\r\nRCPT TO:<c@d.test>\r\nDATA"); err != nil {
		t.Error(err)
	}
	for _, code := range []int{250, 354} {
		if err := s.expect("pipelined commands", code); err != nil {
			t.Error(err)
		}
	}
	if err := s.command(250, "..\r\n"+long+".\r\n.x\r\n."); err != nil {
		t.Error(err)
	}
	if got := k.taken.Load(); got != 4 {
		t.Errorf("%d messages taken, want 4", got)
	}
	if err := k.close(); err != nil { // with the session still open
		t.Error(err)
	}
}

func TestTailCountsWhatIsNew(t *testing.T) {
	l := &tail{path: filepath.Join(t.TempDir(), "log"), mark: "gone\n"}
	write := func(text string) {
		t.Helper()
		f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
	}
	write("old: gone\n")
	if err := l.reset(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		text string
		want int
	}{{"", 0}, {"a: gone\nb: go", 1}, {"ne\nc: there\n", 2}, {"d: gone\ne: gone\n", 4}} {
		write(step.text)
		if got, err := l.lines(); err != nil || got != step.want {
			t.Errorf("after %q: %d lines, %v, want %d", step.text, got, err, step.want)
		}
	}
}

// Every record is in the log before append returns for it.
func TestSharedLog(t *testing.T) {
	f, err := os.CreateTemp(t.TempDir(), "log")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := &sharedLog{f: f}
	l.synced.L = &l.mu
	var writers sync.WaitGroup
	for range 8 {
		writers.Go(func() {
			for range 20 {
				if err := l.append([]byte("record\n")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	if l.durable != l.end || l.end != 8*20*7 {
		t.Errorf("%d of %d bytes are durable, want %d", l.durable, l.end, 8*20*7)
	}
	f.Close()
	if err := l.append([]byte("x")); err == nil {
		t.Error("a log that cannot be written takes records")
	}
}

func TestGoals(t *testing.T) {
	for _, tt := range []struct {
		measure       string
		sessions      int
		figure        string
		ours, theirs  float64
		goal, verdict string
	}{
		{"sink10", 200, accepted, 5000, 500, ">= 10x", ">= 10x yes"},
		{"accept", 50, accepted, 4999, 500, ">= 10x", ">= 10x no"},
		{"accept", 10, accepted, 5000, 500, "", "-"},
		{"accept", 10, cpuPerMessage, 0.1, 2, "<= 0.1x", "<= 0.1x yes"},
		{"accept", 10, cpuPerMessage, 1, 2, "<= 0.1x", "<= 0.1x no"},
		{"refuse", 10, relayRefused, 5, 1, ">= 5x", ">= 5x yes"},
		{"idle", 10000, idleMemory, 5.5, 0, "<= 6", "<= 6 yes"},
		{"idle", 1000, idleMemory, 6.5, 1200, "<= 6", "<= 6 no"},
	} {
		var res results
		res.add(tt.measure, tt.sessions, tt.figure, "sekisho", tt.ours)
		if tt.theirs > 0 {
			res.add(tt.measure, tt.sessions, tt.figure, "postfix", tt.theirs)
		}
		if w := res.rows[0]; w.Goal != tt.goal || w.verdict() != tt.verdict {
			t.Errorf("%+v: goal %q, %q", tt, w.Goal, w.verdict())
		}
	}
}

// The addresses of sessions that are to be strangers are those of the loopback
// network, all different, and none is 127.0.0.1.
func TestFreshAddresses(t *testing.T) {
	r := refusal{fresh: true}
	seen := map[string]bool{}
	for i := range 70000 {
		ip := r.from(i)
		if !ip.IsLoopback() || ip.Equal(net.IPv4(127, 0, 0, 1)) || seen[ip.String()] {
			t.Fatalf("session %d comes from %v", i, ip)
		}
		seen[ip.String()] = true
	}
}
