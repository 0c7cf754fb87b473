// Package command hands a message to a program: it starts it as the user that
// the administrator or the recipient named, writes the message to its standard
// input, and says what its exit status means for the mail.
//
// It decides nothing about whose command is run when; the agents for pipe(8)
// and local(8) do. A command never runs as root, gets none of the capabilities
// that the server keeps, and sees no files that the server has open. The texts
// and the meaning of exit statuses are Postfix's (pipe(8), sysexits(3)).
package command

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/maillog"
)

// maxOutput is how much of what a command says is kept for the status.
const maxOutput = 4096

// defaultPath is PATH, and where programs are that are named without a slash.
const defaultPath = "/usr/bin:/bin"

// Command is a program and how it is to be run.
type Command struct {
	Argv []string // the program and its arguments; or
	Line string   // a command line, for a shell if it has characters that only a shell knows
	// Shell runs Line whatever is in it; empty: only where it has to be, /bin/sh.
	Shell []string
	// Service is the daemon that a failure before the program runs is said to come
	// from: "pipe", "local".
	Service string
	Log     *slog.Logger // under that name

	UID, GID int      // never 0
	Dir      string   // to be in; empty: Home
	Home     string   // where to be without Dir, if its user may; else /
	Chroot   string   // to see as the root; empty: all
	Env      []string // NAME=value; PATH is added
	// Limit is how long it may run before it is killed with all it has started.
	Limit time.Duration
	Clock clock.Clock
}

// name is what texts call the command.
func (c *Command) name() string {
	if c.Line != "" {
		return c.Line
	}
	return c.Argv[0]
}

// Run starts the command and has write write the message. The Result has no
// recipient and no relay; a Sent one has what the command wrote to its output as
// its text. When ctx ends the command is killed and the mail waits.
func (c *Command) Run(ctx context.Context, write func(io.Writer) error) deliver.Result {
	p, err := c.start()
	if err != nil {
		return c.notStarted(err)
	}
	w := c.watch(ctx, p)
	var buf bytes.Buffer
	read := make(chan struct{})
	go func() {
		defer close(read)
		io.Copy(&keep{&buf, maxOutput}, p.out) // what comes before an error counts
		p.out.Close()
	}()
	werr := errors.Join(write(p.in), p.in.Close())
	<-read
	state := p.wait()
	w.end()
	output := printable(buf.String())
	switch {
	case w.interrupted:
		return deliver.Result{DSN: "4.3.0", Text: "delivery was interrupted"}
	case w.late:
		c.Log.Warn("pipe_command_read: read time limit exceeded")
		return failed("5.3.0", "internal software error", "Command time limit exceeded: \""+c.name()+"\"", output)
	case !state.Success():
		return c.exited(state, output)
	case werr != nil && !errors.Is(werr, syscall.EPIPE):
		return unwritten(werr, c.name())
	}
	return deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: output}
}

// watch is the eye on a running command. Its results are there after end.
type watch struct {
	late, interrupted bool // it was killed: its time was over, or the server ends
	cancel            func()
	done              chan struct{}
}

// watch kills the command when its time is over or ctx ends.
func (c *Command) watch(ctx context.Context, p *process) *watch {
	w := &watch{done: make(chan struct{})}
	var inner context.Context
	inner, w.cancel = context.WithCancel(ctx)
	go func() {
		defer close(w.done)
		switch err := c.Clock.Sleep(inner, c.Limit); {
		case err == nil:
			w.late = true
		case p.ended():
			return
		default:
			w.interrupted = true
		}
		p.kill()
	}()
	return w
}

// end stops watching, because the command has ended.
func (w *watch) end() {
	w.cancel()
	<-w.done
}

// ReadError marks an error of Run's write that is the message's, not the
// command's.
type ReadError struct{ Err error }

// Error returns the text of what went wrong.
func (e ReadError) Error() string { return e.Err.Error() }

// Unwrap returns it.
func (e ReadError) Unwrap() error { return e.Err }

// unwritten is the status of a command that ended well without the message.
func unwritten(err error, name string) deliver.Result {
	var r ReadError
	if errors.As(err, &r) {
		return deliver.Result{DSN: "4.3.0", Text: "error reading message: " + reason(r.Err)}
	}
	return failed("5.3.0", "input/output error", "Command failed: error writing message: "+reason(err)+": \""+name+"\"", "")
}

// keep takes everything and remembers the first left bytes.
type keep struct {
	to   *bytes.Buffer
	left int
}

// Write never fails.
func (k *keep) Write(p []byte) (int, error) {
	n := min(k.left, len(p))
	k.to.Write(p[:n])
	k.left -= n
	return len(p), nil
}

// notStarted is the status when there is no process. What a child of Postfix's
// would say on its output is the text.
func (c *Command) notStarted(err error) deliver.Result {
	var s startError
	if !errors.As(err, &s) {
		return failed("4.3.0", "system resource problem", "Delivery failed: "+reason(err), "")
	}
	c.Log.Log(context.Background(), maillog.LevelFatal, s.Error())
	output := ""
	if !s.silent {
		output = c.Service + ": fatal: " + s.Error() + " "
	}
	return failed("4.3.0", "temporary failure", "temporary failure", output)
}

// startError is a failure of what a child does before it is the program.
type startError struct {
	what   string
	err    error
	silent bool // the child's output is not ours yet
}

// Error returns the text that Postfix's child writes.
func (e startError) Error() string { return e.what + ": " + reason(e.err) }

// reason is the system's word for an error, with a capital as strerror(3).
func reason(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	text := no.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// process is a running command.
type process struct {
	cmd      *exec.Cmd
	in       *os.File // its standard input
	out      *os.File // what it writes to standard output and error
	uid      int
	finished chan struct{}
}

func (p *process) wait() *os.ProcessState {
	defer close(p.finished)
	p.cmd.Wait() // the state tells more than the error
	return p.cmd.ProcessState
}

func (p *process) ended() bool {
	select {
	case <-p.finished:
		return true
	default:
		return false
	}
}
