// Package clock tells the time and waits for it, so that tests can set it.
//
// It does not format dates and knows no time zones. System is the real clock;
// Manual stands still until a test moves it.
package clock

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Clock tells the time and waits. Both implementations are safe for
// concurrent use.
type Clock interface {
	// Now returns the current time.
	Now() time.Time
	// Sleep waits for d, or until ctx ends, and returns ctx's error then.
	Sleep(ctx context.Context, d time.Duration) error
}

// System is the machine's clock.
type System struct{}

// Now returns time.Now.
func (System) Now() time.Time { return time.Now() }

// Sleep waits d of real time.
func (System) Sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Manual is a clock that moves only when told to. The zero value stands at
// the zero time.
type Manual struct {
	mu      sync.Mutex
	now     time.Time
	waiters []waiter
}

type waiter struct {
	at   time.Time
	wake chan struct{}
}

// NewManual returns a clock standing at t.
func NewManual(t time.Time) *Manual { return &Manual{now: t} }

// Now returns the time the clock was last set to.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.now
}

// Sleep waits until Advance has moved the clock by d.
func (m *Manual) Sleep(ctx context.Context, d time.Duration) error {
	m.mu.Lock()
	if d <= 0 {
		m.mu.Unlock()
		return ctx.Err()
	}
	w := waiter{at: m.now.Add(d), wake: make(chan struct{})}
	m.waiters = append(m.waiters, w)
	m.mu.Unlock()
	select {
	case <-w.wake:
		return nil
	case <-ctx.Done():
		m.forget(w)
		return ctx.Err()
	}
}

// forget takes away a sleeper whose wait has ended early.
func (m *Manual) forget(gone waiter) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.waiters = slices.DeleteFunc(m.waiters, func(w waiter) bool { return w.wake == gone.wake })
}

// Advance moves the clock forward and wakes the sleepers whose time has come.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
	left := m.waiters[:0]
	for _, w := range m.waiters {
		if w.at.After(m.now) {
			left = append(left, w)
			continue
		}
		close(w.wake)
	}
	m.waiters = left
}

// Set sets the clock, forward or back, as an administrator does: who sleeps does
// not notice, and has as long to sleep as before.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	jump := t.Sub(m.now)
	m.now = t
	for i := range m.waiters {
		m.waiters[i].at = m.waiters[i].at.Add(jump)
	}
}

// Sleepers returns how many calls of Sleep are waiting; a test uses it to know
// when to Advance.
func (m *Manual) Sleepers() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.waiters)
}
