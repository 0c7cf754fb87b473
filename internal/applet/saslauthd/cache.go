package saslauthd

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl/saslauthd"
)

// entrySize is about what one remembered request takes.
const entrySize = 128

// cache remembers requests that were right. It holds no passwords, only what
// they become with a key that lives as long as the process.
type cache struct {
	clock clock.Clock
	ttl   time.Duration
	size  int
	key   []byte

	mu      sync.Mutex
	expires map[[sha256.Size]byte]time.Time
}

func newCache(c clock.Clock, ttl time.Duration, size int) *cache {
	key := make([]byte, sha256.Size)
	rand.Read(key)
	return &cache{clock: c, ttl: ttl, size: max(size, 1), key: key, expires: make(map[[sha256.Size]byte]time.Time)}
}

// sum stands for a request; a request that cannot be sent has no other's.
func (c *cache) sum(r saslauthd.Request) (sum [sha256.Size]byte, err error) {
	b, err := r.Append(nil)
	h := hmac.New(sha256.New, c.key)
	h.Write(b)
	h.Sum(sum[:0])
	return sum, err
}

func (c *cache) has(r saslauthd.Request) bool {
	sum, err := c.sum(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	return err == nil && c.clock.Now().Before(c.expires[sum])
}

// put remembers r. A full cache forgets what has expired, and else anything.
func (c *cache) put(r saslauthd.Request) {
	sum, err := c.sum(r)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if len(c.expires) >= c.size {
		for s, at := range c.expires {
			if !now.Before(at) {
				delete(c.expires, s)
			}
		}
	}
	for s := range c.expires {
		if len(c.expires) < c.size {
			break
		}
		delete(c.expires, s)
	}
	c.expires[sum] = now.Add(c.ttl)
}
