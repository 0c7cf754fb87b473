package main

import (
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
	// flush has all mail that waits tried at once.
	flush() error
	// most is how many idle connections can be asked of it, 0 for any number.
	most() int
	// stop ends all processes.
	stop() error
}

// step is one measurement of one server.
type step func(context.Context, subject) error

// measureAll measures everything planned once, every server by turns.
func measureAll(ctx context.Context, p plan, dir string, subjects []subject, ways []way, k *sink, first bool, res *results) error {
	if err := measureDisk(ctx, p, dir, res); err != nil {
		return fmt.Errorf("disk: %w", err)
	}
	steps := append(acceptSteps(p, k, res), refuseSteps(p, res)...)
	steps = append(steps, idleSteps(p, res)...)
	if first && p.what["queued"] { // it takes minutes
		steps = append(steps, queued{p.queued, k, res}.measure)
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

// size is how many messages n sessions send: few sessions are slower.
func size(messages, n int) int {
	if n < 10 {
		return max(1, messages/3)
	}
	return messages
}

// running starts the server with the settings of an ending, warms it up by a few
// messages that go there, runs step and ends the server whatever happened.
func running(ctx context.Context, s subject, end ending, step func(subject) error) (err error) {
	if err := s.site().configure(end.settings, ""); err != nil {
		return err
	}
	err = started(ctx, s, end, step)
	return errors.Join(err, s.site().configure("", ""))
}

// started is running with the configuration that is there.
func started(ctx context.Context, s subject, end ending, step func(subject) error) (err error) {
	if err := s.start(); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, s.stop())
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, lastLines(s.site().log, 10))
		}
	}()
	if err := warmUp(ctx, s, end); err != nil {
		return err
	}
	return step(s)
}

// warmUp has a few messages arrive.
func warmUp(ctx context.Context, s subject, end ending) error {
	if err := end.reset(); err != nil {
		return err
	}
	l := load{measure: "warm up", sessions: 2, messages: 20, each: 1, end: end}
	if _, err := send(ctx, s, l.measure, l); err != nil {
		return err
	}
	return awaitArrived(ctx, l.messages, end.arrived)
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
	err := os.Rename(filepath.Join(s.mailDir, "bench.test"), filepath.Join(s.mailDir, fmt.Sprintf("aside%d", s.cleared)))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
