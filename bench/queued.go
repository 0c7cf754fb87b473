package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// queued is a measurement of a queue that gets long because the next hop is
// away, and of how it empties when the next hop is back.
type queued struct {
	messages int
	sink     *sink
	res      *results
}

// drained is the time from "flush" until the sink has taken all.
const drained = "until all is relayed to the sink, s"

func (q queued) add(figure string, s subject, value float64) {
	q.res.add("queued", q.messages, figure, s.name(), value)
}

// measure fills the queue, restarts the server and empties the queue.
func (q queued) measure(ctx context.Context, s subject) (err error) {
	defer func() { err = errors.Join(err, s.site().configure("", "")) }()
	settings := toSink(q.sink).settings
	if err := s.site().configure(settings+"defer_transports = smtp\n", ""); err != nil {
		return err
	}
	if err := q.up(s, "start with an empty queue, s", func() error { return q.fill(ctx, s) }); err != nil {
		return err
	}
	if err := s.site().configure(settings, ""); err != nil {
		return err
	}
	return q.up(s, "start with a full queue, s", func() error { return q.drain(ctx, s) })
}

// up runs the server during do; figure is how long it took to start.
func (q queued) up(s subject, figure string, do func() error) error {
	began := time.Now()
	if err := s.start(); err != nil {
		return err
	}
	q.add(figure, s, time.Since(began).Seconds())
	peak := watchMemory(s.root())
	err := do()
	most, errMemory := peak()
	if err = errors.Join(err, errMemory, s.stop()); err != nil {
		return fmt.Errorf("%w\n%s", err, lastLines(s.site().log, 10))
	}
	q.add("peak memory after "+figure[:len(figure)-len(", s")]+", MiB", s, float64(most)/1024/1024)
	return nil
}

// fill sends the messages, all of which have to wait.
func (q queued) fill(ctx context.Context, s subject) error {
	deferred := &tail{path: s.site().log, mark: "status=deferred"}
	if err := deferred.reset(); err != nil {
		return err
	}
	l := load{measure: "queued", sessions: 50, messages: q.messages, each: 10, end: toSink(q.sink)}
	began := time.Now()
	took, err := send(ctx, s, "fill the queue", l)
	if err != nil {
		return err
	}
	q.add(accepted, s, float64(q.messages)/took.Seconds())
	if err := awaitArrived(ctx, q.messages, deferred.lines); err != nil {
		return err
	}
	q.add("until all is deferred, s", s, time.Since(began).Seconds())
	return nil
}

// drain has all messages tried and waits until the sink has them.
func (q queued) drain(ctx context.Context, s subject) error {
	end := toSink(q.sink)
	m, err := newMeter(s.root())
	if err != nil {
		return err
	}
	began := time.Now()
	if err := s.flush(); err != nil {
		return err
	}
	if err := awaitArrived(ctx, q.messages, end.arrived); err != nil {
		return err
	}
	took := time.Since(began)
	used, share, err := m.read()
	if err != nil {
		return err
	}
	q.add(drained, s, took.Seconds())
	q.add("relayed to the sink, messages/s", s, float64(q.messages)/took.Seconds())
	q.add(cpuPerMessage, s, used/float64(q.messages)*1000)
	q.add(generatorShare, s, share*100)
	return nil
}

// watchMemory notes the largest proportional set size of a server, looking five
// times a second, until the function it returns is called.
func watchMemory(root int) (peak func() (int64, error)) {
	end, ended := make(chan struct{}), make(chan struct{})
	var most int64
	var failed error
	look := func() {
		now, err := pss(root)
		most, failed = max(most, now), errors.Join(failed, err)
	}
	go func() {
		defer close(ended)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for look(); failed == nil; look() {
			select {
			case <-tick.C:
			case <-end:
				return
			}
		}
	}()
	return func() (int64, error) {
		close(end)
		<-ended
		if failed == nil {
			look()
		}
		return most, failed
	}
}
