package qmgr

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

func (s *site) putProbe(to, original string) {
	s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{{Address: to, Original: original}}, Probe: true,
		Filter: "nosuch:filter"}) // probes meet no content filter
}

// Whatever comes of a probe is told to address verification and to nobody else,
// and the probe does not stay.
func TestProbes(t *testing.T) {
	for _, c := range []struct{ name, config, to, original, line, told string }{
		{"good", "", "ok@example.com", "Alias@one.test",
			"postfix/virtual: QID: to=<ok@example.com>, orig_to=<Alias@one.test>, relay=virtual, dsn=2.0.0, status=deliverable (delivered to maildir)",
			"Alias@one.test (ok@example.com): sent, delivered to maildir"},
		{"bad", "", "never@example.com", "never@example.com",
			"postfix/virtual: QID: to=<never@example.com>, relay=virtual, dsn=5.1.1, status=undeliverable (unknown user)",
			"never@example.com (never@example.com): bounced, unknown user"},
		{"later", "", "later@example.com", "later@example.com",
			"postfix/virtual: QID: to=<later@example.com>, relay=virtual, dsn=4.2.0, status=undeliverable (busy)",
			"later@example.com (later@example.com): deferred, busy"},
		{"soft bounces are for mail", "soft_bounce = yes\n", "never@example.com", "never@example.com",
			"postfix/virtual: QID: to=<never@example.com>, relay=virtual, dsn=5.1.1, status=undeliverable (unknown user)",
			"never@example.com (never@example.com): bounced, unknown user"},
		{"not remembered", "address_verify_negative_cache = no\n", "never@example.com", "never@example.com",
			"postfix/virtual: QID: to=<never@example.com>, relay=virtual, dsn=5.1.1, status=undeliverable-but-not-cached (unknown user)",
			"never@example.com (never@example.com): bounced, unknown user"},
		{"another way", "address_verify_virtual_transport = error:5.1.1 not asked\n", "ok@example.com", "ok@example.com",
			"postfix/error: QID: to=<ok@example.com>, relay=none, dsn=5.1.1, status=undeliverable (not asked)",
			"ok@example.com (ok@example.com): bounced, not asked"},
		{"transport table of its own", "address_verify_transport_maps = inline:{ {multi.test = error:5.1.2 not there} }\n", "x@multi.test", "x@multi.test",
			"postfix/error: QID: to=<x@multi.test>, relay=none, dsn=5.1.2, status=undeliverable (not there)",
			"x@multi.test (x@multi.test): bounced, not there"},
		{"no transport", "", "x@gone.test", "x@gone.test", "postfix/qmgr: warning: connect to transport private/nosuch: No such file or directory\n" +
			"postfix/error: QID: to=<x@gone.test>, relay=none, dsn=4.3.0, status=undeliverable (mail transport unavailable)",
			"x@gone.test (x@gone.test): deferred, mail transport unavailable"},
		{"ourselves", "", "double-bounce@here.test", "double-bounce@here.test",
			"postfix/qmgr: QID: to=<double-bounce@here.test>, relay=none, dsn=2.0.0, status=deliverable (undeliverable postmaster notification discarded)",
			"double-bounce@here.test (double-bounce@here.test): sent, undeliverable postmaster notification discarded"},
		{"too many", "", "ok@example.com", "ok@example.com",
			"postfix/error: QID: to=<ok@example.com>, relay=none, dsn=4.3.2, status=undeliverable (Too many address verification requests)",
			"ok@example.com (ok@example.com): deferred, Too many address verification requests"},
	} {
		s := newSite(t, c.config)
		if c.name == "too many" {
			s.manager.o.ProbeLimit = 0
		}
		s.putProbe(c.to, c.original)
		lines := append(strings.Split(c.line, "\n"), fmt.Sprintf(active, 1), removed)
		if got, w := s.settle(), want(lines...); got != w {
			t.Errorf("%s: log\n%s\nwant\n%s", c.name, got, w)
		}
		if len(s.queue.List()) != 0 || len(s.notices) != 0 {
			t.Errorf("%s: left %v, notices %v", c.name, s.queue.List(), s.notices)
		}
		if !slices.Equal(s.verified, []string{c.told}) {
			t.Errorf("%s: told %q, want %q", c.name, s.verified, c.told)
		}
		for _, r := range s.agent.requests {
			if !r.Probe {
				t.Errorf("%s: the agent was not told that it is a probe", c.name)
			}
		}
	}
}

// A probe that is cut short is sent again by the next process; what cut it short
// is no outcome.
func TestProbeCutShort(t *testing.T) {
	s := newSite(t, "")
	s.agent.gate = make(chan struct{})
	s.putProbe("ok@example.com", "ok@example.com")
	kill, cut := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { s.manager.Run(kill, kill); close(done) }()
	s.await(func() bool { s.agent.mu.Lock(); defer s.agent.mu.Unlock(); return s.agent.now == 1 })
	cut()
	<-done
	list := s.queue.List()
	if len(list) != 1 || !list[0].Message.Envelope().Probe || list[0].Due.After(s.clock.Now()) || len(s.verified) != 0 {
		t.Fatalf("left %+v, told %q", list, s.verified)
	}
	close(s.agent.gate)
	if log := s.settle(); !strings.Contains(log, "status=deliverable") || len(s.queue.List()) != 0 || len(s.verified) != 1 {
		t.Errorf("log\n%s\nleft %v, told %q", log, s.queue.List(), s.verified)
	}
}

// An alias of several addresses has been answered for before: its probe has no
// recipient.
func TestProbeWithoutRecipient(t *testing.T) {
	s := newSite(t, "")
	s.putEnvelope(mail.Envelope{Sender: "s@x.test", Probe: true})
	if got, w := s.settle(), want(fmt.Sprintf(active, 0), removed); got != w {
		t.Errorf("log\n%s\nwant\n%s", got, w)
	}
	if len(s.queue.List()) != 0 || len(s.verified) != 0 {
		t.Errorf("left %v, told %q", s.queue.List(), s.verified)
	}
}

// A probe is still one when the process that sent it has died.
func TestProbeAfterRestart(t *testing.T) {
	s := newSite(t, "")
	s.putProbe("ok@example.com", "ok@example.com")
	s.put("s@x.test", "ok@example.com")
	if err := s.queue.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := queue.Open(filepath.Join(s.dir, "spool"), queue.Options{Clock: s.clock, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	list := again.List()
	if len(list) != 2 || !list[0].Message.Envelope().Probe || list[1].Message.Envelope().Probe {
		t.Errorf("after the restart: %+v", list)
	}
}
