package queue

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"sort"
)

// recover removes drafts, named ones too, and learns what is in the queue.
func (q *Queue) recover() error {
	drafts, err := os.ReadDir(q.path(incoming, ""))
	if err != nil {
		return err
	}
	for _, d := range drafts {
		if err := os.RemoveAll(q.path(incoming, d.Name())); err != nil {
			return err
		}
	}
	files, err := os.ReadDir(q.path(messages, ""))
	if err != nil {
		return err
	}
	var found []*Message
	for _, f := range files {
		m, err := q.load(f.Name(), true)
		if errors.Is(err, ErrDamaged) && q.unfinished(f.Name()) {
			q.log.Warn(f.Name() + ": removed: it is empty: it was not accepted yet, or delivered already")
			if err := os.Remove(q.path(messages, f.Name())); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			q.giveUp(f.Name(), err)
			continue
		}
		found = append(found, m)
	}
	sort.SliceStable(found, func(i, j int) bool { return found[i].env.Arrived.Before(found[j].env.Arrived) })
	for _, m := range found {
		q.add(m.env.QueueID, m.until, m.held)
	}
	return nil
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

// giveUp deals with a file that could not be loaded: a damaged one is moved
// away, for any other error it stays for another try.
func (q *Queue) giveUp(id string, why error) {
	if errors.Is(why, ErrDamaged) {
		q.setAside(id, why)
		return
	}
	if errors.Is(why, os.ErrNotExist) {
		q.forget(id)
	}
	q.log.Error(fmt.Sprintf("%s: cannot read the queue file: %v", id, why))
}

// setAside takes a file that cannot be used out of the queue. If even that
// fails the file stays where it is and is tried again at the next start.
func (q *Queue) setAside(id string, why error) {
	q.forget(id)
	err := os.Rename(q.path(messages, id), q.freeName(id))
	if err != nil {
		q.log.Error(fmt.Sprintf("%s: %v; cannot move the file to %s: %v", id, why, q.path(corrupt, ""), err))
		return
	}
	q.log.Warn(fmt.Sprintf("%s: %v; file moved to %s", id, why, q.path(corrupt, "")))
}

// freeName returns a path in corrupt/ that is not taken.
func (q *Queue) freeName(id string) string {
	path := q.path(corrupt, id)
	if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
		return path
	}
	return path + "." + q.clock.Now().UTC().Format("20060102T150405.000000000")
}
