package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// diskRate returns how many files of 10 KiB a second writers can create in one
// directory if each file and then the directory is synced: what accepting a
// message costs the disk at least.
func diskRate(ctx context.Context, parent string, writers, files int) (float64, error) {
	dir, err := os.MkdirTemp(parent, "disk-") // goes with parent, see clearMail
	if err != nil {
		return 0, err
	}
	content := message()
	took, err := repeat(ctx, fmt.Sprintf("disk: %d writers", writers), writers, files, func(i int) error {
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
