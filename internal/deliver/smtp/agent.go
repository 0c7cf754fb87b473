package smtp

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"strings"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
)

// Agent is the delivery agent. It is safe for concurrent use.
type Agent struct {
	Settings
	Name  string // of the service, in master.cf
	Flags Flags  // what master.cf wants added to the message
	// Chroot: the service's paths begin in the queue directory, absolute ones too.
	Chroot bool
	World  *evidence.World
	// OwnAddresses are those of inet_interfaces and proxy_interfaces: mail that
	// would go there loops.
	OwnAddresses []string
	Clock        clock.Clock
	Log          *slog.Logger // as postfix/smtp
}

// Deliver tries the hosts of the next hop until every recipient has an answer
// that another host would not change (smtp_connect.c).
func (a *Agent) Deliver(ctx context.Context, r *deliver.Request) []deliver.Result {
	d := &delivery{a: a, r: r, results: make([]*deliver.Result, len(r.Recipients))}
	if problem := a.refuse(r); problem != nil {
		return r.All(*problem)
	}
	if path, ok := strings.CutPrefix(r.Nexthop, "unix:"); ok && a.LMTP {
		d.trySocket(ctx, path)
	} else {
		d.trySites(ctx)
	}
	out := make([]deliver.Result, len(d.results))
	for i, result := range d.results {
		out[i] = *result
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
		d.trySite(ctx, site)
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
	results []*deliver.Result // nil: still to be delivered
	why     trouble           // latest reason for not delivering

	fallback bool // this is one of smtp_fallback_relay
	lastSite bool // no other next hop is left
	lastHost bool // no other host is left
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
func (d *delivery) trySite(ctx context.Context, site string) {
	d.why = trouble{}
	domain, port, err := parseDestination(site, d.a.Port)
	if err != nil {
		d.why = trouble{dsn: "4.3.5", text: err.Error()}
		return
	}
	l := &lookup{a: d.a, ctx: ctx, detectLoops: port == 25 && !d.a.LMTP}
	var hosts []host
	if d.a.LMTP || strings.HasPrefix(site, "[") {
		hosts = l.host(domain)
	} else {
		hosts = l.domain(domain)
	}
	d.why = l.why
	if l.foundMyself || d.why.dsn == "5.4.6" {
		d.lastSite = true
	}
	d.tryHosts(ctx, hosts, port, l.detectLoops)
}

// tryHosts goes through the hosts until nobody is left. A host where TLS
// fails is tried again without, if that is allowed.
func (d *delivery) tryHosts(ctx context.Context, hosts []host, port int, detectLoops bool) {
	if limit := d.a.AddressLimit; limit > 0 && len(hosts) > limit {
		hosts = hosts[:limit]
	}
	sessions := 0
	level := d.a.TLS
	for i := 0; i < len(hosts) && len(d.left()) > 0; i++ {
		last := i == len(hosts)-1
		d.lastHost = d.lastSite && last
		s := &session{d: d, ctx: ctx, host: hosts[i], port: port, level: level,
			bestMX: hosts[i].pref == hosts[0].pref, detectLoops: detectLoops}
		level = d.a.TLS
		switch s.run(sessions+1 == d.a.SessionLimit) {
		case retryPlain:
			level = TLSNone
			i--
		case transferred:
			if sessions++; sessions == d.a.SessionLimit {
				return
			}
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// fail gives a reason why the recipients left over did not get the message on
// this host. A temporary one is only logged as long as there are other hosts.
func (d *delivery) fail(relay string, recipients []int, t trouble) {
	if t.mta != "" && !strings.HasPrefix(t.dsn, "4") && !strings.HasPrefix(t.dsn, "5") {
		t.dsn, t.text = "5.5.0", "Protocol error: "+t.text
	}
	d.why = t
	if t.soft() && !d.lastHost {
		d.a.Log.Info(d.r.QueueID + ": " + t.text)
		return
	}
	for _, i := range recipients {
		d.set(i, relay, t)
	}
}

func (d *delivery) set(i int, relay string, t trouble) {
	r := &deliver.Result{
		Recipient: i, Status: deliver.Bounced, DSN: t.dsn, Text: t.text, Relay: relay,
		RemoteMTA: t.mta, Diagnostic: t.diag, Connected: d.a.Clock.Now(),
	}
	if t.soft() {
		r.Status = deliver.Deferred
	}
	d.results[i] = r
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
