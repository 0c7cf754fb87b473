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

	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/testsite"
)

// TestSyncedBeforeAcknowledged watches the server's system calls. Before the
// reply "queued as ID" leaves, the message has been written to the queue's log,
// whose name was on disk before, and the log has been synced after that; a large
// message has a file, which has its name, and both are synced. Before the queue
// notes that the message is gone, the message in the Maildir has been synced,
// then named, then its directory synced: nobody ever sees half of it.
func TestSyncedBeforeAcknowledged(t *testing.T) {
	strace := need(t, "strace", "strace")
	if exec.Command(strace, "-o", os.DevNull, "true").Run() != nil {
		missing(t, "strace may not trace here")
	}
	s := crashSite(t)
	trace := filepath.Join(s.dir, "trace")
	// Long strings, because the log gets many messages in one write.
	cmd := exec.Command(strace, "-D", "-f", "-y", "-s", "1000000", "-o", trace,
		"-e", "trace=openat,write,pwrite64,sendto,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,unlinkat",
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
			return err == nil && len(a.Lost) == 0 && s.queueEmpty(t)
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
	sendLarge(t, s.addr)
	sent++
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

// sendLarge sends a message that is too large for the queue's log.
func sendLarge(t *testing.T, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer conn.Close()
	r := bufio.NewReader(conn)
	text := strings.Repeat("A line of a message that is large.\r\n", 20000) + "."
	for _, step := range []struct {
		code int
		line string
	}{
		{250, "EHLO client.elsewhere.test"}, {250, "MAIL FROM:<sender@elsewhere.test>"},
		{250, "RCPT TO:<ann@example.test>"}, {354, "DATA"}, {250, text}, {221, "QUIT"},
	} {
		if step.code == 250 && step.line == "EHLO client.elsewhere.test" && !reply(conn, r, 220) ||
			!command(conn, r, step.code, step.line) {
			t.Errorf("%.20q was not answered with %d", step.line, step.code)
			return
		}
	}
}

// queueEmpty asks the server whether all has left its queue.
func (s crashingSite) queueEmpty(t *testing.T) bool {
	t.Helper()
	spool, err := control.Open(filepath.Join(s.dir, "queue", "sekisho"), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	for _, err := range spool.All() {
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	return true
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

// logRecord matches a record of a message, or of its end, in what is written to
// the queue's log.
func logRecord(kind, id string) *regexp.Regexp {
	return regexp.MustCompile(`skL` + kind + `(?:\\[0-7]{1,3})+` + id)
}

// logged returns the segment of the queue's log that a call writes to, "" if it
// does something else.
func (c call) logged() string {
	if c.name != "pwrite64" {
		return ""
	}
	if m := fdPath.FindStringSubmatch(c.args); m != nil && filepath.Base(filepath.Dir(m[1])) == "log" {
		return m[1]
	}
	return ""
}

// created returns the path of a call that makes a file.
func (c call) created() string {
	if c.name == "openat" && strings.Contains(c.args, "O_CREAT") {
		if m := quoted.FindStringSubmatch(c.args); m != nil {
			return join(m)
		}
	}
	_, to := c.named()
	return to
}

// loggedBefore says whether the record of a message was written to the log and
// synced before line to, and the log's name was on disk before it was written.
func loggedBefore(calls []call, to int, id string) error {
	record := logRecord("M", id)
	i := slices.IndexFunc(calls, func(c call) bool { return c.end < to && c.logged() != "" && record.MatchString(c.args) })
	if i < 0 {
		return fmt.Errorf("no record in the log")
	}
	write, segment := calls[i], calls[i].logged()
	synced := slices.ContainsFunc(calls, func(c call) bool {
		return c.synced() == segment && c.began > write.end && c.end < to
	})
	named := slices.IndexFunc(calls, func(c call) bool { return c.created() == segment && c.end < write.began })
	directory := named >= 0 && slices.ContainsFunc(calls, func(c call) bool {
		return c.synced() == filepath.Dir(segment) && c.began > calls[named].end && c.end < write.began
	})
	if !synced || !directory {
		return fmt.Errorf("%s: synced in time: %v; named in time: %v", segment, synced, directory)
	}
	return nil
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
		hot := loggedBefore(calls, c.began, m[1])
		cold := safeBefore(calls, 0, c.began, false, func(path string) bool { return filepath.Base(path) == m[1] })
		if hot != nil && cold != nil {
			t.Errorf("%s was acknowledged too early: %v; %v", m[1], hot, cold)
		}
	}
	return n
}

// checkRemovals checks the first n removals from the queue, each of a message
// that was alone in the server.
func checkRemovals(t *testing.T, calls []call, n int) int {
	found, from := 0, 0
	record := logRecord("R", "")
	for _, c := range calls {
		path := c.logged()
		if found == n || path == "" || !record.MatchString(c.args) {
			continue
		}
		found++
		if err := safeBefore(calls, from, c.began, true, func(path string) bool { return strings.Contains(path, "/new/") }); err != nil {
			t.Errorf("%s: removal noted too early: %v", path, err)
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

// TestLoggedBefore keeps the watcher of the log honest.
func TestLoggedBefore(t *testing.T) {
	const (
		create = `1 openat(AT_FDCWD</>, "/q/log/1-a", O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 7</q/log/1-a>` + "\n"
		reuse  = `1 renameat(AT_FDCWD</>, "/q/log/spare1", AT_FDCWD</>, "/q/log/1-a") = 0` + "\n"
		dir    = `1 fsync(5</q/log>) = 0` + "\n"
		other  = `1 pwrite64(7</q/log/1-a>, "\365skLM\0\0\0B\0\0\0", 4096, 0) = 4096` + "\n"
		write  = `1 pwrite64(7</q/log/1-a>, "\365skLM\0\0\0B\0\0\365skLM\0\0\0A\0\0", 4096, 0) = 4096` + "\n"
		sync   = `1 fdatasync(7</q/log/1-a>) = 0` + "\n"
		failed = `1 fdatasync(7</q/log/1-a>) = -1 EIO (Input/output error)` + "\n"
		begun  = `1 fdatasync(7</q/log/1-a> <unfinished ...>` + "\n"
		ended  = `1 <... fdatasync resumed>) = 0` + "\n"
		ack    = `3 write(9<socket:[5]>, "250 2.0.0 Ok: queued as A\r\n", 27) = 27` + "\n"
	)
	for name, tt := range map[string]struct {
		trace string
		safe  bool
	}{
		"synced":               {create + dir + write + sync + ack, true},
		"file used again":      {reuse + dir + write + sync + ack, true},
		"among others":         {create + dir + other + sync + write + begun + ended + ack, true},
		"not synced":           {create + dir + write + ack, false},
		"sync failed":          {create + dir + write + failed + ack, false},
		"sync under way":       {create + dir + write + begun + strings.ReplaceAll(ack, "1 ", "3 ") + ended, false},
		"synced before":        {create + dir + other + sync + write + ack, false},
		"not written":          {create + dir + other + sync + ack, false},
		"not named":            {create + write + sync + ack, false},
		"named too late":       {create + write + dir + sync + ack, false},
		"acknowledged already": {create + dir + ack + write + sync, false},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "trace")
			if err := os.WriteFile(file, []byte(tt.trace), 0o644); err != nil {
				t.Fatal(err)
			}
			calls := readTrace(t, file)
			at := slices.IndexFunc(calls, func(c call) bool { return queuedAs.MatchString(c.args) })
			if err := loggedBefore(calls, calls[at].began, "A"); (err == nil) != tt.safe {
				t.Errorf("got %v", err)
			}
		})
	}
}
