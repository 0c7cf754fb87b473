// Package saslauthd is "sekisho saslauthd": it takes the place of Cyrus SASL's
// saslauthd(8), for Postfix and every other program that asks that daemon's
// socket whether a password is right. It asks an IMAP server (-a rimap) or
// Sekisho's accounts (-a sekisho).
//
// Socket, process id and lock are where the real daemon has them, with the same
// modes, and the options are the same. What differs is meant: requests do not
// wait for one of -n processes, so that slow answers to one user's requests do
// not hold up the others'; the IMAP server is asked over TLS if it offers that;
// and a password that could not be checked is not called wrong. Then the daemon
// hangs up without an answer, which the SASL library takes for a generic
// failure, and Postfix for a temporary one.
package saslauthd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/maillog"
)

// Env is what the command gets from the program.
type Env struct {
	Context context.Context
	// Directory returns the account directory of the configuration in a
	// folder; the folder is empty for the default one.
	Directory func(config string) (string, error)
	Args      []string // as the program was called
	Err       io.Writer
	Clock     clock.Clock
}

// Cmd is "sekisho saslauthd".
type Cmd struct {
	Mechanism string `short:"a" required:"" enum:"rimap,sekisho" placeholder:"MECHANISM" help:"What to ask: rimap, an IMAP server; sekisho, the accounts of Sekisho."`
	Option    string `short:"O" placeholder:"HOST[/PORT]" help:"For rimap, the IMAP server; imaps://HOST for TLS from the start."`
	Realm     bool   `short:"r" help:"The login name is login@realm."`
	Folder    string `short:"m" default:"/var/run/saslauthd" placeholder:"DIR" help:"Folder of the socket mux, an absolute path."`
	Processes int    `short:"n" default:"5" placeholder:"N" help:"Has no effect: requests do not wait for each other."`
	Cache     bool   `short:"c" help:"Remember passwords that were right."`
	Expire    int    `short:"t" default:"28800" placeholder:"SECONDS" help:"How long to remember them."`
	Size      int    `short:"s" default:"962" placeholder:"KILOBYTES" help:"How much memory to remember them in."`
	Debug     bool   `short:"d" help:"Stay at the terminal and log to it. Else the log is syslog."`
	Verbose   bool   `short:"V" help:"Log passwords that were right as well (without them)."`
	NoLock    bool   `short:"l" help:"Has no effect."`
	CAFile    string `name:"ca-file" placeholder:"FILE" help:"Certificates that may sign the IMAP server's."`
	Config    string `name:"config" placeholder:"DIR" help:"For sekisho, the folder of main.cf."`
}

// Run serves until a signal ends it; without -d it returns when the daemon has
// started.
func (c *Cmd) Run(e *Env) error {
	if !filepath.IsAbs(c.Folder) {
		return fmt.Errorf("-m %s: an absolute path is needed", c.Folder)
	}
	if !c.Debug && !detached() {
		return detach(e.Args)
	}
	ctx, stop := signal.NotifyContext(e.Context, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	log, closeLog := c.openLog(e)
	defer closeLog()
	ask, closeAsk, err := c.mechanism(ctx, e, log)
	if err != nil {
		return err
	}
	defer closeAsk()
	f, err := claim(c.Folder)
	if err != nil {
		return err
	}
	defer f.release()
	if err := ready(); err != nil {
		return err
	}
	log.Info("listening on socket: " + filepath.Join(c.Folder, "mux"))
	s := &server{ask: ask, mechanism: c.Mechanism, realm: c.Realm, verbose: c.Verbose || c.Debug, log: log, clock: e.Clock}
	if c.Cache {
		s.cache = newCache(e.Clock, time.Duration(c.Expire)*time.Second, c.Size<<10/entrySize)
	}
	err = s.serve(ctx, f.listener)
	log.Info("caught signal, exiting")
	return err
}

// openLog logs to syslog as the real daemon does; with -d, and until it has
// started where no syslog daemon is, to the terminal.
func (c *Cmd) openLog(e *Env) (log *slog.Logger, closeLog func()) {
	var h slog.Handler
	closeLog = func() {}
	facility, err := maillog.Facility("auth")
	if err == nil && !c.Debug {
		if s, err := maillog.DialSyslog("/dev/log"); err == nil {
			h, closeLog = maillog.NewSyslogHandler(s, facility, e.Clock), func() { _ = s.Close() }
		}
	}
	if h == nil {
		host, _ := os.Hostname() // only words in a log line
		h = maillog.NewHandler(e.Err, host, e.Clock)
	}
	return slog.New(h).With(maillog.Service("saslauthd")), closeLog
}

// errRunning is the real daemon's word for a lock that is taken.
var errRunning = errors.New("another instance of saslauthd is currently running")
