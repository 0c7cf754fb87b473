package deliver

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/mail"
)

// Times are the moments from which the logged delays are counted.
type Times struct {
	Arrived time.Time // at the server
	Active  time.Time // taken up by the queue manager
	Handoff time.Time // given to the agent; zero when there was none
	Done    time.Time
}

// LogLine returns the line that Postfix logs for one recipient (log_adhoc.c):
//
//	QID: to=<R>, orig_to=<O>, relay=L, conn_use=N, delay=D, delays=A/B/C/D, dsn=X, status=S (TEXT)
//
// digits is delay_logging_resolution_limit.
func LogLine(queueID string, to mail.Recipient, r Result, t Times, digits int) string {
	status := r.Status.String()
	if r.SoftBounced {
		status = "SOFTBOUNCE"
	}
	return logLine(queueID, to, r, t, digits, status)
}

// ProbeLine is LogLine for an address probe: the status is deliverable or
// undeliverable, or undeliverable-but-not-cached without a negative cache
// (address_verify_negative_cache).
func ProbeLine(queueID string, to mail.Recipient, r Result, t Times, digits int, negativeCache bool) string {
	status := "undeliverable"
	switch {
	case r.Status == Sent:
		status = "deliverable"
	case !negativeCache:
		status = "undeliverable-but-not-cached"
	}
	return logLine(queueID, to, r, t, digits, status)
}

func logLine(queueID string, to mail.Recipient, r Result, t Times, digits int, status string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: to=<%s>", queueID, mail.Quote(to.Address))
	if to.Original != "" && !strings.EqualFold(to.Original, to.Address) {
		fmt.Fprintf(&b, ", orig_to=<%s>", mail.Quote(to.Original))
	}
	relay := r.Relay
	if relay == "" {
		relay = "none"
	}
	b.WriteString(", relay=" + relay)
	if r.Uses > 1 {
		fmt.Fprintf(&b, ", conn_use=%d", r.Uses)
	}
	fmt.Fprintf(&b, ", delay=%s, delays=", FormatDelay(t.Done.Sub(t.Arrived), digits))
	for i, d := range t.delays(r.Connected) {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(FormatDelay(d, digits))
	}
	fmt.Fprintf(&b, ", dsn=%s, status=%s (%s)", r.DSN, status, r.Text)
	return b.String()
}

// delays are the time before the queue manager, in it, for the connection, and
// for the transfer.
func (t Times) delays(connected time.Time) [4]time.Duration {
	before := t.Active.Sub(t.Arrived)
	switch {
	case t.Handoff.IsZero():
		return [4]time.Duration{before, t.Done.Sub(t.Active), 0, 0}
	case connected.IsZero():
		return [4]time.Duration{before, t.Handoff.Sub(t.Active), 0, t.Done.Sub(t.Handoff)}
	}
	return [4]time.Duration{before, t.Handoff.Sub(t.Active), connected.Sub(t.Handoff), t.Done.Sub(connected)}
}

// FormatDelay prints a time in seconds with two significant digits and at most
// digits (0 to 6) after the point; a time below zero is 0 (format_tv.c).
func FormatDelay(d time.Duration, digits int) string {
	if d < 0 {
		d = 0
	}
	usec := d.Round(time.Microsecond).Microseconds()
	unit := delayUnit(usec, digits)
	usec = (usec + unit/2) / unit * unit
	text := strconv.FormatInt(usec/1e6, 10)
	fraction := strings.TrimRight(fmt.Sprintf("%06d", usec%1e6), "0")
	if fraction == "" {
		return text
	}
	return text + "." + fraction
}

// delayUnit is the last digit to print, in microseconds. Whole seconds are
// always printed.
func delayUnit(usec int64, digits int) int64 {
	unit := int64(1e6)
	for range digits {
		unit /= 10
	}
	if unit == 1e6 {
		return unit
	}
	switch sec := usec / 1e6; {
	case sec >= 10:
		return 1e6
	case sec >= 1:
		return 1e5
	}
	for usec >= 100*unit {
		unit *= 10
	}
	return unit
}
