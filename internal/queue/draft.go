package queue

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"

	"sekisho/internal/mail"
	"sekisho/internal/queue/commitlog"
)

// maxHot is how large the content of a message may be that goes into the log.
const maxHot = 128 << 10

// firstBuffer is what every draft may take of memory.
const firstBuffer = 16 << 10

// Draft is a message being written. It is not safe for concurrent use.
type Draft struct {
	q     *Queue
	id    string
	lines lineCount // of what is in the file
	err   error     // first failure of Write, or that the draft has ended
	buf   *[]byte   // content so far; nil once there is a file

	f    *os.File // nil: the content is in memory
	w    *bufio.Writer
	size int64
	sum  uint32
}

// errEnded is the error of writing to a draft that has ended.
var errEnded = fmt.Errorf("write: %w", os.ErrClosed)

// Create begins a message under an id of NewID. Errors of the disk can be
// recognised with errors.Is: syscall.ENOSPC, os.ErrPermission. Those of small
// messages come with Commit.
func (q *Queue) Create(id string) (*Draft, error) {
	d := &Draft{q: q, id: id}
	if q.hot.Crowded() {
		if err := d.open(); err != nil {
			return nil, fmt.Errorf("%s: create: %w", id, err)
		}
	} else {
		d.buf = q.buffer()
	}
	q.mu.Lock()
	q.drafts[id] = true
	q.mu.Unlock()
	return d, nil
}

// ID returns the queue id.
func (d *Draft) ID() string { return d.id }

// Write appends content, whose lines end in LF. After an error Commit fails
// too.
func (d *Draft) Write(p []byte) (int, error) {
	if d.err == nil && d.f == nil && !d.fits(len(p)) {
		d.err = d.spill()
	}
	if d.err != nil {
		return 0, fmt.Errorf("%s: %w", d.id, d.err)
	}
	if d.f == nil {
		*d.buf = append(*d.buf, p...)
		return len(p), nil
	}
	if d.err = d.put(p); d.err != nil {
		return 0, fmt.Errorf("%s: %w", d.id, d.err)
	}
	return len(p), nil
}

// fits makes room in memory, if there is any.
func (d *Draft) fits(n int) bool {
	have, want := cap(*d.buf), len(*d.buf)+n
	if want <= have {
		return true
	}
	size := min(max(2*have, want), maxHot)
	if want > maxHot || !d.q.reserve(int64(size-have)) {
		return false
	}
	grown := make([]byte, len(*d.buf), size)
	copy(grown, *d.buf)
	if have == firstBuffer {
		d.q.putBuffer(d.buf)
	}
	d.buf = &grown
	return true
}

// spill goes on in a file.
func (d *Draft) spill() error {
	buf := d.buf
	if err := d.open(); err != nil {
		return err
	}
	d.buf = nil
	defer d.q.putBuffer(buf)
	return d.put(*buf)
}

func (d *Draft) open() (err error) {
	if d.f, err = d.q.newFile(d.id); err != nil {
		return err
	}
	d.w = d.q.writer(d.f)
	_, err = d.w.Write(make([]byte, headerSize))
	return err
}

// put writes content to the file.
func (d *Draft) put(p []byte) error {
	if _, err := d.w.Write(p); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	d.size += int64(len(p))
	d.sum = crc32.Update(d.sum, castagnoli, p)
	d.lines.add(p)
	return nil
}

// Commit ends the draft and puts the message into the queue under env. When it
// returns nil, the message is on disk and due (or held, if env says so). After
// an error nothing is left of the draft. The queue fills in env.QueueID, and
// env.Size and env.Arrived when they are zero.
func (d *Draft) Commit(env mail.Envelope) error {
	env.QueueID = d.id
	if env.Size == 0 {
		env.Size = d.lineSize()
	}
	now := d.q.clock.Now()
	if env.Arrived.IsZero() {
		env.Arrived = now
	}
	e := &entry{id: d.id, due: nanos(now), held: env.Hold}
	var err error
	if d.f == nil {
		e.hot, err = d.commitHot(&env)
	} else {
		err = d.commitFile(env)
	}
	if err != nil {
		d.q.undraft(d.id)
		return fmt.Errorf("%s: commit: %w", d.id, err)
	}
	d.q.countRush(now)
	d.q.add(e)
	return nil
}

func (d *Draft) lineSize() int64 {
	if d.f == nil && d.buf != nil {
		d.lines.add(*d.buf)
	}
	return d.lines.size()
}

// commitHot appends the message to the log.
func (d *Draft) commitHot(env *mail.Envelope) (*hot, error) {
	if d.buf == nil {
		return nil, d.err
	}
	defer d.end()
	if d.err != nil {
		return nil, d.err
	}
	meta, err := json.Marshal(env)
	if err != nil {
		return nil, err
	}
	r := commitlog.Record{Kind: kindMessage, ID: d.id, Meta: meta, Body: *d.buf}
	if env.Hold {
		r.Flags = flagHeld
	}
	h := &hot{}
	if h.place, err = d.q.hot.Append(r); err != nil {
		return nil, err
	}
	if h.data = d.q.keepBuffer(d.buf); h.data != nil {
		h.env, d.buf = env, nil
	}
	return h, nil
}

// end gives the buffer back: nothing may be written any more.
func (d *Draft) end() {
	if d.buf != nil {
		d.q.putBuffer(d.buf)
	}
	d.buf, d.err = nil, errEnded
}

func (d *Draft) commitFile(env mail.Envelope) error {
	from, to := d.f.Name(), d.q.path(messages, d.id)
	err := d.finish(env)
	if err == nil {
		if err = os.Rename(from, to); err == nil {
			from = to
			err = d.sync()
		}
	}
	if err = errors.Join(err, d.close()); err != nil {
		os.Remove(from)
	}
	return err
}

// close closes the file and gives its buffer back: nothing may be written any
// more.
func (d *Draft) close() error {
	if err := d.f.Close(); err != nil {
		return err
	}
	d.err = errEnded
	d.q.writers.Put(d.w)
	return nil
}

// sync returns when the file and its name are on disk. The two syncs run side
// by side, because on a file system with a journal one commit does for both.
// When the machine stops in between, the name may be there without the
// content; load knows such files.
func (d *Draft) sync() error {
	named := d.q.names.Begin()
	err := syscall.Fdatasync(int(d.f.Fd()))
	<-named.done
	return errors.Join(err, named.err)
}

// finish completes the file.
func (d *Draft) finish(env mail.Envelope) error {
	if d.err != nil {
		return d.err
	}
	record, err := encodeRecord(recordEnvelope, env)
	if err != nil {
		return err
	}
	if _, err := d.w.Write(record); err != nil {
		return err
	}
	if err := d.w.Flush(); err != nil {
		return err
	}
	if _, err := d.f.WriteAt(encodeHeader(d.size, d.sum), 0); err != nil || !env.Hold {
		return err
	}
	return setTime(d.f, heldTime)
}

// Discard drops the draft. It does nothing after Commit.
func (d *Draft) Discard() {
	if d.f == nil {
		if d.buf != nil {
			d.end()
			d.q.undraft(d.id)
		}
		return
	}
	if d.close() != nil {
		return // closed by Commit
	}
	if err := d.q.recycle(d.f.Name()); err != nil {
		d.q.log.Error(fmt.Sprintf("%s: cannot remove the draft: %v", d.id, err))
	}
	d.q.undraft(d.id)
}

func (q *Queue) undraft(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.drafts, id)
}
