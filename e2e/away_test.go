package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/dns"
	"sekisho/internal/sqltest"
	"sekisho/internal/zone"
)

// afterDot is what a next hop does when it has a message for the first time.
type afterDot int

const (
	takes  afterDot = iota // answers 250
	closes                 // the connection
	stalls                 // until the client has gone
)

// nextHop is a mail server that remembers the subjects of what it was sent.
type nextHop struct {
	addr   string
	manner func(subject string) afterDot
	mu     sync.Mutex
	seen   map[string]int // how often each message came, dot included
	took   map[string]int // and was answered with 250
}

// newNextHop runs a next hop until the end of the test.
func newNextHop(t *testing.T, manner func(subject string) afterDot) *nextHop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &nextHop{addr: l.Addr().String(), manner: manner, seen: map[string]int{}, took: map[string]int{}}
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() {
				defer conn.Close()
				h.serve(conn)
			})
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
	return h
}

func (h *nextHop) serve(conn net.Conn) {
	if conn.SetDeadline(time.Now().Add(time.Minute)) != nil {
		return
	}
	r := bufio.NewReader(conn)
	for reply := "220 there.test ESMTP"; ; {
		if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
			return
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		reply = "250 2.0.0 Ok"
		switch verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(line)), " "); verb {
		case "QUIT":
			reply = "221 2.0.0 Bye"
		case "DATA":
			if _, err := io.WriteString(conn, "354 Go ahead\r\n"); err != nil || !h.message(conn, r) {
				return
			}
		}
	}
}

// message reads a message and says whether it is to be answered with 250.
func (h *nextHop) message(conn net.Conn, r *bufio.Reader) bool {
	subject := ""
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		if s, ok := strings.CutPrefix(line, "Subject: "); ok {
			subject = strings.TrimSpace(s)
		}
	}
	h.mu.Lock()
	h.seen[subject]++
	manner := takes
	if h.seen[subject] == 1 {
		manner = h.manner(subject)
	}
	if manner == takes {
		h.took[subject]++
	}
	h.mu.Unlock()
	if manner == stalls {
		_, _ = r.ReadByte() // an error: the client leaves, or time is up
	}
	return manner == takes
}

// taken returns how many messages were answered with 250.
func (h *nextHop) taken() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.took)
}

// A next hop that closes the connection or stalls after the dot gets the message
// again: twice at most, and nothing is lost.
func TestNextHopFailsAfterTheDot(t *testing.T) {
	manners := map[string]afterDot{}
	for i := range 12 {
		manners[fmt.Sprint("number ", i)] = afterDot(i % 3)
	}
	hop := newNextHop(t, func(subject string) afterDot { return manners[subject] })
	s := newSite(t, `smtpd_recipient_restrictions = permit_auth_destination, reject
relay_domains = there.test
relay_transport = smtp:[127.0.0.1]:`+portOf(hop.addr)+`
smtp_data_done_timeout = 1s
smtp_destination_concurrency_failed_cohort_limit = 0
`)
	addr := freePorts(t, 1)[0]
	s.services(t, addr+" inet n - n - - smtpd\n")
	s.serve(t, addr)
	for subject := range manners {
		wantReply(t, subject, offer(t, addr, "a@else.test", "b@there.test", "Subject: "+subject+"\r\n\r\nx"), "250 ")
	}
	s.logged(t, 4, `status=deferred \(lost connection with 127\.0\.0\.1\[127\.0\.0\.1\] while sending end of data`)
	s.logged(t, 4, `status=deferred \(conversation with 127\.0\.0\.1\[127\.0\.0\.1\] timed out while sending end of data`)
	s.flushUntil(t, "all are taken", func() bool {
		return hop.taken() == len(manners) && crashingSite{site: s}.queueEmpty(t)
	})
	for subject, manner := range manners {
		want := 2
		if manner == takes {
			want = 1
		}
		if hop.seen[subject] != want || hop.took[subject] != 1 {
			t.Errorf("%s was sent %d times and taken %d times, want %d and 1", subject, hop.seen[subject], hop.took[subject], want)
		}
	}
}

// A name server that is away makes mail wait, on its way in and on its way out,
// and has nobody refused for good.
func TestNameServerAway(t *testing.T) {
	hop := newNextHop(t, func(string) afterDot { return takes })
	addrs := freePorts(t, 2)
	addr, names := addrs[0], addrs[1]
	s := newSite(t, `smtpd_recipient_restrictions = reject_unknown_sender_domain, reject_rbl_client list.test, permit_auth_destination, reject
relay_domains = one.test, two.test
relay_transport = smtp
smtp_tcp_port = `+portOf(hop.addr)+`
sekisho_dns_servers = `+names+`
`)
	s.services(t, addr+" inet n - n - - smtpd\n")
	z, err := zone.Parse("zone", strings.NewReader(`one.test MX 10 mx.one.test
two.test MX 10 mx.two.test
mx.one.test A 127.0.0.1
mx.two.test A 127.0.0.1
list.test EXISTS
`))
	if err != nil {
		t.Fatal(err)
	}
	s.serve(t, addr)
	for i, domain := range []string{"one.test", "two.test"} {
		to := "b@" + domain
		wantReply(t, "without name server", offer(t, addr, "a@"+domain, to, "x"), `450 4\.1\.8 <a@`+domain+`>: Sender address rejected: Domain not found`)
		wantReply(t, "without name server", offer(t, addr, "", to, "Subject: waits "+domain+"\r\n\r\nx"), `250 `)
		s.logged(t, 1, `to=<`+to+`>, .* status=deferred \(Host or domain name not found\. Name service error for name=`+domain)
		server := serveNames(t, z, names)
		await(t, 30*time.Second, "a message from "+domain+" with the name server", func() bool {
			return strings.HasPrefix(offer(t, addr, "a@"+domain, to, "Subject: goes "+domain+"\r\n\r\nx"), "250 ")
		})
		s.flushUntil(t, "both messages to "+domain, func() bool { return hop.taken() == 2*(i+1) })
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	}
	for subject, n := range hop.seen {
		if n != 1 {
			t.Errorf("%q was sent %d times", subject, n)
		}
	}
}

func serveNames(t *testing.T, z *zone.Zone, addr string) *dns.Server {
	t.Helper()
	server, err := z.Serve(addr)
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// A database that is away makes mail wait, on its way in and at the mailbox.
func TestDatabaseAway(t *testing.T) {
	database := sqltest.MariaDB(t)
	database.Exec("CREATE TABLE boxes (address VARCHAR(99), folder VARCHAR(99))", "INSERT INTO boxes VALUES ('ann@example.test', 'example.test/ann/')")
	s := newSite(t, `virtual_mailbox_domains = example.test
virtual_mailbox_maps = mysql:{conf}/boxes
smtpd_recipient_restrictions = permit_auth_destination, reject
`)
	s.write(t, "boxes", database.Settings()+"query = SELECT folder FROM boxes WHERE address = '%s'\n")
	addrs := freePorts(t, 2)
	asks, trusts := addrs[0], addrs[1]
	s.services(t, asks+" inet n - n - - smtpd\n"+trusts+" inet n - n - - smtpd\n  -o virtual_mailbox_maps=static:x\n")
	s.serve(t, asks, trusts)
	wantReply(t, "with database", offer(t, asks, "a@else.test", "ann@example.test", "x"), "250 ")
	await(t, 30*time.Second, "one message", func() bool { return s.mails("ann") == 1 })

	database.Stop()
	wantReply(t, "without database", offer(t, asks, "a@else.test", "ann@example.test", "x"), `451 4\.3\.0 <ann@example\.test>: Temporary lookup failure`)
	wantReply(t, "the address is not looked up", offer(t, trusts, "a@else.test", "ann@example.test", "x"), "250 ")
	s.logged(t, 1, `to=<ann@example\.test>, .* dsn=4\.\S+, status=deferred `)

	database.Start()
	await(t, 30*time.Second, "a message with the database again", func() bool {
		return strings.HasPrefix(offer(t, asks, "a@else.test", "ann@example.test", "x"), "250 ")
	})
	s.flushUntil(t, "three messages", func() bool { return s.mails("ann") == 3 })
}
