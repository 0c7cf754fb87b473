package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// subject is a mail server to measure, with a site of its own.
type subject interface {
	name() string
	site() *site
	// start returns when the server accepts connections at its site's address.
	start() error
	// root is the process that all others of the server descend from.
	root() int
	// stop ends all processes.
	stop() error
}

// measureAll measures everything planned once, every server by turns.
func measureAll(ctx context.Context, p plan, dir string, subjects []subject, ways []way, res *results) error {
	if p.what["disk"] {
		for _, n := range p.sessions {
			rate, err := diskRate(ctx, dir, n, size(p.messages, n))
			if err != nil {
				return fmt.Errorf("disk: %w", err)
			}
			res.add("disk", n, "create and sync, files/s", "disk", rate)
		}
	}
	var steps []func(context.Context, subject) error
	steps = append(steps, acceptSteps(p, res)...)
	if p.what["refuse"] {
		steps = append(steps, refusals(p.attempts, res)...)
	}
	if p.what["idle"] {
		steps = append(steps, silences(p.idle, res)...)
	}
	for _, w := range ways {
		if w.name == slowWay {
			steps = append(steps, w.through(func(s subject) error { return slow(ctx, s, p.slow, res) }))
		} else {
			steps = append(steps, w.through(func(s subject) error { return auth(ctx, s, w.name, 10, p.logins, res) }))
		}
	}
	for _, step := range steps {
		for _, s := range subjects {
			if err := step(ctx, s); err != nil {
				return fmt.Errorf("%s: %w", s.name(), err)
			}
		}
	}
	return nil
}

// size is how many messages n sessions send: fewer sessions are slower.
func size(messages, n int) int {
	if n < 10 {
		return messages / 3
	}
	return messages
}

// running starts the server, warms it up by a few messages, runs step and ends
// the server whatever happened.
func running(ctx context.Context, s subject, step func(subject) error) (err error) {
	if err := s.start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.stop())
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, lastLines(s.site().log, 10))
		}
	}()
	const warmUp = 20
	if _, err := send(ctx, s, "warm up", 2, warmUp, 1); err != nil {
		return err
	}
	if err := s.site().awaitDelivered(ctx, warmUp); err != nil {
		return err
	}
	if err := s.site().clearMail(); err != nil {
		return err
	}
	return step(s)
}

// toSink has messages thrown away where they would be delivered, during step.
func toSink(s subject, step func(subject) error) (err error) {
	if err := s.site().configure("virtual_transport = discard:\n", ""); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop(), s.site().configure("", "")) }()
	if err := s.start(); err != nil {
		return err
	}
	return step(s)
}

// send sends messages over sessions at once, each a connection as often as the
// messages of one go into all, and returns how long it took until the last was
// acknowledged.
func send(ctx context.Context, s subject, what string, sessions, messages, each int) (time.Duration, error) {
	body := message()
	return repeat(ctx, s.name()+": "+what, sessions, messages/each, func(i int) error {
		return s.site().client().send(i*each, each, body)
	})
}

// load is what an accept measurement sends, and where to.
type load struct {
	measure  string // accept, sink, sink10
	sessions int
	messages int
	each     int // messages in a connection
	// await returns when all messages have left the queue.
	await func(context.Context, int) error
	left  string // what that is called
}

// accept measures messages accepted, synced and delivered.
func accept(ctx context.Context, s subject, l load, res *results) error {
	before, err := cpuSeconds(s.root())
	if err != nil {
		return err
	}
	began := time.Now()
	took, err := send(ctx, s, fmt.Sprintf("%s, %d sessions", l.measure, l.sessions), l.sessions, l.messages, l.each)
	if err != nil {
		return err
	}
	if err := l.await(ctx, l.messages); err != nil {
		return err
	}
	delivered := time.Since(began)
	after, err := cpuSeconds(s.root())
	if err != nil {
		return err
	}
	n := float64(l.messages)
	res.add(l.measure, l.sessions, "accepted and synced, messages/s", s.name(), n/took.Seconds())
	res.add(l.measure, l.sessions, l.left+", messages/s", s.name(), n/delivered.Seconds())
	res.add(l.measure, l.sessions, "CPU s per 1,000 messages", s.name(), (after-before)/n*1000)
	return nil
}

// acceptSteps are the measurements of accepting mail.
func acceptSteps(p plan, res *results) (steps []func(context.Context, subject) error) {
	for _, n := range p.sessions {
		if p.what["accept"] {
			steps = append(steps, func(ctx context.Context, s subject) error {
				return running(ctx, s, func(s subject) error {
					l := load{"accept", n, size(p.messages, n), 1, s.site().awaitDelivered, "delivered to Maildir"}
					return errors.Join(accept(ctx, s, l, res), s.site().clearMail())
				})
			})
		}
		for _, each := range []int{1, 10} {
			measure := map[int]string{1: "sink", 10: "sink10"}[each]
			if !p.what[measure] {
				continue
			}
			steps = append(steps, func(ctx context.Context, s subject) error {
				return toSink(s, func(s subject) error {
					l := load{measure, n, size(p.messages, n), each, s.site().awaitRemoved(), "thrown away"}
					return accept(ctx, s, l, res)
				})
			})
		}
	}
	return steps
}

// wait waits for d, or until ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// awaitDelivered returns when the Maildirs hold n messages.
func (s *site) awaitDelivered(ctx context.Context, n int) error {
	deadline := time.Now().Add(2 * time.Minute)
	for {
		got, err := s.delivered()
		if err != nil {
			return err
		}
		if got == n {
			return nil
		}
		if got > n || time.Now().After(deadline) {
			return fmt.Errorf("%d messages were acknowledged and %d delivered", n, got)
		}
		if err := wait(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}

// awaitRemoved returns a function that waits until the log says of n messages,
// from now on, that they have left the queue.
func (s *site) awaitRemoved() func(context.Context, int) error {
	var read int64
	if st, err := os.Stat(s.log); err == nil {
		read = st.Size()
	}
	return func(ctx context.Context, n int) error {
		deadline := time.Now().Add(2 * time.Minute)
		for {
			got, err := s.removed(read)
			if err != nil || got >= n {
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%d messages were acknowledged and %d have left the queue", n, got)
			}
			if err := wait(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	}
}

// removed counts the messages that left the queue after the first bytes of the
// log.
func (s *site) removed(from int64) (int, error) {
	log, err := os.ReadFile(s.log)
	if err != nil || int64(len(log)) < from {
		return 0, err
	}
	return bytes.Count(log[from:], []byte(": removed\n")), nil
}

// delivered counts the messages in the Maildirs.
func (s *site) delivered() (int, error) {
	n := 0
	for i := range mailboxes {
		entries, err := os.ReadDir(filepath.Join(s.mailDir, mailboxDir(i), "new"))
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		n += len(entries)
	}
	return n, nil
}

// clearMail puts what was delivered aside. It is not removed before the end:
// some file systems are slow to create files after many were removed.
func (s *site) clearMail() error {
	s.cleared++
	return os.Rename(filepath.Join(s.mailDir, "bench.test"), filepath.Join(s.mailDir, fmt.Sprintf("aside%d", s.cleared)))
}
