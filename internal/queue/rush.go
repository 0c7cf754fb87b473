package queue

import "time"

// When many messages come in at once, accepting them goes before delivering
// them: clients wait for the one, nobody for the other.
const (
	rushWindow   = 100 * time.Millisecond
	rushMessages = 50              // in a window: what counts as many
	rushActive   = 2               // messages handed out at once meanwhile
	rushPatience = 5 * time.Second // how long others wait at most
)

// rush counts the messages that come in. Times are nanoseconds since 1970.
type rush struct {
	began         int64 // of the window
	count, before int   // in this one and the one before
}

// add counts a message.
func (r *rush) add(now int64) {
	r.turn(now)
	r.count++
}

func (q *Queue) countRush(now time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rush.add(now.UnixNano())
}

// turn begins a new window if it is time.
func (r *rush) turn(now int64) {
	switch age := time.Duration(now - r.began); {
	case age < 0 || age >= 2*rushWindow:
		*r = rush{began: now}
	case age >= rushWindow:
		*r = rush{began: r.began + int64(rushWindow), before: r.count}
	}
}

// on reports whether many messages come in.
func (r *rush) on(now int64) bool {
	r.turn(now)
	return r.count >= rushMessages || r.before >= rushMessages
}
