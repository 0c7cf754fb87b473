package smtp

import (
	"strings"
	"testing"
)

// An address probe ends after RCPT, or where smtp_address_verify_target says so
// after DATA, and sends no message either way.
func TestProbe(t *testing.T) {
	const (
		ok  = "dsn=2.1.5, status=sent (250 2.1.5 fine)"
		no  = "dsn=5.1.1, status=bounced (host HOST said: 550 5.1.1 nobody (in reply to RCPT TO command))"
		now = "dsn=2.0.0, status=sent (354 go)"
	)
	for _, c := range []struct {
		name    string
		data    bool
		replies map[string]string
		want    [2]string
		end     string // commands after the last RCPT
	}{
		{"both", false, map[string]string{"RCPT": "250 2.1.5 fine"}, [2]string{ok, ok}, "RSET|QUIT"},
		{"one", false, map[string]string{"RCPT 1": "250 2.1.5 fine", "RCPT 2": "550 5.1.1 nobody"}, [2]string{ok, no}, "RSET|QUIT"},
		{"none", false, map[string]string{"RCPT": "550 5.1.1 nobody"}, [2]string{no, no}, "RSET|QUIT"},
		{"by DATA", true, nil, [2]string{now, now}, "DATA"},
		{"by DATA, one", true, map[string]string{"RCPT 2": "550 5.1.1 nobody"}, [2]string{now, no}, "DATA"},
		{"DATA refused", true, map[string]string{"DATA": "554 5.7.1 no"}, [2]string{
			"dsn=5.7.1, status=bounced (host HOST said: 554 5.7.1 no (in reply to DATA command))",
			"dsn=5.7.1, status=bounced (host HOST said: 554 5.7.1 no (in reply to DATA command))"}, "DATA|RSET|QUIT"},
	} {
		for _, pipelining := range []bool{false, true} {
			s := &server{replies: map[string]string{"EHLO": "250 srv.test"}}
			if pipelining {
				s.replies["EHLO"] = "250-srv.test\n250 PIPELINING"
			}
			for k, v := range c.replies {
				s.replies[k] = v
			}
			port := s.listen(t, "127.0.0.1", "0")
			a, _ := newAgent(t)
			a.ProbeData, a.SkipQuit = c.data, false
			r := request("[127.0.0.1]:"+port, "x\n")
			r.Probe = true
			got := lines(a.Deliver(t.Context(), r))
			want := "0 relay=127.0.0.1[127.0.0.1]:" + port + ", " + c.want[0] + "\n1 relay=127.0.0.1[127.0.0.1]:" + port + ", " + c.want[1] + "\n"
			if want = strings.ReplaceAll(want, "HOST", "127.0.0.1[127.0.0.1]"); got != want {
				t.Errorf("%s (pipelining %v):\n%swant\n%s", c.name, pipelining, got, want)
			}
			said := "EHLO mx.example.com|MAIL FROM:<from@q.test>|RCPT TO:<u@s.test>|RCPT TO:<v@s.test>|" + c.end
			if s.said() != said {
				t.Errorf("%s (pipelining %v): said %s, want %s", c.name, pipelining, s.said(), said)
			}
			if s.received() != "" {
				t.Errorf("%s: sent %q", c.name, s.received())
			}
		}
	}
}
