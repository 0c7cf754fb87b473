package qmgr

import (
	"strings"
	"testing"
	"time"

	"sekisho/internal/mail"
)

// What a recipient stands for is logged and reported part by part; the recipient
// is one in the queue.
func TestExpansion(t *testing.T) {
	for extra, want := range map[string][]string{
		"": {"to=<ann@example.com>, orig_to=<team@example.com>, relay=virtual,", "dsn=2.0.0, status=sent (delivered)",
			"to=<gone@example.com>, orig_to=<team@example.com>, relay=virtual,", "dsn=5.1.1, status=bounced (unknown user)",
			"sender non-delivery notification: NOTICE", "sender delivery status notification: NOTICE", "QID: removed"},
		"soft_bounce = yes\n": {"status=sent (delivered)", "dsn=4.1.1, status=SOFTBOUNCE (unknown user)"},
	} {
		s := newSite(t, extra)
		s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{
			{Address: "team@example.com", Original: "team@example.com", Notify: mail.NotifySuccess | mail.NotifyFailure}}})
		got := s.settle()
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%q: no %q in\n%s", extra, w, got)
			}
		}
		if strings.Contains(got, ": to=<team@example.com>") {
			t.Errorf("%q: the alias itself is logged:\n%s", extra, got)
		}
	}
}

// Who was told of a delay is told when it is over, if confirm_delay_cleared says
// so and he did not ask for less.
func TestConfirmDelayCleared(t *testing.T) {
	for _, c := range []struct {
		extra  string
		notify mail.Notify
		want   bool
	}{
		{"confirm_delay_cleared = yes\n", 0, true},
		{"confirm_delay_cleared = yes\n", mail.NotifyDelay, true},
		{"confirm_delay_cleared = yes\n", mail.NotifyFailure, false},
		{"", 0, false},
	} {
		s := newSite(t, "delay_warning_time = 1h\n"+c.extra)
		s.putEnvelope(mail.Envelope{Sender: "s@x.test", Recipients: []mail.Recipient{
			{Address: "later1@example.com", Notify: mail.NotifyDelay}, {Address: "busy@example.com", Notify: c.notify}}})
		s.agent.busy = true
		s.settle()
		s.clock.Advance(2 * time.Hour)
		if got := s.settle(); !strings.Contains(got, "sender delay notification: NOTICE") {
			t.Fatalf("%+v: no warning:\n%s", c, got)
		}
		s.agent.busy = false
		s.clock.Advance(2 * time.Hour)
		if got := s.settle(); strings.Contains(got, "sender delivery status notification: NOTICE") != c.want {
			t.Errorf("%+v: log\n%s", c, got)
		}
	}
}
