// Package safefile replaces files so that a crash leaves the old content or
// the new, never a part of it: write beside, sync, rename, sync the directory.
//
// It locks nothing; of two writers the later rename wins. rename(2), fsync(2).
package safefile

import (
	"fmt"
	"os"
	"path/filepath"
)

// Write replaces path by data. When it returns nil the content is on disk;
// after an error the old content is still there. mode is exact, whatever the
// umask.
func Write(path string, data []byte, mode os.FileMode) (err error) {
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	if _, err = f.Write(data); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.Close(); err != nil {
		return err
	}
	if err = os.Rename(f.Name(), path); err != nil {
		return err
	}
	return SyncDir(dir)
}

// SyncDir makes the names in a directory durable: files created, renamed and
// removed there before the call stay so after a crash.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
