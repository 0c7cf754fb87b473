package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// TestKilledServerLosesNothing sends numbered messages as fast as the server
// takes them while the server is killed at random moments, starting up
// included. Whatever it acknowledged has to be in the Maildirs in the end,
// unharmed. SEKISHO_CRASH_KILLS sets how often it is killed.
//
// SIGKILL leaves the page cache alone, so this shows that the server's own
// order of doing things is right; that it syncs before it acknowledges is what
// TestSyncedBeforeAcknowledged shows.
func TestKilledServerLosesNothing(t *testing.T) {
	kills := 200
	if s := os.Getenv("SEKISHO_CRASH_KILLS"); s != "" {
		var err error
		if kills, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SEKISHO_CRASH_KILLS: %v", err)
		}
	}
	if testing.Short() {
		kills = 10
	}
	s := crashSite(t)
	out := s.output(t)
	start := func(addrs ...string) (*testsite.Server, error) {
		return testsite.Start(binary(t), s.conf, out, addrs...)
	}
	began := time.Now()
	l, a := crash(t, start, s.addr, s.mailboxes, kills, 30*time.Second)
	t.Logf("%d kills in %.0f s: %s", kills, time.Since(began).Seconds(), a)
	if a.Acknowledged < kills {
		t.Errorf("only %d messages were acknowledged: too few to say anything", a.Acknowledged)
	}
	if len(a.Lost) > 0 {
		t.Errorf("acknowledged and lost: %v", a.Lost[:min(20, len(a.Lost))])
	}
	if len(a.Damaged) > 0 {
		t.Errorf("damaged: %v", a.Damaged[:min(20, len(a.Damaged))])
	}
	if t.Failed() {
		t.Logf("%d messages begun\n%s", l.next, s.logTail())
	}
}

// crashingSite is a site with one listener and the mailboxes of a ledger.
type crashingSite struct {
	*site
	addr      string
	mailboxes string // the directory of the domain's Maildirs
}

func crashSite(t *testing.T) crashingSite {
	t.Helper()
	s := newSite(t, `smtpd_relay_restrictions =
smtpd_recipient_restrictions = reject_unauth_destination
smtpd_client_connection_count_limit = 0
virtual_mailbox_domains = example.test
virtual_mailbox_maps = hash:{conf}/mailboxes
`)
	var lines strings.Builder
	for _, box := range boxes {
		fmt.Fprintf(&lines, "%s@example.test example.test/%s/\n", box, box)
	}
	s.write(t, "mailboxes", lines.String())
	addr := freePorts(t, 1)[0]
	s.services(t, addr+" inet n - n - - smtpd\n")
	return crashingSite{s, addr, s.mail + "/example.test"}
}

// crash runs clients against a server that start starts, kills it as often as
// asked, gives it patience to finish its work after the last start, and audits
// the Maildirs below dir. start returns when the server listens at addrs.
func crash(t *testing.T, start func(addrs ...string) (*testsite.Server, error), addr, dir string, kills int, patience time.Duration) (*ledger, audit) {
	t.Helper()
	l := &ledger{acked: map[int]bool{}}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for range 4 {
		clients.Go(func() { l.keepSending(ctx, addr) })
	}
	killRepeatedly(t, start, addr, kills)
	stop()
	clients.Wait()
	server, err := start(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Kill()
	var a audit
	// What was not acknowledged may come in late too, but need not.
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		if a, err = l.audit(dir); err != nil {
			t.Fatal(err)
		}
		if len(a.Lost) == 0 || time.Now().After(deadline) {
			return l, a
		}
	}
}

// killRepeatedly starts the server and kills it after 20 to 300 ms of work;
// every tenth time at once, while it starts.
func killRepeatedly(t *testing.T, start func(addrs ...string) (*testsite.Server, error), addr string, kills int) {
	t.Helper()
	for i := range kills {
		var await []string
		life := time.Duration(rand.IntN(100)) * time.Millisecond
		if i%10 != 9 {
			await = []string{addr}
			life = time.Duration(20+rand.IntN(280)) * time.Millisecond
		}
		server, err := start(await...)
		if err != nil {
			t.Fatalf("start after kill %d: %v", i, err)
		}
		select {
		case <-time.After(life):
			server.Kill()
		case <-server.Exited():
			t.Fatalf("the server ended by itself after kill %d", i)
		}
	}
}

// keepSending sends new messages until ctx ends, through as many connections
// as it takes.
func (l *ledger) keepSending(ctx context.Context, addr string) {
	for ctx.Err() == nil {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err != nil {
			time.Sleep(time.Millisecond)
			continue
		}
		l.sendOver(ctx, conn)
		conn.Close()
	}
}

// sendOver sends messages over one connection until it or ctx ends. A few
// messages to a connection, so that beginnings and ends are cut off as well.
func (l *ledger) sendOver(ctx context.Context, conn net.Conn) {
	r := bufio.NewReader(conn)
	if !reply(conn, r, 220) || !command(conn, r, 250, "EHLO client.elsewhere.test") {
		return
	}
	for range 1 + rand.IntN(20) {
		if ctx.Err() != nil || !l.sendOne(conn, r) {
			return
		}
	}
	command(conn, r, 221, "QUIT")
}

// sendOne sends a message of a new number.
func (l *ledger) sendOne(conn net.Conn, r *bufio.Reader) bool {
	n := l.begin()
	if !command(conn, r, 250, "MAIL FROM:<sender@elsewhere.test>") {
		return false
	}
	for _, box := range recipients(n) {
		if !command(conn, r, 250, "RCPT TO:<"+box+"@example.test>") {
			return false
		}
	}
	if !command(conn, r, 354, "DATA") {
		return false
	}
	if _, err := conn.Write(stuffed(content(n))); err != nil || !reply(conn, r, 250) {
		return false
	}
	l.acknowledged(n)
	return true
}

// stuffed returns content as DATA sends it, the final dot included.
func stuffed(content []byte) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(content) {
		if line[0] == '.' {
			b.WriteByte('.')
		}
		b.Write(bytes.TrimSuffix(line, []byte("\n")))
		b.WriteString("\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// command sends a line and says whether the reply has code.
func command(conn net.Conn, r *bufio.Reader, code int, line string) bool {
	_, err := conn.Write([]byte(line + "\r\n"))
	return err == nil && reply(conn, r, code)
}

// reply reads a whole reply and says whether it has code. A reply that was cut
// off has not.
func reply(conn net.Conn, r *bufio.Reader, code int) bool {
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		return false
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil || len(line) < 4 {
			return false
		}
		if line[3] != '-' {
			return strings.HasPrefix(line, strconv.Itoa(code))
		}
	}
}

// TestCrashTestFindsLoss runs the crash test on two small servers: one that
// acknowledges a moment before it stores the message, and has to be found out,
// and one that stores first, and has to pass.
func TestCrashTestFindsLoss(t *testing.T) {
	for _, tt := range []struct {
		manner string
		loses  bool
	}{{"hasty", true}, {"careful", false}} {
		t.Run(tt.manner, func(t *testing.T) {
			dir := t.TempDir()
			addr := freePorts(t, 1)[0]
			start := func(addrs ...string) (*testsite.Server, error) {
				cmd := exec.Command(os.Args[0], "-test.run=^TestSmallServer$")
				cmd.Env = append(os.Environ(), "SEKISHO_SMALL_SERVER="+tt.manner, "SEKISHO_SMALL_ADDR="+addr, "SEKISHO_SMALL_DIR="+dir)
				return testsite.StartCommand(cmd, os.Stderr, addrs...)
			}
			_, a := crash(t, start, addr, dir, 20, 2*time.Second)
			t.Log(a)
			if a.Acknowledged == 0 || (len(a.Lost) > 0) != tt.loses {
				t.Errorf("lost: %v", a.Lost)
			}
		})
	}
}
