// Package queuectl is "sekisho queue": the list of messages that wait, why each
// recipient waits and when it is tried next, and what can be done about it by
// hand: hold, release, requeue, expire, delete, flush.
//
// At a terminal it prints tables, in a pipe one line for each recipient, with
// --json one object for each message. It works while the server runs and while
// it does not. Postfix's own commands are packages postqueue, postsuper and
// postcat.
package queuectl

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"golang.org/x/term"

	"sekisho/internal/applet/spool"
	"sekisho/internal/clock"
	"sekisho/internal/mail"
	"sekisho/internal/queue/control"
)

// Env is what the commands get from the program.
type Env struct {
	Out    *os.File
	Err    *os.File // progress
	Config string   // the folder of main.cf if -c does not say
	Clock  clock.Clock
}

// Cmd is "sekisho queue".
type Cmd struct {
	List    ListCmd    `cmd:"" default:"withargs" help:"List messages, why they wait, and when they are tried next."`
	Show    ShowCmd    `cmd:"" help:"Show all that is known of a message."`
	Cat     CatCmd     `cmd:"" help:"Print header and body of a message."`
	Hold    HoldCmd    `cmd:"" help:"Keep messages from being delivered."`
	Release ReleaseCmd `cmd:"" help:"Deliver messages that are on hold."`
	Requeue RequeueCmd `cmd:"" help:"Try messages now, on hold or not."`
	Expire  ExpireCmd  `cmd:"" help:"Return messages to their senders."`
	Delete  DeleteCmd  `cmd:"" help:"Delete messages. Nobody is told."`
	Flush   FlushCmd   `cmd:"" help:"Try messages now that are not on hold."`
}

// Common are the flags of every command.
type Common struct {
	Config string `short:"c" placeholder:"DIR" help:"Folder of main.cf."`
}

// Choice says which messages are meant.
type Choice struct {
	Queue string        `placeholder:"NAME" enum:",active,incoming,deferred,hold" default:"" help:"Only those in a queue: active, incoming, deferred or hold."`
	From  string        `placeholder:"ADDRESS" help:"Only those of a sender: an address, a domain, or <>."`
	To    string        `placeholder:"ADDRESS" help:"Only those that wait for a recipient: an address or a domain."`
	Older time.Duration `placeholder:"TIME" help:"Only those that have been here longer: 90m, 48h."`
}

func (c *Choice) narrow() bool { return *c != Choice{} }

// matches reports whether a message is meant.
func (c *Choice) matches(m control.Message, now time.Time) bool {
	switch {
	case c.Queue != "" && c.Queue != string(m.State),
		c.From != "" && !same(c.From, m.Envelope.Sender),
		c.Older > 0 && now.Sub(m.Envelope.Arrived) < c.Older:
		return false
	case c.To == "":
		return true
	}
	for i, p := range m.Progress {
		if !p.Done && same(c.To, m.Envelope.Recipients[i].Address) {
			return true
		}
	}
	return false
}

// same reports whether an address is the pattern, or in the domain that the
// pattern is.
func same(pattern, address string) bool {
	if pattern == "<>" {
		return address == ""
	}
	if strings.Contains(strings.TrimPrefix(pattern, "@"), "@") {
		return strings.EqualFold(pattern, address)
	}
	_, domain, _ := mail.SplitAddress(address)
	return strings.EqualFold(strings.TrimPrefix(pattern, "@"), domain)
}

// open opens the spool.
func (e *Env) open(c Common) (control.Spool, error) {
	dir := c.Config
	if dir == "" {
		dir = e.Config
	}
	cfg, err := spool.Config(dir)
	if err != nil {
		return nil, err
	}
	s, _, err := spool.Open(cfg, e.Clock, slog.New(slog.NewTextHandler(e.Err, nil)))
	if errors.Is(err, os.ErrPermission) {
		return nil, fmt.Errorf("%w; this is for root and the owner of the spool", err)
	}
	return s, err
}

// with opens the spool for the time of do.
func (e *Env) with(c Common, do func(control.Spool) error) error {
	s, err := e.open(c)
	if err != nil {
		return err
	}
	return errors.Join(do(s), s.Close())
}

// ListCmd is "sekisho queue list".
type ListCmd struct {
	Common
	Choice
	JSON bool `name:"json" help:"Print JSON, one object a line."`
}

// Run lists the queue.
func (c *ListCmd) Run(e *Env) error {
	return e.with(c.Common, func(s control.Spool) error {
		out := bufio.NewWriter(e.Out)
		p := e.lister(out, c.JSON)
		for m, err := range s.All() {
			if err != nil {
				return errors.Join(out.Flush(), err)
			}
			if c.matches(m, e.Clock.Now()) {
				p.message(m)
			}
		}
		p.end()
		return out.Flush()
	})
}

// ShowCmd is "sekisho queue show".
type ShowCmd struct {
	Common
	JSON bool     `name:"json" help:"Print JSON, one object a line."`
	IDs  []string `arg:"" name:"id" help:"Queue ids."`
}

// Run shows messages.
func (c *ShowCmd) Run(e *Env) error {
	return e.with(c.Common, func(s control.Spool) error {
		for i, id := range c.IDs {
			m, err := s.Show(id)
			if err == nil && c.JSON {
				err = json.NewEncoder(e.Out).Encode(m)
			} else if err == nil {
				if i > 0 {
					fmt.Fprintln(e.Out)
				}
				err = e.show(m)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// CatCmd is "sekisho queue cat".
type CatCmd struct {
	Common
	ID string `arg:"" help:"Queue id."`
}

// Run prints a message.
func (c *CatCmd) Run(e *Env) error {
	return e.with(c.Common, func(s control.Spool) error {
		r, err := s.Content(c.ID)
		if err != nil {
			return err
		}
		defer r.Close()
		_, err = io.Copy(e.Out, r)
		return err
	})
}

// work is what the commands have in common that do something to messages.
type work struct {
	Common
	Choice
	All bool     `help:"All messages."`
	IDs []string `arg:"" optional:"" name:"id" help:"Queue ids; or say which with flags."`
}

// run does something to the messages that are meant.
func (w *work) run(e *Env, did string, wants func(control.Message) bool, do func(control.Spool, string) error) error {
	if len(w.IDs) == 0 && !w.All && !w.narrow() {
		return errors.New("which messages? Give queue ids, flags that choose some, or --all")
	}
	if len(w.IDs) > 0 && (w.All || w.narrow()) {
		return errors.New("give either queue ids or flags that choose messages")
	}
	return e.with(w.Common, func(s control.Spool) error {
		if len(w.IDs) > 0 {
			return w.named(e, s, did, do)
		}
		var total int
		now := e.Clock.Now()
		bar := e.progress(did)
		n, err := spool.Each(s, func(m control.Message) bool {
			ok := wants(m) && w.matches(m, now)
			if ok {
				total++
			}
			return ok
		}, func(id string) error {
			bar.step(total)
			return do(s, id)
		})
		bar.end()
		fmt.Fprintf(e.Out, "%d %s\n", n, did)
		return err
	})
}

func (w *work) named(e *Env, s control.Spool, did string, do func(control.Spool, string) error) error {
	var errs []error
	for _, id := range w.IDs {
		if err := do(s, id); err != nil {
			errs = append(errs, err)
			continue
		}
		fmt.Fprintf(e.Out, "%s %s\n", id, did)
	}
	return errors.Join(errs...)
}

func every(control.Message) bool { return true }

// held are those on hold, and those that may be once their delivery has ended.
func held(m control.Message) bool    { return m.State == control.Held || m.State == control.Active }
func notHeld(m control.Message) bool { return m.State != control.Held }

// HoldCmd is "sekisho queue hold".
type HoldCmd struct{ work }

// Run holds messages.
func (c *HoldCmd) Run(e *Env) error { return c.run(e, "on hold", notHeld, control.Spool.Hold) }

// ReleaseCmd is "sekisho queue release".
type ReleaseCmd struct{ work }

// Run releases messages.
func (c *ReleaseCmd) Run(e *Env) error { return c.run(e, "released", held, control.Spool.Release) }

// RequeueCmd is "sekisho queue requeue".
type RequeueCmd struct{ work }

// Run requeues messages.
func (c *RequeueCmd) Run(e *Env) error { return c.run(e, "requeued", every, control.Spool.Requeue) }

// ExpireCmd is "sekisho queue expire".
type ExpireCmd struct{ work }

// Run expires messages and has those that wait tried, which returns them.
func (c *ExpireCmd) Run(e *Env) error {
	return c.run(e, "expired", every, func(s control.Spool, id string) error {
		if err := s.Expire(id); err != nil {
			return err
		}
		return s.FlushMessage(id)
	})
}

// DeleteCmd is "sekisho queue delete".
type DeleteCmd struct{ work }

// Run deletes messages.
func (c *DeleteCmd) Run(e *Env) error { return c.run(e, "deleted", every, control.Spool.Delete) }

// FlushCmd is "sekisho queue flush".
type FlushCmd struct {
	Common
	Site string   `placeholder:"DOMAIN" help:"Only mail for this domain."`
	IDs  []string `arg:"" optional:"" name:"id" help:"Queue ids; all without."`
}

// Run has mail tried now.
func (c *FlushCmd) Run(e *Env) error {
	return e.with(c.Common, func(s control.Spool) error {
		switch {
		case c.Site != "":
			n, err := s.FlushSite(c.Site)
			if err == nil {
				fmt.Fprintf(e.Out, "%d messages are tried now\n", n)
			}
			return err
		case len(c.IDs) == 0:
			return s.Flush()
		}
		var errs []error
		for _, id := range c.IDs {
			if err := s.FlushMessage(id); err != nil {
				errs = append(errs, err)
			}
		}
		return errors.Join(errs...)
	})
}

// progress counts at a terminal what has been done.
type progress struct {
	out  io.Writer
	did  string
	n    int
	show bool
}

func (e *Env) progress(did string) *progress {
	return &progress{out: e.Err, did: did, show: term.IsTerminal(int(e.Err.Fd()))}
}

// step counts; it prints every hundred, or a terminal would be what takes the
// time.
func (p *progress) step(total int) {
	p.n++
	if p.show && p.n%100 == 0 {
		fmt.Fprintf(p.out, "\r%d of %d %s", p.n, total, p.did)
	}
}

func (p *progress) end() {
	if p.show && p.n >= 100 {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}

// reason is why a recipient waits; before the first try it is empty.
func reason(p control.Progress) string {
	if p.Last == nil {
		return ""
	}
	return p.Last.Text
}
