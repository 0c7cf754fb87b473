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

// A message that could not be synced under its name for want of a descriptor has
// none: it would come again.
func TestMoveWithoutDescriptors(t *testing.T) {
	maildir := t.TempDir() + "/"
	tmp, name := filepath.Join(maildir, "message"), filepath.Join(maildir, "new", "name")
	if err := errors.Join(makeDirs(maildir+"new"), os.WriteFile(tmp, []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := limit
	none.Cur = 3
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	left, err := move(tmp, name, maildir)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if !left || !errors.Is(err, syscall.EMFILE) {
		t.Errorf("left %v, %v, want %v", left, err, syscall.EMFILE)
	}
	if _, err := os.Stat(name); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the message has a name: %v", err)
	}
	if left, err = move(tmp, name, maildir); left || err != nil {
		t.Errorf("left %v, %v", left, err)
	}
}
