// Package postqueue is the command postqueue(1), and with it mailq(1): the list
// of what is in the queue, and trying it now.
package postqueue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/getopt"
	"sekisho/internal/applet/spool"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
	"sekisho/internal/rewrite"
	"sekisho/internal/table"
)

// Env is what the command gets from the program.
type Env struct {
	Out    io.Writer
	Err    io.Writer
	Config string // the folder of main.cf if -c does not say
	Clock  clock.Clock
}

// Cmd takes its command line as getopt(3) reads it.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"-p | -j | -f | -i ID | -s SITE [-c DIR]"`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

// unavailable is EX_UNAVAILABLE of sysexits(3): the status of all failures.
const unavailable = 69

const usage = "usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site"

// Run runs one command line and returns its exit status.
func Run(env *Env, args []string) int {
	options, operands, err := getopt.Parse(args, "c:fi:jps:v")
	if err != nil {
		fmt.Fprintln(env.Err, "postqueue: "+err.Error())
	}
	r := &run{env: env, dir: env.Config}
	for _, o := range options {
		switch o.Letter {
		case 'c':
			r.dir = o.Value
		case 'v':
		default:
			r.modes = append(r.modes, o)
		}
	}
	if err != nil || len(operands) > 0 || len(r.modes) != 1 {
		err = errors.New(usage)
	} else {
		err = r.run(r.modes[0])
	}
	if err != nil {
		fmt.Fprintln(env.Err, "postqueue: fatal: "+err.Error())
		return unavailable
	}
	return 0
}

type run struct {
	env   *Env
	dir   string
	modes []getopt.Option
	cfg   *config.Config
}

func (r *run) warn(text string) { fmt.Fprintln(r.env.Err, "postqueue: warning: "+text) }

func (r *run) run(mode getopt.Option) error {
	cfg, err := spool.Config(r.dir)
	if err != nil {
		return trouble(err)
	}
	r.cfg = cfg
	switch mode.Letter {
	case 'p':
		return r.list(List)
	case 'j':
		return r.list(ListJSON)
	case 'i':
		if !spool.ValidID(mode.Value) {
			return fmt.Errorf("Cannot flush queue ID - invalid name: %q", mode.Value)
		}
		return r.flush("queue ID", func(s control.Spool) error {
			if err := s.FlushMessage(mode.Value); !errors.Is(err, queue.ErrNotFound) {
				return err
			}
			return nil
		})
	case 's':
		return r.site(mode.Value)
	}
	return r.flush("mail queue", control.Spool.Flush)
}

// list prints the queue: the server's, or when none runs, for those who may,
// what is on disk.
func (r *run) list(print func(io.Writer, control.Spool) error) error {
	const refused = "Connect to the Postfix showq service: Connection refused"
	s, err := control.Ask(control.Dir(r.cfg))
	if errors.Is(err, control.ErrNoServer) {
		var opened error
		s, _, opened = spool.Open(r.cfg, r.env.Clock, slog.New(slog.DiscardHandler))
		if errors.Is(opened, os.ErrPermission) {
			return errors.New("Queue report unavailable - mail system is down (" + refused + ")")
		}
		if err = opened; err == nil {
			r.warn("Mail system is down -- accessing queue directly (" + refused + ")")
		}
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return print(r.env.Out, s)
}

// flush has the server try something now.
func (r *run) flush(what string, do func(control.Spool) error) error {
	s, err := control.Ask(control.Dir(r.cfg))
	if errors.Is(err, control.ErrNoServer) {
		return errors.New("Cannot flush " + what + " - mail system is down")
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

// site has the mail for a site tried now, if it is one of those for which the
// configuration offers that.
func (r *run) site(site string) error {
	_, literal := mail.ValidMailHostAddr(strings.Trim(site, "[]"))
	literal = literal && strings.HasPrefix(site, "[")
	if !literal && !mail.ValidHostname(site) {
		return fmt.Errorf("Cannot flush mail queue - invalid destination: %q", site)
	}
	offered, err := Offered(r.cfg, r.env.Clock, site)
	if err != nil {
		return err
	}
	if !offered {
		return fmt.Errorf("Flush service is not configured for destination %q", site)
	}
	return r.flush("mail queue", func(s control.Spool) error {
		_, err := s.FlushSite(site)
		return err
	})
}

// Offered reports whether fast_flush_domains has a site.
func Offered(cfg *config.Config, c clock.Clock, site string) (bool, error) {
	set := table.NewSet(table.Options{
		Clock: c, Log: slog.New(slog.DiscardHandler), DefaultType: cfg.Str("default_database_type"),
		Env: os.LookupEnv, Param: cfg.Str, Tolerant: true,
	})
	defer set.Close()
	list, err := rewrite.MatchList(cfg, rewrite.World{Partial: table.Partial, ReadFile: os.ReadFile}, "fast_flush_domains")
	if err != nil {
		return false, err
	}
	lookup := func(name, key string) (string, bool, error) {
		if err := set.Open(name); err != nil {
			return "", false, err
		}
		return set.Lookup(name, key)
	}
	w := &evidence.World{Lookup: lookup, Clock: c}
	m := list.MatchDomain(evidence.NewSession(context.Background(), w), site)
	if m.Failed {
		return false, errors.New("fast_flush_domains: table lookup problem")
	}
	return m.Match, nil
}

// trouble says in Postfix's words why a configuration cannot be read.
func trouble(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open file %s: No such file or directory", path.Path)
	}
	return err
}
