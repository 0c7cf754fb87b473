package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// measureDisk measures what the disk can do for a mail server at best.
func measureDisk(ctx context.Context, p plan, dir string, res *results) error {
	if !p.what["disk"] {
		return nil
	}
	for _, n := range p.sessions {
		files, err := diskRate(ctx, dir, n, size(p.messages, n))
		if err != nil {
			return err
		}
		res.add("disk", n, "one file for each message, messages/s", "disk", files)
		shared, err := logRate(ctx, dir, n, size(p.messages, n))
		if err != nil {
			return err
		}
		res.add("disk", n, "one log for all, syncs shared, messages/s", "disk", shared)
	}
	return nil
}

// diskRate returns how many files of 10 KiB a second writers can create in one
// directory if each file and then the directory is synced: what accepting a
// message costs the disk at least.
func diskRate(ctx context.Context, parent string, writers, files int) (float64, error) {
	dir, err := os.MkdirTemp(parent, "disk-") // goes with parent, see clearMail
	if err != nil {
		return 0, err
	}
	content := message()
	took, err := repeat(ctx, fmt.Sprintf("disk: %d writers, a file each", writers), writers, files, func(i int) error {
		return syncedFile(dir, fmt.Sprintf("%06d", i), content)
	})
	return float64(files) / took.Seconds(), err
}

// syncedFile creates a file that survives a power failure.
func syncedFile(dir, name string, content []byte) error {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// logRate is diskRate for writers that append to one file, which has its blocks
// already, and share each sync.
func logRate(ctx context.Context, parent string, writers, records int) (float64, error) {
	f, err := os.CreateTemp(parent, "log-")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	content := message()
	if err := fill(f, len(content)*records); err != nil {
		return 0, err
	}
	l := &sharedLog{f: f}
	l.synced.L = &l.mu
	took, err := repeat(ctx, fmt.Sprintf("disk: %d writers, one log", writers), writers, records, func(int) error {
		return l.append(content)
	})
	return float64(records) / took.Seconds(), err
}

// fill writes size bytes and syncs them.
func fill(f *os.File, size int) error {
	zeros := make([]byte, 1<<20)
	for at := 0; at < size; at += len(zeros) {
		if _, err := f.WriteAt(zeros, int64(at)); err != nil {
			return err
		}
	}
	return f.Sync()
}

// sharedLog is a file whose writers share syncs: who comes while one is under
// way is part of the next.
type sharedLog struct {
	f       *os.File
	mu      sync.Mutex
	synced  sync.Cond
	end     int64 // of what was written
	durable int64 // this far
	syncing bool
	err     error
}

// append returns when the record is on disk.
func (l *sharedLog) append(record []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.f.WriteAt(record, l.end); err != nil {
		return err
	}
	l.end += int64(len(record))
	for end := l.end; l.durable < end && l.err == nil; {
		if l.syncing {
			l.synced.Wait()
			continue
		}
		l.sync()
	}
	return l.err
}

// sync makes all durable that has been written; others may write meanwhile.
func (l *sharedLog) sync() {
	end := l.end
	l.syncing = true
	l.mu.Unlock()
	err := syscall.Fdatasync(int(l.f.Fd()))
	l.mu.Lock()
	l.syncing = false
	if l.err = err; err == nil {
		l.durable = end
	}
	l.synced.Broadcast()
}
