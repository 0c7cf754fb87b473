package main

import (
	"fmt"
	"syscall"
	"time"
)

// meter measures processor time: a server's, and that of this process, which
// makes the load and takes it again.
type meter struct {
	root        int
	server, own float64
}

// newMeter begins to measure the server whose first process is root.
func newMeter(root int) (*meter, error) {
	server, err := cpuSeconds(root)
	if err != nil {
		return nil, err
	}
	own, err := ownSeconds()
	return &meter{root: root, server: server, own: own}, err
}

// read returns the server's CPU seconds since newMeter, and what part of both
// processor times was the load generator's.
func (m *meter) read() (server, generator float64, err error) {
	after, err := cpuSeconds(m.root)
	if err != nil {
		return 0, 0, err
	}
	own, err := ownSeconds()
	if err != nil {
		return 0, 0, err
	}
	server, own = after-m.server, own-m.own
	return server, own / (server + own), nil
}

// ownSeconds is the CPU time of this process, without its children.
func ownSeconds() (float64, error) {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0, fmt.Errorf("getrusage: %w", err)
	}
	return (time.Duration(u.Utime.Nano()) + time.Duration(u.Stime.Nano())).Seconds(), nil
}

// The figures of every measurement of load.
const (
	cpuPerMessage  = "CPU s per 1,000 messages"
	cpuPerSession  = "CPU s per 1,000 sessions"
	generatorShare = "load generator's part of the CPU time, %"
)
