package qmgr

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// batch is recipients that go out in one delivery.
type batch struct {
	transport  string
	nexthop    string
	queue      string // the destination that concurrency is counted for
	indexes    []int  // in the envelope
	recipients []mail.Recipient
}

// route is where one recipient goes.
type route struct {
	transport, nexthop string
	address            string
	discard            bool // mail to our own bounces' sender
}

const (
	errorTransport = "error"
	retryTransport = "retry"
)

// batches resolves the recipients and groups those that can travel together,
// in the order of the envelope.
func (j *job) batches(src evidence.Source, pending []int) []*batch {
	var list []*batch
	open := map[[3]string]*batch{}
	for _, i := range pending {
		to := j.env.Recipients[i]
		r := j.m.route(src, j.env, to.Address)
		to.Address = r.address
		if r.discard {
			j.discarded(i, to)
			continue
		}
		limit := j.m.o.Limits(r.transport).Recipients
		key := [3]string{r.transport, r.nexthop, j.m.destination(r, limit)}
		b := open[key]
		if b == nil || limit > 0 && len(b.indexes) == limit {
			b = &batch{transport: r.transport, nexthop: r.nexthop, queue: strings.ToLower(key[2])}
			open[key] = b
			list = append(list, b)
		}
		b.indexes = append(b.indexes, i)
		b.recipients = append(b.recipients, to)
	}
	return list
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
	if env.Filter != "" {
		r = m.filtered(env.Filter, address)
	} else {
		r, class = m.resolve(src, env.Sender, address)
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
	}
	return r
}

func (m *Manager) resolve(src evidence.Source, sender, address string) (route, rewrite.Class) {
	res := m.o.Resolver.Resolve(src, sender, address)
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
