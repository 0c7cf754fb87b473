package queue

import "sync"

// dirSync syncs a directory for many at once: whoever asks while a sync is
// under way shares the next one.
type dirSync struct {
	sync  func() error
	close func() error

	mu      sync.Mutex
	running bool
	next    *round
}

// round is one sync and those who wait for it.
type round struct {
	done chan struct{}
	err  error // set before done is closed
}

// Begin sees to it that a sync begins after the call. The round it belongs to
// tells when it has ended.
func (d *dirSync) Begin() *round {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.next == nil {
		d.next = &round{done: make(chan struct{})}
	}
	if !d.running {
		d.running = true
		go d.run()
	}
	return d.next
}

// Sync returns when a sync that began after the call has ended.
func (d *dirSync) Sync() error {
	r := d.Begin()
	<-r.done
	return r.err
}

// run syncs until nobody waits any more.
func (d *dirSync) run() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for d.next != nil {
		r := d.next
		d.next = nil
		d.mu.Unlock()
		r.err = d.sync()
		close(r.done)
		d.mu.Lock()
	}
	d.running = false
}
