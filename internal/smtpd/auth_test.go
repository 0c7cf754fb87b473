package smtpd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sekisho/internal/sasl"
)

// place is a backend in a certain state.
type place struct {
	list    []sasl.Mechanism
	err     error
	started context.Context // of the last exchange
}

func (p *place) Mechanisms(bool) ([]sasl.Mechanism, error) { return p.list, p.err }

func (p *place) Start(ctx context.Context, _ sasl.Client, _, _ string, _ bool) (sasl.Exchange, sasl.Step) {
	p.started = ctx
	return p, sasl.Step{Kind: sasl.Challenge}
}

func (p *place) Next(context.Context, string) sasl.Step {
	return sasl.Step{Kind: sasl.TempFailed, Reason: "away"}
}

const authOn = "smtpd_sasl_auth_enable = yes\n"

var plainOnly = []sasl.Mechanism{{Name: "PLAIN", Plaintext: true}}

// TestBackendAway: a backend that cannot be asked costs logins, not the port.
func TestBackendAway(t *testing.T) {
	for _, tt := range []struct {
		name, settings string
		backend        *place
		want, log      string
	}{
		{"nothing known", "", &place{err: errors.New("away")},
			"S: 220 mx.example ESMTP Postfix\nC: EHLO x\nS: 250-mx.example\nS: 250-PIPELINING\n", "warning: SASL: away\n"},
		{"a guess", "", &place{list: plainOnly, err: errors.New("away")},
			"S: 220 mx.example ESMTP Postfix\nC: EHLO x\nS: 250-mx.example\nS: 250-PIPELINING\n", "warning: SASL: away\n"},
		{"no mechanism", "", &place{}, "S! closed\n", "fatal: no SASL authentication mechanisms\n"},
		{"none allowed", "smtpd_sasl_security_options = noplaintext\n", &place{list: plainOnly}, "S! closed\n", "fatal: no SASL authentication mechanisms\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, err := newServer(t, authOn+tt.settings, tt.backend)
			if err != nil {
				t.Fatal(err)
			}
			conn, _ := s.dial(t, t.Context())
			if got := talk(t, conn, "S:\nC: EHLO x\nS:\nS:\n"); got != tt.want {
				t.Errorf("got\n%swant\n%s", got, tt.want)
			}
			if !strings.Contains(s.log.text(), tt.log) {
				t.Errorf("log lacks %q:\n%s", tt.log, s.log.text())
			}
		})
	}
}

// TestExchangeEnds: the context that an exchange is started with lasts as long
// as the exchange.
func TestExchangeEnds(t *testing.T) {
	for _, script := range []string{"C: AUTH PLAIN\nS:\nC: *\nS:\n", "C: AUTH PLAIN\nS:\nC: AGEAYg==\nS:\n"} {
		p := &place{list: plainOnly}
		s, err := newServer(t, authOn, p)
		if err != nil {
			t.Fatal(err)
		}
		conn, _ := s.dial(t, t.Context())
		talk(t, conn, "S:\nC: HELO x\nS:\n"+script)
		select {
		case <-p.started.Done():
		case <-time.After(time.Minute):
			t.Errorf("%q: the exchange goes on", script)
		}
	}
}
