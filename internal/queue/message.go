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

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// Message is a message claimed by Next. Whoever claimed it may use it from
// several goroutines only with a lock of his own.
type Message struct {
	q        *Queue
	env      mail.Envelope
	progress []Progress
	warned   bool
	until    time.Time
	held     bool

	length int64  // of the content
	sum    uint32 // of the content
	end    int64  // of the last good record
}

// Progress is how far one recipient has come.
type Progress struct {
	// Result is the outcome of the last attempt; the zero Result before the
	// first one.
	Result deliver.Result
	// Told: the sender has been sent a notification of the final outcome, or
	// needs none.
	Told bool
}

// Done reports whether the recipient is not to be tried again.
func (p Progress) Done() bool { return p.Result.Status != deliver.Deferred }

// Envelope returns the envelope, which is not to be changed.
func (m *Message) Envelope() *mail.Envelope { return &m.env }

// Progress returns how far each of the envelope's recipients has come. It is
// not to be changed.
func (m *Message) Progress() []Progress { return m.progress }

// Warned reports whether the sender has been told of the delay.
func (m *Message) Warned() bool { return m.warned }

// Size returns the number of bytes that Open's reader gives.
func (m *Message) Size() int64 { return m.length }

// Open returns the content. It may be read by several readers at once. A
// read fails with ErrDamaged when the content is not what was written.
func (m *Message) Open() (io.ReadCloser, error) {
	return openContent(m.q.path(messages, m.env.QueueID), m.length, m.sum)
}

// Record takes down outcomes of recipients, durably. Result.Recipient is an
// index in the envelope's recipients.
func (m *Message) Record(results []deliver.Result) error {
	return m.append(update{Results: results})
}

// RecordTold takes down, durably, that the sender need not be told any more
// what became of these recipients.
func (m *Message) RecordTold(recipients []int) error {
	return m.append(update{Told: recipients})
}

// RecordWarned takes down, durably, that the sender knows of the delay.
func (m *Message) RecordWarned() error { return m.append(update{Warned: true}) }

// Defer takes outcomes down as Record does and gives the message back until a
// time. After an error the message waits all the same, but after a restart it
// is due at once and the outcomes are forgotten.
func (m *Message) Defer(until time.Time, results []deliver.Result) error {
	err := m.append(update{Until: &until, Results: results})
	m.q.giveBack(m.env.QueueID, until, false)
	return err
}

// Remove takes the message out of the queue. After an error, or when the
// machine loses power within seconds, it comes again after a restart: better
// twice than not at all.
func (m *Message) Remove() error {
	err := m.q.recycle(m.q.path(messages, m.env.QueueID))
	m.q.forget(m.env.QueueID)
	return err
}

// SetAside moves the message to corrupt/, because why.
func (m *Message) SetAside(why error) { m.q.setAside(m.env.QueueID, why) }

// load reads the file of a message, but not its content. With repair it cuts
// off a record that was being written when the machine or the process stopped;
// without, somebody else may be writing it.
func (q *Queue) load(id string, repair bool) (*Message, error) {
	f, err := os.OpenFile(q.path(messages, id), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m := &Message{q: q}
	bad, err := m.read(f)
	if err != nil {
		return nil, err
	}
	if m.env.QueueID != id {
		return nil, fmt.Errorf("%w: it is the file of %s", ErrDamaged, m.env.QueueID)
	}
	if bad != nil && repair {
		q.log.Warn(fmt.Sprintf("%s: what was last recorded about its recipients is lost: %v", id, bad))
		return m, f.Truncate(m.end)
	}
	return m, nil
}

// read fills m from its file. bad is why the updates end early, if they do:
// from the first one that makes no sense on they count as not written, and at
// worst a recipient gets the message again.
func (m *Message) read(f *os.File) (bad, err error) {
	var head [headerSize]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		if err == io.EOF {
			err = fmt.Errorf("%w: cut off in the header", ErrDamaged)
		}
		return nil, err
	}
	if m.length, m.sum, err = decodeHeader(head[:]); err != nil {
		return nil, err
	}
	if _, err := f.Seek(headerSize+m.length, io.SeekStart); err != nil {
		return nil, err
	}
	r := bufio.NewReader(f)
	if err := m.readEnvelope(r); err != nil {
		return nil, err
	}
	for err == nil {
		err = m.readUpdate(r)
	}
	if errors.Is(err, ErrDamaged) {
		return err, nil
	}
	if err == io.EOF {
		return nil, nil
	}
	return nil, err
}

func (m *Message) readEnvelope(r *bufio.Reader) error {
	kind, payload, err := readRecord(r)
	if err == io.EOF {
		err = fmt.Errorf("%w: cut off before the envelope", ErrDamaged)
	}
	if err != nil {
		return err
	}
	if kind != recordEnvelope {
		return fmt.Errorf("%w: record %q where the envelope should be", ErrDamaged, kind)
	}
	if err := json.Unmarshal(payload, &m.env); err != nil {
		return fmt.Errorf("%w: envelope: %v", ErrDamaged, err)
	}
	m.progress = make([]Progress, len(m.env.Recipients))
	m.until, m.held = m.env.Arrived, m.env.Hold
	m.end = headerSize + m.length + recordHead + int64(len(payload))
	return nil
}

// readUpdate reads one update; the error is io.EOF when there is none.
func (m *Message) readUpdate(r *bufio.Reader) error {
	kind, payload, err := readRecord(r)
	if err != nil {
		return err
	}
	if kind != recordUpdate {
		return fmt.Errorf("%w: record of unknown kind %q", ErrDamaged, kind)
	}
	var u update
	if err := json.Unmarshal(payload, &u); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	if err := m.apply(u); err != nil {
		return err
	}
	m.end += recordHead + int64(len(payload))
	return nil
}

func (m *Message) apply(u update) error {
	for _, r := range u.Results {
		if r.Recipient < 0 || r.Recipient >= len(m.progress) {
			return fmt.Errorf("%w: no recipient %d", ErrDamaged, r.Recipient)
		}
		if r.Status > deliver.Bounced {
			return fmt.Errorf("%w: no status %d", ErrDamaged, r.Status)
		}
		m.progress[r.Recipient].Result = r
	}
	for _, i := range u.Told {
		if i < 0 || i >= len(m.progress) {
			return fmt.Errorf("%w: no recipient %d", ErrDamaged, i)
		}
		m.progress[i].Told = true
	}
	m.warned = m.warned || u.Warned
	if u.Until != nil {
		m.until = *u.Until
	}
	if u.Held != nil {
		m.held = *u.Held
	}
	return nil
}

// append writes an update and applies it once it is on disk.
func (m *Message) append(u update) error {
	err := m.write(u)
	if err == nil {
		err = m.apply(u)
	}
	if err != nil {
		return fmt.Errorf("%s: record: %w", m.env.QueueID, err)
	}
	return nil
}

func (m *Message) write(u update) error {
	record, err := encodeRecord(recordUpdate, u)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(m.q.path(messages, m.env.QueueID), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.WriteAt(record, m.end); err != nil {
		return errors.Join(err, f.Truncate(m.end))
	}
	if err := syscall.Fdatasync(int(f.Fd())); err != nil {
		return err
	}
	m.end += int64(len(record))
	return nil
}
