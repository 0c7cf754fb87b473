package safefile

import (
	"os"
	"path/filepath"
	"testing"
)

func TestWriteReplaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, content := range []string{"old", "new and longer", ""} {
		if err := Write(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != content {
			t.Fatalf("read %q, %v; want %q", got, err, content)
		}
		if info, _ := os.Stat(path); info.Mode() != 0o640 {
			t.Errorf("mode %v, want 0640", info.Mode())
		}
	}
	onlyFile(t, filepath.Dir(path), "f")
}

func TestFailureKeepsTheOld(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "taken"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "taken"), []byte("x"), 0o600); err == nil {
		t.Error("a directory was replaced")
	}
	if err := Write(filepath.Join(dir, "absent", "f"), []byte("x"), 0o600); err == nil {
		t.Error("written into a directory that does not exist")
	}
	onlyFile(t, dir, "taken")
}

// onlyFile checks that no temporary file was left behind.
func onlyFile(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Errorf("directory has %v, %v; want only %s", entries, err, name)
	}
}
