package smtp

import (
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mtasts"
	"sekisho/internal/rewrite"
)

// Agent is the delivery agent. It is safe for concurrent use. Close ends the
// connections that it keeps.
type Agent struct {
	Settings
	Name  string // of the service, in master.cf
	Flags Flags  // what master.cf wants added to the message
	// Chroot: the service's paths begin in the queue directory, absolute ones too.
	Chroot bool
	World  *evidence.World
	// Resolver knows the site's addresses, for smtp_generic_maps and for passwords
	// by sender.
	Resolver *rewrite.Resolver
	// STS knows the policies that domains have on the web, whose hosts' certificates
	// STSRoots have signed; nil: they are not asked for. Reports takes the results of
	// TLS sessions; nil: nobody does.
	STS      *mtasts.Cache
	STSRoots *x509.CertPool
	Reports  Reporter
	// OwnAddresses are those of inet_interfaces and proxy_interfaces: mail that
	// would go there loops.
	OwnAddresses []string
	Clock        clock.Clock
	Log          *slog.Logger // as postfix/smtp

	pool     pool
	refusals refusals // of passwords
}

// Deliver tries the hosts of the next hop until every recipient has an answer
// that another host would not change (smtp_connect.c).
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	d := &delivery{a: a, r: r, ctx: ctx, results: make([]*deliver.Result, len(r.Recipients)), usedHosts: make(map[string]bool)}
	if problem := a.refuse(r); problem != nil {
		return r.All(*problem)
	}
	if err := d.mapAddresses(); err != nil {
		a.Log.Warn(fmt.Sprintf("%s: %v", r.QueueID, err))
		return r.Defer("4.3.0", "none", "local data error")
	}
	d.tlsNotRequired = d.saysNotRequired()
	dest := strings.ToLower(r.Nexthop)
	d.loadOnDemand, d.storeOnDemand = a.pool.begin(dest, a.Clock.Now())
	defer func() { a.pool.end(dest, a.Clock.Now(), r.More != nil && r.More()) }()
	if path, ok := strings.CutPrefix(r.Nexthop, "unix:"); ok && a.LMTP {
		d.trySocket(ctx, path)
	} else {
		d.trySites(ctx)
	}
	out := make([]deliver.Result, len(d.results))
	for i, result := range d.results {
		out[i] = *result
		out[i].Down = d.down && result.Status == deliver.Deferred
	}
	return out
}

// trySites goes through the destinations of the next hop and then the fallback
// relays.
func (d *delivery) trySites(ctx context.Context) {
	nexthop := d.r.Nexthop
	if d.a.LMTP {
		nexthop = strings.TrimPrefix(nexthop, "inet:")
	}
	sites := strings.FieldsFunc(nexthop, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) })
	own := len(sites)
	if own == 0 {
		d.a.Log.Error("null destination: \"" + d.r.Nexthop + "\"")
		d.why = trouble{dsn: "4.3.5", text: "Server configuration error"}
	} else {
		sites = append(sites, d.a.Fallback...)
	}
	for i, site := range sites {
		d.fallback = i >= own
		d.lastSite = d.lastSite || i == len(sites)-1
		d.trySite(ctx, site, i == 0)
		if len(d.left()) == 0 || d.lastSite {
			break
		}
	}
	if len(d.left()) > 0 {
		d.giveUp(sites)
	}
}

// trouble is why something failed, as the log and a notification say it.
type trouble struct {
	dsn  string
	text string
	mta  string // host that said so
	diag string // what it said
}

func (t trouble) soft() bool { return strings.HasPrefix(t.dsn, "4") }

// delivery is one Request under way.
type delivery struct {
	a       *Agent
	r       *deliver.Request
	ctx     context.Context
	results []*deliver.Result // nil: still to be delivered
	why     trouble           // latest reason for not delivering

	site     string // the destination tried, as it is written
	domain   string // of it
	mx       *exchange
	fallback bool // this is one of smtp_fallback_relay
	lastSite bool // no other next hop is left
	lastHost bool // no other host is left
	down     bool // the next hop is in trouble, not only these recipients

	loadOnDemand, storeOnDemand bool            // the destination is busy
	load, store                 bool            // use connections that were kept, keep them
	named                       bool            // the next session is kept for the next hop
	usedHosts                   map[string]bool // addresses of kept connections that were used

	connected time.Time // when the host was ready for the message; zero: it is not
	uses      int       // of the connection, when there were others

	addresses map[string]string // what smtp_generic_maps makes of those of the envelope

	requireTLS     requireTLS
	reportTo       string // TLSRPT record of the domain; empty: no reports
	tlsNotRequired bool   // the message has "TLS-Required: no"

	utf8 *bool // the message needs SMTPUTF8; nil: not looked yet
}

// left are the recipients without a result.
func (d *delivery) left() []int {
	var list []int
	for i, r := range d.results {
		if r == nil {
			list = append(list, i)
		}
	}
	return list
}

// trySite tries the hosts of one destination.
func (d *delivery) trySite(ctx context.Context, site string, first bool) {
	d.why = trouble{}
	domain, port, err := parseDestination(site, d.a.Port)
	if err != nil {
		d.why = trouble{dsn: "4.3.5", text: err.Error()}
		return
	}
	d.site, d.domain = site, domain
	d.requireTLS = d.requiresTLS(domain)
	d.beginReports(ctx, domain)
	if port == 465 && !d.a.WrapperMode {
		name := params{lmtp: d.a.LMTP}.name
		d.a.Log.Info(fmt.Sprintf("SMTPS wrappermode (TCP port 465) requires setting \"%s = yes\", and \"%s = encrypt\" (or stronger)",
			name("smtp_tls_wrappermode"), name("smtp_tls_security_level")))
	}
	l := &lookup{a: d.a, ctx: ctx, detectLoops: port == 25 && !d.a.LMTP}
	var hosts []host
	if d.a.LMTP || !d.a.DNS || strings.HasPrefix(site, "[") {
		hosts = l.host(domain)
	} else {
		hosts = l.domain(domain)
	}
	d.why = l.why
	if l.foundMyself || d.why.dsn == "5.4.6" {
		d.lastSite = true
	}
	if first && len(hosts) > 0 {
		d.policy(domain)
	}
	d.mx = l.mx
	d.tryHosts(ctx, hosts, port, l.detectLoops)
}

// tryHosts goes through the hosts until nobody is left: first through those
// with a connection that was kept, then through all in order. A host where TLS
// fails is tried again without, if that is allowed.
func (d *delivery) tryHosts(ctx context.Context, hosts []host, port int, detectLoops bool) {
	t := &tour{delivery: d, ctx: ctx, hosts: hosts, port: port, detectLoops: detectLoops}
	if len(hosts) == 0 {
		return
	}
	t.best = hosts[0].pref
	if d.load {
		t.hosts = slices.DeleteFunc(slices.Clone(hosts), func(h host) bool { return d.usedHosts[h.addr] })
		t.reused()
		t.addresses = t.sessions
	}
	plain := false
	for i := 0; i < len(t.hosts) && len(d.left()) > 0 && ctx.Err() == nil; i++ {
		t.addresses++
		last := i == len(t.hosts)-1 || t.addresses == d.a.AddressLimit
		switch end := t.try(t.hosts[i], last, plain); {
		case end == retryPlain:
			plain = true
			t.addresses--
			i--
			continue
		case end == transferred:
			if t.sessions++; t.sessions == d.a.SessionLimit {
				return
			}
		}
		plain = false
		if last {
			return
		}
	}
}

// tour is the way through the hosts of one destination.
type tour struct {
	*delivery
	ctx         context.Context
	hosts       []host
	port        int
	detectLoops bool
	best        uint16 // preference of the first host
	addresses   int    // tried
	sessions    int    // that came to a transaction
}

// try delivers to one host. last: no other host of this destination will be
// tried.
func (t *tour) try(h host, last, plain bool) end {
	d := t.delivery
	policy, refused := d.tlsPolicy(t.ctx, h, t.port)
	if refused.dsn != "" {
		d.why = refused
		d.a.Log.Warn(fmt.Sprintf("TLS policy lookup for %s/%s: %s", d.site, h.name, refused.text))
		return unusable
	}
	if d.a.WrapperMode && policy.level < TLSEncrypt {
		name := params{lmtp: d.a.LMTP}.name
		d.a.Log.Warn(fmt.Sprintf("%s requires \"%s = encrypt\" (or stronger)", name("smtp_tls_wrappermode"), name("smtp_tls_security_level")))
		return unusable
	}
	if !d.allowsHost(policy, h.name) {
		return unusable
	}
	if plain {
		policy = &tlsPolicy{level: TLSNone}
	}
	s := t.session(h, policy)
	d.lastHost = d.lastSite && last
	if d.load && h.pref != t.best {
		if kept := t.kept(s); kept != nil {
			return kept.deliver(t.lastSession())
		}
	}
	return s.run(t.lastSession())
}

// lastSession: after one more transaction no other host is tried.
func (t *tour) lastSession() bool { return t.sessions+1 == t.a.SessionLimit }

func (t *tour) session(h host, policy *tlsPolicy) *session {
	return &session{d: t.delivery, ctx: t.ctx, host: h, port: t.port, tls: policy,
		bestMX: h.pref == t.best, detectLoops: t.detectLoops}
}

// kept returns a connection to the host of s that was kept, nil if there is
// none that works.
func (t *tour) kept(s *session) *session {
	for {
		kept := t.a.pool.byHost(s.key(), t.a.Clock.Now())
		if kept == nil || t.reuse(t.ctx, kept) {
			return kept
		}
	}
}

// reused delivers by connections that were kept: one that was left for the next
// hop, then those to the best hosts (smtp_reuse_session).
func (t *tour) reused() {
	if len(t.hosts) == 0 || len(t.left()) == 0 {
		return
	}
	if t.named {
		for s := t.a.pool.byDest(t.destKey(), t.a.Clock.Now()); s != nil; s = t.a.pool.byDest(t.destKey(), t.a.Clock.Now()) {
			if t.reuse(t.ctx, s) {
				t.use(s)
				break
			}
		}
	}
	for _, h := range slices.Clone(t.hosts) {
		if len(t.left()) == 0 || len(t.hosts) == 0 || h.pref != t.best {
			return
		}
		if !slices.Contains(t.hosts, h) {
			continue
		}
		policy, refused := t.tlsPolicy(t.ctx, h, t.port)
		if refused.dsn != "" {
			t.why = refused
			t.a.Log.Warn(fmt.Sprintf("TLS policy lookup error for %s/%s: %s", t.site, h.name, refused.text))
			continue
		}
		if s := t.kept(t.session(h, policy)); s != nil {
			t.use(s)
		}
	}
}

// use delivers by a connection that was kept, to a host that is then done.
func (t *tour) use(s *session) {
	t.sessions++
	if t.sessions == t.a.SessionLimit || t.sessions == t.a.AddressLimit {
		t.hosts = nil
	} else {
		t.hosts = slices.DeleteFunc(t.hosts, func(h host) bool { return h.addr == s.host.addr })
	}
	t.lastHost = t.lastSite && len(t.hosts) == 0
	s.deliver(false)
}

// fail gives a reason why the recipients left over did not get the message on
// this host. A temporary one is only logged as long as there are other hosts.
func (d *delivery) fail(relay string, recipients []int, t trouble) {
	if t.mta != "" && !strings.HasPrefix(t.dsn, "4") && !strings.HasPrefix(t.dsn, "5") {
		t.dsn, t.text = "5.5.0", "Protocol error: "+t.text
	}
	d.why = t
	if (t.soft() || d.a.SoftBounce && strings.HasPrefix(t.dsn, "5")) && !d.lastHost {
		d.a.Log.Info(d.r.QueueID + ": " + t.text)
		return
	}
	for _, i := range recipients {
		d.set(i, relay, t)
	}
}

// hostFailed takes down that it was a host that did not work: the last one, or
// the delivery goes on with the next.
func (d *delivery) hostFailed(t trouble) { d.down = d.down || d.lastHost && t.soft() }

func (d *delivery) set(i int, relay string, t trouble) {
	r := &deliver.Result{
		Recipient: i, Status: deliver.Bounced, DSN: t.dsn, Text: t.text, Relay: relay,
		RemoteMTA: t.mta, Diagnostic: t.diag, Connected: d.connected, Uses: d.uses,
	}
	if r.Connected.IsZero() {
		r.Connected = d.a.Clock.Now()
	}
	if t.soft() {
		r.Status = deliver.Deferred
	}
	d.finish(r)
}

// finish settles a recipient.
func (d *delivery) finish(r *deliver.Result) {
	deliver.StatusFilter{
		Param: params{lmtp: d.a.LMTP}.name("smtp_delivery_status_filter"), Tables: d.a.StatusFilter, Lookup: d.a.World.Lookup, Log: d.a.Log,
	}.Edit(r)
	d.results[r.Recipient] = r
}

// giveUp settles the recipients that no host has answered for. What looks like
// a mistake in our own configuration is temporary.
func (d *delivery) giveUp(sites []string) {
	switch {
	case d.why.dsn == "":
		d.why = trouble{dsn: "4.3.0", text: "server unavailable or unable to receive mail"}
	case d.why.soft():
	case d.fallback:
		d.a.Log.Warn("smtp_fallback_relay configuration problem")
		d.why.dsn = "4.3.5"
	case !d.a.LMTP && len(sites) > 0 && sites[0] == d.a.Relayhost:
		d.a.Log.Warn("relayhost configuration problem")
		d.why.dsn = "4.3.5"
	}
	d.down = d.down || d.why.soft()
	for _, i := range d.left() {
		d.set(i, "none", d.why)
	}
}

// parseDestination reads a next hop: domain, host:port, [host], [host]:port, where host
// may be an address.
func parseDestination(site string, port int) (domain string, _ int, err error) {
	domain, service := site, ""
	if strings.HasPrefix(site, "[") {
		inside, rest, ok := strings.Cut(site[1:], "]")
		if !ok || rest != "" && rest[0] != ':' {
			return "", 0, fmt.Errorf("malformed destination: %s", site)
		}
		domain, service = inside, strings.TrimPrefix(rest, ":")
		if v6, ok := strings.CutPrefix(strings.ToLower(domain), "ipv6:"); ok && net.ParseIP(v6) != nil {
			domain = v6
		}
	} else if i := strings.LastIndexByte(site, ':'); i >= 0 {
		domain, service = site[:i], site[i+1:]
	}
	if service != "" {
		port, err = portNumber(service)
	}
	return domain, port, err
}

// relay names a host as the log's relay= does; a socket has no port.
func (s *session) relay() string {
	if s.port == 0 {
		return s.name()
	}
	return s.name() + ":" + strconv.Itoa(s.port)
}

// name names a host as reasons do.
func (s *session) name() string { return s.host.name + "[" + s.host.addr + "]" }
