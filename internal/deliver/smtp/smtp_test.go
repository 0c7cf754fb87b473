package smtp

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"sekisho/internal/deliver"
	"sekisho/internal/dnsfilter"
	"sekisho/internal/mail"
)

// What Postfix 3.7 says when the DNS does not lead to a host.
func TestWithoutAHost(t *testing.T) {
	const dns = "Host or domain name not found. Name service error for name="
	for domain, want := range map[string]string{
		"nx.test":         "relay=none, dsn=5.4.4, status=bounced (" + dns + "nx.test type=AAAA: Host not found)",
		"nodata.test":     "relay=none, dsn=5.4.4, status=bounced (" + dns + "nodata.test type=AAAA: Host found but no data record of requested type)",
		"servfail.test":   "relay=none, dsn=4.4.3, status=deferred (" + dns + "servfail.test type=MX: Host not found, try again)",
		"refused.test":    "relay=none, dsn=4.4.3, status=deferred (" + dns + "refused.test type=MX: Host not found, try again)",
		"nullmx.test":     "relay=none, dsn=5.1.0, status=bounced (Domain nullmx.test does not accept mail (nullMX))",
		"mxgone.test":     "relay=none, dsn=5.4.4, status=bounced (" + dns + "gone.test type=AAAA: Host not found)",
		"mxservfail.test": "relay=none, dsn=4.4.3, status=deferred (" + dns + "servfail.test type=AAAA: Host not found, try again)",
		"mxmixed.test":    "relay=none, dsn=4.4.4, status=deferred (" + dns + "gone.test type=AAAA: Host not found)",
		"mxnodata.test":   "relay=none, dsn=5.4.4, status=bounced (" + dns + "nodata.test type=AAAA: Host found but no data record of requested type)",
		"loop.test":       "relay=none, dsn=5.4.6, status=bounced (mail for loop.test loops back to myself)",
		"loop2.test":      "relay=none, dsn=4.4.4, status=deferred (unable to find primary relay for loop2.test)",
		"loopa.test":      "relay=none, dsn=5.4.6, status=bounced (mail for loopa.test loops back to myself)",
		"[x":              "relay=none, dsn=4.3.5, status=deferred (malformed destination: [x)",
		"s.test:nope":     "relay=none, dsn=4.3.5, status=deferred (unknown service: nope/tcp)",
	} {
		a, _ := newAgent(t)
		got := lines(a.Deliver(t.Context(), request(domain, "x\n")))
		if want := "0 " + want + "\n1 " + want + "\n"; got != want {
			t.Errorf("%s:\n%swant\n%s", domain, got, want)
		}
	}
}

// What is left when smtp_dns_reply_filter has been at the answers.
func TestReplyFilter(t *testing.T) {
	const why = "Error looking up name="
	for _, tt := range []struct{ domain, action, want, log string }{
		{"two.test", "MX 10 mx1.s.test.=IGNORE", "mx2.s.test", `level=INFO msg="ignoring DNS RR: two.test. 300 IN MX 10 mx1.s.test."`},
		{"s.test", "MX 10 mx1.s.test.=IGNORE", "4.7.0 " + why + "s.test type=MX: DNS reply filter drops all results", "ignoring DNS RR"},
		{"s.test", "A 127.0.0.1=IGNORE", "4.7.0 " + why + "mx1.s.test type=A: DNS reply filter drops all results", "no MX host for s.test has a valid address record"},
		{"aonly.test", "A 127.0.0.66=KEEP", "4.4.3 " + why + "aonly.test type=A: Invalid DNS reply filter syntax", `unknown DNS filter action: \"KEEP\"`},
		{"nullmx.test", "MX 0 .=IGNORE", "5.1.0 Domain nullmx.test does not accept mail (nullMX)", ""},
	} {
		a, log := newAgent(t)
		a.DNSReplyFilter = dnsfilter.Filter{Param: "smtp_dns_reply_filter", Tables: []string{"t"}}
		a.World.Lookup = func(_, key string) (string, bool, error) {
			end, action, _ := strings.Cut(tt.action, "=")
			return action, strings.HasSuffix(key, " IN "+end), nil
		}
		l := &lookup{a: a, ctx: t.Context()}
		var got []string
		for _, h := range l.domain(tt.domain) {
			got = append(got, h.name)
		}
		if len(got) == 0 {
			got = []string{l.why.dsn, l.why.text}
		}
		if s := strings.Join(got, " "); s != tt.want || !strings.Contains(log.String(), tt.log) {
			t.Errorf("%s %s: %s, want %s; log %s", tt.domain, tt.action, s, tt.want, log)
		}
	}
}

// A relayhost that does not exist is our mistake, not the recipient's.
func TestRelayhostMistakes(t *testing.T) {
	a, log := newAgent(t)
	a.Relayhost = "[nx.test]"
	got := a.Deliver(t.Context(), request("[nx.test]", "x\n"))
	if got[0].Status != deliver.Deferred || got[0].DSN != "4.3.5" || !strings.Contains(log.String(), "relayhost configuration problem") {
		t.Errorf("%s; log %s", lines(got), log)
	}
}

func TestHostsInOrder(t *testing.T) {
	a, _ := newAgent(t)
	for domain, want := range map[string]string{
		"two.test": "mx1.s.test mx2.s.test", "mxip.test": "127.0.0.1", "loop3.test": "aonly.test", "aonly.test": "aonly.test",
	} {
		var names []string
		for _, h := range (&lookup{a: a, ctx: t.Context(), detectLoops: true}).domain(domain) {
			names = append(names, h.name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s: %s, want %s", domain, got, want)
		}
	}
}

func TestBalance(t *testing.T) {
	h := map[rune]host{'4': {addr: "192.0.2.1"}, '6': {addr: "2001:db8::1"}}
	for in, want := range map[string]string{
		"66666644": "66644", "44444466": "44466", "666666444444": "666444", "44446666": "44466", "66664444": "66644", "4444444": "4444444", "46": "46",
	} {
		var hosts []host
		for _, c := range in {
			hosts = append(hosts, h[c])
		}
		limit := 5
		if len(in) == 12 {
			limit = 6
		}
		got := ""
		for _, x := range balance(hosts, limit) {
			got += map[bool]string{true: "6", false: "4"}[isIPv6(x)]
		}
		if got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// What Postfix 3.7 says of servers' answers, to two recipients.
func TestAnswers(t *testing.T) {
	const both = "BOTH "
	const okText = "dsn=2.0.0, status=sent (250-2.0.0 first 250 2.0.0 Ok: queued as 123)"
	for name, c := range map[string]struct {
		replies map[string]string
		want    string // after relay=, HOST is replaced
	}{
		"sent":             {nil, both + okText},
		"bad sender":       {map[string]string{"MAIL": "550 5.7.1 bad sender"}, both + "dsn=5.7.1, status=bounced (host HOST said: 550 5.7.1 bad sender (in reply to MAIL FROM command))"},
		"sender later":     {map[string]string{"MAIL": "451-4.3.0 try\n451 later"}, both + "dsn=4.0.0, status=deferred (host HOST said: 451-4.3.0 try 451 later (in reply to MAIL FROM command))"},
		"odd sender reply": {map[string]string{"MAIL": "300 odd"}, both + "dsn=5.5.0, status=bounced (host HOST said: 300 odd (in reply to MAIL FROM command))"},
		"lost at MAIL":     {map[string]string{"MAIL": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while sending MAIL FROM)"},
		"nobody":           {map[string]string{"RCPT": "550 5.1.1 <x>: nobody"}, both + "dsn=5.1.1, status=bounced (host HOST said: 550 5.1.1 <x>: nobody (in reply to RCPT TO command))"},
		"greylisted":       {map[string]string{"RCPT": "450 4.2.0 <x>: grey\tlisted"}, both + "dsn=4.2.0, status=deferred (host HOST said: 450 4.2.0 <x>: grey?listed (in reply to RCPT TO command))"},
		"mixed": {map[string]string{"RCPT 2": "550-no\n550 nobody"},
			"0 relay=RELAY, " + okText + "\n1 relay=RELAY, dsn=5.0.0, status=bounced (host HOST said: 550-no 550 nobody (in reply to RCPT TO command))\n"},
		"classes differ":    {map[string]string{"RCPT": "550 4.1.1 mismatch"}, both + "dsn=5.0.0, status=bounced (host HOST said: 550 4.1.1 mismatch (in reply to RCPT TO command))"},
		"garbage":           {map[string]string{"RCPT": "what?\n250 ok"}, both + okText},
		"lost at RCPT":      {map[string]string{"RCPT": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while sending RCPT TO)"},
		"DATA refused":      {map[string]string{"DATA": "554 no valid"}, both + "dsn=5.0.0, status=bounced (host HOST said: 554 no valid (in reply to DATA command))"},
		"DATA later":        {map[string]string{"DATA": "451 4.3.2 x"}, both + "dsn=4.3.2, status=deferred (host HOST said: 451 4.3.2 x (in reply to DATA command))"},
		"lost at DATA":      {map[string]string{"DATA": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while sending DATA command)"},
		"spam":              {map[string]string{".": "550 5.6.0 spam\x01 here"}, both + "dsn=5.6.0, status=bounced (host HOST said: 550 5.6.0 spam? here (in reply to end of DATA command))"},
		"busy":              {map[string]string{".": "451 busy"}, both + "dsn=4.0.0, status=deferred (host HOST said: 451 busy (in reply to end of DATA command))"},
		"lost at the end":   {map[string]string{".": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while sending end of data -- message may be sent more than once)"},
		"not welcome":       {map[string]string{"banner": "554 5.3.0 go away"}, both + "dsn=4.3.0, status=deferred (host HOST refused to talk to me: 554 5.3.0 go away)"},
		"busy banner":       {map[string]string{"banner": "421 4.3.2 busy"}, both + "dsn=4.3.2, status=deferred (host HOST refused to talk to me: 421 4.3.2 busy)"},
		"silent":            {map[string]string{"banner": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while receiving the initial server greeting)"},
		"no EHLO":           {map[string]string{"EHLO": "502 no"}, both + okText},
		"EHLO busy":         {map[string]string{"EHLO": "421 4.7.0 busy"}, both + "dsn=4.7.0, status=deferred (host HOST refused to talk to me: 421 4.7.0 busy)"},
		"HELO too":          {map[string]string{"EHLO": "502 no", "HELO": "550 5.7.1 no"}, both + "dsn=5.7.1, status=bounced (host HOST refused to talk to me: 550 5.7.1 no)"},
		"too large":         {map[string]string{"EHLO": "250-srv.test\n250 SIZE 200"}, both + "dsn=5.3.4, status=bounced (message size 300 exceeds size limit 200 of server HOST)"},
		"size not limited":  {map[string]string{"EHLO": "250-srv.test\n250 SIZE 0"}, both + okText},
		"lost at greeting":  {map[string]string{"EHLO": ""}, both + "dsn=4.4.2, status=deferred (lost connection with HOST while performing the EHLO handshake)"},
		"STARTTLS rejected": {map[string]string{"EHLO": "250-srv.test\n250 STARTTLS", "STARTTLS": "454 4.7.0 no"}, both + okText},
	} {
		for _, pipelining := range []bool{false, true} {
			s := &server{replies: map[string]string{}}
			for k, v := range c.replies {
				s.replies[k] = v
			}
			if _, set := s.replies["EHLO"]; pipelining && !set {
				s.replies["EHLO"] = "250-srv.test\n250 PIPELINING"
			}
			port := s.listen(t, "127.0.0.1", "0")
			a, _ := newAgent(t)
			got := lines(a.Deliver(t.Context(), request("s.test:"+port, "Subject: x\n\nhello\n")))
			want := c.want
			if rest, ok := strings.CutPrefix(want, both); ok {
				want = "0 relay=RELAY, " + rest + "\n1 relay=RELAY, " + rest + "\n"
			}
			want = strings.NewReplacer("RELAY", "mx1.s.test[127.0.0.1]:"+port, "HOST", "mx1.s.test[127.0.0.1]").Replace(want)
			if got != want {
				t.Errorf("%s (pipelining %v):\n%swant\n%s", name, pipelining, got, want)
			}
		}
	}
}

// Temporary trouble at one host sends what is left to the next one.
func TestNextHost(t *testing.T) {
	first := &server{replies: map[string]string{"RCPT 1": "450 4.2.0 busy", "RCPT 2": "250 ok"}}
	second := &server{}
	port := first.listen(t, "127.0.0.1", "0")
	second.listen(t, "127.0.0.2", port)
	a, log := newAgent(t)
	got := lines(a.Deliver(t.Context(), request("two.test:"+port, "x\n")))
	want := "0 relay=mx2.s.test[127.0.0.2]:" + port + ", dsn=2.0.0, status=sent (250-2.0.0 first 250 2.0.0 Ok: queued as 123)\n" +
		"1 relay=mx1.s.test[127.0.0.1]:" + port + ", dsn=2.0.0, status=sent (250-2.0.0 first 250 2.0.0 Ok: queued as 123)\n"
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if !strings.Contains(log.String(), "QID: host mx1.s.test[127.0.0.1] said: 450 4.2.0 busy (in reply to RCPT TO command)") {
		t.Errorf("log %s", log)
	}
	if n := strings.Count(second.said(), "RCPT"); n != 1 {
		t.Errorf("the second host was asked for %d recipients: %s", n, second.said())
	}
}

func TestDeadHost(t *testing.T) {
	second := &server{}
	port := second.listen(t, "127.0.0.2", "0")
	a, log := newAgent(t)
	got := a.Deliver(t.Context(), request("two.test:"+port, "x\n"))
	if got[0].Status != deliver.Sent || got[0].Relay != "mx2.s.test[127.0.0.2]:"+port {
		t.Errorf("%s", lines(got))
	}
	if !strings.Contains(log.String(), "connect to mx1.s.test[127.0.0.1]:"+port+": Connection refused") {
		t.Errorf("log %s", log)
	}
	a, _ = newAgent(t)
	got = a.Deliver(t.Context(), request("s.test:"+port, "x\n"))
	if want := "0 relay=none, dsn=4.4.1, status=deferred (connect to mx1.s.test[127.0.0.1]:" + port + ": Connection refused)\n"; !strings.HasPrefix(lines(got), want) {
		t.Errorf("%swant %s", lines(got), want)
	}
}

func TestFallbackRelay(t *testing.T) {
	s := &server{}
	port := s.listen(t, "127.0.0.2", "0")
	a, _ := newAgent(t)
	a.Fallback = []string{"[mx2.s.test]:" + port}
	if got := a.Deliver(t.Context(), request("servfail.test", "x\n")); got[0].Status != deliver.Sent {
		t.Errorf("%s", lines(got))
	}
}

// The commands carry what the server understands, and nothing else.
func TestParameters(t *testing.T) {
	for ehlo, want := range map[string]string{
		"250-srv.test\n250 SIZE": "MAIL FROM:<from@q.test>|RCPT TO:<u@s.test>|RCPT TO:<v@s.test>|DATA",
		"250-srv.test\n250-SIZE\n250-8BITMIME\n250-SMTPUTF8\n250 DSN": "MAIL FROM:<from@q.test> SIZE=300 BODY=8BITMIME ENVID=a+2Bb RET=HDRS|" +
			"RCPT TO:<u@s.test> ORCPT=rfc822;orig@s.test NOTIFY=SUCCESS,FAILURE|RCPT TO:<v@s.test> ORCPT=rfc822;alias+3Dx@s.test|DATA",
	} {
		s := &server{replies: map[string]string{"EHLO": ehlo}}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newAgent(t)
		r := request("[127.0.0.1]:"+port, "x\n")
		r.Envelope.Body, r.Envelope.EnvID, r.Envelope.Ret = "8BITMIME", "a+2Bb", "HDRS"
		r.Recipients[0].ORCPT, r.Recipients[0].Notify = "rfc822;orig@s.test", mail.NotifySuccess|mail.NotifyFailure
		got := a.Deliver(t.Context(), r)
		if got[0].Reports != strings.Contains(ehlo, "DSN") || !got[0].Relayed {
			t.Errorf("%q: %+v", ehlo, got[0])
		}
		if said := strings.TrimSuffix(s.said(), "|QUIT"); said != "EHLO mx.example.com|"+want {
			t.Errorf("%q:\n%s\nwant\n%s", ehlo, said, want)
		}
	}
}

func TestDiscardedKeywords(t *testing.T) {
	for value, c := range map[string]struct{ want, log string }{
		"":                         {"MAIL FROM:<from@q.test>", `INFO msg="discarding EHLO keywords: SIZE"`},
		"none":                     {"MAIL FROM:<from@q.test> SIZE=300", ""},
		"Size, silent-discard":     {"MAIL FROM:<from@q.test>", ""},
		"xfoo, dsn, smtputf8 auth": {"MAIL FROM:<from@q.test> SIZE=300", `INFO msg="discarding EHLO keywords: AUTH DSN EHLO_MASK_SMTPUTF8"`},
		"broken":                   {"", `WARN msg="QID: smtp_discard_ehlo_keyword_address_maps map lookup error for 127.0.0.1: table down"`},
	} {
		s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250-SIZE\n250-8BITMIME\n250 DSN"}}
		port := s.listen(t, "127.0.0.1", "0")
		a, log := newAgent(t)
		a.DiscardEHLO, a.DiscardEHLOMaps = []string{"size"}, []string{"table"}
		a.World.Lookup = func(table, key string) (string, bool, error) {
			if value == "broken" {
				return "", false, errors.New("table down")
			}
			return value, value != "" && table+key == "table127.0.0.1", nil
		}
		got := a.Deliver(t.Context(), request("[127.0.0.1]:"+port, "x\n"))
		if !strings.Contains(s.said()+"|", c.want+"|") || (got[0].Status == deliver.Sent) != (c.want != "") {
			t.Errorf("%q: said %s, want %s; %s", value, s.said(), c.want, lines(got))
		}
		if l := log.String(); !strings.Contains(l, c.log) || c.log == "" && l != "" {
			t.Errorf("%q: log %s, want %s", value, l, c.log)
		}
	}
}

func TestSMTPUTF8(t *testing.T) {
	plain, utf8 := "250 srv.test", "250-srv.test\n250 SMTPUTF8"
	for _, c := range []struct {
		name, ehlo, to, content string
		asked                   bool
		ok                      bool
	}{
		{"not needed", plain, "u@s.test", "Subject: x\n\n\xc3\xa9\n", true, true},
		{"offered", utf8, "\u00e9@s.test", "Subject: \u00e9\n\nx\n", true, true},
		{"address", plain, "\u00e9@s.test", "x\n", true, false},
		{"header", plain, "u@s.test", "Subject: \u00e9\n\nx\n", true, false},
		{"not asked for", plain, "u@s.test", "Subject: \u00e9\n\nx\n", false, true},
	} {
		s := &server{replies: map[string]string{"EHLO": c.ehlo}}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newAgent(t)
		r := request("[127.0.0.1]:"+port, c.content)
		r.Envelope.SMTPUTF8, r.Recipients[0].Address = c.asked, c.to
		got := a.Deliver(t.Context(), r)
		if c.ok != (got[0].Status == deliver.Sent) || !c.ok && got[0].DSN != "5.6.7" {
			t.Errorf("%s: %s", c.name, lines(got))
		}
		if asks := strings.Contains(s.said(), "> SMTPUTF8"); asks != (c.ehlo == utf8) {
			t.Errorf("%s: said %s", c.name, s.said())
		}
	}
}

func TestContentOnTheWire(t *testing.T) {
	long := strings.Repeat("x", 998)
	for in, want := range map[string]string{
		"Subject: x\n\n.dot\n..\n\nend\n":   "Subject: x\r\n\r\n..dot\r\n...\r\n\r\nend\r\n.\r\n",
		"no line end":                       "no line end\r\n.\r\n",
		"":                                  ".\r\n",
		".":                                 "..\r\n.\r\n",
		long + "\n":                         long + "\r\n.\r\n",
		long + ".y\n":                       long + "\r\n .y\r\n.\r\n",
		"." + long + "\n":                   ".." + long[:997] + "\r\n x\r\n.\r\n",
		strings.Repeat("y", 70<<10) + "\nz": strings.Repeat("y", 998) + "\r\n " + strings.Join(chunks(strings.Repeat("y", 70<<10-998), 997), "\r\n ") + "\r\nz\r\n.\r\n",
	} {
		s := &server{}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newAgent(t)
		a.Deliver(t.Context(), request("[127.0.0.1]:"+port, in))
		if got := s.received(); got != want {
			t.Errorf("%.40q: %.60q, want %.60q", in, got, want)
		}
	}
}

func chunks(s string, n int) (list []string) {
	for len(s) > n {
		list, s = append(list, s[:n]), s[n:]
	}
	return append(list, s)
}

// A message that cannot be read whole must not arrive as a short one.
func TestDamagedMessageIsNotSent(t *testing.T) {
	s := &server{}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	r := request("[127.0.0.1]:"+port, "")
	r.Content = func() (io.ReadCloser, error) {
		return io.NopCloser(io.MultiReader(strings.NewReader("half a message\n"), failing{})), nil
	}
	got := a.Deliver(t.Context(), r)
	want := "dsn=4.3.0, status=deferred (local data error while talking to 127.0.0.1[127.0.0.1])"
	if !strings.Contains(lines(got), want) || strings.HasSuffix(s.received(), "\r\n.\r\n") {
		t.Errorf("%s, sent %q", lines(got), s.received())
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("disk on fire") }

func TestTimeout(t *testing.T) {
	a, _ := newAgent(t)
	a.HeloTimeout = 20 * time.Millisecond
	s := &server{replies: map[string]string{"banner": "220-wait for it"}} // and never a last line
	port := s.listen(t, "127.0.0.1", "0")
	got := lines(a.Deliver(t.Context(), request("[127.0.0.1]:"+port, "x\n")))
	if want := "dsn=4.4.2, status=deferred (conversation with 127.0.0.1[127.0.0.1] timed out while receiving the initial server greeting)"; !strings.Contains(got, want) {
		t.Errorf("%swant %s", got, want)
	}
}

func TestEndsWithItsContext(t *testing.T) {
	s := &server{replies: map[string]string{"banner": "220-wait for it"}}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	begun := time.Now()
	got := a.Deliver(ctx, request("[127.0.0.1]:"+port, "x\n"))
	if got[0].Status != deliver.Deferred || time.Since(begun) > 3*time.Second {
		t.Errorf("%v, %s", time.Since(begun), lines(got))
	}
}

func TestMyself(t *testing.T) {
	a, log := newAgent(t)
	s := &server{replies: map[string]string{"banner": "220 mx.example.com ESMTP", "EHLO": "250 MX.example.com"}}
	port := s.listen(t, "127.0.0.1", "0")
	d := &delivery{a: a, r: request("gself.test", "x\n"), results: make([]*deliver.Result, 2), lastSite: true}
	n, _ := portNumber(port)
	d.tryHosts(t.Context(), []host{{name: "gself.test", addr: "127.0.0.1"}}, n, true)
	if r := d.results[0]; r == nil || r.DSN != "5.4.6" || r.Text != "mail for gself.test loops back to myself" {
		t.Errorf("%+v", r)
	}
	for _, want := range []string{"greeted me with my own hostname mx.example.com", "replied to HELO/EHLO with my own hostname mx.example.com"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log lacks %q: %s", want, log)
		}
	}
}

// certificate returns a self-signed certificate for name and a pool that
// trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: parsed}, pool
}

func TestSTARTTLS(t *testing.T) {
	good, pool := certificate(t, "tls.test")
	other, otherPool := certificate(t, "other.test")
	offered, plain := "250-srv.test\n250 STARTTLS", "250 srv.test"
	for name, c := range map[string]struct {
		level  TLSLevel
		ehlo   string
		answer string // to STARTTLS
		cert   *tls.Certificate
		roots  *x509.CertPool
		want   string // status, DSN and text
		log    string // the word for trust; empty: no TLS
	}{
		"may, offered":       {TLSMay, offered, "", &good, nil, "sent 2.0.0", "Untrusted"},
		"may, not offered":   {TLSMay, plain, "", nil, nil, "sent 2.0.0", ""},
		"may, broken":        {TLSMay, offered, "", nil, nil, "deferred 4.7.5 Cannot start TLS: handshake failure", ""},
		"may, broken later":  {TLSMay, offered, "", nil, nil, "sent 2.0.0", ""},
		"may, refused":       {TLSMay, offered, "454 4.7.0 no", nil, nil, "sent 2.0.0", ""},
		"none":               {TLSNone, offered, "", nil, nil, "sent 2.0.0", ""},
		"encrypt":            {TLSEncrypt, offered, "", &other, nil, "sent 2.0.0", "Untrusted"},
		"encrypt, not there": {TLSEncrypt, plain, "", nil, nil, "deferred 4.7.4 TLS is required, but was not offered by host HOST", ""},
		"encrypt, refused":   {TLSEncrypt, offered, "454 4.7.0 no", nil, nil, "deferred 4.7.0 TLS is required, but host HOST refused to start TLS: 454 4.7.0 no", ""},
		"encrypt, broken":    {TLSEncrypt, offered, "", nil, nil, "deferred 4.7.5 Cannot start TLS: handshake failure", ""},
		"verify":             {TLSVerify, offered, "", &good, pool, "sent 2.0.0", "Verified"},
		"verify, untrusted":  {TLSVerify, offered, "", &good, otherPool, "deferred 4.7.5 Server certificate not verified", "Untrusted"},
		"verify, other name": {TLSVerify, offered, "", &other, otherPool, "deferred 4.7.5 Server certificate not verified", "Untrusted"},
		"encrypt, trusted":   {TLSEncrypt, offered, "", &other, otherPool, "sent 2.0.0", "Trusted"},
	} {
		s := &server{replies: map[string]string{"EHLO": c.ehlo, "EHLO 2": "250 srv.test"}, tls: &tls.Config{CurvePreferences: []tls.CurveID{tls.X25519}}}
		if c.answer != "" {
			s.replies["STARTTLS"] = c.answer
		}
		if c.cert != nil {
			s.tls.Certificates = []tls.Certificate{*c.cert}
		}
		port := s.listen(t, "127.0.0.1", "0")
		a, log := newAgent(t)
		a.TLS, a.TLSConfig.RootCAs, a.TLSLogLevel, a.MinimalBackoff = c.level, c.roots, 1, time.Hour
		req := request("tls.test:"+port, "x\n")
		req.Envelope.Arrived = time.Now()
		if strings.HasSuffix(name, "later") {
			req.Envelope.Arrived = time.Now().Add(-time.Hour)
		}
		r := a.Deliver(t.Context(), req)[0]
		got := r.Status.String() + " " + r.DSN
		if r.Status != deliver.Sent {
			got += " " + r.Text
		}
		if want := strings.ReplaceAll(c.want, "HOST", "tls.test[127.0.0.1]"); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
		line := "TLS connection established to tls.test[127.0.0.1]:" + port + ": TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits) " +
			"key-exchange X25519 server-signature ECDSA (prime256v1) server-digest SHA256"
		for _, v := range []struct{ name, line string }{
			{"verify, untrusted", "certificate verification failed for tls.test[127.0.0.1]:" + port + ": self-signed certificate"},
			{"verify, other name", "server certificate verification failed for tls.test[127.0.0.1]:" + port + ": num=62:hostname mismatch"},
		} {
			if strings.Contains(log.String(), v.line) != (name == v.name) {
				t.Errorf("%s: log %s", name, log)
			}
		}
		if logged := strings.Contains(log.String(), "\""+c.log+" "+line+"\""); logged != (c.log != "") {
			t.Errorf("%s: log %s, want %q", name, log, c.log)
		}
	}
}

// A connection that breaks within TLS is tried again without, once the message
// has waited for it, if TLS is no condition.
func TestRetryWithoutTLS(t *testing.T) {
	cert, _ := certificate(t, "tls.test")
	for name, c := range map[string]struct {
		level   TLSLevel
		age     time.Duration
		replies map[string]string
		want    string
	}{
		"EHLO, fresh":   {TLSMay, 0, map[string]string{"EHLO 2": ""}, "deferred 4.4.2 starttls 1"},
		"EHLO":          {TLSMay, time.Hour, map[string]string{"EHLO 2": ""}, "sent 2.0.0 starttls 1"},
		"EHLO, encrypt": {TLSEncrypt, time.Hour, map[string]string{"EHLO 2": ""}, "deferred 4.4.2 starttls 1"},
		"MAIL, fresh":   {TLSMay, 0, map[string]string{"MAIL": ""}, "deferred 4.4.2 starttls 1"},
		"MAIL":          {TLSMay, time.Hour, map[string]string{"MAIL": ""}, "deferred 4.4.2 starttls 1"}, // lost without TLS as well
	} {
		s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250 STARTTLS"}, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
		for k, v := range c.replies {
			s.replies[k] = v
		}
		port := s.listen(t, "127.0.0.1", "0")
		a, _ := newAgent(t)
		a.TLS, a.MinimalBackoff = c.level, time.Hour
		req := request("tls.test:"+port, "x\n")
		req.Envelope.Arrived = time.Now().Add(-c.age)
		r := a.Deliver(t.Context(), req)[0]
		got := fmt.Sprintf("%s %s starttls %d", r.Status, r.DSN, strings.Count(s.said(), "STARTTLS"))
		if got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if plain := strings.Count(s.said(), "EHLO") == 3; plain != (c.level == TLSMay && c.age > 0) {
			t.Errorf("%s: said %s", name, s.said())
		}
	}
}

// A server that asks for a certificate gets ours, and the log says so.
func TestClientCertificate(t *testing.T) {
	cert, _ := certificate(t, "tls.test")
	for asked, want := range map[tls.ClientAuthType]bool{tls.NoClientCert: false, tls.RequireAnyClientCert: true} {
		s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250 STARTTLS"}, tls: &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: asked}}
		port := s.listen(t, "127.0.0.1", "0")
		a, log := newAgent(t)
		a.TLS, a.TLSConfig.Certificates, a.TLSLogLevel = TLSEncrypt, []tls.Certificate{cert}, 1
		if r := a.Deliver(t.Context(), request("tls.test:"+port, "x\n"))[0]; r.Status != deliver.Sent {
			t.Errorf("%v: %+v", asked, r)
		}
		if strings.Contains(log.String(), " client-signature ECDSA (prime256v1) client-digest SHA256") != want {
			t.Errorf("%v: log %s", asked, log)
		}
	}
}

func TestParseDestination(t *testing.T) {
	for in, want := range map[string]string{
		"a.test": "a.test 25", "a.test:587": "a.test 587", "[a.test]": "a.test 25", "[a.test]:submission": "a.test 587",
		"[192.0.2.1]": "192.0.2.1 25", "[IPv6:2001:db8::1]:26": "2001:db8::1 26", "[::1]": "::1 25",
	} {
		domain, port, err := parseDestination(in, 25)
		if n, _ := portNumber(strings.Fields(want)[1]); err != nil || domain != strings.Fields(want)[0] || port != n {
			t.Errorf("%s: %s %d, %v; want %s", in, domain, port, err, want)
		}
	}
	for _, in := range []string{"[a.test", "[a.test]x", "a.test:0", "a.test:99999"} {
		if domain, port, err := parseDestination(in, 25); err == nil {
			t.Errorf("%s: %s %d, want an error", in, domain, port)
		}
	}
}

// A real server takes what we send.
func TestPostfixSink(t *testing.T) {
	sink, err := exec.LookPath("smtp-sink")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("smtp-sink is not installed: apt-get install postfix")
		}
		t.Skip("smtp-sink is not installed")
	}
	probe := &server{}
	port := probe.listen(t, "127.0.0.1", "0") // a port that is free on the next address
	var out bytes.Buffer
	cmd := exec.Command(sink, "-c", "127.0.0.3:"+port, "10")
	cmd.Stdout, cmd.Stderr = &out, &out
	if os.Getuid() == 0 {
		cmd.Args = append([]string{cmd.Args[0], "-u", "nobody"}, cmd.Args[1:]...)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	a, _ := newAgent(t)
	for range 200 {
		got := a.Deliver(t.Context(), request("[127.0.0.3]:"+port, "Subject: x\n\n.hello\n"))
		if got[0].DSN == "4.4.1" {
			time.Sleep(10 * time.Millisecond) // until it listens
			continue
		}
		for _, r := range got {
			if r.Status != deliver.Sent || !strings.HasPrefix(r.Text, "250 ") {
				t.Errorf("%s; smtp-sink: %s", lines(got), &out)
			}
		}
		return
	}
	t.Fatalf("smtp-sink does not listen: %s", &out)
}
