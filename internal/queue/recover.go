package queue

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/queue/commitlog"
)

// farOff is how far in the future a file's time may be to be believed without a
// look into the file: the clock may have been wrong, or the message is on hold.
const farOff = 24 * time.Hour

// recover removes drafts and learns what is in the queue.
func (q *Queue) recover(o commitlog.Options) error {
	drafts, err := os.ReadDir(q.path(incoming, ""))
	if err != nil {
		return err
	}
	for _, d := range drafts {
		if err := os.RemoveAll(q.path(incoming, d.Name())); err != nil {
			return err
		}
	}
	r := &replay{q: q, found: map[string]*entry{}, now: nanos(q.clock.Now())}
	o.Clock, o.Found, o.Damaged, o.Evacuate = q.clock, r.record, q.damage, q.evacuate
	o.Trouble = func(err error) { q.log.Error("log of the queue: " + err.Error()) }
	if q.hot, err = commitlog.Open(q.path(logDir, ""), o); err != nil {
		return err
	}
	q.hot.Release(r.useless...)
	if err := q.findFiles(r); err != nil {
		return err
	}
	for _, e := range r.order {
		if r.found[e.id] == e {
			q.add(e)
		}
	}
	return nil
}

// replay is the log being read.
type replay struct {
	q       *Queue
	now     int64
	found   map[string]*entry
	order   []*entry // as they arrived
	useless []commitlog.Place
}

func (r *replay) record(rec commitlog.Record, p commitlog.Place) {
	e := r.found[rec.ID]
	switch {
	case rec.Kind == kindMessage:
		if e != nil {
			r.drop(e)
		}
		e = &entry{id: rec.ID, due: r.now, held: rec.Flags&flagHeld != 0, hot: &hot{place: p}}
		r.found[e.id] = e
		r.order = append(r.order, e)
	case rec.Kind == kindUpdate && e != nil:
		e.hot.updates = append(e.hot.updates, p)
		r.update(e, rec.Meta)
	case rec.Kind == kindRemoved && e != nil:
		r.drop(e)
		r.useless = append(r.useless, p)
	default:
		r.useless = append(r.useless, p)
	}
}

// update takes from an update what the schedule has to know. One that cannot be
// read is reported when the message is loaded.
func (r *replay) update(e *entry, meta []byte) {
	var u update
	if json.Unmarshal(meta, &u) != nil {
		return
	}
	if u.Until != nil {
		e.due = nanos(*u.Until)
	}
	if u.Held != nil {
		e.held = *u.Held
	}
}

func (r *replay) drop(e *entry) {
	r.useless = append(r.useless, e.hot.places()...)
	delete(r.found, e.id)
}

// damage keeps what makes no sense in the log. It is there until its segment is
// given up, and reported once.
func (q *Queue) damage(d commitlog.Damage) {
	path := q.path(corrupt, fmt.Sprintf("%s-at-%d", filepath.Base(d.Path), d.Offset))
	if d.ID != "" {
		path += "-" + d.ID
	}
	if _, err := os.Lstat(path); err == nil {
		return
	}
	if err := os.WriteFile(path, d.Data, 0o600); err != nil {
		q.log.Error(fmt.Sprintf("damage in the log of the queue: %s; cannot keep it: %v", d, err))
		return
	}
	q.log.Warn(fmt.Sprintf("damage in the log of the queue: %s; kept in %s", d, path))
}

// findFiles learns the messages that have files from the directory alone.
func (q *Queue) findFiles(r *replay) error {
	dir, err := os.Open(q.path(messages, ""))
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(4096)
		for _, name := range names {
			if err := q.findFile(r, int(dir.Fd()), name); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (q *Queue) findFile(r *replay, dir int, name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return fmt.Errorf("%s: %w", q.path(messages, name), err)
	}
	modified := time.Unix(st.Mtim.Unix())
	e := &entry{id: name, due: nanos(modified), hint: true}
	if hot := r.found[name]; hot != nil {
		// Both: the file is the later one, if it is whole.
		if err := q.check(e); errors.Is(err, ErrDamaged) {
			q.setAside(e, err)
			return nil
		} else if err != nil {
			return err
		}
		q.revoke(hot)
		delete(r.found, name)
	}
	if modified.Sub(q.clock.Now()) > farOff {
		m, err := q.load(e, true)
		if err != nil {
			q.giveUp(e, err)
			return nil
		}
		e.due, e.held, e.hint = nanos(m.until), m.held, false
	}
	q.add(e)
	return nil
}

// check reads all of a message's file.
func (q *Queue) check(e *entry) error {
	m, err := q.load(e, false)
	if err != nil {
		return err
	}
	r, err := m.Open()
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return errors.Join(err, r.Close())
}

// unfinished reports whether a file has a name in messages/ but no header: the
// machine stopped between Commit's rename and its end, or during Remove.
func (q *Queue) unfinished(id string) bool {
	f, err := os.Open(q.path(messages, id))
	if err != nil {
		return false
	}
	defer f.Close()
	var head [headerSize]byte
	n, err := io.ReadFull(f, head[:])
	return (err == nil || err == io.EOF || err == io.ErrUnexpectedEOF) && bytes.Count(head[:n], []byte{0}) == n
}

// giveUp deals with a message that could not be loaded: a damaged one is moved
// away, for any other error it stays for another try.
func (q *Queue) giveUp(e *entry, why error) {
	if errors.Is(why, ErrDamaged) {
		q.setAside(e, why)
		return
	}
	if errors.Is(why, os.ErrNotExist) {
		q.forget(e)
		return
	}
	q.log.Error(fmt.Sprintf("%s: cannot read the queue file: %v", e.id, why))
}

// setAside takes a message that cannot be used out of the queue. If even that
// fails the file stays where it is and is tried again at the next start.
func (q *Queue) setAside(e *entry, why error) {
	q.forget(e)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.gone {
		return
	}
	if e.hot == nil && q.unfinished(e.id) {
		e.gone = true
		q.log.Warn(e.id + ": removed: it is empty: it was not accepted yet, or delivered already")
		if err := os.Remove(q.path(messages, e.id)); err != nil {
			q.log.Error(err.Error())
		}
		return
	}
	var err error
	if e.hot != nil {
		err = q.setHotAside(e)
	} else {
		err = os.Rename(q.path(messages, e.id), q.freeName(e.id))
	}
	if err != nil {
		q.log.Error(fmt.Sprintf("%s: %v; cannot move the file to %s: %v", e.id, why, q.path(corrupt, ""), err))
		return
	}
	e.gone = true
	q.log.Warn(fmt.Sprintf("%s: %v; file moved to %s", e.id, why, q.path(corrupt, "")))
}

// setHotAside keeps the record of a message as it is in the log.
func (q *Queue) setHotAside(e *entry) error {
	raw, err := q.hot.Raw(e.hot.place)
	if err == nil {
		err = os.WriteFile(q.freeName(e.id), raw, 0o600)
	}
	if err == nil {
		q.revoke(e)
	}
	return err
}

// freeName returns a path in corrupt/ that is not taken.
func (q *Queue) freeName(id string) string {
	path := q.path(corrupt, id)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return path
	}
	return path + "." + q.clock.Now().UTC().Format("20060102T150405.000000000")
}
