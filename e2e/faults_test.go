package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/lossyfs"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/testsite"
)

// smallDisk mounts a file system of its own on dir.
func (s *site) smallDisk(t *testing.T, dir string, bytes int) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)); err != nil {
		missing(t, fmt.Sprint("mount: ", err))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s.give(t, dir)
}

// fill takes all room that a disk has, until the function it returns is called.
func fill(t *testing.T, dir string) (empty func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := io.Copy(f, endless{}); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// endless is a reader that never ends.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// conversation is a session with the server in which any answer is an answer.
type conversation struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func talk(t *testing.T, addr string) *conversation {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	d := &conversation{t, conn, bufio.NewReader(conn)}
	answer(t, d.r)
	d.say("EHLO client.test")
	return d
}

// say sends a line and returns the last line of the answer.
func (d *conversation) say(line string) string {
	d.t.Helper()
	if _, err := io.WriteString(d.conn, line+"\r\n"); err != nil {
		d.t.Fatal(err)
	}
	return answer(d.t, d.r)
}

// offer sends a message as far as the server takes it and returns the answer it
// ended with.
func offer(t *testing.T, addr, from, to, text string) string {
	t.Helper()
	d := talk(t, addr)
	defer d.conn.Close()
	last := ""
	for _, line := range []string{"MAIL FROM:<" + from + ">", "RCPT TO:<" + to + ">", "DATA", text + "\r\n."} {
		if last = d.say(line); last[0] > '3' {
			return last
		}
	}
	return last
}

// wantReply compares an answer with a pattern.
func wantReply(t *testing.T, what, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile("^(?:" + pattern + ")").MatchString(got) {
		t.Errorf("%s: %s, want %s", what, got, pattern)
	}
}

// flush has all mail that waits tried at once.
func (s *site) flush(t *testing.T) {
	t.Helper()
	spool, err := control.Open(filepath.Join(s.dir, "queue", "sekisho"), queue.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(spool.Flush(), spool.Close()); err != nil {
		t.Fatal(err)
	}
}

// flushUntil has mail that waits tried, again and again, until done.
func (s *site) flushUntil(t *testing.T, what string, done func() bool) {
	t.Helper()
	next := time.Now()
	await(t, 30*time.Second, what, func() bool {
		if now := time.Now(); now.After(next) {
			s.flush(t)
			next = now.Add(200 * time.Millisecond)
		}
		return done()
	})
}

// logged waits until the log has n lines that match, or more.
func (s *site) logged(t *testing.T, n int, pattern string) {
	t.Helper()
	line := regexp.MustCompile(pattern)
	await(t, 30*time.Second, fmt.Sprintf("%d lines %q in the log", n, pattern), func() bool {
		b, err := os.ReadFile(s.log)
		return err == nil && len(line.FindAll(b, -1)) >= n
	})
}

// mails returns how many messages a Maildir has.
func (s *site) mails(box string) int {
	files, err := filepath.Glob(filepath.Join(s.mail, "example.test", box, "new", "*"))
	if err != nil {
		return -1
	}
	return len(files)
}

// A queue whose disk is full takes nothing, wherever a message is at that moment,
// and loses nothing; it goes on when there is room.
func TestQueueDiskFull(t *testing.T) {
	s := crashSite(t)
	s.add(t, "message_size_limit = 3000000\n")
	disk := filepath.Join(s.dir, "queue")
	s.smallDisk(t, disk, 80<<20)
	empty := fill(t, disk)
	s.serve(t, s.addr)
	const to = "ann@example.test"
	large := strings.Repeat(strings.Repeat("x", 70)+"\r\n", 10000)
	full := `452 4\.3\.1 Insufficient system storage`
	wantReply(t, "full from the beginning", offer(t, s.addr, "a@else.test", to, "small"), full)
	empty()
	wantReply(t, "there is room", offer(t, s.addr, "a@else.test", to, "small"), `250 2\.0\.0 Ok: queued`)
	wantReply(t, "there is room", offer(t, s.addr, "a@else.test", to, large), `250 2\.0\.0 Ok: queued`)

	d := talk(t, s.addr)
	for _, line := range []string{"MAIL FROM:<a@else.test>", "RCPT TO:<" + to + ">", "DATA"} {
		wantReply(t, line, d.say(line), `[23]`)
	}
	empty = fill(t, disk)
	// Larger than the room of the one before, which may be used again.
	wantReply(t, "full in the middle of a message", d.say(large+large+large+"\r\n."), `45[12] 4\.3\.[01] `)
	wantReply(t, "full before the next", d.say("MAIL FROM:<a@else.test>"), full)
	empty()
	wantReply(t, "there is room again", offer(t, s.addr, "a@else.test", to, large), `250 2\.0\.0 Ok: queued`)
	await(t, 30*time.Second, "three messages", func() bool { return s.mails("ann") == 3 && s.queueEmpty(t) })
}

// A mailbox whose disk is full, or cannot be written, keeps mail waiting; all of
// it comes once, whole, when there is room.
func TestMailDiskFull(t *testing.T) {
	s := crashSite(t)
	s.smallDisk(t, s.mail, 1<<20)
	s.serve(t, s.addr)
	empty := fill(t, s.mail)
	l := &ledger{acked: map[int]bool{}}
	l.sendInOneConnection(t, s.addr, 20)
	s.logged(t, 25, `status=deferred \(.*([Nn]o space left on device|Insufficient)`)
	empty()
	s.allArrive(t, l)

	if err := unix.Mount("", s.mail, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	l.sendInOneConnection(t, s.addr, 20)
	s.logged(t, 25, `status=deferred \(.*[Rr]ead-only file system`)
	if err := unix.Mount("", s.mail, "", unix.MS_REMOUNT, ""); err != nil {
		t.Fatal(err)
	}
	s.allArrive(t, l)
}

// allArrive has mail that waits tried until every message of the ledger is in its
// mailboxes, once.
func (s crashingSite) allArrive(t *testing.T, l *ledger) {
	t.Helper()
	var a audit
	s.flushUntil(t, "all that was acknowledged", func() bool {
		var err error
		if a, err = l.audit(s.mailboxes); err != nil {
			t.Fatal(err)
		}
		return a.Acknowledged == a.Begun && len(a.Lost) == 0 && s.queueEmpty(t)
	})
	if a.Duplicates > 0 || len(a.Damaged) > 0 {
		t.Error(a)
	}
}

// scarceFiles is how many file descriptors a server with too few gets.
const scarceFiles = 40

// A server without file descriptors says so, refuses nobody for good, loses
// nothing, and goes on when it has them.
func TestNoFileDescriptors(t *testing.T) {
	s := crashSite(t)
	server := s.limited(t, scarceFiles)
	l := &ledger{acked: map[int]bool{}}
	l.sendInOneConnection(t, s.addr, 4)
	var held []net.Conn
	for range 2 * scarceFiles {
		conn, err := net.DialTimeout("tcp", s.addr, 10*time.Second)
		if err != nil {
			break
		}
		held = append(held, conn)
	}
	s.logged(t, 1, `too many open files`)
	for _, conn := range held {
		conn.Close()
	}
	select {
	case <-server.Exited():
		t.Fatalf("the server has ended\n%s", s.logTail())
	default:
	}
	l.sendInOneConnection(t, s.addr, 8)
	s.allArrive(t, l)
	if err := server.Stop(10 * time.Second); err != nil {
		t.Errorf("%v\n%s", err, s.logTail())
	}
}

// limited starts the server with so many file descriptors.
func (s crashingSite) limited(t *testing.T, files int) *testsite.Server {
	t.Helper()
	shell := fmt.Sprintf(`ulimit -n %d; exec "$0" serve -c "$1"`, files)
	server, err := testsite.StartCommand(exec.Command("sh", "-c", shell, binary(t), s.conf), s.output(t), s.addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logTail())
	}
	t.Cleanup(server.Kill)
	return server
}

// A queue whose disk becomes read-only, or fails, takes nothing and says so to
// the client, delivers what it has, and goes on when the disk does.
func TestQueueDiskFails(t *testing.T) {
	for _, why := range []syscall.Errno{syscall.EROFS, syscall.EIO} {
		t.Run(why.Error(), func(t *testing.T) {
			s := crashSite(t)
			disk := lossyfs.NewDisk()
			s.logOn(t, disk)
			server, err := testsite.Start(binary(t), s.conf, s.output(t), s.addr)
			if err != nil {
				t.Fatalf("%v\n%s", err, s.logTail())
			}
			defer server.Kill()
			l := &ledger{acked: map[int]bool{}}
			l.sendInOneConnection(t, s.addr, 4)
			disk.Refuse(why)
			for range 3 {
				wantReply(t, "the disk fails", offer(t, s.addr, "a@else.test", "ann@example.test", "x"), `45[12] 4\.3\.[01] `)
			}
			disk.Refuse(0)
			l.sendInOneConnection(t, s.addr, 4)
			s.allArrive(t, l)
			if err := server.Stop(10 * time.Second); err != nil {
				t.Errorf("%v\n%s", err, s.logTail())
			}
		})
	}
}

// logOn puts the log of the queue on a disk.
func (s crashingSite) logOn(t *testing.T, disk *lossyfs.Disk) {
	t.Helper()
	spool := filepath.Join(s.dir, "queue", "sekisho")
	dir := filepath.Join(spool, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	s.give(t, spool)
	unmount, err := disk.Mount(dir)
	if err != nil {
		missing(t, err.Error())
	}
	t.Cleanup(func() {
		if err := unmount(); err != nil {
			t.Error(err)
		}
	})
}
