package rimap

import (
	"context"
	"sync"
)

// Bounds of connections. A server that answers failures late keeps those of a
// guesser waiting: they must not take the places of others.
const (
	maxConnections = 512
	maxPerUser     = 8
)

// pool bounds the connections, each user's and all together. It queues a user's
// attempts behind that user's only.
type pool struct {
	all chan struct{}

	mu    sync.Mutex
	users map[string]*line
}

// line is one user's places. It is forgotten when nobody uses it.
type line struct {
	places chan struct{}
	users  int // goroutines that hold or wait
}

func newPool() *pool {
	return &pool{all: make(chan struct{}, maxConnections), users: make(map[string]*line)}
}

// take waits for a place; done gives it back.
func (p *pool) take(ctx context.Context, user string) (done func(), err error) {
	l := p.join(user)
	if err := enter(ctx, l.places); err != nil {
		p.part(user, l)
		return nil, err
	}
	if err := enter(ctx, p.all); err != nil {
		<-l.places
		p.part(user, l)
		return nil, err
	}
	return func() {
		<-p.all
		<-l.places
		p.part(user, l)
	}, nil
}

func enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) join(user string) *line {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.users[user]
	if l == nil {
		l = &line{places: make(chan struct{}, maxPerUser)}
		p.users[user] = l
	}
	l.users++
	return l
}

func (p *pool) part(user string, l *line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(p.users, user)
	}
}
