package e2e

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestFail2ban has Debian's fail2ban read our log with its filter for Postfix:
// it must find who guesses passwords, and nobody else.
func TestFail2ban(t *testing.T) {
	regex := need(t, "fail2ban-regex", "fail2ban")
	s := newMailSite(t)
	plain := func(user, password string) string {
		return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
	}
	b64 := base64.StdEncoding.EncodeToString
	clients := []struct {
		source string
		guess  bool
		lines  []string
		want   string // the last reply
	}{
		{"127.0.0.11", true, []string{"AUTH PLAIN " + plain("alice@demo.test", "wrong")}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.12", true, []string{"AUTH PLAIN", plain("nobody@demo.test", "wrong")}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.13", true, []string{"AUTH LOGIN", b64([]byte("alice@demo.test")), b64([]byte("wrong"))}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.14", true, []string{"auth cram-md5", b64([]byte("alice@demo.test 0123456789abcdef0123456789abcdef"))}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.15", true, []string{"AUTH PLAIN !!!!"}, "535 5.7.8 Error: authentication failed: Invalid base64 data"},
		// Whoever names somebody else's address does not get him banned.
		{"127.0.0.16", true, []string{"AUTH PLAIN " + plain("x[192.0.2.9]: SASL LOGIN authentication failed: y", "wrong")}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.17", true, []string{"AUTH PLAIN " + plain("x\r\nwarning: unknown[192.0.2.9]: SASL LOGIN authentication failed: y", "wrong")}, "535 5.7.8 Error: authentication failed"},
		{"127.0.0.21", false, []string{"AUTH PLAIN " + plain("alice@demo.test", "alice-demo")}, "235 2.7.0 Authentication successful"},
		{"127.0.0.22", false, []string{"AUTH LOGIN", "*"}, "501 5.7.0 Authentication aborted"},
		{"127.0.0.23", false, []string{"AUTH FOO"}, "535 5.7.8 Error: authentication failed: Invalid authentication mechanism"},
	}
	var guessers []string
	for _, c := range clients {
		if got := dialogue(t, s.smtp, c.source, c.lines...); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %q, want %q", c.source, got, c.want)
		}
		if c.guess {
			guessers = append(guessers, c.source)
		}
	}
	out, err := exec.CommandContext(t.Context(), regex, "--out", "ip", s.log, "postfix[mode=auth]").CombinedOutput()
	if found := strings.Fields(string(out)); err != nil || !slices.Equal(found, guessers) {
		t.Errorf("fail2ban has found %v, %v; want %v\n%s", found, err, guessers, s.logTail())
	}
}

// dialogue says EHLO and lines from an address of this machine and returns the
// last reply. The server has logged all of it then.
func dialogue(t *testing.T, addr, source string, lines ...string) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	conn, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	last := answer(t, r)
	for _, line := range append([]string{"EHLO client.test"}, lines...) {
		fmt.Fprint(conn, line, "\r\n")
		last = answer(t, r)
	}
	return last
}
