// Package anvil counts what clients do: connections now, and connections,
// messages, recipients, new TLS sessions and logins in a unit of time. It
// decides nothing; the limits are the SMTP server's. anvil(8).
package anvil

import (
	"net/netip"
	"sync"
	"time"

	"sekisho/internal/clock"
)

// Kind is what is counted.
type Kind uint8

const (
	Connections Kind = iota
	Messages
	Recipients
	NewTLSSessions
	Auths
	kinds
)

// Anvil holds the counters. It is safe for concurrent use and meant to be
// shared by all servers of a process.
type Anvil struct {
	unit  time.Duration // anvil_rate_time_unit
	clock clock.Clock

	mu      sync.Mutex
	clients map[Key]*client
	sweep   time.Time // when idle clients are next looked for
}

// Key is a client as it is counted: apart for each service.
type Key struct {
	Service string // name in master.cf
	Network netip.Prefix
}

// client is one client's counters. The rates count from start.
type client struct {
	open  int
	start time.Time
	rates [kinds]int
}

// New returns an Anvil whose rates are per unit.
func New(unit time.Duration, c clock.Clock) *Anvil {
	return &Anvil{unit: unit, clock: c, clients: make(map[Key]*client), sweep: c.Now().Add(unit)}
}

// KeyOf returns the key of a client: its address, masked to bits4 or bits6
// (smtpd_client_ipv4_prefix_length, smtpd_client_ipv6_prefix_length).
func KeyOf(service string, addr netip.Addr, bits4, bits6 int) Key {
	addr = addr.Unmap().WithZone("")
	bits := bits6
	if addr.Is4() {
		bits = bits4
	}
	p, err := addr.Prefix(bits)
	if err != nil { // a prefix length out of range counts whole addresses
		p = netip.PrefixFrom(addr, addr.BitLen())
	}
	return Key{Service: service, Network: p}
}

// Connect counts a connection and returns how many the client has open, this
// one included, and how many it has made in the current unit of time.
func (a *Anvil) Connect(k Key) (open, rate int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.client(k)
	c.open++
	c.rates[Connections]++
	return c.open, c.rates[Connections]
}

// Disconnect undoes what Connect did to the number of open connections.
func (a *Anvil) Disconnect(k Key) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[k]; c != nil && c.open > 0 {
		c.open--
	}
}

// Count counts one event and returns how many there were in the current unit
// of time, this one included.
func (a *Anvil) Count(k Key, what Kind) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.client(k)
	c.rates[what]++
	return c.rates[what]
}

// Rate returns how many events there were in the current unit of time.
func (a *Anvil) Rate(k Key, what Kind) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.client(k).rates[what]
}

// client finds or makes a client's counters and begins a new unit of time when
// the last one is over.
func (a *Anvil) client(k Key) *client {
	now := a.clock.Now()
	if now.After(a.sweep) {
		a.forget(now)
	}
	c := a.clients[k]
	if c == nil {
		c = &client{start: now}
		a.clients[k] = c
	}
	if now.After(c.start.Add(a.unit)) {
		c.start, c.rates = now, [kinds]int{}
	}
	return c
}

// forget drops the clients that have nothing open and nothing counted that
// still matters.
func (a *Anvil) forget(now time.Time) {
	for k, c := range a.clients {
		if c.open == 0 && now.After(c.start.Add(a.unit)) {
			delete(a.clients, k)
		}
	}
	a.sweep = now.Add(a.unit)
}
