package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// TestSyncedBeforeAcknowledged watches the server's system calls. Before the
// reply "queued as ID" leaves, the queue file has its name and both are synced.
// Before the queue file goes, the message in the Maildir has been synced, then
// named, then its directory synced: nobody ever sees half of it.
func TestSyncedBeforeAcknowledged(t *testing.T) {
	strace := need(t, "strace", "strace")
	if exec.Command(strace, "-o", os.DevNull, "true").Run() != nil {
		missing(t, "strace may not trace here")
	}
	s := crashSite(t)
	trace := filepath.Join(s.dir, "trace")
	cmd := exec.Command(strace, "-D", "-f", "-y", "-s", "300", "-o", trace,
		"-e", "trace=write,sendto,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat",
		binary(t), "serve", "-c", s.conf)
	server, err := testsite.StartCommand(cmd, s.output(t), s.addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logTail())
	}
	l := &ledger{acked: map[int]bool{}}
	sent := 0
	settle := func() {
		await(t, 30*time.Second, "delivery", func() bool {
			a, err := l.audit(s.mailboxes)
			left, _ := filepath.Glob(filepath.Join(s.dir, "queue", "*", "messages", "*"))
			return err == nil && len(a.Lost) == 0 && len(left) == 0
		})
	}
	for range 3 {
		l.sendInOneConnection(t, s.addr, 1)
		sent++
		settle()
	}
	alone := sent
	// Together they share the syncs of the directory.
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() { l.sendInOneConnection(t, s.addr, 3) })
		sent += 3
	}
	clients.Wait()
	settle()
	if err := server.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	calls := readTrace(t, trace)
	acked := checkAcknowledgements(t, calls)
	if acked != sent {
		t.Errorf("%d acknowledgements in the trace, want %d", acked, sent)
	}
	if removed := checkRemovals(t, calls, alone); removed != alone {
		t.Errorf("%d of the first %d messages were removed from the queue", removed, alone)
	}
	if t.Failed() {
		t.Log(s.logTail())
	}
}

// sendInOneConnection sends n messages, which have to be taken.
func (l *ledger) sendInOneConnection(t *testing.T, addr string, n int) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	ok := reply(conn, r, 220) && command(conn, r, 250, "EHLO client.elsewhere.test")
	for range n {
		ok = ok && l.sendOne(conn, r)
	}
	if !ok || !command(conn, r, 221, "QUIT") {
		t.Error("a message was not taken")
	}
}

// call is a system call that succeeded, and the places in the trace where it
// began and ended.
type call struct {
	name       string
	args       string
	began, end int
}

var (
	callLine    = regexp.MustCompile(`^(\d+) +(\w+)\((.*)$`)
	resumedLine = regexp.MustCompile(`^(\d+) +<\.\.\. (\w+) resumed>(.*)$`)
	fdPath      = regexp.MustCompile(`^\d+<([^>]*)>`)
	quoted      = regexp.MustCompile(`(?:\d+|AT_FDCWD)?(?:<([^>]*)>, )?"([^"]*)"`)
)

// readTrace reads strace's output.
func readTrace(t *testing.T, file string) []call {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var calls []call
	open := map[string]call{}
	for i, line := range strings.Split(string(data), "\n") {
		var c call
		var pid, rest string
		if m := callLine.FindStringSubmatch(line); m != nil {
			pid, rest = m[1], m[3]
			c = call{name: m[2], began: i}
		} else if m := resumedLine.FindStringSubmatch(line); m != nil {
			pid, rest = m[1], m[3]
			c = open[pid]
		} else {
			continue
		}
		if before, cut := strings.CutSuffix(rest, " <unfinished ...>"); cut {
			c.args += before
			open[pid] = c
			continue
		}
		args, result, _ := cutLast(rest, " = ")
		if c.args += args; !strings.HasPrefix(result, "-1") {
			c.end = i
			calls = append(calls, c)
		}
	}
	return calls
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// synced returns the path a call has synced, "" if it is none of that kind.
func (c call) synced() string {
	if c.name != "fsync" && c.name != "fdatasync" {
		return ""
	}
	if m := fdPath.FindStringSubmatch(c.args); m != nil {
		return m[1]
	}
	return ""
}

// named returns the paths of a call that gives a file another name.
func (c call) named() (from, to string) {
	if !strings.HasPrefix(c.name, "rename") && !strings.HasPrefix(c.name, "link") {
		return "", ""
	}
	if m := quoted.FindAllStringSubmatch(c.args, 2); len(m) == 2 {
		return join(m[0]), join(m[1])
	}
	return "", ""
}

// removed returns the path of a call that takes a name away.
func (c call) removed() string {
	if from, _ := c.named(); strings.HasPrefix(c.name, "rename") {
		return from
	}
	if !strings.HasPrefix(c.name, "unlink") {
		return ""
	}
	if m := quoted.FindStringSubmatch(c.args); m != nil {
		return join(m)
	}
	return ""
}

// join makes a path of what quoted has found.
func join(m []string) string {
	if filepath.IsAbs(m[2]) {
		return m[2]
	}
	return filepath.Join(m[1], m[2])
}

// safeBefore says whether a file whose final path matches got its name, its
// content was synced and its directory synced after that, all after line from
// and before line to. With wholeFirst the content has to come before the name.
func safeBefore(calls []call, from, to int, wholeFirst bool, matches func(path string) bool) error {
	for _, naming := range calls {
		source, target := naming.named()
		if naming.began < from || naming.end > to || target == "" || !matches(target) {
			continue
		}
		content := slices.ContainsFunc(calls, func(c call) bool {
			if c.synced() == target && !wholeFirst {
				return c.began > naming.end && c.end < to
			}
			return c.synced() == source && c.end < naming.began
		})
		directory := slices.ContainsFunc(calls, func(c call) bool {
			return c.synced() == filepath.Dir(target) && c.began > naming.end && c.end < to
		})
		if !content || !directory {
			return fmt.Errorf("%s: content synced in time: %v; directory synced in time: %v", target, content, directory)
		}
		return nil
	}
	return fmt.Errorf("no file was named")
}

var queuedAs = regexp.MustCompile(`Ok: queued as ([0-9A-Za-z]+)`)

// checkAcknowledgements checks every "queued as ID" and returns how many there
// were.
func checkAcknowledgements(t *testing.T, calls []call) int {
	n := 0
	for _, c := range calls {
		m := queuedAs.FindStringSubmatch(c.args)
		if m == nil || !strings.Contains(c.args, "250 2.0.0") || c.name != "write" && c.name != "sendto" {
			continue
		}
		n++
		if err := safeBefore(calls, 0, c.began, false, func(path string) bool { return filepath.Base(path) == m[1] }); err != nil {
			t.Errorf("%s was acknowledged too early: %v", m[1], err)
		}
	}
	return n
}

// checkRemovals checks the first n removals of queue files, each of a message
// that was alone in the server.
func checkRemovals(t *testing.T, calls []call, n int) int {
	found, from := 0, 0
	for _, c := range calls {
		path := c.removed()
		if found == n || !strings.Contains(path, "/messages/") {
			continue
		}
		found++
		if err := safeBefore(calls, from, c.began, true, func(path string) bool { return strings.Contains(path, "/new/") }); err != nil {
			t.Errorf("%s was removed too early: %v", path, err)
		}
		from = c.end
	}
	return found
}

// TestSafeBefore keeps the watcher honest.
func TestSafeBefore(t *testing.T) {
	const (
		before = `1 fdatasync(7</q/incoming/A>) = 0` + "\n"
		cut    = `1 fdatasync(7</q/incoming/A> <unfinished ...>` + "\n2 write(1<pipe:[1]>, \"x\", 1) = 1\n" + `1 <... fdatasync resumed>) = 0` + "\n"
		failed = `1 fdatasync(7</q/incoming/A>) = -1 EIO (Input/output error)` + "\n"
		rename = `1 renameat(AT_FDCWD</>, "/q/incoming/A", AT_FDCWD</>, "/q/messages/A") = 0` + "\n"
		after  = `1 fdatasync(7</q/messages/A>) = 0` + "\n"
		begins = `1 fdatasync(7</q/messages/A> <unfinished ...>` + "\n"
		ends   = `1 <... fdatasync resumed>) = 0` + "\n"
		dir    = `2 fsync(5</q/messages>) = 0` + "\n"
		begun  = `2 fsync(5</q/messages> <unfinished ...>` + "\n"
		ended  = `2 <... fsync resumed>) = 0` + "\n"
		ack    = `3 write(9<socket:[5]>, "250 2.0.0 Ok: queued as A\r\n", 27) = 27` + "\n"
	)
	for name, tt := range map[string]struct {
		trace            string
		safe, wholeFirst bool
	}{
		"whole file named":          {before + rename + dir + ack, true, true},
		"interleaved":               {cut + rename + begun + ended + ack, true, true},
		"both after the name":       {rename + begun + begins + ended + ends + ack, true, false},
		"directory not synced":      {before + rename + ack, false, false},
		"directory synced before":   {before + dir + rename + ack, false, false},
		"directory sync began late": {before + begun + rename + ended + ack, false, false},
		"directory sync under way":  {before + rename + begun + ack + ended, false, false},
		"content not synced":        {rename + dir + ack, false, false},
		"content sync failed":       {failed + rename + dir + ack, false, false},
		"content sync under way":    {rename + dir + begins + ack + ends, false, false},
		"acknowledged first":        {ack + before + rename + dir, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trace")
			if err := os.WriteFile(file, []byte(tt.trace), 0o644); err != nil {
				t.Fatal(err)
			}
			calls := readTrace(t, file)
			at := slices.IndexFunc(calls, func(c call) bool { return queuedAs.MatchString(c.args) })
			for _, wholeFirst := range []bool{false, true} {
				err := safeBefore(calls, 0, calls[at].began, wholeFirst, func(path string) bool { return filepath.Base(path) == "A" })
				if want := tt.safe && (tt.wholeFirst || !wholeFirst); (err == nil) != want {
					t.Errorf("name after content demanded: %v; got %v", wholeFirst, err)
				}
			}
		})
	}
}
