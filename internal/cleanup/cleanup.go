package cleanup

import (
	"context"
	"log/slog"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/matchlist"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
)

// World is what cleanup needs besides its configuration.
type World struct {
	Resolver   *rewrite.Resolver
	Mynetworks *matchlist.List // for local_header_rewrite_clients
	Clock      clock.Clock
	Log        *slog.Logger // lines are logged as syslog_name/cleanup
}

// Problem is a parameter that cannot be used, with the place where it is set.
type Problem struct {
	Pos   config.Pos
	Param string
	What  string
}

// String returns "FILE:LINE: PARAM: WHAT".
func (p Problem) String() string {
	return p.Pos.String() + ": " + p.Param + ": " + p.What
}

// Cleaner is the cleanup service. It never changes and is safe for concurrent
// use; each message is one Message.
type Cleaner struct {
	world World
}

// New returns the cleanup service of a configuration (the view of its
// master.cf entry). With problems the Cleaner must not be used.
func New(cfg *config.Config, w World) (*Cleaner, []Problem) {
	return &Cleaner{world: w}, nil
}

// Result is what became of a message.
type Result struct {
	Reply mail.Reply // zero: accepted and on disk, or discarded as a table said
	Size  int64      // bytes of content as it came, line ends counted as one
}

// Message is a message on its way through cleanup. It belongs to one
// goroutine.
type Message struct{}

// Begin starts a message: env has the queue id, the arrival time, the sender,
// all accepted recipients as the client gave them, and the client; facts are
// those of the session, for log lines; src answers table look-ups. Trouble with
// the envelope is kept for Close; an error means that the queue has no room or
// its disk fails.
func (c *Cleaner) Begin(ctx context.Context, env mail.Envelope, facts *mail.Facts, src evidence.Source) (*Message, error) {
	return &Message{}, nil
}

// Effect does what an access table asked for besides accepting the message.
// Prepend writes the header at once, so it is called before the first
// WriteLine.
func (m *Message) Effect(e restrict.Effect) {}

// WriteLine takes one line of content without its line ending: first the
// headers that the server makes, then what the client sent. The line is not
// kept. Trouble is kept for Close; an error means that there is no use in
// sending more.
func (m *Message) WriteLine(line []byte) error { return nil }

// Close ends the content. With a zero Reply the message is in the queue and
// synced to disk.
func (m *Message) Close() Result { return Result{} }

// Abort drops the message. It may be called at any time, also after Close,
// where it does nothing.
func (m *Message) Abort() {}
