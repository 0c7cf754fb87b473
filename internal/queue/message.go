package queue

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// Message is a message claimed by Next. Whoever claimed it may use it from
// several goroutines only with a lock of his own.
type Message struct {
	q        *Queue
	e        *entry
	env      *mail.Envelope
	progress []Progress
	warned   bool
	expired  bool
	until    time.Time
	held     bool

	length int64 // of the content
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
func (m *Message) Envelope() *mail.Envelope { return m.env }

// Progress returns how far each of the envelope's recipients has come. It is
// not to be changed.
func (m *Message) Progress() []Progress { return m.progress }

// Warned reports whether the sender has been told of the delay.
func (m *Message) Warned() bool { return m.warned }

// Expired reports whether the message is to be returned to its sender, however
// short its time in the queue was.
func (m *Message) Expired() bool { return m.expired }

// Size returns the number of bytes that Open's reader gives.
func (m *Message) Size() int64 { return m.length }

// Open returns the content. It may be read by several readers at once. A
// read, or Open itself, fails with ErrDamaged when the content is not what was
// written.
func (m *Message) Open() (io.ReadCloser, error) {
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	switch {
	case m.e.gone:
		return nil, fmt.Errorf("%s: %w: it has left the queue", m.e.id, os.ErrNotExist)
	case m.e.hot != nil:
		return m.q.openHot(m.e.hot)
	}
	return openContent(m.q.path(messages, m.e.id))
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
	m.q.giveBack(m.e, until)
	return err
}

// Remove takes the message out of the queue. After an error, or when the
// machine loses power within seconds, it comes again after a restart: better
// twice than not at all.
func (m *Message) Remove() error {
	err := m.q.discard(m.e)
	m.q.forget(m.e)
	return err
}

// SetAside moves the message to corrupt/, because why.
func (m *Message) SetAside(why error) { m.q.setAside(m.e, why) }

// append writes an update and applies it once it is on disk. What becomes of a
// message that was deleted in the meantime is of no interest.
func (m *Message) append(u update) error {
	m.e.mu.Lock()
	defer m.e.mu.Unlock()
	if m.e.gone {
		return nil
	}
	err := m.q.record(m.e, u)
	if err == nil {
		err = m.apply(u)
	}
	if err != nil {
		return fmt.Errorf("%s: record: %w", m.e.id, err)
	}
	return nil
}

// record makes an update durable; e.mu is held.
func (q *Queue) record(e *entry, u update) error {
	payload, err := json.Marshal(u)
	if err != nil {
		return err
	}
	if e.hot != nil {
		return q.recordHot(e, payload)
	}
	return q.recordFile(e, u, payload)
}

// discard takes a message's data away; what is removed already stays so.
func (q *Queue) discard(e *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return nil
	}
	if e.hot != nil {
		q.revoke(e)
	} else if err := q.recycle(q.path(messages, e.id)); err != nil {
		return err
	}
	e.gone = true
	return nil
}

// begin sets m to what an envelope says.
func (m *Message) begin(env *mail.Envelope) {
	m.env = env
	m.progress = make([]Progress, len(env.Recipients))
	m.until, m.held = env.Arrived, env.Hold
}

func (m *Message) applyJSON(payload []byte) error {
	var u update
	if err := json.Unmarshal(payload, &u); err != nil {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return m.apply(u)
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
	m.expired = m.expired || u.Expired
	if u.Until != nil {
		m.until = *u.Until
	}
	if u.Held != nil {
		m.held = *u.Held
	}
	return nil
}
