// Package sqldb connects to MySQL, MariaDB and PostgreSQL servers as
// mysql_table(5) and pgsql_table(5) describe them: a list of hosts of which any
// may answer, a user, a database, TLS. It keeps a pool of connections to each
// host, asks another host when one is down, and sorts errors: what a server
// says about a statement concerns that statement, only a lost or refused
// connection concerns the host.
//
// It knows no table and no query: what to ask is the caller's business.
package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"sekisho/internal/clock"
)

// The engines.
const (
	MySQL      = "mysql" // MySQL and MariaDB
	PostgreSQL = "pgsql"
)

const (
	connectTimeout = 5 * time.Second
	attemptTimeout = 10 * time.Second // one statement on one host
	// maxAttempts run at the same time on one host. PostgreSQL takes 100
	// connections unless told otherwise, and tables and accounts have a pool each.
	maxAttempts = 40
	// maxConnections leaves some for transactions, which go on after Do.
	maxConnections = maxAttempts + 4
	// probeInterval is how often hosts are tried that have failed when no
	// other answers.
	probeInterval = time.Second
)

// Servers are the hosts of one database. It is safe for concurrent use.
type Servers struct {
	settings Settings
	clock    clock.Clock
	hosts    []*Host
}

// Host is one server of several.
type Host struct {
	Name string // as in the list of hosts
	// DB is the pool of its connections.
	DB     *sql.DB
	engine string
	unix   bool
	slots  chan struct{} // one for each attempt

	mu     sync.Mutex
	stmts  map[string]*sql.Stmt
	failed time.Time // zero: it answers
	reason error
}

// Open prepares connections to the hosts but makes none: a database that is
// down makes lookups fail, not the start of the program. The error tells of
// settings that make no sense and of files that cannot be read.
func Open(s Settings, c clock.Clock) (*Servers, error) {
	all := &Servers{settings: s, clock: c}
	for _, name := range strings.Fields(s.Hosts) {
		target, err := s.target(name)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("hosts: %s: %w", name, err), all.Close())
		}
		db := sql.OpenDB(connector{target.Connector, name})
		db.SetMaxOpenConns(maxConnections)
		db.SetMaxIdleConns(maxConnections)
		db.SetConnMaxIdleTime(s.Idle)
		all.hosts = append(all.hosts, &Host{
			Name: name, DB: db, engine: s.Engine, unix: target.unix,
			slots: make(chan struct{}, maxAttempts), stmts: make(map[string]*sql.Stmt),
		})
	}
	return all, nil
}

// Close closes all connections.
func (s *Servers) Close() error {
	var errs []error
	for _, h := range s.hosts {
		errs = append(errs, h.DB.Close())
	}
	return errors.Join(errs...)
}

// Do runs f on a host that answers. Hosts are tried in random order, those
// behind Unix sockets first, until f returns an error that is not the host's
// fault, or none; so f may run more than once. A statement that takes too long
// on a host that answers otherwise is not the host's fault. A host that failed rests for
// the retry interval as long as another one answers; when none does, each is
// tried again after a second.
func (s *Servers) Do(ctx context.Context, f func(context.Context, *Host) error) error {
	var errs []error
	for h := range s.candidates {
		err := h.attempt(ctx, f)
		if ctx.Err() != nil {
			return err
		}
		if !hostFailed(err) || errors.Is(err, context.DeadlineExceeded) && h.alive(ctx) {
			h.answered()
			return err
		}
		if !full(err) {
			h.fail(s.clock.Now(), err)
		}
		errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
	}
	if errs == nil {
		for _, h := range s.hosts {
			errs = append(errs, h.resting())
		}
	}
	return &DownError{errs}
}

// DownError says of each host why it could not be asked.
type DownError struct{ Hosts []error }

// Error joins the reasons.
func (e *DownError) Error() string {
	var texts []string
	for _, err := range e.Hosts {
		texts = append(texts, err.Error())
	}
	return "no database server answers: " + strings.Join(texts, "; ")
}

// Unwrap returns the reasons.
func (e *DownError) Unwrap() []error { return e.Hosts }

// candidates yields the hosts in the order to try them.
func (s *Servers) candidates(yield func(*Host) bool) {
	order := rand.Perm(len(s.hosts))
	tried := make([]bool, len(s.hosts))
	for _, unix := range []bool{true, false} {
		for _, i := range order {
			if h := s.hosts[i]; h.unix == unix && h.due(s.clock.Now(), s.settings.Retry) {
				tried[i] = true
				if !yield(h) {
					return
				}
			}
		}
	}
	for _, i := range order {
		if h := s.hosts[i]; !tried[i] && h.due(s.clock.Now(), probeInterval) && !yield(h) {
			return
		}
	}
}

// due reports whether the host may be tried: it has not failed, or that was a
// while ago. Of several callers one gets to try a failed host.
func (h *Host) due(now time.Time, rest time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed.IsZero() {
		return true
	}
	if now.Sub(h.failed) < rest {
		return false
	}
	h.failed = now
	return true
}

func (h *Host) fail(now time.Time, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed, h.reason = now, err
}

func (h *Host) answered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.failed = time.Time{}
}

func (h *Host) resting() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Errorf("%s: %w", h.Name, h.reason)
}

// alive tells whether a host answers on which a statement took too long.
func (h *Host) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return h.DB.PingContext(ctx) == nil
}

// attempt runs f, and once more on a new connection when the one it had turned
// out to be dead or to remember tables that have changed since.
func (h *Host) attempt(ctx context.Context, f func(context.Context, *Host) error) error {
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout) // begins when it is our turn
	defer cancel()
	err := f(ctx, h)
	var refused *ConnectError
	if ctx.Err() != nil || errors.As(err, &refused) || !hostFailed(err) && !stale(err) {
		return err
	}
	h.DB.SetMaxIdleConns(0) // closes those that wait
	h.DB.SetMaxIdleConns(maxConnections)
	return f(ctx, h)
}

// ConnectError is a connection that could not be made: the host is down, the
// login was refused, the database does not exist.
type ConnectError struct{ Err error }

// Error returns "cannot connect: ...".
func (e *ConnectError) Error() string { return "cannot connect: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ConnectError) Unwrap() error { return e.Err }

// connector marks errors of connecting.
type connector struct {
	driver.Connector
	name string
}

// Connect implements driver.Connector.
func (c connector) Connect(ctx context.Context) (driver.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, &ConnectError{err}
	}
	return conn, nil
}
