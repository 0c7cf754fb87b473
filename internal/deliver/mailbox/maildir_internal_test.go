package mailbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// TestMakeDirsAtOnce has deliveries meet that all find the mailbox missing.
func TestMakeDirsAtOnce(t *testing.T) {
	dir := t.TempDir()
	for round := range 200 {
		mailbox := filepath.Join(dir, fmt.Sprint(round), "user")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				if err := makeDirs(filepath.Join(mailbox, "tmp")); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if st, err := os.Stat(filepath.Join(mailbox, "tmp")); err != nil || !st.IsDir() {
			t.Errorf("round %d: %v", round, err)
		}
	}
}

func TestMakeDirsOverFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, file + "/tmp"} {
		if err := makeDirs(dir); !errors.Is(err, syscall.ENOTDIR) {
			t.Errorf("%s: %v, want %v", filepath.Base(dir), err, syscall.ENOTDIR)
		}
	}
}
