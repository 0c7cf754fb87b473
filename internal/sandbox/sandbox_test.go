package sandbox_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/sandbox"
)

// childEnv makes the test binary a process that shuts itself in.
const childEnv = "SANDBOX_TEST_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child shuts itself in and prints what it can still do.
func child(dir string) {
	var did map[string]string
	said, err := sandbox.Enforce(sandbox.Paths{
		Read:  []string{dir + "/read", dir + "/one", dir + "/missing", "/dev/stdout"},
		Write: []string{dir + "/write"},
	})
	word := func(err error) string {
		switch {
		case err == nil:
			return "ok"
		case errors.Is(err, fs.ErrPermission):
			return "denied"
		}
		return err.Error()
	}
	read := func(path string) string { _, err := os.ReadFile(path); return word(err) }
	write := func(path string) string { return word(os.WriteFile(path, []byte("x"), 0o600)) }
	did = map[string]string{
		"enforce": word(err), "said": said,
		"read in read": read(dir + "/read/file"), "write in read": write(dir + "/read/file"),
		"read one": read(dir + "/one"), "read beside one": read(dir + "/two"),
		"write in write": write(dir + "/write/new"), "move in write": word(os.Rename(dir+"/write/new", dir+"/write/sub/new")),
		"read in write": read(dir + "/write/sub/new"), "write outside": write(dir + "/new"),
		"read shadow": read("/etc/shadow"), "execute": word(exec.Command("/bin/true").Run()),
	}
	json.NewEncoder(os.Stdout).Encode(did)
}

func TestProcessIsShutIn(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{"read", "write", "write/sub"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{"read/file", "one", "two"} {
		if err := os.WriteFile(filepath.Join(dir, f), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env, cmd.Stderr = append(os.Environ(), childEnv+"="+dir), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var did map[string]string
	if err := json.Unmarshal(out, &did); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if sandbox.Version() == 0 {
		if !strings.HasPrefix(did["said"], "no sandbox: ") || did["write outside"] != "ok" {
			t.Errorf("without Landlock: %v", did)
		}
		t.Skip("this kernel has no Landlock; the process says so")
	}
	for what, want := range map[string]string{
		"enforce": "ok", "read in read": "ok", "write in read": "denied", "read one": "ok", "read beside one": "denied",
		"write in write": "ok", "move in write": "ok", "read in write": "ok", "write outside": "denied",
		"read shadow": "denied", "execute": "denied",
	} {
		if did[what] != want {
			t.Errorf("%s: %s, want %s", what, did[what], want)
		}
	}
	if !strings.Contains(did["said"], "is in force") {
		t.Errorf("it says %q", did["said"])
	}
}

func TestBeyond(t *testing.T) {
	in := sandbox.Paths{Read: []string{"/etc/mail", "/etc/hosts"}, Write: []string{"/var/spool"}}
	got := in.Beyond(sandbox.Paths{
		Read:  []string{"/etc/mail/x", "/etc/mailx", "/var/spool/y", "/etc/hosts", "/etc/mailx"},
		Write: []string{"/var/spool/", "/etc/mail/z"},
	})
	if want := []string{"/etc/mail/z", "/etc/mailx"}; !slices.Equal(got, want) {
		t.Errorf("beyond: %v, want %v", got, want)
	}
}
