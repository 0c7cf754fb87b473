package queue

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
)

// FuzzLoad reads files that may be anything: a message comes out whole, or an
// error, and what is recorded after a repair stays.
func FuzzLoad(f *testing.F) {
	whole := encodeHeader(6, 0)
	f.Add(append(whole, "hello\n"...), true)
	f.Add(encodeHeader(1<<62, 0), true)
	f.Add([]byte("sekisho\x01"), false)
	dir := filepath.Join(f.TempDir(), "spool")
	q, err := Open(dir, Options{Clock: clock.NewManual(start), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(dir, messages, "0000000001")
	f.Fuzz(func(t *testing.T, file []byte, valid bool) {
		if valid { // reach what lies behind a good envelope
			env, err := encodeRecord(recordEnvelope, map[string]any{"id": "0000000001", "to": []any{map[string]any{"r": "x"}}})
			if err != nil {
				t.Fatal(err)
			}
			file = append(append(encodeHeader(0, 0), env...), file...)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		e := &entry{id: "0000000001"}
		m, err := q.load(e, true)
		if err != nil {
			if valid {
				t.Fatalf("a good message was refused: %v", err)
			}
			return
		}
		if c, err := m.Open(); err == nil {
			io.Copy(io.Discard, c)
			c.Close()
		}
		if len(m.Progress()) == 0 {
			return
		}
		if err := m.Record([]deliver.Result{{Recipient: 0, Status: deliver.Sent, Text: time.Now().String()}}); err != nil {
			t.Fatal(err)
		}
		again, err := q.load(e, true)
		if err != nil || again.Progress()[0].Result != m.Progress()[0].Result {
			t.Fatalf("what was recorded is lost: %v", err)
		}
	})
}
