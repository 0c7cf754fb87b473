// Package serve is "sekisho serve": it runs the mail system of a configuration
// directory in the foreground until it is told to stop. Started by root it
// gives up root first. What it serves is package master's business.
package serve

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/maillog"
	"sekisho/internal/master"
	"sekisho/internal/sandbox"
)

// Env is what the command gets from the program.
type Env struct {
	Context context.Context
	Out     io.Writer
	Clock   clock.Clock
}

// Cmd is "sekisho serve".
type Cmd struct {
	Config string `short:"c" default:"/etc/postfix" env:"MAIL_CONFIG" placeholder:"DIR" help:"Folder of main.cf and master.cf."`
}

// Run serves until a signal ends it.
func (c *Cmd) Run(e *Env) error {
	return Serve(e, c.Config, master.GiveUpRoot, nil)
}

// Serve serves dir. giveUpRoot is called when the configuration can be read and
// before anything else is done; ready, if not nil, when all ports are open. Why
// it does not start is in the error and, unless the terminal is the log, in the
// log.
func Serve(e *Env, dir string, giveUpRoot func(*config.Config) error, ready func()) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)
	cfg, _, err := config.Load(dir)
	if err != nil {
		return err
	}
	if err := giveUpRoot(cfg); err != nil {
		return err
	}
	roomForDisk()
	log, err := master.OpenLog(cfg, e.Clock)
	if err != nil {
		return err
	}
	err = master.Run(e.Context, dir, master.Options{
		Clock: e.Clock, Log: log.Logger, Reopen: log.Reopen, Signals: signals, Ready: ready, ShutIn: sandbox.Enforce,
	})
	if err != nil && !log.Terminal {
		for _, line := range strings.Split(err.Error(), "\n") {
			log.Log(e.Context, maillog.LevelFatal, line)
		}
	}
	return errors.Join(err, log.Close())
}

// roomForDisk lets one more goroutine run at once than there are processors. One
// that syncs a file counts as running until the scheduler notices that it only
// waits; on two processors two of them would stop everybody else.
func roomForDisk() {
	const syncs = 1
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + syncs)
	}
}
