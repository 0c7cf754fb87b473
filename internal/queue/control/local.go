package control

import (
	"io"
	"iter"
	"time"

	"sekisho/internal/queue"
)

// local is the spool of a server that does not run.
type local struct {
	*queue.Queue
	now func() time.Time
}

// All yields every message.
func (l *local) All() iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for i := range l.Queue.All() {
			if !yield(describe(i, l.now()), nil) {
				return
			}
		}
	}
}

// Show returns one message.
func (l *local) Show(id string) (Message, error) {
	i, err := l.Queue.Show(id)
	if err != nil {
		return Message{}, err
	}
	return describe(i, l.now()), nil
}

// Content opens a message.
func (l *local) Content(id string) (io.ReadCloser, error) {
	i, err := l.Queue.Show(id)
	if err != nil {
		return nil, err
	}
	return i.Message.Open()
}

// Flush makes all messages due.
func (l *local) Flush() error { l.Queue.Flush(); return nil }

// FlushSite makes the messages for a domain due.
func (l *local) FlushSite(domain string) (int, error) { return l.Queue.FlushSite(domain), nil }
