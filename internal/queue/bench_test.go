package queue

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"sekisho/internal/clock"
)

// BenchmarkCommit puts messages of 10 KiB into the queue.
func BenchmarkCommit(b *testing.B) {
	text := bytes.Repeat([]byte("0123456789abcdef0123456789abcde\n"), 320)
	for _, sessions := range []int{1, 10, 50, 200} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			q, err := Open(filepath.Join(b.TempDir(), "spool"), Options{Clock: clock.System{}, Log: slog.Default()})
			if err != nil {
				b.Fatal(err)
			}
			defer q.Close()
			work := make(chan bool)
			var wg sync.WaitGroup
			for range sessions {
				wg.Go(func() {
					for range work {
						d, err := q.Create(q.NewID())
						if err == nil {
							d.Write(text)
							err = d.Commit(envelope("x@a.test"))
						}
						if err != nil {
							b.Error(err)
						}
					}
				})
			}
			for b.Loop() {
				work <- true
			}
			close(work)
			wg.Wait()
		})
	}
}
