package deliver

import (
	"testing"
	"time"

	"sekisho/internal/mail"
)

func TestFormatDelay(t *testing.T) {
	for _, c := range []struct {
		d      time.Duration
		digits int
		want   string
	}{
		{0, 2, "0"},
		{-time.Second, 2, "0"},
		{4 * time.Millisecond, 2, "0"},
		{5 * time.Millisecond, 2, "0.01"},
		{100 * time.Millisecond, 2, "0.1"},
		{123 * time.Millisecond, 2, "0.12"},
		{999 * time.Millisecond, 2, "1"},
		{time.Second, 2, "1"},
		{1234 * time.Millisecond, 2, "1.2"},
		{9960 * time.Millisecond, 2, "10"},
		{12345 * time.Millisecond, 2, "12"},
		{99 * time.Minute, 2, "5940"},
		{1234 * time.Millisecond, 0, "1"},
		{1500 * time.Millisecond, 0, "2"},
		{1234 * time.Microsecond, 6, "0.0012"},
		{12 * time.Microsecond, 6, "0.000012"},
		{123456 * time.Microsecond, 6, "0.12"},
		{1234567 * time.Microsecond, 3, "1.2"},
		{12 * time.Millisecond, 1, "0"},
		{60 * time.Millisecond, 1, "0.1"},
	} {
		if got := FormatDelay(c.d, c.digits); got != c.want {
			t.Errorf("FormatDelay(%v, %d) = %s, want %s", c.d, c.digits, got, c.want)
		}
	}
}

func TestLogLine(t *testing.T) {
	at := func(ms int) time.Time {
		return time.UnixMilli(1_000_000_000_000).Add(time.Duration(ms) * time.Millisecond)
	}
	times := Times{Arrived: at(0), Active: at(10), Handoff: at(30), Done: at(1230)}
	sent := Result{Status: Sent, DSN: "2.0.0", Relay: "virtual", Text: "delivered to maildir"}
	relayed := Result{Status: Deferred, DSN: "4.4.1", Relay: "mx.a.test[192.0.2.1]:25", Text: "x", Connected: at(130)}
	unsent := Times{Arrived: at(0), Active: at(10), Done: at(30)}
	for _, c := range []struct {
		to   mail.Recipient
		r    Result
		t    Times
		want string
	}{
		{mail.Recipient{Address: "a@a.test"}, sent, times,
			"Q: to=<a@a.test>, relay=virtual, delay=1.2, delays=0.01/0.02/0/1.2, dsn=2.0.0, status=sent (delivered to maildir)"},
		{mail.Recipient{Address: "a@a.test", Original: "A@a.test"}, relayed, times,
			"Q: to=<a@a.test>, relay=mx.a.test[192.0.2.1]:25, delay=1.2, delays=0.01/0.02/0.1/1.1, dsn=4.4.1, status=deferred (x)"},
		{mail.Recipient{Address: "a b@a.test", Original: "postmaster"}, Result{Status: Bounced, DSN: "5.0.0", Text: "y"}, unsent,
			`Q: to=<"a b"@a.test>, orig_to=<postmaster>, relay=none, delay=0.03, delays=0.01/0.02/0/0, dsn=5.0.0, status=bounced (y)`},
	} {
		if got := LogLine("Q", c.to, c.r, c.t, 2); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
