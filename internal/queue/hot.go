package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"

	"sekisho/internal/mail"
	"sekisho/internal/queue/commitlog"
)

// Kinds of record in the log, and flags.
const (
	kindMessage = 'M' // meta is the envelope, body the content
	kindUpdate  = 'U' // meta is an update
	kindRemoved = 'R' // the message is gone, or has a file

	flagHeld = 1 // the message came in on hold
)

// hot is where in the log a message is. Guarded by the entry's mutex.
type hot struct {
	place   commitlog.Place
	updates []commitlog.Place
	// What is in the log, as long as there is memory and the message has not
	// been tried. nil otherwise.
	env  *mail.Envelope
	data *kept
}

// places are all records of the message.
func (h *hot) places() []commitlog.Place { return append(h.updates, h.place) }

// damaged turns what the log says of a changed record into what the queue says.
func damaged(err error) error {
	if errors.Is(err, commitlog.ErrChanged) {
		return fmt.Errorf("%w: %v", ErrDamaged, err)
	}
	return err
}

func (q *Queue) loadHot(e *entry) (*Message, error) {
	h, env := e.hot, e.hot.env
	if env == nil {
		meta, err := q.hot.ReadMeta(h.place)
		if err != nil {
			return nil, damaged(err)
		}
		if env, err = decodeEnvelope(meta); err != nil {
			return nil, err
		}
	}
	m := &Message{q: q, e: e, length: h.place.Body()}
	m.begin(env)
	for _, p := range h.updates {
		meta, err := q.hot.ReadMeta(p)
		if err == nil {
			err = m.applyJSON(meta)
		}
		if err = damaged(err); errors.Is(err, ErrDamaged) {
			q.log.Warn(fmt.Sprintf("%s: something that was recorded about its recipients is lost: %v", e.id, err))
		} else if err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (q *Queue) openHot(h *hot) (io.ReadCloser, error) {
	if h.data != nil {
		return h.data.open(), nil
	}
	_, data, err := q.hot.Read(h.place)
	if err != nil {
		return nil, damaged(err)
	}
	return inMemory{bytes.NewReader(data)}, nil
}

// inMemory is content that needs no closing.
type inMemory struct{ *bytes.Reader }

// Close does nothing.
func (inMemory) Close() error { return nil }

// recordHot appends an update to the log; e.mu is held.
func (q *Queue) recordHot(e *entry, payload []byte) error {
	place, err := q.hot.Append(commitlog.Record{Kind: kindUpdate, ID: e.id, Meta: payload})
	if err != nil {
		return err
	}
	e.hot.updates = append(e.hot.updates, place)
	q.cool(e.hot)
	return nil
}

// cool frees the memory that a message takes.
func (q *Queue) cool(h *hot) {
	if h.env != nil {
		h.data.drop()
		h.env, h.data = nil, nil
	}
}

// revoke ends a message's life in the log; e.mu is held. If the record about it
// does not get to disk the message is there again after a restart.
func (q *Queue) revoke(e *entry) {
	h := e.hot
	q.hot.Note(commitlog.Record{Kind: kindRemoved, ID: e.id})
	q.cool(h)
	q.hot.Release(h.places()...)
	e.hot = nil
}

// evacuate moves the messages that have a record in a segment of the log into
// files of their own.
func (q *Queue) evacuate(segment uint64) {
	moves := make(chan *entry)
	done := make(chan error)
	const workers = 16 // share the syncs of the directory
	for range workers {
		go func() {
			var errs []error
			for e := range moves {
				err := q.moveOut(e, segment)
				if errors.Is(err, ErrDamaged) {
					q.setAside(e, err)
					err = nil
				}
				errs = append(errs, err)
			}
			done <- errors.Join(errs...)
		}()
	}
	for _, e := range q.all() {
		moves <- e
	}
	close(moves)
	for range workers {
		if err := <-done; err != nil {
			q.log.Error("moving messages out of the log: " + err.Error())
		}
	}
}

// all are the entries of this moment.
func (q *Queue) all() []*entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := make([]*entry, 0, len(q.entries))
	for _, e := range q.entries {
		list = append(list, e)
	}
	return list
}

// moveOut gives a message with a record in the segment a file.
func (q *Queue) moveOut(e *entry, segment uint64) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.hot == nil || !e.hot.touches(segment) {
		return nil
	}
	file, err := q.asFile(e)
	if err == nil {
		err = q.writeFile(e, file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.id, damaged(err))
	}
	q.revoke(e)
	return nil
}

func (h *hot) touches(segment uint64) bool {
	for _, p := range h.updates {
		if p.Segment() == segment {
			return true
		}
	}
	return h.place.Segment() == segment
}

// asFile returns what is in the log of a message as its file would have it.
func (q *Queue) asFile(e *entry) ([]byte, error) {
	meta, body, err := q.hot.Read(e.hot.place)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, headerSize+len(body)+recordHead+len(meta)+1024)
	b = append(b, encodeHeader(int64(len(body)), checksum(body))...)
	b = append(b, body...)
	b = appendRecord(b, recordEnvelope, meta)
	for _, p := range e.hot.updates {
		meta, err := q.hot.ReadMeta(p)
		if errors.Is(err, commitlog.ErrChanged) {
			continue // loadHot complains
		}
		if err != nil {
			return nil, err
		}
		b = appendRecord(b, recordUpdate, meta)
	}
	return b, nil
}

// writeFile writes a message's file; when it returns nil it is on disk under
// its name, and the time of its next attempt with it.
func (q *Queue) writeFile(e *entry, content []byte) error {
	f, err := q.newFile(e.id)
	if err != nil {
		return err
	}
	path := f.Name()
	_, err = f.Write(content)
	if err == nil {
		err = setTime(f, q.hintOf(e))
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		if err = os.Rename(path, q.path(messages, e.id)); err == nil {
			path = q.path(messages, e.id)
			err = q.names.Sync()
		}
	}
	if err != nil {
		os.Remove(path)
	}
	return err
}
