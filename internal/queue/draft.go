package queue

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"syscall"

	"sekisho/internal/mail"
)

// Draft is a message being written. It is not safe for concurrent use.
type Draft struct {
	q     *Queue
	id    string
	f     *os.File
	w     *bufio.Writer
	size  int64
	sum   uint32
	lines lineCount
	err   error // first failure of Write
}

// Create begins a message under an id of NewID. Errors of the disk can be
// recognised with errors.Is: syscall.ENOSPC, os.ErrPermission.
func (q *Queue) Create(id string) (*Draft, error) {
	f, err := q.newFile(id)
	if err != nil {
		return nil, fmt.Errorf("%s: create: %w", id, err)
	}
	d := &Draft{q: q, id: id, f: f, w: q.writer(f)}
	d.err = d.put(make([]byte, headerSize))
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
	if d.err == nil {
		d.err = d.put(p)
	}
	if d.err != nil {
		return 0, d.err
	}
	d.size += int64(len(p))
	d.sum = crc32.Update(d.sum, castagnoli, p)
	d.lines.add(p)
	return len(p), nil
}

func (d *Draft) put(p []byte) error {
	if _, err := d.w.Write(p); err != nil {
		return fmt.Errorf("%s: write: %w", d.id, err)
	}
	return nil
}

// Commit ends the draft and puts the message into the queue under env. When it
// returns nil, the file and its name are on disk and the message is due (or
// held, if env says so). After an error nothing is left of the draft. The
// queue fills in env.QueueID, and env.Size and env.Arrived when they are zero.
func (d *Draft) Commit(env mail.Envelope) error {
	env.QueueID = d.id
	if env.Size == 0 {
		env.Size = d.lines.size()
	}
	if env.Arrived.IsZero() {
		env.Arrived = d.q.clock.Now()
	}
	if err := d.commit(env); err != nil {
		d.q.forget(d.id)
		return fmt.Errorf("%s: commit: %w", d.id, err)
	}
	d.q.add(d.id, d.q.clock.Now(), env.Hold)
	return nil
}

func (d *Draft) commit(env mail.Envelope) error {
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

// close closes the file and gives the buffer back: nothing may be written any
// more.
func (d *Draft) close() error {
	if err := d.f.Close(); err != nil {
		return err
	}
	d.err = fmt.Errorf("%s: write: %w", d.id, os.ErrClosed)
	d.q.writers.Put(d.w)
	return nil
}

// sync returns when the file and its name are on disk. The two syncs run side
// by side, because on a file system with a journal one commit does for both.
// When the machine stops in between, the name may be there without the
// content; recover knows such files.
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
	_, err = d.f.WriteAt(encodeHeader(d.size, d.sum), 0)
	return err
}

// Discard drops the draft. It does nothing after Commit.
func (d *Draft) Discard() {
	if d.close() != nil {
		return // closed by Commit
	}
	if err := d.q.recycle(d.f.Name()); err != nil {
		d.q.log.Error(fmt.Sprintf("%s: cannot remove the draft: %v", d.id, err))
	}
	d.q.forget(d.id)
}

// lineCount adds up the size of a message as Postfix counts and logs it: its
// queue file stores a line as records of at most 2048 bytes, each with a type
// byte and its length in 7-bit groups (record(3)), and no line end.
type lineCount struct {
	total int64
	line  int // bytes of the unfinished record
}

const maxLineRecord = 2048

func (c *lineCount) add(p []byte) {
	for len(p) > 0 {
		if p[0] == '\n' {
			c.end()
			p = p[1:]
			continue
		}
		if c.line == maxLineRecord {
			c.end()
		}
		n := min(len(p), maxLineRecord-c.line)
		if i := bytes.IndexByte(p[:n], '\n'); i >= 0 {
			n = i
		}
		c.line += n
		p = p[n:]
	}
}

// end finishes a record.
func (c *lineCount) end() {
	c.total += int64(c.line) + 2
	if c.line >= 1<<7 {
		c.total++
	}
	c.line = 0
}

func (c *lineCount) size() int64 {
	done := *c
	if done.line > 0 {
		done.end()
	}
	return done.total
}
