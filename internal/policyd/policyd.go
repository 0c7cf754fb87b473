// Package policyd asks policy services, such as greylisting daemons, what to do
// with a client: it keeps connections to them, sends a request, reads the reply,
// tries again, and says in Postfix's words what went wrong. What is in a request
// and what an action means is restrict's business. SMTPD_POLICY_README.
package policyd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"syscall"

	"sekisho/internal/clock"
	"sekisho/internal/evidence"
	"sekisho/internal/restrict"
)

// Options are what Clients work with.
type Options struct {
	// Dir is what paths of sockets are relative to: queue_directory.
	Dir string
	// Limit is how many connections one service has at a time; who comes then
	// waits. A policy service is made for no more than default_process_limit
	// servers. 0 is no limit.
	Limit int
	Clock clock.Clock
}

// Clients are the policy services of one smtpd service. They are safe for
// concurrent use.
type Clients struct {
	clients map[string]*client
}

// New returns clients for services by their names. It does not connect.
func New(services map[string]restrict.PolicyService, o Options) *Clients {
	c := &Clients{clients: make(map[string]*client, len(services))}
	for name, s := range services {
		c.clients[name] = newClient(s, o)
	}
	return c
}

// Ask sends a request to a service and returns the action it answers with. When
// there is none, the answer is Failed, with the reason and the warnings that
// Postfix logs. It returns early when ctx ends.
func (c *Clients) Ask(ctx context.Context, service, request string) evidence.Answer {
	cl := c.clients[service]
	if cl == nil {
		return evidence.Answer{Status: evidence.Failed, Reason: "no such policy service: " + service}
	}
	begun := cl.clock.Now()
	a := cl.ask(ctx, request)
	a.Asked, a.Took = begun, cl.clock.Now().Sub(begun)
	return a
}

// Close closes the connections that nobody uses; the others are closed by
// whoever uses them.
func (c *Clients) Close() error {
	for _, cl := range c.clients {
		cl.close()
	}
	return nil
}

// client is one service.
type client struct {
	restrict.PolicyService
	network, addr string // as net.Dial takes them
	clock         clock.Clock
	slots         chan struct{} // one for each connection; nil: no limit

	mu     sync.Mutex
	idle   []*conn // the last one was used last
	closed bool
}

func newClient(s restrict.PolicyService, o Options) *client {
	c := &client{PolicyService: s, clock: o.Clock}
	c.network, c.addr = address(s.Transport, s.Endpoint, o.Dir)
	if o.Limit > 0 {
		c.slots = make(chan struct{}, o.Limit)
	}
	return c
}

func (c *client) ask(ctx context.Context, request string) evidence.Answer {
	if c.slots != nil {
		select {
		case c.slots <- struct{}{}:
			defer func() { <-c.slots }()
		case <-ctx.Done():
			return evidence.Answer{Status: evidence.Failed, Reason: ctx.Err().Error()}
		}
	}
	var warnings []string
	for count := 1; ; count++ {
		action, err := c.try(ctx, request)
		if err == nil {
			return evidence.Answer{Status: evidence.Found, Value: action, Warnings: warnings}
		}
		var t *trouble
		if errors.As(err, &t) {
			warnings = append(warnings, t.warnings...)
		}
		last := count >= c.TryLimit
		if last || noteworthy(err) {
			warnings = append(warnings, "problem talking to server "+c.Endpoint+": "+reason(err))
		}
		if !last {
			err = errors.Join(err, c.clock.Sleep(ctx, c.RetryDelay))
			last = ctx.Err() != nil
		}
		if last {
			return evidence.Answer{Status: evidence.Failed, Reason: c.Endpoint + ": " + err.Error(), Warnings: warnings}
		}
	}
}

// trouble is a failure that is logged before it is reason to try again.
type trouble struct {
	warnings []string // at least one
	err      error    // the operating system's; nil: it has no complaint
}

func (t *trouble) Error() string {
	if t.err == nil {
		return t.warnings[0]
	}
	return t.warnings[0] + ": " + t.err.Error()
}

// Unwrap returns the operating system's error.
func (t *trouble) Unwrap() error { return t.err }

// errClosed says that the service has closed the connection instead of
// answering, as services do that have had enough of it.
var errClosed = errors.New("connection closed without an answer")

// noteworthy reports whether an attempt is logged although there will be
// another: not if the service was merely restarted or hung up.
func noteworthy(err error) bool {
	n, ok := number(err)
	return ok && n != syscall.EPIPE && n != syscall.ENOENT && n != syscall.ECONNRESET
}

// number is the operating system's error number in err.
func number(err error) (n syscall.Errno, ok bool) {
	if timedOut(err) {
		return syscall.ETIMEDOUT, true
	}
	ok = errors.As(err, &n)
	return n, ok
}

func timedOut(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// reason is what the C library says of an error; where the operating system has
// nothing to say Postfix says "Application error".
func reason(err error) string {
	n, ok := number(err)
	if !ok {
		n = 0
	}
	switch text := n.Error(); n {
	case 0:
		return "Application error"
	default:
		return strings.ToUpper(text[:1]) + text[1:]
	}
}

// connectTrouble is a connection that was not made. A host that is not there is
// as good as an address that cannot be used.
func (c *client) connectTrouble(err error) error {
	t := &trouble{err: err}
	var lookup *net.DNSError
	if errors.As(err, &lookup) {
		why := "Name or service not known"
		if !lookup.IsNotFound {
			why = "Temporary failure in name resolution"
		}
		t.err = syscall.EADDRNOTAVAIL
		t.warnings = append(t.warnings, fmt.Sprintf("host or service %s not found: %s", c.Endpoint, why))
	}
	t.warnings = append(t.warnings, fmt.Sprintf("connect to %s: %s", c.Endpoint, reason(t.err)))
	return t
}
