package queue

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/queue/commitlog"
	"sekisho/internal/safefile"
)

// retryLoad is when a message is tried again that could not be read for a
// reason that has nothing to do with it, such as too many open files.
const retryLoad = time.Minute

// lookAgain is how long Next waits at most before it looks at the clock, which
// somebody may have set.
const lookAgain = time.Minute

// ErrDamaged is the error of a message that has changed since it was written.
var ErrDamaged = errors.New("queue file is damaged")

// Options are what a Queue needs besides its directory.
type Options struct {
	Clock clock.Clock
	Log   *slog.Logger // repairs and damage
}

// Queue is an open spool. It is safe for concurrent use.
type Queue struct {
	dir   string
	clock clock.Clock
	log   *slog.Logger
	lock  *os.File
	names *dirSync // of messages/
	hot   *commitlog.Log

	spares  spares
	writers sync.Pool    // of *bufio.Writer, for drafts
	buffers sync.Pool    // of *[]byte, for drafts
	memory  atomic.Int64 // bytes of content kept in memory

	flushes atomic.Int64

	mu      sync.Mutex
	entries map[string]*entry // every message, claimed and held ones too
	drafts  map[string]bool
	due     schedule
	changed chan struct{} // closed when something became due earlier
	waiters int           // of changed
	active  int           // messages claimed
	rush    rush
	serial  uint32 // last part of the ids
	arrival uint64 // order among messages due at the same time
	looked  int64  // when claim last read the clock, in nanoseconds since 1970
}

// Open opens the spool in dir, which it creates if need be, and repairs what
// a crash has left: unfinished drafts are removed, what makes no sense in the
// log goes to corrupt/ and is logged. Files of messages are looked at when they
// are due. Every message that was claimed when the process ended is due again.
// It fails when another process has the spool open or the directory cannot be
// used.
func Open(dir string, o Options) (*Queue, error) {
	return open(dir, o, commitlog.Options{})
}

func open(dir string, o Options, l commitlog.Options) (*Queue, error) {
	q := &Queue{
		dir: dir, clock: o.Clock, log: o.Log,
		entries: map[string]*entry{}, drafts: map[string]bool{},
		changed: make(chan struct{}), serial: rand.Uint32(),
	}
	if err := q.open(l); err != nil {
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	return q, nil
}

func (q *Queue) open(o commitlog.Options) error {
	for _, sub := range []string{"", incoming, messages, corrupt, logDir} {
		if err := os.MkdirAll(filepath.Join(q.dir, sub), 0o700); err != nil {
			return err
		}
	}
	if err := safefile.SyncDir(q.dir); err != nil {
		return err
	}
	// Who may not read what is above did not make the spool either.
	if err := safefile.SyncDir(filepath.Dir(q.dir)); err != nil && !errors.Is(err, os.ErrPermission) {
		return err
	}
	if err := q.takeLock(); err != nil {
		return err
	}
	f, err := os.Open(filepath.Join(q.dir, messages))
	if err != nil {
		q.lock.Close()
		return err
	}
	q.names = &dirSync{sync: f.Sync, close: f.Close}
	if err := q.recover(o); err != nil {
		q.Close()
		return err
	}
	return nil
}

func (q *Queue) takeLock() error {
	f, err := os.OpenFile(filepath.Join(q.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return errors.New("in use by another process")
		}
		return err
	}
	q.lock = f
	return nil
}

// Close lets another process open the spool. Nothing may be going on: no
// draft, no claimed message, no call of Next.
func (q *Queue) Close() error {
	var err error
	if q.hot != nil {
		err = q.hot.Close()
	}
	return errors.Join(err, q.names.close(), q.lock.Close())
}

// NewID returns an id that no message in the queue has: ten upper-case
// hexadecimal digits, five of them microseconds, as Postfix's short ids begin.
func (q *Queue) NewID() string {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		q.serial++
		usec := q.clock.Now().Nanosecond() / 1000
		id := fmt.Sprintf("%05X%05X", usec, q.serial&0xFFFFF)
		if q.entries[id] == nil && !q.drafts[id] {
			return id
		}
	}
}

// Free returns how many bytes may still be written to the spool's file system.
func (q *Queue) Free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(q.dir, &st); err != nil {
		return 0, fmt.Errorf("spool %s: free space: %w", q.dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// Next waits for a message to be due and returns it. The caller owns it until
// Defer, Remove or SetAside. It fails only when ctx ends.
func (q *Queue) Next(ctx context.Context) (*Message, error) {
	for {
		e, wait, changed := q.claim()
		if e == nil {
			if err := q.wait(ctx, wait, changed); err != nil {
				return nil, err
			}
			continue
		}
		if m := q.claimed(e); m != nil {
			return m, nil
		}
	}
}

// claimed loads a message that was claimed; nil if it cannot be delivered now.
func (q *Queue) claimed(e *entry) *Message {
	m, err := q.load(e, true)
	if err != nil {
		q.giveBack(e, q.clock.Now().Add(retryLoad))
		q.giveUp(e, err)
		return nil
	}
	q.mu.Lock()
	early := e.hint && m.until.After(q.clock.Now())
	e.hint, e.held = false, e.held || m.held
	held := e.held
	q.mu.Unlock()
	if early || held {
		q.giveBack(e, m.until)
		return nil
	}
	return m
}

// claim takes the first message that is due, or says how long there is none.
func (q *Queue) claim() (e *entry, wait time.Duration, changed <-chan struct{}) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.noteJump()
	wait = lookAgain
	if len(q.due) > 0 {
		wait = min(wait, time.Duration(q.due[0].due-q.clock.Now().UnixNano()))
	}
	if wait <= 0 && q.active >= rushActive && -wait < rushPatience && q.rush.on(q.clock.Now().UnixNano()) {
		wait = rushWindow
	}
	if wait > 0 {
		q.waiters++
		return nil, wait, q.changed
	}
	e = q.due.pop()
	e.claimed = true
	q.active++
	return e, 0, nil
}

// noteJump keeps messages from waiting longer because the clock was set back,
// but for the time since it was looked at last; q.mu is held. Set forward, it only
// makes them due.
func (q *Queue) noteJump() {
	now := q.clock.Now().UnixNano()
	if back := q.looked - now; back > int64(time.Second) {
		q.log.Warn(fmt.Sprintf("the clock was set back by %s", time.Duration(back).Round(time.Second)))
		for _, e := range q.due { // all by as much, so the order is the same
			e.due -= back
		}
	}
	q.looked = now
}

func (q *Queue) wait(ctx context.Context, d time.Duration, changed <-chan struct{}) error {
	nap, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-changed:
			cancel()
		case <-nap.Done():
		}
	}()
	_ = q.clock.Sleep(nap, d) // early or not: the caller looks again
	return ctx.Err()
}

// announce lets Next look again; q.mu is held.
func (q *Queue) announce() {
	if q.waiters > 0 {
		close(q.changed)
		q.changed, q.waiters = make(chan struct{}), 0
	}
}

// add makes a message known; q.mu is not held.
func (q *Queue) add(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.drafts, e.id)
	q.arrival++
	e.order, e.index = q.arrival, -1
	q.entries[e.id] = e
	q.enter(e)
}

// enter puts a message that is not claimed into the schedule, unless it is
// held; q.mu is held.
func (q *Queue) enter(e *entry) {
	if !e.held && e.index < 0 {
		q.due.push(e)
		q.announce()
	}
}

// giveBack ends a claim.
func (q *Queue) giveBack(e *entry, due time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unclaim(e)
	e.due = nanos(due)
	if e.deleted {
		delete(q.entries, e.id)
		return
	}
	q.enter(e)
}

// unclaim ends a claim, if there is one; q.mu is held.
func (q *Queue) unclaim(e *entry) {
	if e.claimed {
		e.claimed = false
		q.active--
		if q.active < rushActive && len(q.due) > 0 {
			q.announce()
		}
	}
}

// forget takes a message out of what is known, whatever its state.
func (q *Queue) forget(e *entry) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.unclaim(e)
	if e.index >= 0 {
		q.due.remove(e)
	}
	if q.entries[e.id] == e {
		delete(q.entries, e.id)
	}
}

func (q *Queue) find(id string) *entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.entries[id]
}

// writer returns a buffer to f, which goes back to q.writers.
func (q *Queue) writer(f *os.File) *bufio.Writer {
	if w, ok := q.writers.Get().(*bufio.Writer); ok {
		w.Reset(f)
		return w
	}
	return bufio.NewWriterSize(f, 32<<10)
}

func (q *Queue) path(sub, id string) string { return filepath.Join(q.dir, sub, id) }

const (
	incoming = "incoming"
	messages = "messages"
	corrupt  = "corrupt"
	logDir   = "log"
)
