package dns

import (
	"sync"
	"time"
)

// Limits of the cache.
const (
	cacheSize  = 50_000          // answers; some 20 MB when full
	maxTTL     = 24 * time.Hour  // RFC 8767 warns of longer ones
	failureTTL = 5 * time.Second // RFC 2308 section 7 allows five minutes
)

type cacheKey struct{ name, typ string }

type cached struct {
	answer  Answer
	expires time.Time
}

// cache keeps answers until their time is over. The zero value is ready; it is
// safe for concurrent use.
type cache struct {
	mu      sync.Mutex
	entries map[cacheKey]cached
}

// get returns what is known at the time now, with the TTL that is left.
func (c *cache) get(k cacheKey, now time.Time) (Answer, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[k]
	if !ok {
		return Answer{}, false
	}
	left := e.expires.Sub(now)
	if left <= 0 {
		delete(c.entries, k)
		return Answer{}, false
	}
	a := e.answer
	a.TTL = left
	return a, true
}

// put keeps a. A failure is kept for a moment only, so that one broken domain
// does not hold up each of its recipients anew.
func (c *cache) put(k cacheKey, a Answer, now time.Time) {
	ttl := min(a.TTL, maxTTL)
	switch a.Outcome {
	case Success, NXDomain, NoData:
	default:
		ttl = failureTTL
	}
	if ttl <= 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil {
		c.entries = make(map[cacheKey]cached)
	}
	if len(c.entries) >= cacheSize {
		c.makeRoom(now)
	}
	c.entries[k] = cached{a, now.Add(ttl)}
}

// makeRoom drops what is over, or a sixteenth at random if that is not enough.
func (c *cache) makeRoom(now time.Time) {
	for k, e := range c.entries {
		if !e.expires.After(now) {
			delete(c.entries, k)
		}
	}
	for k := range c.entries {
		if len(c.entries) <= cacheSize*15/16 {
			return
		}
		delete(c.entries, k)
	}
}
