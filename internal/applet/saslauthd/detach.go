package saslauthd

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"syscall"

	"sekisho/internal/applet/exit"
)

// detachedMark tells the daemon that it is one. It reports on descriptor 3 that
// it has started, and says until then on its parent's standard error why it
// does not.
const detachedMark = "SEKISHO_SASLAUTHD_DETACHED"

const started = "started\n"

func detached() bool { return os.Getenv(detachedMark) != "" }

// detach starts the same command line as a daemon and returns when it answers
// requests, as an init script expects of saslauthd.
func detach(args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	cmd := &exec.Cmd{
		Path: self, Args: args, Stderr: os.Stderr,
		Env:         append(os.Environ(), detachedMark+"=1"),
		ExtraFiles:  []*os.File{w},
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	err = cmd.Start()
	w.Close()
	if err != nil {
		return err
	}
	said, err := io.ReadAll(r)
	if string(said) == started {
		return cmd.Process.Release()
	}
	err = errors.Join(err, cmd.Wait())
	var ended *exec.ExitError
	if errors.As(err, &ended) { // it has said why
		return exit.Status(max(ended.ExitCode(), 1))
	}
	return errors.Join(errors.New("the daemon has not started"), err)
}

// ready reports to the process that waits in detach, and lets go of its
// terminal.
func ready() error {
	if !detached() {
		return nil
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	for fd := range 3 {
		if err := syscall.Dup3(int(null.Fd()), fd, 0); err != nil {
			return err
		}
	}
	w := os.NewFile(3, "parent")
	_, err = w.WriteString(started)
	return errors.Join(err, w.Close(), os.Chdir("/"))
}
