package dns

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	mdns "github.com/miekg/dns"
	"golang.org/x/sync/singleflight"

	"sekisho/internal/clock"
)

// Options say whom a Resolver asks and how. Only Clock and Log are needed.
type Options struct {
	// Servers are addresses, with or without port, asked in this order. Empty
	// means the servers, search list and options of ResolvConf.
	Servers    []string
	ResolvConf string // "/etc/resolv.conf" when empty
	HostsFile  string // "/etc/hosts" when empty
	// Timeout is how long the first server may take and Attempts how many
	// rounds there are; 0 means glibc's 5 s and 2, or what ResolvConf says.
	Timeout  time.Duration
	Attempts int
	Clock    clock.Clock
	Log      *slog.Logger
}

// probeTimeout is how long a server that missed a question may take to show
// that it is there.
const probeTimeout = 2 * time.Second

// Resolver asks DNS servers, and remembers what they said as long as they
// allow it. It is safe for concurrent use; any number of questions may be
// under way, equal ones are asked once.
type Resolver struct {
	*System
	servers  []*server
	timeout  time.Duration
	attempts int
	clock    clock.Clock
	log      *slog.Logger
	cache    cache
	flights  singleflight.Group
	ctx      context.Context // of all questions under way; ends with Close
	stop     context.CancelFunc
	mu       sync.Mutex // of closed, and of wg's first steps
	closed   bool
	wg       sync.WaitGroup
}

// server is one name server and whether it answered last time.
type server struct {
	addr    string
	silent  atomic.Bool
	probing atomic.Bool
}

// New returns a resolver. It fails when there is no server to ask or
// ResolvConf cannot be read.
func New(o Options) (*Resolver, error) {
	conf := mdns.ClientConfig{Ndots: 1, Timeout: 5, Attempts: 2}
	if len(o.Servers) == 0 {
		path := o.ResolvConf
		if path == "" {
			path = "/etc/resolv.conf"
		}
		c, err := mdns.ClientConfigFromFile(path)
		if err != nil {
			return nil, fmt.Errorf("dns: cannot read the list of name servers: %w", err)
		}
		conf = *c
		for _, s := range conf.Servers {
			o.Servers = append(o.Servers, net.JoinHostPort(s, conf.Port))
		}
		if len(o.Servers) == 0 {
			o.Servers = []string{"127.0.0.1:53"} // resolv.conf(5)
		}
	}
	r := &Resolver{
		timeout:  time.Duration(conf.Timeout) * time.Second,
		attempts: conf.Attempts,
		clock:    o.Clock,
		log:      o.Log,
	}
	if o.Timeout > 0 {
		r.timeout = o.Timeout
	}
	if o.Attempts > 0 {
		r.attempts = o.Attempts
	}
	for _, s := range o.Servers {
		addr, err := serverAddr(s)
		if err != nil {
			return nil, err
		}
		r.servers = append(r.servers, &server{addr: addr})
	}
	hosts := o.HostsFile
	if hosts == "" {
		hosts = "/etc/hosts"
	}
	r.System = NewSystem(r.Query, hosts)
	r.search, r.ndots, r.Route = conf.Search, conf.Ndots, route
	r.ctx, r.stop = context.WithCancel(context.Background())
	return r, nil
}

// serverAddr checks the address of a name server and adds the port that goes
// without saying.
func serverAddr(s string) (string, error) {
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.AddrPortFrom(a, 53).String(), nil
	}
	a, err := netip.ParseAddrPort(s)
	if err != nil {
		return "", fmt.Errorf("dns: name server %q is neither ADDRESS nor ADDRESS:PORT", s)
	}
	return a.String(), nil
}

// Close gives up on the questions under way and waits for them to end. No
// question may be asked after it.
func (r *Resolver) Close() {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.stop()
	r.wg.Wait()
}

// begin counts a question that Close has to wait for; after Close there is
// none. The asker may be gone by the time its question begins.
func (r *Resolver) begin() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.wg.Add(1)
	}
	return !r.closed
}

// Query asks for the records of type typ ("A", "AAAA", "MX", "NS", "TXT",
// "PTR", "CNAME", "TLSA") of name, which has no final dot. When ctx ends first the
// answer is Timeout.
func (r *Resolver) Query(ctx context.Context, name, typ string) Answer {
	now := r.clock.Now()
	key := cacheKey{strings.ToLower(name), typ}
	if a, ok := r.cache.get(key, now); ok {
		return a
	}
	done := r.flights.DoChan(key.typ+" "+key.name, func() (any, error) {
		if !r.begin() {
			return failure(Timeout, name, typ), nil
		}
		defer r.wg.Done()
		start := r.clock.Now()
		a := Resolve(name, typ, r.ask)
		a.Asked, a.Took = start, r.clock.Now().Sub(start)
		if r.ctx.Err() == nil {
			r.cache.put(key, a, r.clock.Now())
		}
		return a, nil
	})
	select {
	case res := <-done:
		return res.Val.(Answer)
	case <-ctx.Done():
		a := failure(Timeout, name, typ)
		a.Asked, a.Took = now, r.clock.Now().Sub(now)
		return a
	}
}

// ask goes round the servers until one gives a usable reply, with glibc's
// timing: a server's time doubles with its place in the list and is shared
// among the servers from the second on.
func (r *Resolver) ask(name, typ string) Reply {
	worst := Reply{Outcome: Timeout}
	failed := make([]bool, len(r.servers))
	for range r.attempts {
		for i, s := range r.servers {
			if failed[i] || r.ctx.Err() != nil {
				continue
			}
			timeout := r.timeout << min(i, 10)
			if i > 0 {
				timeout /= time.Duration(len(r.servers))
			}
			reply, err := exchange(r.ctx, s.addr, name, typ, timeout)
			switch {
			case err == nil:
				r.heard(s)
			case unanswered(err):
				r.wg.Go(func() { r.missed(s, err) })
				continue
			default:
				r.heard(s)
				reply = Reply{Outcome: Malformed}
			}
			switch reply.Outcome {
			case Success, NXDomain, OtherError:
				return reply
			}
			failed[i], worst = true, reply
		}
	}
	return worst
}

// heard notes that s answers.
func (r *Resolver) heard(s *server) {
	if s.silent.Load() && s.silent.CompareAndSwap(true, false) {
		r.log.Info("DNS server " + s.addr + " answers again")
	}
}

// missed notes that s did not answer. One silent name is no silent server, so
// a question that every server can answer decides.
func (r *Resolver) missed(s *server, cause error) {
	if s.silent.Load() || !s.probing.CompareAndSwap(false, true) {
		return
	}
	defer s.probing.Store(false)
	_, err := exchange(r.ctx, s.addr, ".", "NS", min(r.timeout, probeTimeout))
	if err == nil || !unanswered(err) || r.ctx.Err() != nil || !s.silent.CompareAndSwap(false, true) {
		return
	}
	why := "no answer in time"
	if op := (*net.OpError)(nil); errors.As(cause, &op) && !op.Timeout() {
		why = op.Err.Error()
	}
	r.log.Warn("DNS server " + s.addr + " does not answer: " + why)
}
