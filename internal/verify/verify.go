package verify

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
)

// Settings are the parameters of the service.
type Settings struct {
	PositiveExpire, PositiveRefresh time.Duration
	NegativeExpire, NegativeRefresh time.Duration
	// NegativeCache: outcomes other than Deliverable are remembered.
	NegativeCache bool
	// Cleanup is how often expired addresses are forgotten; 0: never.
	Cleanup time.Duration
}

// FromConfig returns the settings of a configuration.
func FromConfig(c *config.Config) Settings {
	return Settings{
		PositiveExpire:  c.Duration("address_verify_positive_expire_time"),
		PositiveRefresh: c.Duration("address_verify_positive_refresh_time"),
		NegativeExpire:  c.Duration("address_verify_negative_expire_time"),
		NegativeRefresh: c.Duration("address_verify_negative_refresh_time"),
		NegativeCache:   c.Bool("address_verify_negative_cache"),
		Cleanup:         c.Duration("address_verify_cache_cleanup_interval"),
	}
}

// Post puts a probe for an address into the queue, from a sender. It may block.
type Post func(ctx context.Context, sender, recipient string) error

// Verifier answers whether addresses can get mail. It is safe for concurrent
// use; several may share a cache, one for each configuration.
type Verifier struct {
	o Options

	mu      sync.Mutex
	waiting map[string][]*waiter // by key of the cache
}

// Options are what a Verifier works with.
type Options struct {
	Settings
	Sender Sender
	Cache  *Cache
	Post   Post
	Clock  clock.Clock
	Log    *slog.Logger // as postfix/verify
}

// New returns a Verifier.
func New(o Options) *Verifier {
	return &Verifier{o: o, waiting: make(map[string][]*waiter)}
}

// probeLife is how long the outcome of a probe is waited for until another is
// sent (verify.c).
const probeLife = 1000

// Key is how the cache names an address: its colons are no part of the name, as
// in Postfix's.
func Key(addr string) string { return strings.ReplaceAll(addr, ":", "_") }

// Query returns what is known about an address now. If that is nothing or too
// old, a probe is in the queue when Query returns, or the log says why not.
func (v *Verifier) Query(ctx context.Context, addr string) Entry {
	e, probe := v.look(addr)
	if probe {
		v.probe(context.WithoutCancel(ctx), addr)
	}
	return e
}

// look finds what is known, and marks the address as being probed if it has to
// be.
func (v *Verifier) look(addr string) (e Entry, probe bool) {
	c := v.o.Cache
	c.lock()
	defer c.mu.Unlock()
	k, now := Key(addr), v.o.Clock.Now().Unix()
	e, found := c.entries[k]
	if !found || now-e.Probed > probeLife && v.o.expired(e, now) {
		e = Entry{Status: InProgress, Text: inProgress}
		if found && !v.o.NegativeCache {
			c.forget(k)
		}
	}
	probe = now-e.Probed > probeLife && v.o.stale(e, now)
	if probe && (e.Updated != 0 || v.o.NegativeCache) {
		probed := e
		probed.Probed = now
		c.put(k, probed)
	}
	return e, probe
}

// Known returns, by Key, what a server of a configuration would answer about
// addresses without waiting for a probe. Nothing is known where it has no file.
func Known(c *config.Config, now time.Time) (map[string]Entry, error) {
	path, err := Path(c.Str("address_verify_map"), c.Str("default_database_type"))
	if err != nil || path == "" {
		return nil, nil // its cache is in its memory
	}
	entries, _, err := Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	set := FromConfig(c)
	maps.DeleteFunc(entries, func(_ string, e Entry) bool { return set.expired(e, now.Unix()) })
	return entries, err
}

// expired: the entry is too old to be used.
func (s *Settings) expired(e Entry, now int64) bool {
	return e.Updated+seconds(e, s.PositiveExpire, s.NegativeExpire) < now
}

// stale: the entry is old enough to be looked at again.
func (s *Settings) stale(e Entry, now int64) bool {
	return e.Updated+seconds(e, s.PositiveRefresh, s.NegativeRefresh) < now
}

func seconds(e Entry, positive, negative time.Duration) int64 {
	if e.Status == Deliverable {
		return int64(positive / time.Second)
	}
	return int64(negative / time.Second)
}

// probe sends a probe. When that fails, the next query tries again.
func (v *Verifier) probe(ctx context.Context, addr string) {
	err := v.o.Post(ctx, v.o.Sender.At(v.o.Clock.Now()), addr)
	if err == nil {
		return
	}
	v.o.Log.Warn(fmt.Sprintf("cannot send a probe for %s: %v", addr, err))
	c := v.o.Cache
	c.lock()
	defer c.mu.Unlock()
	if e, ok := c.entries[Key(addr)]; ok && e.Updated == 0 {
		c.forget(Key(addr))
	} else if ok {
		e.Probed = 0
		c.put(Key(addr), e)
	}
}

// Update takes down what became of a probe. A failed probe does not take away
// from an address that it was deliverable, until that expires.
func (v *Verifier) Update(addr string, status Status, text string) {
	k := Key(addr)
	if v.o.NegativeCache || status == Deliverable {
		c := v.o.Cache
		c.lock()
		if old, found := c.entries[k]; status == Deliverable || !found || old.Status != Deliverable {
			c.put(k, Entry{Status: status, Updated: v.o.Clock.Now().Unix(), Text: printable(text)})
		}
		c.mu.Unlock()
	}
	v.wake(k)
}

// printable replaces what is no printable text, as the log does.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return '?'
		}
		return r
	}, s)
}

// waiter is somebody who waits for an outcome.
type waiter struct{ wake context.CancelFunc }

// Poll is Query for somebody who can wait: while the first probe of the address
// is under way, it asks count times in all, with delay in between or as soon as
// an outcome has come.
func (v *Verifier) Poll(ctx context.Context, addr string, count int, delay time.Duration) Entry {
	for n := 1; ; n++ {
		wait, stop := v.await(ctx, Key(addr))
		e := v.Query(ctx, addr)
		if e.Status == InProgress && n < count {
			v.o.Clock.Sleep(wait, delay) // an outcome or the time; either is looked at
		}
		stop()
		if e.Status != InProgress || n >= count || ctx.Err() != nil {
			return e
		}
	}
}

// await returns a context that ends with the next outcome for an address.
func (v *Verifier) await(ctx context.Context, k string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	w := &waiter{cancel}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.waiting[k] = append(v.waiting[k], w)
	return ctx, func() {
		cancel()
		v.mu.Lock()
		defer v.mu.Unlock()
		v.waiting[k] = slices.DeleteFunc(v.waiting[k], func(o *waiter) bool { return o == w })
		if len(v.waiting[k]) == 0 {
			delete(v.waiting, k)
		}
	}
}

func (v *Verifier) wake(k string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, w := range v.waiting[k] {
		w.wake()
	}
}

// Run forgets expired addresses from time to time, until ctx ends.
func (v *Verifier) Run(ctx context.Context) {
	if v.o.Cleanup <= 0 {
		<-ctx.Done()
		return
	}
	for ctx.Err() == nil {
		v.clean()
		v.o.Clock.Sleep(ctx, v.o.Cleanup)
	}
}

func (v *Verifier) clean() {
	now := v.o.Clock.Now().Unix()
	retained, dropped := v.o.Cache.sweep(func(e Entry) bool {
		return now-e.Probed < probeLife || !v.o.expired(e, now)
	})
	if retained+dropped > 0 {
		v.o.Log.Info(fmt.Sprintf("cache %s full cleanup: retained=%d dropped=%d entries", v.o.Cache.name(), retained, dropped))
	}
}

// name names the cache in the log.
func (c *Cache) name() string {
	if c.path == "" {
		return "internal:verify"
	}
	return c.path
}
