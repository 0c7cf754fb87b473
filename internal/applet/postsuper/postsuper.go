// Package postsuper is the command postsuper(1): deleting, holding, releasing,
// requeueing and expiring messages by hand. The queue repairs itself, so that
// -s, -S and -p find nothing to do.
package postsuper

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/getopt"
	"sekisho/internal/applet/spool"
	"sekisho/internal/clock"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

// Env is what the command gets from the program.
type Env struct {
	In     io.Reader
	Err    io.Writer
	Config string // the folder of main.cf if -c does not say
	Clock  clock.Clock
}

// Cmd takes its command line as getopt(3) reads it.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"-d|-e|-f|-h|-H|-r ID|ALL|- ... [-psS] [-c DIR] [QUEUE...]"`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

const usage = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] [-f queue_id (expire and/or un-hold)] " +
	"[-h queue_id (hold)] [-H queue_id (un-hold)] [-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] " +
	"[-S (redundant structure fix)][-v (verbose)] [queue...]"

// action is something that is done to messages.
type action struct {
	did     string // of one message
	summary string
	does    func(control.Spool, string) error
	wants   func(control.Message) bool
}

func any(control.Message) bool { return true }

// held are those on hold, and those that may be once their delivery has ended.
func held(m control.Message) bool    { return m.State == control.Held || m.State == control.Active }
func notHeld(m control.Message) bool { return m.State != control.Held }

// actions by option, in the order in which their summaries are printed. Option
// -f is expire and release.
var order = []byte{'r', 'd', 'e', 'h', 'H'}

var actions = map[byte]action{
	'r': {"requeued", "Requeued", control.Spool.Requeue, any},
	'd': {"removed", "Deleted", control.Spool.Delete, any},
	'e': {"expired", "Force-expired", control.Spool.Expire, any},
	'h': {"placed on hold", "Placed on hold", control.Spool.Hold, notHeld},
	'H': {"released from hold", "Released from hold", control.Spool.Release, held},
}

// job is one option with its argument.
type job struct {
	action byte
	id     string // or all
}

const all = "ALL"

// Run runs one command line and returns its exit status.
func Run(env *Env, args []string) int {
	r := &run{env: env, dir: env.Config, counts: make(map[byte]int)}
	if err := r.run(args); err != nil {
		r.say("fatal: " + err.Error())
		return 1
	}
	return 0
}

type run struct {
	env    *Env
	dir    string
	jobs   []job
	queues []control.State // empty: all
	counts map[byte]int
	spool  control.Spool
}

func (r *run) say(text string) { fmt.Fprintln(r.env.Err, "postsuper: "+text) }

func (r *run) run(args []string) error {
	if err := r.options(args); err != nil {
		return err
	}
	cfg, err := spool.Config(r.dir)
	if err != nil {
		return err
	}
	if len(r.jobs) == 0 {
		return nil
	}
	r.spool, _, err = spool.Open(cfg, r.env.Clock, slog.New(slog.DiscardHandler))
	if err == nil {
		err = errors.Join(r.work(), r.spool.Close())
	}
	if errors.Is(err, os.ErrPermission) || errors.Is(err, control.ErrDenied) {
		return errors.New("use of this command is reserved for the superuser")
	}
	return err
}

func (r *run) options(args []string) error {
	options, operands, err := getopt.Parse(args, "c:d:e:f:h:H:pr:sSv")
	if err != nil {
		r.say(err.Error())
		return errors.New(usage)
	}
	for _, o := range options {
		switch o.Letter {
		case 'c':
			r.dir = o.Value
		case 'f':
			r.add('e', o.Value)
			r.add('H', o.Value)
		case 'd', 'e', 'h', 'H', 'r':
			r.add(o.Letter, o.Value)
		}
	}
	return r.operands(operands)
}

// add notes what is to be done to a message, to all, or to those that standard
// input names.
func (r *run) add(action byte, id string) {
	r.counts[action] += 0 // so that it is summed up
	if id != "-" {
		r.jobs = append(r.jobs, job{action, id})
		return
	}
	for in := bufio.NewScanner(r.env.In); in.Scan(); {
		r.jobs = append(r.jobs, job{action, strings.TrimSpace(in.Text())})
	}
}

// operands are the names of Postfix's queues.
func (r *run) operands(names []string) error {
	for _, name := range names {
		switch state := control.State(name); state {
		case control.Active, control.Incoming, control.Deferred, control.Held, "maildrop", "defer", "bounce", "trace", "flush":
			r.queues = append(r.queues, state)
		default:
			return errors.New("invalid directory name: " + name)
		}
	}
	return nil
}

// wanted reports whether a message is in a queue that was named.
func (r *run) wanted(m control.Message) bool {
	return len(r.queues) == 0 || slices.Contains(r.queues, m.State)
}

func (r *run) work() error {
	for _, j := range r.jobs {
		a := actions[j.action]
		var err error
		switch {
		case j.id == all:
			err = r.toAll(j.action, a)
		case !spool.ValidID(j.id):
			r.say("warning: invalid mail queue id: " + j.id)
		default:
			err = r.toOne(j, a)
		}
		if err != nil {
			return err
		}
	}
	for _, option := range order {
		n, asked := r.counts[option]
		plural := "s"
		if n == 1 {
			plural = ""
		}
		if asked {
			r.say(fmt.Sprintf("%s: %d message%s", actions[option].summary, n, plural))
		}
	}
	return nil
}

func (r *run) toAll(option byte, a action) error {
	n, err := spool.Each(r.spool, func(m control.Message) bool { return r.wanted(m) && a.wants(m) },
		func(id string) error { return a.does(r.spool, id) })
	r.counts[option] += n
	return err
}

func (r *run) toOne(j job, a action) error {
	m, err := r.spool.Show(j.id)
	if errors.Is(err, queue.ErrNotFound) || err == nil && (!r.wanted(m) || !a.wants(m)) {
		return nil
	}
	if err != nil && !(j.action == 'd' && errors.Is(err, queue.ErrDamaged)) {
		return err
	}
	switch err := a.does(r.spool, j.id); {
	case errors.Is(err, queue.ErrNotFound) || errors.Is(err, queue.ErrNotHeld):
		return nil
	case err != nil:
		return err
	}
	r.counts[j.action]++
	r.say(j.id + ": " + a.did)
	return nil
}
