package rimap

import (
	"sync"
	"time"

	"sekisho/internal/clock"
)

// Back-off after a connection that failed, until one works again.
const (
	firstPause = time.Second
	maxPause   = 30 * time.Second
)

// gate remembers that the server is down. While it is, one attempt after each
// pause finds out whether it is still; all others are told at once.
type gate struct {
	clock clock.Clock

	mu     sync.Mutex
	err    error // why it is down; nil: it is up
	pause  time.Duration
	until  time.Time
	trying bool // somebody finds out
}

// look returns why not to try. It claims nothing.
func (g *gate) look() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.trying || g.clock.Now().Before(g.until) {
		return g.err
	}
	return nil
}

// enter returns why not to try, or else whether it is the caller who finds out.
// Then leave has to be called.
func (g *gate) enter() (scout bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err == nil:
		return false, nil
	case g.trying || g.clock.Now().Before(g.until):
		return false, g.err
	}
	g.trying = true
	return true, nil
}

// leave reports how an attempt ended. Of those that fail when the server is
// known to be down, only the scout's makes the pause longer.
func (g *gate) leave(scout bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if scout {
		g.trying = false
	}
	if err == nil {
		g.err, g.pause, g.until = nil, 0, time.Time{}
		return
	}
	if g.err != nil && !scout {
		return
	}
	g.err = err
	g.pause = min(max(2*g.pause, firstPause), maxPause)
	g.until = g.clock.Now().Add(g.pause)
}

// withdraw is leave for an attempt that was given up before it knew.
func (g *gate) withdraw(scout bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if scout {
		g.trying = false
	}
}
