package dovecot

import (
	"context"
	"errors"
	"strings"
	"sync"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sasl"
)

const (
	// patience is how long the service may take, for a connection and for each
	// reply: Postfix's.
	patience = 10 * time.Second
	// renewal is how long a connection gets new exchanges. An authentication
	// process of before a reload of Dovecot ends when nobody uses it any more.
	renewal = time.Minute
)

// Backend asks one authentication service. It is safe for concurrent use.
type Backend struct {
	address address
	clock   clock.Clock
	ctx     context.Context // ends with Close
	stop    context.CancelFunc

	mu       sync.Mutex
	conn     *conn            // where exchanges begin; nil before the first
	attempt  *attempt         // to connect, if one is under way
	known    []sasl.Mechanism // of the last handshake
	everKnew bool
}

// attempt is a connection being made, for all who wait for one.
type attempt struct {
	done chan struct{}
	conn *conn
	err  error
}

// New returns the backend of the service at path, which is smtpd_sasl_path;
// socket paths are relative to dir, the queue_directory. It does not connect.
func New(path, dir string, c clock.Clock) *Backend {
	b := &Backend{address: parseAddress(path, dir), clock: c}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// Close ends the connection. Exchanges under way fail.
func (b *Backend) Close() error {
	b.stop()
	b.mu.Lock()
	c, a := b.conn, b.attempt
	b.mu.Unlock()
	if a != nil {
		<-a.done
		c = a.conn
	}
	if c != nil {
		c.fail()
	}
	return nil
}

// Socket is where the service is looked for: an absolute path, or host:port.
func (b *Backend) Socket() string { return b.address.addr }

// Connect makes the connection if there is none. The error says why there can be
// none, in Postfix's words.
func (b *Backend) Connect(ctx context.Context) error {
	_, err := b.connection(ctx)
	return err
}

// Mechanisms returns what the service offers, or offered when it was last there.
// When that is not known yet, an error comes with a guess.
func (b *Backend) Mechanisms(bool) ([]sasl.Mechanism, error) {
	b.mu.Lock()
	known, ever := b.known, b.everKnew
	if ever && !b.fresh() {
		b.connect()
	}
	b.mu.Unlock()
	if ever {
		return known, nil
	}
	c, err := b.connection(b.ctx)
	if err != nil {
		return []sasl.Mechanism{{Name: "PLAIN", Plaintext: true}, {Name: "LOGIN", Plaintext: true}}, err
	}
	return c.mechanisms, nil
}

// fresh reports whether the connection can be used and need not be renewed.
func (b *Backend) fresh() bool {
	return b.conn.fit() && b.clock.Now().Sub(b.conn.born) < renewal
}

// connection returns the connection for a new exchange.
func (b *Backend) connection(ctx context.Context) (*conn, error) {
	b.mu.Lock()
	if b.fresh() {
		defer b.mu.Unlock()
		return b.conn, nil
	}
	a := b.connect()
	b.mu.Unlock()
	select {
	case <-a.done:
		return a.conn, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// connect begins an attempt, or returns the one under way. The caller has locked
// b.
func (b *Backend) connect() *attempt {
	if b.attempt == nil {
		b.attempt = &attempt{done: make(chan struct{})}
		go b.try(b.attempt)
	}
	return b.attempt
}

func (b *Backend) try(a *attempt) {
	limit, cancel := b.limit(b.ctx)
	defer cancel()
	c, err := open(limit, b.address, b.clock.Now())
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case err == nil:
		if b.conn != nil {
			b.conn.retire()
		}
		b.conn, b.known, b.everKnew = c, c.mechanisms, true
	case b.conn.fit(): // better an old one than none
		c, err = b.conn, nil
		c.born = b.clock.Now()
	}
	a.conn, a.err, b.attempt = c, err, nil
	close(a.done)
}

// limit is a context that ends when the service has had its time.
func (b *Backend) limit(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	go func() {
		if b.clock.Sleep(ctx, patience) == nil {
			cancel(syscall.ETIMEDOUT)
		}
	}()
	return ctx, func() { cancel(nil) }
}

// plain reduces a network error to what went wrong, in the words of the C
// library: "Connection refused".
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	var number syscall.Errno
	if !errors.As(err, &number) {
		return err
	}
	return systemError{number}
}

// systemError is an error number with the C library's capital letter.
type systemError struct{ syscall.Errno }

func (e systemError) Error() string {
	text := e.Errno.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// Unwrap makes the number known to errors.Is.
func (e systemError) Unwrap() error { return e.Errno }
