package lossyfs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// mount mounts a disk on a new directory.
func mount(t *testing.T, d *Disk) (dir string, unmount func()) {
	t.Helper()
	dir = t.TempDir()
	un, err := d.Mount(dir)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	return dir, func() {
		t.Helper()
		if err := un(); err != nil {
			t.Fatal(err)
		}
	}
}

func create(t *testing.T, path string, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(path)
	if err == nil {
		_, err = f.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func syncDir(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err == nil {
		err = d.Sync()
	}
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}

// What was synced stays, whatever happens; what was not is lost now and then,
// and a file is never a mix of anything else.
func TestOnlyWhatWasSyncedStays(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var whole, partly, missing, renamed, both, neither int
	for range 40 {
		d := NewDisk()
		dir, unmount := mount(t, d)
		a := bytes.Repeat([]byte("a"), 3000)
		f := create(t, filepath.Join(dir, "synced"), a)
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		f.Close()
		create(t, filepath.Join(dir, "before"), nil).Close()
		syncDir(t, dir)
		f = create(t, filepath.Join(dir, "nameless"), a)
		f.Sync()
		f.Close()
		f, err := os.OpenFile(filepath.Join(dir, "synced"), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		f.WriteAt(bytes.Repeat([]byte("b"), 2000), 2000)
		f.Close()
		if err := os.Rename(filepath.Join(dir, "before"), filepath.Join(dir, "after")); err != nil {
			t.Fatal(err)
		}
		unmount()
		d.Lose(r)

		dir, unmount = mount(t, d)
		data, err := os.ReadFile(filepath.Join(dir, "synced"))
		if err != nil || !bytes.Equal(data[:2000], a[:2000]) || len(bytes.Trim(data, "ab\x00")) > 0 {
			t.Fatalf("%q, %v", data, err)
		}
		switch n := bytes.Count(data, []byte("b")); n {
		case 2000:
			whole++
		default:
			partly++
		}
		if data, err := os.ReadFile(filepath.Join(dir, "nameless")); err != nil {
			missing++
		} else if !bytes.Equal(data, a) {
			t.Fatalf("a synced file has changed: %q", data)
		}
		_, errBefore := os.Stat(filepath.Join(dir, "before"))
		_, errAfter := os.Stat(filepath.Join(dir, "after"))
		switch {
		case errBefore == nil && errAfter == nil:
			both++
		case errBefore != nil && errAfter != nil:
			neither++
		case errAfter == nil:
			renamed++
		}
		unmount()
	}
	for what, n := range map[string]int{"writes partly there": partly, "names missing": missing, "renamed": renamed, "both names": both, "no name": neither} {
		if n == 0 {
			t.Errorf("never seen: %s", what)
		}
	}
	t.Logf("%d whole, %d partly, %d nameless, %d renamed, %d both names, %d no name", whole, partly, missing, renamed, both, neither)
}
