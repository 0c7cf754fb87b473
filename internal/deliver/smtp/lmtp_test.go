package smtp

import (
	"bytes"
	"crypto/tls"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

const socketName = "private/dovecot-lmtp"

// newLMTP returns an agent that speaks LMTP, and what it logs.
func newLMTP(t *testing.T) (*Agent, *bytes.Buffer) {
	t.Helper()
	a, log := newAgent(t)
	a.LMTP, a.Name, a.Port, a.TLS, a.SkipQuit = true, "lmtp", 24, TLSNone, false
	a.QueueDirectory = t.TempDir()
	if err := os.Mkdir(filepath.Join(a.QueueDirectory, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	return a, log
}

// listenUnix serves on the socket in the agent's queue directory.
func (s *server) listenUnix(t *testing.T, a *Agent) {
	t.Helper()
	s.lmtp = true
	l, err := net.Listen("unix", filepath.Join(a.QueueDirectory, socketName))
	if err != nil {
		t.Fatal(err)
	}
	s.accept(t, l)
}

// threeRecipients is a message to a, b and c.
func threeRecipients(nexthop string) *deliver.Request {
	r := request(nexthop, "Subject: x\n\nhello\n")
	r.Recipients = []mail.Recipient{
		{Address: "a@t.test", Original: "a@t.test"}, {Address: "b@t.test", Original: "b@t.test"}, {Address: "c@t.test", Original: "c@t.test"}}
	return r
}

// What Postfix 3.7's lmtp(8) says of a server's answers, to three recipients.
func TestLMTPAnswers(t *testing.T) {
	const (
		sent   = "dsn=2.0.0, status=sent (250-2.0.0 first 250 2.0.0 Ok: queued as 123)"
		lost   = "dsn=4.4.2, status=deferred (lost connection with HOST while "
		at     = lost + "sending end of data -- message may be sent more than once)"
		rcpts  = "LHLO mx.example.com|MAIL FROM:<from@q.test>|RCPT TO:<a@t.test>|RCPT TO:<b@t.test>|RCPT TO:<c@t.test>|"
		noRcpt = "LHLO mx.example.com|MAIL FROM:<from@q.test>|RSET|QUIT"
	)
	all := func(s string) [3]string { return [3]string{s, s, s} }
	for name, c := range map[string]struct {
		replies map[string]string
		want    [3]string // after relay=; HOST is replaced
		said    string    // without pipelining
	}{
		"sent":         {nil, all(sent), rcpts + "DATA|QUIT"},
		"bad sender":   {map[string]string{"MAIL": "550 5.7.1 bad sender"}, all("dsn=5.7.1, status=bounced (host HOST said: 550 5.7.1 bad sender (in reply to MAIL FROM command))"), noRcpt},
		"lost at MAIL": {map[string]string{"MAIL": ""}, all(lost + "sending MAIL FROM)"), "LHLO mx.example.com|MAIL FROM:<from@q.test>"},
		"nobody":       {map[string]string{"RCPT": "550 5.1.1 <x>: nobody"}, all("dsn=5.1.1, status=bounced (host HOST said: 550 5.1.1 <x>: nobody (in reply to RCPT TO command))"), rcpts + "RSET|QUIT"},
		"mixed at RCPT": {map[string]string{"RCPT 2": "550-no\n550 nobody", "RCPT 3": "450 4.2.1 later"},
			[3]string{sent, "dsn=5.0.0, status=bounced (host HOST said: 550-no 550 nobody (in reply to RCPT TO command))",
				"dsn=4.2.1, status=deferred (host HOST said: 450 4.2.1 later (in reply to RCPT TO command))"}, rcpts + "DATA|QUIT"},
		"three answers": {map[string]string{". 1": "250 2.1.5 <a> saved", ". 2": "452 4.2.2 <b> full", ". 3": "550 5.2.0 <c> no"},
			[3]string{"dsn=2.1.5, status=sent (250 2.1.5 <a> saved)", "dsn=4.2.2, status=deferred (host HOST said: 452 4.2.2 <b> full (in reply to end of DATA command))",
				"dsn=5.2.0, status=bounced (host HOST said: 550 5.2.0 <c> no (in reply to end of DATA command))"}, rcpts + "DATA|QUIT"},
		"refused at RCPT and later": {map[string]string{"RCPT 1": "550 5.1.1 no", ". 2": "451 x"},
			[3]string{"dsn=5.1.1, status=bounced (host HOST said: 550 5.1.1 no (in reply to RCPT TO command))", sent,
				"dsn=4.0.0, status=deferred (host HOST said: 451 x (in reply to end of DATA command))"}, rcpts + "DATA|QUIT"},
		"lost between answers": {map[string]string{". 2": ""}, [3]string{sent, at, at}, rcpts + "DATA"},
		"lost at the end":      {map[string]string{".": ""}, all(at), rcpts + "DATA"},
		"odd answers": {map[string]string{". 1": "300 what", ". 2": "what\n250-x\n250 y", ". 3": "550 4.2.0 x"},
			[3]string{"dsn=5.5.0, status=bounced (host HOST said: 300 what (in reply to end of DATA command))", "dsn=2.0.0, status=sent (what 250-x 250 y)",
				"dsn=5.0.0, status=bounced (host HOST said: 550 4.2.0 x (in reply to end of DATA command))"}, rcpts + "DATA|QUIT"},
		"DATA refused":          {map[string]string{"DATA": "554 no valid"}, all("dsn=5.0.0, status=bounced (host HOST said: 554 no valid (in reply to DATA command))"), rcpts + "DATA|RSET|QUIT"},
		"DATA agreed":           {map[string]string{"DATA": "250 ok"}, all("dsn=5.5.0, status=bounced (Protocol error: host HOST said: 250 ok (in reply to DATA command))"), rcpts + "DATA|RSET|QUIT"},
		"lost at DATA":          {map[string]string{"DATA": ""}, all(lost + "sending DATA command)"), rcpts + "DATA"},
		"not welcome":           {map[string]string{"banner": "554 5.3.0 go away"}, all("dsn=4.3.0, status=deferred (host HOST refused to talk to me: 554 5.3.0 go away)"), "QUIT"},
		"silent":                {map[string]string{"banner": ""}, all(lost + "receiving the initial server greeting)"), ""},
		"LHLO refused":          {map[string]string{"LHLO": "502 5.5.2 no LMTP"}, all("dsn=5.5.2, status=bounced (host HOST refused to talk to me: 502 5.5.2 no LMTP)"), "LHLO mx.example.com|QUIT"},
		"lost at LHLO":          {map[string]string{"LHLO": ""}, all(lost + "performing the LHLO handshake)"), "LHLO mx.example.com"},
		"too large":             {map[string]string{"LHLO": "250-srv.test\n250 SIZE 20"}, all("dsn=5.3.4, status=bounced (message size 300 exceeds size limit 20 of server HOST)"), "LHLO mx.example.com"},
		"too large, said badly": {map[string]string{"LHLO": "250-srv.test\n250-SIZE 20\n250-SIZE x\n250 SIZE"}, all("dsn=5.3.4, status=bounced (message size 300 exceeds size limit 20 of server HOST)"), "LHLO mx.example.com"},
		"huge":                  {map[string]string{"LHLO": "250-srv.test\n250-8BITMIME\n250 SIZE 99999999999999999999"}, all(sent), strings.Replace(rcpts, "q.test>", "q.test> SIZE=300", 1) + "DATA|QUIT"},
		"our name":              {map[string]string{"banner": "220 mx.example.com LMTP", "LHLO": "250 mx.example.com"}, all(sent), rcpts + "DATA|QUIT"},
		"TLS not wanted":        {map[string]string{"LHLO": "250-srv.test\n250 STARTTLS"}, all(sent), rcpts + "DATA|QUIT"},
	} {
		for _, pipelining := range []bool{false, true} {
			s := &server{replies: map[string]string{}}
			for k, v := range c.replies {
				s.replies[k] = v
			}
			if _, set := s.replies["LHLO"]; pipelining && !set {
				s.replies["LHLO"] = "250-srv.test\n250 PIPELINING"
			}
			a, log := newLMTP(t)
			s.listenUnix(t, a)
			got := lines(a.Deliver(t.Context(), threeRecipients("unix:"+socketName)))
			want := ""
			for i, w := range c.want {
				want += string('0'+rune(i)) + " relay=HOST, " + w + "\n"
			}
			if want = strings.ReplaceAll(want, "HOST", "mx.example.com["+socketName+"]"); got != want {
				t.Errorf("%s (pipelining %v):\n%swant\n%s", name, pipelining, got, want)
			}
			if said := s.said(); !pipelining && said != c.said {
				t.Errorf("%s: said %s, want %s", name, said, c.said)
			}
			if name == "odd answers" && pipelining != strings.Contains(log.String(), "turn off command pipelining for private/dovecot-lmtp with the lmtp_discard_lhlo_keyword_address_maps parameter") {
				t.Errorf("%s (pipelining %v): log %s", name, pipelining, log)
			}
		}
	}
}

// What lmtp(8) says of a socket it cannot use.
// A probe over LMTP ends after RCPT as well, with an answer for each recipient.
func TestLMTPProbe(t *testing.T) {
	s := &server{replies: map[string]string{"RCPT 2": "550 5.1.1 <b>: nobody", "RCPT 3": "450 4.2.2 <c>: full"}}
	a, _ := newLMTP(t)
	a.SkipQuit = false
	s.listenUnix(t, a)
	r := threeRecipients("unix:" + socketName)
	r.Probe = true
	got := lines(a.Deliver(t.Context(), r))
	host := "mx.example.com[" + socketName + "]"
	want := "0 relay=" + host + ", dsn=2.0.0, status=sent (250 2.0.0 ok)\n" +
		"1 relay=" + host + ", dsn=5.1.1, status=bounced (host " + host + " said: 550 5.1.1 <b>: nobody (in reply to RCPT TO command))\n" +
		"2 relay=" + host + ", dsn=4.2.2, status=deferred (host " + host + " said: 450 4.2.2 <c>: full (in reply to RCPT TO command))\n"
	if got != want {
		t.Errorf("%swant\n%s", got, want)
	}
	if said := s.said(); !strings.HasSuffix(said, "RCPT TO:<c@t.test>|RSET|QUIT") || s.received() != "" {
		t.Errorf("said %s, sent %q", said, s.received())
	}
}

func TestLMTPWithoutAServer(t *testing.T) {
	a, log := newLMTP(t)
	stale := filepath.Join(a.QueueDirectory, "stale")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	long := strings.Repeat("x", 120)
	for path, want := range map[string]string{
		socketName: "4.4.1, status=deferred (connect to mx.example.com[" + socketName + "]: No such file or directory)",
		stale:      "4.4.1, status=deferred (connect to mx.example.com[" + stale + "]: Connection refused)",
		long:       "4.3.5, status=deferred (Server configuration error)",
	} {
		got := lines(a.Deliver(t.Context(), threeRecipients("unix:"+path))[:1])
		if want := "0 relay=none, dsn=" + want + "\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", path, got, want)
		}
	}
	if s := log.String(); strings.Contains(s, "connect to") || !strings.Contains(s, "unix-domain name too long: "+long) {
		t.Errorf("log %s", s)
	}
}

// In a chroot an absolute path begins in the queue directory.
func TestLMTPInAChroot(t *testing.T) {
	for chroot, want := range map[bool]deliver.Status{false: deliver.Deferred, true: deliver.Sent} {
		s := &server{}
		a, _ := newLMTP(t)
		a.Chroot = chroot
		s.listenUnix(t, a)
		got := a.Deliver(t.Context(), threeRecipients("unix:/"+socketName))
		if got[0].Status != want || !strings.Contains(got[0].Relay+got[0].Text, "mx.example.com[/"+socketName+"]") {
			t.Errorf("chroot %v: %s", chroot, lines(got))
		}
	}
}

// Over TCP every address of the host is tried, but no mail exchangers, and a
// recipient that one server puts off goes to the next.
func TestLMTPOverTCP(t *testing.T) {
	for nexthop, want := range map[string]string{
		"inet:127.0.0.1:PORT":         "relay=127.0.0.1[127.0.0.1]:PORT, dsn=4.2.0, status=deferred (host 127.0.0.1[127.0.0.1] said: 451 4.2.0 x (in reply to end of DATA command))",
		"inet:[127.0.0.1]:PORT":       "relay=127.0.0.1[127.0.0.1]:PORT, dsn=4.2.0, status=deferred (host 127.0.0.1[127.0.0.1] said: 451 4.2.0 x (in reply to end of DATA command))",
		"tls.test:PORT":               "relay=tls.test[127.0.0.1]:PORT, dsn=4.2.0, status=deferred (host tls.test[127.0.0.1] said: 451 4.2.0 x (in reply to end of DATA command))",
		"two.test:PORT":               "relay=none, dsn=5.4.4, status=bounced (Host or domain name not found. Name service error for name=two.test type=AAAA: Host found but no data record of requested type)",
		"tls.test:PORT mx2.s.test:26": "relay=none, dsn=4.4.1, status=deferred (connect to mx2.s.test[127.0.0.2]:26: Connection refused)",
		"inet:":                       "relay=none, dsn=4.3.5, status=deferred (Server configuration error)",
	} {
		s := &server{lmtp: true, replies: map[string]string{". 1": "451 4.2.0 x", ". 2": "550 5.2.0 y"}}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newLMTP(t)
		results := a.Deliver(t.Context(), threeRecipients(strings.ReplaceAll(nexthop, "PORT", port)))
		if got, want := lines(results[:1]), "0 "+strings.ReplaceAll(want, "PORT", port)+"\n"; got != want {
			t.Errorf("%s: got\n%swant\n%s", nexthop, got, want)
		}
		if want := len(s.said()) > 0; (results[1].Status == deliver.Bounced && results[2].Status == deliver.Sent) != want {
			t.Errorf("%s: %s", nexthop, lines(results))
		}
	}
}

// TLS on a socket is only for who insists.
func TestLMTPSocketTLS(t *testing.T) {
	cert, _ := certificate(t, "mx.example.com")
	for level, want := range map[TLSLevel]string{TLSNone: "LHLO", TLSMay: "LHLO", TLSEncrypt: "STARTTLS"} {
		s := &server{replies: map[string]string{"LHLO": "250-srv.test\n250 STARTTLS", "LHLO 2": "250 srv.test"}, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
		a, log := newLMTP(t)
		a.TLS, a.Fallback = level, []string{"[127.0.0.1]:26"}
		s.listenUnix(t, a)
		got := a.Deliver(t.Context(), threeRecipients("unix:"+socketName))
		if got[0].Status != deliver.Sent || strings.Contains(s.said(), "STARTTLS") != (want == "STARTTLS") {
			t.Errorf("level %d: %s; said %s", level, lines(got), s.said())
		}
		if warned := strings.Contains(log.String(), "opportunistic TLS encryption is not appropriate"); warned != (level == TLSMay) {
			t.Errorf("level %d: log %s", level, log)
		}
		if !strings.Contains(log.String(), `ignoring \"lmtp_fallback_relay = [127.0.0.1]:26\" setting for non-TCP connections`) {
			t.Errorf("level %d: log %s", level, log)
		}
	}
}

// A server that never says goodbye costs its time limit and no result.
func TestLMTPWaitsForQuit(t *testing.T) {
	s := &server{replies: map[string]string{"QUIT": "221-wait for it"}}
	a, _ := newLMTP(t)
	a.QuitTimeout = 20 * time.Millisecond
	s.listenUnix(t, a)
	if got := a.Deliver(t.Context(), threeRecipients("unix:"+socketName)); got[2].Status != deliver.Sent {
		t.Errorf("%s", lines(got))
	}
}

func TestFlags(t *testing.T) {
	flags, err := ParseFlags([]string{"flags=DOR", "FLAGS=DORX"})
	if want := (Flags{true, true, true, true}); err != nil || flags != want {
		t.Fatalf("%+v, %v", flags, err)
	}
	for _, bad := range []string{"flags=Y", "user=x", "-v"} {
		if f, err := ParseFlags([]string{bad}); err == nil {
			t.Errorf("%s: %+v", bad, f)
		}
	}
	a, log := newLMTP(t)
	a.Flags = flags
	s := &server{}
	s.listenUnix(t, a)
	got := a.Deliver(t.Context(), threeRecipients("unix:"+socketName))
	if want := "2 relay=lmtp, dsn=4.3.5, status=deferred (mail system configuration error)\n"; !strings.HasSuffix(lines(got), want) {
		t.Errorf("%s", lines(got))
	}
	if !strings.Contains(log.String(), "flag `D' requires lmtp_destination_recipient_limit = 1") {
		t.Errorf("log %s", log)
	}
	r := request("unix:"+socketName, "Subject: x\n\nhello\n")
	r.Recipients = r.Recipients[1:]
	if got := a.Deliver(t.Context(), r)[0]; got.Status != deliver.Sent || got.Relayed {
		t.Errorf("%+v", got)
	}
	if want := "Return-Path: <from@q.test>\r\nX-Original-To: alias=x@s.test\r\nDelivered-To: v@s.test\r\nSubject: x\r\n"; !strings.HasPrefix(s.received(), want) {
		t.Errorf("%q", s.received())
	}
	r = request("unix:"+socketName, "Subject: x\nDelivered-To: V@s.test\n\nhello\n")
	r.Recipients = r.Recipients[1:]
	if got := lines(a.Deliver(t.Context(), r)); got != "0 relay=lmtp, dsn=5.4.6, status=bounced (mail forwarding loop for v@s.test)\n" {
		t.Errorf("%s", got)
	}
}
