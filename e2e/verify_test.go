package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// probedHost is the mail server of another domain, which is asked about
// addresses: it knows "good", refuses "bad" for good and "later" for now, and
// says nothing about "silence".
type probedHost struct {
	mu   sync.Mutex
	rcpt []string // recipients it was asked about
	mail int      // messages it was sent
}

func (h *probedHost) listen(t *testing.T) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { h.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return l.Addr().String()
}

func (h *probedHost) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(conn, "220 there.test ESMTP\r\n")
	for r := bufio.NewReader(conn); ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " ")
		reply := "250 2.0.0 Ok"
		switch verb {
		case "RCPT":
			_, to, _ := strings.Cut(strings.TrimSpace(line), "<")
			h.mu.Lock()
			h.rcpt = append(h.rcpt, strings.TrimSuffix(to, ">"))
			h.mu.Unlock()
			switch local, _, _ := strings.Cut(to, "@"); local {
			case "bad":
				reply = "550 5.1.1 nobody of that name"
			case "later":
				reply = "450 4.2.0 busy"
			case "silence":
				continue
			}
		case "DATA":
			h.mu.Lock()
			h.mail++
			h.mu.Unlock()
			reply = "354 Go ahead"
		}
		fmt.Fprint(conn, reply+"\r\n")
	}
}

// asked returns, and forgets, who it was asked about.
func (h *probedHost) asked() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	asked := h.rcpt
	h.rcpt = nil
	slices.Sort(asked)
	return asked
}

// TestVerification goes through the life of a server that verifies addresses:
// each is probed once, also when the server is killed in between; a host that
// stalls holds up the one session, and only for a while; and nobody is sent
// mail because of a probe.
func TestVerification(t *testing.T) {
	host := &probedHost{}
	there := host.listen(t)
	s := newSite(t, `smtpd_relay_restrictions = reject_unauth_destination
smtpd_recipient_restrictions = reject_unverified_sender, reject_unverified_recipient
relay_domains = there.test
transport_maps = inline:{ { there.test = smtp:[127.0.0.1]:`+there[strings.LastIndexByte(there, ':')+1:]+` } }
address_verify_poll_delay = 1s
address_verify_poll_count = 2
unverified_recipient_reject_code = 550
smtp_rcpt_timeout = 3s
`)
	addr := freePorts(t, 1)[0]
	s.services(t, addr+" inet n - n - - smtpd\n")
	server, err := testsite.Start(binary(t), s.conf, s.output(t), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Kill() }()

	dialogue := func(when string, wantAsked ...string) {
		t.Helper()
		for to, want := range map[string]string{
			"good@there.test":  "250 2.1.5 Ok",
			"bad@there.test":   "550 5.1.1 <bad@there.test>: Recipient address rejected: undeliverable address: host 127.0.0.1[127.0.0.1] said: 550 5.1.1 nobody of that name (in reply to RCPT TO command)",
			"later@there.test": "450 4.1.1 <later@there.test>: Recipient address rejected: unverified address: host 127.0.0.1[127.0.0.1] said: 450 4.2.0 busy (in reply to RCPT TO command)",
		} {
			if got := rcptReply(t, addr, to); got != want {
				t.Errorf("%s, %s: %s, want %s\n%s", when, to, got, want, s.logTail())
			}
		}
		if asked := host.asked(); !slices.Equal(asked, wantAsked) {
			t.Errorf("%s: the host was asked about %q, want %q", when, asked, wantAsked)
		}
	}
	dialogue("at first", "bad@there.test", "from@there.test", "good@there.test", "later@there.test")
	dialogue("again")
	if err := server.Reload(); err != nil {
		t.Fatal(err)
	}
	dialogue("after a reload")
	server.Kill()
	if server, err = testsite.Start(binary(t), s.conf, s.output(t), addr); err != nil {
		t.Fatal(err)
	}
	dialogue("after a kill")

	begun := time.Now()
	want := "450 4.1.1 <silence@there.test>: Recipient address rejected: unverified address: Address verification in progress"
	if got := rcptReply(t, addr, "silence@there.test"); got != want {
		t.Errorf("a host that stalls: %s, want %s", got, want)
	}
	if took := time.Since(begun); took < time.Second {
		t.Errorf("a host that stalls was waited for %v", took)
	}
	if err := server.Stop(20 * time.Second); err != nil {
		t.Errorf("%v\n%s", err, s.logTail())
	}
	log, err := os.ReadFile(s.log)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "status=undeliverable (conversation with 127.0.0.1[127.0.0.1] timed out while sending RCPT TO)") {
		t.Errorf("the stalled probe has no end:\n%s", s.logTail())
	}
	if strings.Contains(string(log), "notification") || strings.Contains(string(log), "status=bounced") || host.mail > 0 {
		t.Errorf("somebody was sent mail because of a probe (%d messages):\n%s", host.mail, s.logTail())
	}
}

// rcptReply returns the reply to a recipient.
func rcptReply(t *testing.T, addr, to string) string {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	reply := ""
	for _, command := range []string{"", "HELO client.test", "MAIL FROM:<from@there.test>", "RCPT TO:<" + to + ">"} {
		if command != "" {
			fmt.Fprint(conn, command+"\r\n")
		}
		if reply, err = r.ReadString('\n'); err != nil {
			t.Fatalf("%s: %v", command, err)
		}
	}
	fmt.Fprint(conn, "QUIT\r\n")
	r.ReadString('\n')
	return strings.TrimSpace(reply)
}
