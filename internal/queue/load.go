package queue

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/mail"
)

// load reads a message, but not its content. With repair it cuts off from a
// file a record that was being written when the machine or the process stopped.
func (q *Queue) load(e *entry, repair bool) (*Message, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return nil, os.ErrNotExist
	}
	if e.hot != nil {
		return q.loadHot(e)
	}
	return q.loadFile(e, repair)
}

func (q *Queue) loadFile(e *entry, repair bool) (*Message, error) {
	f, err := os.OpenFile(q.path(messages, e.id), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Message{q: q, e: e}
	end, bad, err := m.read(f)
	if err != nil {
		return nil, err
	}
	if m.env.QueueID != e.id {
		return nil, fmt.Errorf("%w: it is the file of %s", ErrDamaged, m.env.QueueID)
	}
	if bad != nil && repair {
		q.log.Warn(fmt.Sprintf("%s: what was last recorded about its recipients is lost: %v", e.id, bad))
		return m, f.Truncate(end)
	}
	return m, nil
}

// read fills m from its file. bad is why the updates end early, at end, if they
// do: from the first one that makes no sense on they count as not written, and
// at worst a recipient gets the message again.
func (m *Message) read(f *os.File) (end int64, bad, err error) {
	if m.length, _, err = readHeader(f); err != nil {
		return 0, nil, err
	}
	if _, err := f.Seek(headerSize+m.length, io.SeekStart); err != nil {
		return 0, nil, err
	}
	r := bufio.NewReader(f)
	n, err := m.readEnvelope(r)
	for end = headerSize + m.length; err == nil; {
		end += n
		n, err = m.readUpdate(r)
	}
	if m.env != nil && errors.Is(err, ErrDamaged) {
		return end, err, nil
	}
	if err == io.EOF {
		err = nil
	}
	return end, nil, err
}

// readEnvelope returns how many bytes the record takes.
func (m *Message) readEnvelope(r *bufio.Reader) (n int64, err error) {
	kind, payload, err := readRecord(r)
	if err == io.EOF {
		err = fmt.Errorf("%w: cut off before the envelope", ErrDamaged)
	}
	if err != nil {
		return 0, err
	}
	if kind != recordEnvelope {
		return 0, fmt.Errorf("%w: record %q where the envelope should be", ErrDamaged, kind)
	}
	env, err := decodeEnvelope(payload)
	if err != nil {
		return 0, err
	}
	m.begin(env)
	return recordHead + int64(len(payload)), nil
}

func decodeEnvelope(payload []byte) (*mail.Envelope, error) {
	env := new(mail.Envelope)
	if err := json.Unmarshal(payload, env); err != nil {
		return nil, fmt.Errorf("%w: envelope: %v", ErrDamaged, err)
	}
	return env, nil
}

// readUpdate reads one update and returns how many bytes it takes; the error is
// io.EOF when there is none.
func (m *Message) readUpdate(r *bufio.Reader) (n int64, err error) {
	kind, payload, err := readRecord(r)
	if err != nil {
		return 0, err
	}
	if kind != recordUpdate {
		return 0, fmt.Errorf("%w: record of unknown kind %q", ErrDamaged, kind)
	}
	return recordHead + int64(len(payload)), m.applyJSON(payload)
}

// recordFile appends an update to a message's file; e.mu is held.
func (q *Queue) recordFile(e *entry, u update, payload []byte) error {
	f, err := os.OpenFile(q.path(messages, e.id), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(appendRecord(nil, recordUpdate, payload), end); err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	return setTime(f, q.hintAfter(e, u))
}

// hintAfter is what the file's time should say of a message after an update.
func (q *Queue) hintAfter(e *entry, u update) time.Time {
	hint := q.hintOf(e)
	switch {
	case u.Held != nil && *u.Held, u.Held == nil && !hint.Before(heldTime):
		return heldTime
	case u.Until != nil:
		return *u.Until
	}
	return hint
}

// heldTime is the time of modification of a held message's file, and the latest
// that every file system has.
var heldTime = time.Unix(1<<31-1, 0)

// setTime notes in the file's time when the message is due, for the next start.
// It is a hint: what counts is in the file.
func setTime(f *os.File, due time.Time) error {
	if due.After(heldTime) {
		due = heldTime
	}
	t := unix.NsecToTimeval(nanos(due))
	return unix.Futimes(int(f.Fd()), []unix.Timeval{t, t})
}
