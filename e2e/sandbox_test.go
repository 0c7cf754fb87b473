package e2e

import (
	"net/textproto"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekisho/internal/sandbox"
	"sekisho/internal/testsite"
)

// TestSandbox has a table of a running server become a link to a file that the
// configuration did not name, and a reload name it: it is not read.
func TestSandbox(t *testing.T) {
	s := crashSite(t)
	outside, err := publicDir("sekisho-outside-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(outside) })
	secret := filepath.Join(outside, "secret")
	if err := os.WriteFile(secret, []byte("spy@example.test example.test/spy/\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server, err := testsite.Start(binary(t), s.conf, s.output(t), s.addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logTail())
	}
	t.Cleanup(server.Kill)
	if got := s.rcpt(t, boxes[0]); !strings.HasPrefix(got, "250 ") {
		t.Fatalf("%s: %s", boxes[0], got)
	}
	if sandbox.Version() == 0 {
		if log := s.logTail(); !strings.Contains(log, "no sandbox: this kernel has no Landlock") {
			t.Errorf("the log does not say that there is no sandbox:\n%s", log)
		}
		t.Skip("this kernel has no Landlock; the server says so")
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(server.PID()) + "/status")
	if err != nil || !strings.Contains(string(status), "NoNewPrivs:\t1") {
		t.Errorf("the process can gain privileges (%v):\n%s", err, status)
	}

	table := filepath.Join(s.conf, "mailboxes")
	if err := os.Remove(table); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, table); err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, "the table to be kept away", func() bool {
		if got := s.rcpt(t, "spy"); !strings.HasPrefix(got, "550 5.1.1 ") {
			t.Fatalf("a table outside of the sandbox: %q", got)
		}
		return strings.Contains(s.logTail(), "has changed and can't be used; the former contents stay: open "+table+": permission denied")
	})

	s.add(t, "virtual_alias_maps = hash:"+secret)
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	await(t, 20*time.Second, "the reload to be refused", func() bool {
		return strings.Contains(s.logTail(), "does not reach "+outside+"; start the server anew")
	})

	// Started anew the server reaches what the configuration names now.
	if err := server.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	server, err = testsite.Start(binary(t), s.conf, s.output(t), s.addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logTail())
	}
	t.Cleanup(server.Kill)
	if got := s.rcpt(t, "spy"); !strings.HasPrefix(got, "250 ") {
		t.Errorf("after a new start: %q", got)
	}
}

// rcpt returns the reply to a recipient.
func (s crashingSite) rcpt(t *testing.T, box string) string {
	t.Helper()
	c, err := textproto.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	last := ""
	for _, line := range []string{"", "HELO client.test", "MAIL FROM:<a@elsewhere.test>", "RCPT TO:<" + box + "@example.test>"} {
		if line != "" {
			if err := c.PrintfLine("%s", line); err != nil {
				t.Fatal(err)
			}
		}
		if last, err = c.ReadLine(); err != nil {
			t.Fatal(err)
		}
	}
	return last
}
