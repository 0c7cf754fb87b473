package master

import (
	"bufio"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestETRN: waiting mail for a domain is tried when its server asks for it.
func TestETRN(t *testing.T) {
	addr := freeAddr(t)
	r := start(t, mainCF+"relay_domains = etrn.test\nrelay_transport = relay:[127.0.0.1]:1\n", smtpdAt(addr)+"relay unix - - n - - smtp\n")
	c := dial(t, addr)
	c.want("220 mx.demo.test ESMTP Postfix")
	for _, line := range []string{"HELO client.test", "MAIL FROM:<a@mx.demo.test>", "RCPT TO:<b@etrn.test>", "DATA", ".", "ETRN elsewhere.test", "ETRN ETRN.test", "QUIT"} {
		c.say(line)
		got := c.line()
		switch line {
		case ".":
			r.expect("status=deferred (connect to")
		case "ETRN ETRN.test":
			if got != "250 Queuing started" {
				t.Errorf("%s: %s", line, got)
			}
		case "ETRN elsewhere.test":
			if got != "459 <elsewhere.test>: service unavailable" {
				t.Errorf("%s: %s", line, got)
			}
		}
	}
	r.expect("status=deferred (connect to")
	r.stop()
}

// TestPolicyService: a service that main.cf names is asked over its socket,
// and a reload gives its connections up.
func TestPolicyService(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "policy")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	closed := make(chan struct{}, 10)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { conn.Close(); closed <- struct{}{} }()
				for lines := bufio.NewScanner(conn); lines.Scan(); {
					if lines.Text() == "" {
						conn.Write([]byte("action=REJECT no thanks\n\n"))
					}
				}
			}()
		}
	}()
	addr := freeAddr(t)
	cf := mainCF + "queue_directory = " + filepath.Dir(socket) + "\nsmtpd_client_restrictions = check_policy_service unix:policy\n"
	r := start(t, cf, smtpdAt(addr))
	c := dial(t, addr)
	c.want("220 mx.demo.test ESMTP Postfix")
	for _, line := range []string{"HELO client.test", "MAIL FROM:<a@b.test>", "RCPT TO:<c@d.test>"} {
		c.say(line)
		got := c.line()
		if strings.HasPrefix(line, "RCPT") && got != "554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: no thanks" {
			t.Errorf("got %q", got)
		}
	}
	c.say("QUIT")
	c.want("221 2.0.0 Bye")
	r.configure(cf, smtpdAt(addr))
	r.signals <- syscall.SIGHUP
	r.expect("reload -- version ")
	<-closed
	r.stop()
}
