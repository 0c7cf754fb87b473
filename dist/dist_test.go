// Package dist tests the files for systemd that are shipped in its folder.
package dist

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// tool finds a program of systemd. Without it there is nothing to test with;
// where all peers have to be there that is a failure.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing; install Debian's package systemd", name)
		}
		t.Skipf("%s is missing; install Debian's package systemd", name)
	}
	return path
}

// unit is the service with a program that is on this machine.
func unit(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("sekisho.service")
	if err != nil {
		t.Fatal(err)
	}
	const program = "/usr/local/bin/sekisho"
	if !strings.Contains(string(text), "ExecStart="+program+" serve ") {
		t.Fatalf("sekisho.service does not start %s", program)
	}
	file := filepath.Join(t.TempDir(), "sekisho.service")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(text), program, "/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestUnitIsValid(t *testing.T) {
	out, err := exec.Command(tool(t, "systemd-analyze"), "verify", "--man=no", unit(t)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "sekisho.service") {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestUnitIsHardened holds the exposure that systemd-analyze counts, of 100.
func TestUnitIsHardened(t *testing.T) {
	out, err := exec.Command(tool(t, "systemd-analyze"), "security", "--offline=true", "--threshold=26", unit(t)).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestUserAndFoldersAreValid(t *testing.T) {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool(t, "systemd-sysusers"), "--root="+root, filepath.Join(dir, "sekisho.sysusers")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(tool(t, "systemd-tmpfiles"), "--create", "--root="+root, filepath.Join(dir, "sekisho.tmpfiles")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	info, err := os.Stat(filepath.Join(root, "var/spool/postfix/sekisho"))
	if err != nil || info.Mode().Perm() != 0o711 {
		t.Errorf("the spool is %v, %v", info, err)
	}
}
