package cleanup

import (
	"log/slog"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/maillog"
	"sekisho/internal/matchlist"
	"sekisho/internal/queue"
	"sekisho/internal/rewrite"
)

// World is what cleanup needs besides its configuration.
type World struct {
	Resolver   *rewrite.Resolver
	Lists      rewrite.World   // for the match lists of its own
	Mynetworks *matchlist.List // for local_header_rewrite_clients
	Queue      *queue.Queue
	Clock      clock.Clock
	Log        *slog.Logger // lines are logged as syslog_name/cleanup
	// Verified is told the answer to an address probe that needs no delivery;
	// see qmgr.Options.
	Verified func(original, address string, r deliver.Result)
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
	log   *slog.Logger
	set   settings
	in    intake
}

// New returns the cleanup service of a configuration: cleanup's own view, or
// main.cf alone. With problems the Cleaner must not be used.
func New(cfg *config.Config, w World) (*Cleaner, []Problem) {
	c := &Cleaner{world: w, log: w.Log.With(maillog.Service(cfg.Str("syslog_name") + "/cleanup"))}
	r := reader{cfg: cfg}
	c.set = r.settings(w)
	c.in = r.intake(w.Mynetworks)
	return c, r.problems
}

// For returns the same service for what one SMTP server brings: cfg is the
// server's view, with its own content_filter, receive_override_options and
// local_header_rewrite_clients, which in Postfix are the server's parameters.
func (c *Cleaner) For(cfg *config.Config, mynetworks *matchlist.List) (*Cleaner, []Problem) {
	r := reader{cfg: cfg}
	other := *c
	other.in = r.intake(mynetworks)
	return &other, r.problems
}
