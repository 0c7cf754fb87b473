package smtp

import (
	"crypto/tls"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/sasl/client"
)

// A password that was refused is not tried again for a while, and a new one is.
func TestRefusedPasswordIsRemembered(t *testing.T) {
	s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250 AUTH PLAIN", "AUTH": "535 5.7.8 wrong"}}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	c := clock.NewManual(time.Unix(1e9, 0))
	a.Clock = c
	password := "user:first"
	a.SASL = &Login{Passwords: []string{"table"}, SoftBounce: true, Remember: time.Hour}
	a.World.Lookup = func(_, key string) (string, bool, error) { return password, key == "mx1.s.test", nil }
	for n, step := range []struct {
		change func()
		want   string
		tries  int
	}{
		{func() {}, "dsn=4.7.8, status=deferred (SASL authentication failed; server mx1.s.test[127.0.0.1] said: 535 5.7.8 wrong)", 1},
		{func() {}, "dsn=4.7.8, status=deferred (SASL [CACHED] authentication failed; server mx1.s.test said: 535 5.7.8 wrong)", 1},
		{func() { password = "user:second" }, "SASL authentication failed;", 2},
		{func() { password = "user:first" }, "SASL [CACHED] authentication failed;", 2},
		{func() { c.Advance(2 * time.Hour) }, "SASL authentication failed;", 3},
	} {
		step.change()
		got := lines(a.Deliver(t.Context(), request("s.test:"+port, "x\n")))
		if tries := strings.Count(s.said(), "AUTH PLAIN"); !strings.Contains(got, step.want) || tries != step.tries {
			t.Errorf("%d: %d tries, %s", n, tries, got)
		}
	}
}

// SCRAM: a server that does not know the password either is found out.
func TestSCRAMServerThatDoesNotKnow(t *testing.T) {
	challenge := base64.StdEncoding.EncodeToString([]byte("r=not ours,s=c2FsdA==,i=4096"))
	s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250 AUTH SCRAM-SHA-256", "AUTH": "334 " + challenge}}
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	a.SASL = &Login{Passwords: []string{"table"}, Plain: client.NoPlaintext | client.MutualAuth}
	a.World.Lookup = func(_, _ string) (string, bool, error) { return "user:pass", true, nil }
	got := a.Deliver(t.Context(), request("s.test:"+port, "x\n"))
	if got[0].Status != deliver.Deferred || !strings.Contains(got[0].Text, "cannot authenticate to server mx1.s.test[127.0.0.1]") {
		t.Errorf("%s", lines(got))
	}
}

// Mail that needs a login does not leave without TLS because TLS has failed.
func TestNoPasswordInTheClear(t *testing.T) {
	s := &server{replies: map[string]string{"EHLO": "250-srv.test\n250-AUTH PLAIN\n250 STARTTLS"}, tls: &tls.Config{}} // no certificate
	port := s.listen(t, "127.0.0.1", "0")
	a, _ := newAgent(t)
	a.SASL = &Login{Passwords: []string{"table"}}
	a.World.Lookup = func(_, _ string) (string, bool, error) { return "user:pass", true, nil }
	r := request("s.test:"+port, "x\n")
	r.Envelope.Arrived = time.Now().Add(-time.Hour)
	if got := a.Deliver(t.Context(), r); got[0].DSN != "4.7.5" || strings.Contains(s.said(), "AUTH PLAIN ") {
		t.Errorf("%s; said %s", lines(got), s.said())
	}
}
