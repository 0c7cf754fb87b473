package main

import (
	"context"
	"fmt"
	"time"
)

// ending is where the messages of an accept measurement go, and how to know
// that all have got there.
type ending struct {
	name     string // in the name of the measure
	figure   string
	settings string // added to main.cf
	to       func(i int) string
	// arrived returns how many have arrived since the last call of reset.
	arrived func() (int, error)
	reset   func() error
}

// load is what an accept measurement sends.
type load struct {
	measure  string
	sessions int
	messages int
	each     int // messages in a connection
	end      ending
}

// accepting are the measures of accepting mail: where it goes, and with "10"
// ten messages a connection instead of one.
var accepting = []string{"accept", "accept10", "sink", "sink10", "discard", "discard10"}

// accepted is the rate from the first connection to the last "250".
const accepted = "accepted and synced, messages/s"

// toMaildir has messages delivered to 20 mailboxes.
func toMaildir(s subject) ending {
	return ending{name: "accept", figure: "delivered to Maildir, messages/s", to: account,
		arrived: s.site().delivered, reset: s.site().clearMail}
}

// sunk is a recipient behind the sink.
func sunk(int) string { return "user@sink.test" }

// sinkCF relays mail to the next hop {sink}.
const sinkCF = `relay_domains = sink.test
relay_recipient_maps =
relay_transport = smtp:[127.0.0.1]:%d
smtp_tls_security_level = none
`

// toSink has messages relayed to a next hop.
func toSink(k *sink) ending {
	before := k.taken.Load()
	return ending{name: "sink", figure: "relayed to the sink, messages/s", to: sunk, settings: fmt.Sprintf(sinkCF, k.port()),
		arrived: func() (int, error) { return int(k.taken.Load() - before), nil },
		reset:   func() error { before = k.taken.Load(); return nil }}
}

// toNowhere has messages thrown away where they would be delivered: what is left
// is accepting alone.
func toNowhere(s subject) ending {
	log := &tail{path: s.site().log, mark: ": removed\n"}
	return ending{name: "discard", figure: "thrown away, messages/s", to: account, settings: "virtual_transport = discard:\n",
		arrived: log.lines, reset: log.reset}
}

// acceptSteps are the measurements of accepting mail.
func acceptSteps(p plan, k *sink, res *results) (steps []step) {
	endings := []func(subject) ending{toMaildir, func(subject) ending { return toSink(k) }, toNowhere}
	for i, measure := range accepting {
		if !p.what[measure] {
			continue
		}
		for _, n := range p.sessions {
			steps = append(steps, func(ctx context.Context, s subject) error {
				end := endings[i/2](s)
				l := load{measure, n, size(p.messages, n), []int{1, 10}[i%2], end}
				return running(ctx, s, end, func(s subject) error { return accept(ctx, s, l, res) })
			})
		}
	}
	return steps
}

// accept measures messages accepted, synced and delivered.
func accept(ctx context.Context, s subject, l load, res *results) error {
	if err := l.end.reset(); err != nil {
		return err
	}
	m, err := newMeter(s.root())
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := send(ctx, s, fmt.Sprintf("%s, %d sessions", l.measure, l.sessions), l)
	if err != nil {
		return err
	}
	if err := awaitArrived(ctx, l.messages, l.end.arrived); err != nil {
		return err
	}
	delivered := time.Since(began)
	used, share, err := m.read()
	if err != nil {
		return err
	}
	n := float64(l.messages)
	res.add(l.measure, l.sessions, accepted, s.name(), n/took.Seconds())
	res.add(l.measure, l.sessions, l.end.figure, s.name(), n/delivered.Seconds())
	res.add(l.measure, l.sessions, cpuPerMessage, s.name(), used/n*1000)
	res.add(l.measure, l.sessions, generatorShare, s.name(), share*100)
	return nil
}

// send sends messages over sessions at once, each a connection as often as the
// messages of one go into all, and returns how long it took until the last was
// acknowledged.
func send(ctx context.Context, s subject, what string, l load) (time.Duration, error) {
	body := message()
	connections := (l.messages + l.each - 1) / l.each
	return repeat(ctx, s.name()+": "+what, l.sessions, connections, func(i int) error {
		first := i * l.each
		return s.site().client().send(first, min(l.each, l.messages-first), body, l.end.to)
	})
}

// awaitArrived returns when n messages have arrived. It fails when none more
// came for two minutes, or too many.
func awaitArrived(ctx context.Context, n int, arrived func() (int, error)) error {
	best, deadline := -1, time.Time{}
	for {
		got, err := arrived()
		if err != nil || got == n {
			return err
		}
		if got > best {
			best, deadline = got, time.Now().Add(2*time.Minute)
		}
		if got > n || time.Now().After(deadline) {
			return fmt.Errorf("%d messages were acknowledged and %d delivered", n, got)
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
