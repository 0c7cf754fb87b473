package verify

import (
	"strings"
	"time"

	"sekisho/internal/config"
)

// Sender is the address that probes come from (address_verify_sender). With a
// TTL its local part ends in a number that changes each TTL, so that mail to an
// old one can be told from an answer to a probe.
type Sender struct {
	local, domain string // as configured; domain with its "@", or empty
	ttl           time.Duration
	rewrite       func(string) string
	base          string // without the number, in its final form
}

// NewSender returns the sender of a configuration; rewrite brings an address
// into its final form. An empty address, or "<>", is the null sender.
func NewSender(addr string, ttl time.Duration, rewrite func(string) string) Sender {
	if addr == "" || addr == "<>" {
		return Sender{}
	}
	local, domain := addr, ""
	if i := strings.IndexByte(addr, '@'); i >= 0 {
		local, domain = addr[:i], addr[i:]
	}
	return Sender{local, domain, ttl, rewrite, rewrite(addr)}
}

// SenderFromConfig returns the sender that a configuration's parameters name.
func SenderFromConfig(c *config.Config, rewrite func(string) string) Sender {
	return NewSender(c.Str("address_verify_sender"), c.Duration("address_verify_sender_ttl"), rewrite)
}

// At returns the sender of a probe at some time.
func (s Sender) At(now time.Time) string {
	if s.base == "" || s.ttl < time.Second {
		return s.base
	}
	return s.rewrite(s.local + format(s.epoch(now)) + s.domain)
}

func (s Sender) epoch(now time.Time) uint64 {
	return uint64(now.Unix()) / uint64(s.ttl/time.Second)
}

// Base tells whether addr is the sender of our probes, now or a TTL before or
// after; and if so, the sender without its number.
func (s Sender) Base(addr string, now time.Time) (base string, ok bool) {
	if s.base == "" {
		return "", false
	}
	local, domain := s.base, ""
	if i := strings.IndexByte(s.base, '@'); i >= 0 {
		local, domain = s.base[:i], s.base[i:]
	}
	if len(addr) < len(local) || !strings.EqualFold(addr[:len(local)], local) {
		return "", false
	}
	number, theirs := addr[len(local):], ""
	if i := strings.IndexByte(addr, '@'); i >= len(local) {
		number, theirs = addr[len(local):i], addr[i:]
	} else if i >= 0 {
		return "", false
	}
	if !strings.EqualFold(theirs, domain) {
		return "", false
	}
	if s.ttl < time.Second {
		return s.base, number == ""
	}
	n, ok := parse(number)
	mine := s.epoch(now)
	if !ok || n < mine-1 || n > mine+1 { // before the first epoch nothing is good, as in Postfix
		return "", false
	}
	return s.base, true
}

// digits are those of Postfix's safe_ultostr(3): no vowels, so that no number is
// a word. Numbers of senders have base 31.
const digits = "0123456789BCDFGHJKLMNPQRSTVWXYZ"

// format prints a number; 0 has no digits.
func format(n uint64) string {
	var b []byte
	for ; n > 0; n /= uint64(len(digits)) {
		b = append([]byte{digits[n%uint64(len(digits))]}, b...)
	}
	return string(b)
}

// parse reads a number; no digits are 0.
func parse(s string) (n uint64, ok bool) {
	if len(s) > 12 { // more than any time has
		return 0, false
	}
	for i := range len(s) {
		d := strings.IndexByte(digits, s[i])
		if d < 0 {
			return 0, false
		}
		n = n*uint64(len(digits)) + uint64(d)
	}
	return n, true
}
