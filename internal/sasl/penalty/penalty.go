// Package penalty makes guessing passwords slow. Ledger remembers the failed
// logins of each client network and of each account for a while; Guard is a
// sasl.Backend in front of another that lets the answer wait, the longer the
// more there are.
//
// Only answers wait, no passwords: what is said and logged stays the same, and
// nobody is locked out. A success waits as a failure would, or whoever guesses
// could hang up on every answer that takes long. Three things keep the owner of
// an account from paying for those who guess at it:
//
//   - for his network (an IPv4 /24, an IPv6 /64) a success is remembered, and
//     from there further ones wait only for failures on that account from that
//     network since;
//   - a failure is forgotten after some time, one after the other;
//   - no answer waits longer than Settings.Max.
//
// An account that does not exist is treated as one that does. The package
// guards what checks passwords itself; a Dovecot behind smtpd has penalties of
// its own, for the client's address that it is told.
package penalty

import (
	"math"
	"net/netip"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
)

// Settings say how long answers wait.
type Settings struct {
	Delay  time.Duration // of the first failure, doubled by each further one; 0: none waits
	Max    time.Duration // the longest delay
	Forget time.Duration // time after which one failure is forgotten
}

const (
	entries = 100_000             // of each kind, some 20 MB in all
	usual   = 30 * 24 * time.Hour // how long a network is the usual one of an account
	worst   = 16                  // failures that are counted
	longest = 320                 // bytes of an account's name that are looked at
)

// Ledger is what is remembered of failures and successes. It is safe for
// concurrent use; all listeners share one, across reloads.
type Ledger struct {
	clock clock.Clock

	mu       sync.Mutex
	networks *recent[netip.Prefix, failures]
	accounts *recent[string, failures]
	pairs    *recent[pair, login]
}

// pair is an account and a network from which somebody has logged in to it.
type pair struct {
	account string
	network netip.Prefix
}

// login is the last success of a pair, and the failures since.
type login struct {
	at    time.Time
	since failures
}

// failures is a count that goes down with time.
type failures struct {
	count float64
	at    time.Time
}

// now returns what is left of the count.
func (f failures) now(t time.Time, forget time.Duration) float64 {
	if forget <= 0 {
		return f.count
	}
	return max(0, f.count-float64(t.Sub(f.at))/float64(forget))
}

// more counts one failure.
func (f failures) more(t time.Time, forget time.Duration) failures {
	return failures{min(worst, f.now(t, forget)+1), t}
}

// NewLedger returns an empty ledger.
func NewLedger(c clock.Clock) *Ledger {
	return newLedger(c, entries)
}

func newLedger(c clock.Clock, limit int) *Ledger {
	return &Ledger{
		clock:    c,
		networks: newRecent[netip.Prefix, failures](limit),
		accounts: newRecent[string, failures](limit),
		pairs:    newRecent[pair, login](limit),
	}
}

// failed notes a failure and returns how long its answer has to wait. account
// may be empty: the client has not come so far as to name one.
func (l *Ledger) failed(s Settings, address, account string) time.Duration {
	p := pair{fold(account), network(address)}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.clock.Now()
	f := l.networks.get(p.network).more(t, s.Forget)
	l.networks.put(p.network, f)
	n := f.count
	if p.account == "" {
		return s.delay(n)
	}
	f = l.accounts.get(p.account).more(t, s.Forget)
	l.accounts.put(p.account, f)
	if u := l.pairs.get(p); !u.at.IsZero() {
		u.since = u.since.more(t, s.Forget)
		l.pairs.put(p, u)
	}
	return s.delay(max(n, f.count))
}

// owed returns how long the answer to a success has to wait.
func (l *Ledger) owed(s Settings, address, account string) time.Duration {
	p := pair{fold(account), network(address)}
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.clock.Now()
	if u := l.pairs.get(p); !u.at.IsZero() && t.Sub(u.at) < usual {
		return s.delay(u.since.now(t, s.Forget))
	}
	n := l.networks.get(p.network).now(t, s.Forget)
	return s.delay(max(n, l.accounts.get(p.account).now(t, s.Forget)))
}

// succeeded makes the client's network a usual one of the account.
func (l *Ledger) succeeded(address, account string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pairs.put(pair{fold(account), network(address)}, login{at: l.clock.Now()})
}

// delay is the time that n failures cost; the part that is left of one counts
// as a whole.
func (s Settings) delay(n float64) time.Duration {
	if n <= 0 {
		return 0
	}
	return time.Duration(min(float64(s.Delay)*math.Exp2(math.Ceil(n)-1), float64(s.Max)))
}

// fold makes one name of all that lead to an account, of bounded length: SQL
// servers overlook blanks at the end, Cyrus SASL those around a name.
func fold(account string) string {
	account = strings.TrimSpace(account)
	return strings.ToLower(account[:min(len(account), longest)])
}

// network is what usually belongs to one customer. Whoever has no address
// comes over a socket of this machine.
func network(address string) netip.Prefix {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return netip.Prefix{}
	}
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	return netip.PrefixFrom(a, bits).Masked()
}
