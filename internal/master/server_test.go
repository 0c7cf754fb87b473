package master

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/maillog"
)

// patience bounds what a test waits for.
const patience = 20 * time.Second

// mainCF is a configuration that needs nothing of the machine.
const mainCF = `compatibility_level = 3.6
myhostname = mx.demo.test
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
sekisho_dns_servers = 127.0.0.1:1
smtpd_peername_lookup = no
sekisho_auth_failure_delay = 0s
sekisho_spool_directory = $config_directory/spool
`

// lineLog hands log lines to a test.
type lineLog chan string

func (l lineLog) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// running is a server under test.
type running struct {
	t       *testing.T
	dir     string
	signals chan os.Signal
	log     lineLog
	ended   chan error
}

// freeAddr returns an address that was free just now.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// smtpdAt is a master.cf with a service at each address.
func smtpdAt(addrs ...string) string {
	var b strings.Builder
	for _, a := range addrs {
		fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", a)
	}
	return b.String()
}

// start starts a server and waits until it listens.
func start(t *testing.T, mainCF, masterCF string) *running {
	t.Helper()
	return startBy(t, clock.System{}, mainCF, masterCF)
}

// startBy is start with a clock of the test's own.
func startBy(t *testing.T, c clock.Clock, mainCF, masterCF string) *running {
	t.Helper()
	r := &running{t: t, dir: t.TempDir(), signals: make(chan os.Signal), log: make(lineLog, 1000), ended: make(chan error, 1)}
	r.configure(mainCF, masterCF)
	ready := make(chan struct{})
	log := slog.New(maillog.NewHandler(r.log, "mx", clock.System{}))
	go func() {
		r.ended <- Run(context.Background(), r.dir, Options{
			Clock: c, Log: log, Signals: r.signals, Ready: func() { close(ready) },
			Reopen: func() error { return errors.New("the log cannot be opened") },
		})
	}()
	select {
	case <-ready:
	case err := <-r.ended:
		t.Fatal(err)
	case <-time.After(patience):
		t.Fatal("the server does not start")
	}
	return r
}

func (r *running) configure(mainCF, masterCF string) {
	r.t.Helper()
	write(r.t, filepath.Join(r.dir, "main.cf"), mainCF)
	write(r.t, filepath.Join(r.dir, "master.cf"), masterCF)
}

// expect waits for a log line and returns the lines up to it.
func (r *running) expect(text string) string {
	r.t.Helper()
	var before strings.Builder
	late := time.After(patience)
	for {
		select {
		case line := <-r.log:
			before.WriteString(line)
			if strings.Contains(line, text) {
				return before.String()
			}
		case <-late:
			r.t.Fatalf("no log line %q among\n%s", text, before.String())
		}
	}
}

// stop sends SIGTERM and waits for the end.
func (r *running) stop() {
	r.t.Helper()
	r.signals <- syscall.SIGTERM
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Error(err)
		}
	case <-time.After(patience):
		r.t.Error("the server does not stop")
	}
}

// client is an SMTP client that reads lines.
type client struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &client{t, conn, bufio.NewReader(conn)}
}

// line reads a line; "" is the end of the connection.
func (c *client) line() string {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return ""
	}
	return strings.TrimRight(line, "\r\n")
}

func (c *client) want(line string) {
	c.t.Helper()
	if got := c.line(); got != line {
		c.t.Errorf("got %q, want %q", got, line)
	}
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		c.t.Error(err)
	}
}

func TestReloadSwapsTheConfiguration(t *testing.T) {
	stays, goes, comes := freeAddr(t), freeAddr(t), freeAddr(t)
	r := start(t, mainCF+"smtpd_banner = one\n", smtpdAt(stays, goes))
	old := dial(t, stays)
	old.want("220 one")
	old.say("HELO client.test")
	old.want("250 mx.demo.test")

	r.configure(mainCF+"smtpd_banner = two\nmyhostname = new.demo.test\n", smtpdAt(stays, comes))
	r.signals <- syscall.SIGHUP
	log := r.expect("reload -- version ")
	for _, want := range []string{"no longer listening on " + goes, "listening on " + comes + " for service " + comes} {
		if !strings.Contains(log, want) {
			t.Errorf("log lacks %q:\n%s", want, log)
		}
	}
	dial(t, stays).want("220 two")
	dial(t, comes).want("220 two")
	if conn, err := net.Dial("tcp", goes); err == nil {
		conn.Close()
		t.Errorf("%s is still open", goes)
	}
	old.say("HELO client.test")
	old.want("250 mx.demo.test")
	r.stop()
}

func TestReloadWithAnErrorChangesNothing(t *testing.T) {
	addr, other := freeAddr(t), freeAddr(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := start(t, mainCF+"smtpd_banner = one\n", smtpdAt(addr))
	for _, tt := range []struct{ mainCF, masterCF, want string }{
		{mainCF + "smtpd_helo_restrictions = permit_mynetwork\n", smtpdAt(addr), "main.cf:12: smtpd_helo_restrictions: unknown smtpd restriction"},
		{mainCF + "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = $config_directory/none\n", smtpdAt(addr), "main.cf:13: smtpd_tls_cert_file"},
		{mainCF + "smtpd_helo_required = perhaps\n", smtpdAt(addr), "main.cf:12: smtpd_helo_required: bad boolean"},
		{mainCF, smtpdAt(other, taken.Addr().String()), "master.cf:2: service " + taken.Addr().String() + ": cannot listen"},
		{mainCF, smtpdAt(addr) + "smtp\n", "master.cf:2: "},
	} {
		r.configure(tt.mainCF, tt.masterCF)
		r.signals <- syscall.SIGHUP
		if log := r.expect("not reloaded"); !strings.Contains(log, "error: ") || !strings.Contains(log, tt.want) {
			t.Errorf("log lacks %q:\n%s", tt.want, log)
		}
		dial(t, addr).want("220 one")
		if conn, err := net.Dial("tcp", other); err == nil {
			conn.Close()
			t.Errorf("%s is open", other)
		}
	}
	r.stop()
}

func TestDrain(t *testing.T) {
	addr := freeAddr(t)
	r := start(t, mainCF+"smtpd_banner = one\n", smtpdAt(addr))
	c := dial(t, addr)
	c.want("220 one")
	r.stop()
	if line := c.line(); !strings.HasPrefix(line, "421 4.3.2 ") {
		t.Errorf("the session ended with %q", line)
	}
	if line := c.line(); line != "" {
		t.Errorf("after the end: %q", line)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

func TestOneServerForASpool(t *testing.T) {
	r := start(t, mainCF, smtpdAt(freeAddr(t)))
	err := Run(t.Context(), r.dir, Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "main.cf:11: sekisho_spool_directory: ") {
		t.Errorf("a second server on the same spool: %v", err)
	}
	r.stop()
}

func TestMaxprocLimitsSessions(t *testing.T) {
	addr := freeAddr(t)
	r := start(t, mainCF+"smtpd_banner = one\n", addr+" inet n - n - 1 smtpd\n")
	first := dial(t, addr)
	first.want("220 one")
	second := dial(t, addr)
	first.say("QUIT")
	first.want("221 2.0.0 Bye")
	second.want("220 one") // it got its turn
	r.stop()
}

func TestPostscreenLeadsToSMTPD(t *testing.T) {
	addr := freeAddr(t)
	r := start(t, mainCF, addr+" inet n - n - 1 postscreen\nsmtpd pass - - n - - smtpd -o smtpd_banner=behind\n")
	dial(t, addr).want("220 behind")
	r.expect("has no postscreen")
	r.stop()
}

func TestTwoServicesAtOneAddress(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), mainCF)
	write(t, filepath.Join(dir, "master.cf"), "25 inet n - n - - smtpd\n127.0.0.1:25 inet n - n - - smtpd\n")
	err := Run(t.Context(), dir, Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "master.cf:2: service 127.0.0.1:25: 127.0.0.1:25 belongs to service 25 (") {
		t.Errorf("error %v", err)
	}
}

func TestReloadTellsWhatNeedsARestart(t *testing.T) {
	addr := freeAddr(t)
	r := start(t, mainCF, smtpdAt(addr))
	r.configure(strings.Replace(mainCF, "/spool", "/elsewhere", 1), smtpdAt(addr))
	r.signals <- syscall.SIGHUP
	if log := r.expect("reload -- "); !strings.Contains(log, "main.cf:11: sekisho_spool_directory has changed: that takes effect") {
		t.Errorf("log:\n%s", log)
	}
	dial(t, addr).want("220 mx.demo.test ESMTP Postfix")
	r.stop()
}

func TestReopenFailureIsLogged(t *testing.T) {
	r := start(t, mainCF, smtpdAt(freeAddr(t)))
	r.signals <- syscall.SIGUSR1
	r.expect("error: the log cannot be opened")
	r.stop()
}
