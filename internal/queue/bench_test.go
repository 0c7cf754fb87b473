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

// BenchmarkCommit puts messages into the queue and takes them out again, by
// many at once.
func BenchmarkCommit(b *testing.B) {
	for _, sessions := range []int{1, 10, 50, 200} {
		b.Run(fmt.Sprintf("10KiB/log/%d", sessions), func(b *testing.B) { commit(b, sessions, 10<<10, false) })
	}
	for _, size := range []int{10, 64, 256} {
		for _, file := range []bool{false, true} {
			where := map[bool]string{false: "log", true: "file"}[file]
			b.Run(fmt.Sprintf("%dKiB/%s/50", size, where), func(b *testing.B) { commit(b, 50, size<<10, file) })
		}
	}
}

func commit(b *testing.B, sessions, size int, file bool) {
	text := bytes.Repeat([]byte("0123456789abcdef0123456789abcde\n"), size/32)
	q, err := Open(filepath.Join(b.TempDir(), "spool"), Options{Clock: clock.System{}, Log: slog.Default()})
	if err != nil {
		b.Fatal(err)
	}
	defer q.Close()
	b.SetBytes(int64(size))
	work := make(chan bool)
	var wg sync.WaitGroup
	for range sessions {
		wg.Go(func() {
			for range work {
				if err := putAndDelete(q, text, file); err != nil {
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
}

func putAndDelete(q *Queue, text []byte, file bool) error {
	d, err := q.Create(q.NewID())
	if err != nil {
		return err
	}
	if file {
		if err := d.spill(); err != nil {
			return err
		}
	}
	if _, err := d.Write(text); err != nil {
		return err
	}
	if err := d.Commit(envelope("x@a.test")); err != nil {
		return err
	}
	return q.Delete(d.ID())
}
