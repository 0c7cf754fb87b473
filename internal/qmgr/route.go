package qmgr

import (
	"cmp"
	"slices"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// batch is recipients that go out in one delivery.
type batch struct {
	transport  string
	nexthop    string
	queue      string // the destination that concurrency is counted for, lower case
	indexes    []int  // in the envelope
	recipients []mail.Recipient

	// For the scheduler.
	job            *job
	flow           string // those of one sender share
	dest           *destination
	turn, laneTurn uint64
	serial         uint64
}

// route is where one recipient goes.
type route struct {
	transport, nexthop string
	address            string
	discard            bool // mail to our own bounces' sender
	index              int  // in the envelope
	queue              string
}

const (
	errorTransport = "error"
	retryTransport = "retry"
)

// batches resolves the recipients and groups those that can travel together.
func (j *job) batches(src evidence.Source, pending []int) []*batch {
	var list []*batch
	var last *batch
	for _, r := range j.routes(src, pending) {
		limit := j.m.sched.limitsOf(r.transport).Recipients
		if last == nil || last.transport != r.transport || last.queue != r.queue || last.nexthop != r.nexthop ||
			limit > 0 && len(last.indexes) == limit {
			last = &batch{transport: r.transport, nexthop: r.nexthop, queue: r.queue, job: j, flow: j.flow()}
			list = append(list, last)
		}
		to := j.env.Recipients[r.index]
		to.Address = r.address
		last.indexes = append(last.indexes, r.index)
		last.recipients = append(last.recipients, to)
	}
	return list
}

// routes finds the routes of recipients and sorts them as Postfix does, by
// transport, destination, domain and address. Recipients whose mail is thrown
// away are dealt with.
func (j *job) routes(src evidence.Source, pending []int) []route {
	var list []route
	for _, i := range pending {
		to := j.env.Recipients[i]
		r := j.m.route(src, j.env, to.Address)
		if r.discard {
			to.Address = r.address
			j.discarded(i, to)
			continue
		}
		r.index = i
		r.queue = strings.ToLower(j.m.destination(r, j.m.sched.limitsOf(r.transport).Recipients))
		list = append(list, r)
	}
	slices.SortStableFunc(list, func(a, b route) int {
		return cmp.Or(
			strings.Compare(a.transport, b.transport),
			strings.Compare(a.queue, b.queue),
			strings.Compare(a.domain(), b.domain()),
			strings.Compare(a.address, b.address))
	})
	return list
}

func (r route) domain() string {
	_, domain, _ := mail.SplitAddress(r.address)
	return strings.ToLower(domain)
}

// destination is what concurrency is counted for: the next hop, or the user
// there when a delivery takes one recipient only.
func (m *Manager) destination(r route, limit int) string {
	if limit != 1 || r.transport == errorTransport || r.transport == retryTransport {
		return r.nexthop
	}
	local, _, _ := mail.SplitAddress(r.address)
	return m.o.Resolver.StripExtension(local) + "@" + r.nexthop
}

// route finds out where a recipient goes (qmgr_message_resolve).
func (m *Manager) route(src evidence.Source, env *mail.Envelope, address string) route {
	var r route
	var class rewrite.Class
	switch {
	case env.Probe:
		r, class = m.resolve(m.o.Probes, src, env.Sender, address)
	case env.Filter != "":
		r = m.filtered(env.Filter, address)
	default:
		r, class = m.resolve(m.o.Resolver, src, env.Sender, address)
	}
	local, _, _ := mail.SplitAddress(r.address)
	switch {
	case r.address == "":
		r.transport, r.nexthop = errorTransport, "5.1.3 null recipient address"
	case class == rewrite.Local && strings.EqualFold(local, m.o.DoubleBounceSender):
		r.discard = true
	default:
		for _, t := range m.o.DeferTransports {
			if t == r.transport {
				r.transport, r.nexthop = retryTransport, "4.3.2 deferred transport"
			}
		}
		if env.Probe && m.tooManyProbes() {
			r.transport, r.nexthop = retryTransport, "4.3.2 Too many address verification requests"
		}
	}
	return r
}

func (m *Manager) resolve(by *rewrite.Resolver, src evidence.Source, sender, address string) (route, rewrite.Class) {
	res := by.Resolve(src, sender, address)
	for _, w := range res.Warnings {
		m.rewriteLog.Warn(w)
	}
	r := route{transport: res.Transport, nexthop: res.Nexthop, address: res.Recipient}
	if r.address == "" {
		r.address = address
	}
	switch {
	case res.Failed:
		r.transport, r.nexthop = retryTransport, "4.3.0 address resolver failure"
	case res.Invalid:
		r.transport, r.nexthop = errorTransport, "5.1.3 bad address syntax"
	}
	return r, res.Class
}

// filtered is the route of a message for a content filter.
func (m *Manager) filtered(filter, address string) route {
	transport, nexthop, _ := strings.Cut(filter, ":")
	if nexthop == "" {
		nexthop = m.o.DefaultFilterNexthop
	}
	if nexthop == "" {
		_, nexthop, _ = mail.SplitAddress(address)
	}
	if nexthop == "" {
		nexthop = m.o.Myhostname
	}
	return route{transport: transport, nexthop: nexthop, address: address}
}
