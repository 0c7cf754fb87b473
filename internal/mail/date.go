package mail

import "time"

// Date returns a time as it is written into headers (RFC 5322 section 3.3),
// with the name of its zone in parentheses, as Postfix does.
func Date(t time.Time) string {
	zone, _ := t.Zone()
	return t.Format("Mon, _2 Jan 2006 15:04:05 -0700") + " (" + zone + ")"
}
