package queue

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/mail"
)

// BenchmarkStart opens a spool of a million recipients: as many messages that
// wait for another try, and messages of a hundred each.
func BenchmarkStart(b *testing.B) {
	for _, c := range []struct{ messages, recipients int }{{1_000_000, 1}, {10_000, 100}} {
		b.Run(fmt.Sprintf("%dx%d", c.messages, c.recipients), func(b *testing.B) {
			dir := filepath.Join(b.TempDir(), "spool")
			fillSpool(b, dir, c.messages, c.recipients)
			var before, after runtime.MemStats
			for b.Loop() {
				runtime.GC()
				runtime.ReadMemStats(&before)
				q, err := Open(dir, Options{Clock: clock.System{}, Log: slog.Default()})
				if err != nil {
					b.Fatal(err)
				}
				runtime.GC()
				runtime.ReadMemStats(&after)
				if len(q.entries) != c.messages {
					b.Fatalf("%d messages", len(q.entries))
				}
				b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(1<<20), "MiB")
				if err := q.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// fillSpool writes the files that as many deferred messages have.
func fillSpool(b *testing.B, dir string, messages, recipients int) {
	b.Helper()
	q, err := Open(dir, Options{Clock: clock.System{}, Log: slog.Default()})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	due := time.Now().Add(time.Hour)
	text := []byte("Subject: x\n\nhello\n")
	for n := range messages {
		id := fmt.Sprintf("%010X", n)
		env := mail.Envelope{QueueID: id, Sender: "s@x.test", Arrived: due}
		for r := range recipients {
			env.Recipients = append(env.Recipients, mail.Recipient{Address: fmt.Sprintf("user%d@a.test", r)})
		}
		record, err := encodeRecord(recordEnvelope, env)
		if err != nil {
			b.Fatal(err)
		}
		file := append(append(encodeHeader(int64(len(text)), checksum(text)), text...), record...)
		if err := os.WriteFile(filepath.Join(dir, "messages", id), file, 0o600); err != nil {
			b.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, "messages", id), due, due); err != nil {
			b.Fatal(err)
		}
	}
}
