package command

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/deliver/mailbox"
)

// plain are the characters of a command line that need no shell.
const plain = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t"

const shell = "/bin/sh"

// start starts the command. A startError is one that the child met.
func (c *Command) start() (*process, error) {
	if c.UID == 0 || c.GID == 0 {
		return nil, errors.New("a command must not run as root")
	}
	if !mailbox.Privileged() && c.UID != os.Geteuid() {
		return nil, fmt.Errorf("cannot run a command as UID %d; run as root to deliver for other users", c.UID)
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer inRead.Close()
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		inWrite.Close()
		return nil, err
	}
	defer outWrite.Close()
	p := &process{in: inWrite, out: outRead, uid: c.UID, finished: make(chan struct{})}
	dir := c.folder()
	run := func(path string, argv []string) error {
		p.cmd = &exec.Cmd{Path: path, Args: argv, Env: c.environment(), Dir: dir,
			Stdin: inRead, Stdout: outWrite, Stderr: outWrite, SysProcAttr: c.attributes()}
		return startAsUser(p.cmd)
	}
	if err = c.execute(run); err == nil {
		return p, nil
	}
	inWrite.Close()
	outRead.Close()
	return nil, c.childError(err)
}

// execute runs the program by Argv or Line. A line that needs no shell is tried
// without; it may still name something that only a shell knows.
func (c *Command) execute(run func(path string, argv []string) error) error {
	words := strings.FieldsFunc(c.Line, func(r rune) bool { return r == ' ' || r == '\t' })
	switch {
	case c.Line == "":
		return search(c.Argv, run)
	case len(c.Shell) > 0:
		return search(append(slices.Clone(c.Shell), c.Line), run)
	case strings.Trim(c.Line, plain) == "" && len(words) > 0:
		err := search(words, run)
		if !errors.Is(err, syscall.ENOENT) || strings.Contains(words[0], "/") {
			return err
		}
	}
	return run(shell, []string{"sh", "-c", c.Line})
}

// search runs a program that is looked for as execvp(3) does: without a slash in
// the default path; a file without #! is a shell's.
func search(argv []string, run func(path string, argv []string) error) error {
	paths := []string{argv[0]}
	if !strings.Contains(argv[0], "/") {
		paths = []string{"/usr/bin/" + argv[0], "/bin/" + argv[0]}
	}
	var denied, err error
	for _, path := range paths {
		err = run(path, argv)
		switch {
		case errors.Is(err, syscall.ENOEXEC):
			return run(shell, append([]string{"sh", path}, argv[1:]...))
		case errors.Is(err, syscall.EACCES):
			denied = err
		case !errors.Is(err, syscall.ENOENT) && !errors.Is(err, syscall.ENOTDIR):
			return err
		}
	}
	return cmp.Or(denied, err)
}

// folder is where the program begins.
func (c *Command) folder() string {
	switch {
	case c.Dir != "":
		return c.Dir
	case c.Chroot == "" && c.Home != "" && c.enter(c.Home) == nil:
		return c.Home
	}
	return "/"
}

// enter reports whether the user may be in a folder.
func (c *Command) enter(dir string) error {
	return mailbox.AsOwner(c.UID, c.GID, func() error { return unix.Stat(dir+"/.", new(unix.Stat_t)) })
}

// environment is Env with the path; of two values the later counts.
func (c *Command) environment() []string { return append([]string{"PATH=" + defaultPath}, c.Env...) }

func (c *Command) attributes() *syscall.SysProcAttr {
	a := &syscall.SysProcAttr{Setsid: true, Chroot: c.Chroot}
	if mailbox.Privileged() {
		a.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID), Groups: []uint32{uint32(c.GID)}}
	}
	return a
}

// startAsUser starts a program from a thread that has nothing to bequeath: what
// it would hand down as ambient capabilities is dropped before, and files it
// makes are its user's alone. The thread is not used again.
func startAsUser(cmd *exec.Cmd) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		done <- func() error {
			if err := unix.Unshare(unix.CLONE_FS); err != nil {
				return err
			}
			unix.Umask(0o077)
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
				return err
			}
			if err := keepOnly(unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SYS_CHROOT); err != nil {
				return err
			}
			return cmd.Start()
		}()
	}()
	return <-done
}

// keepOnly leaves the thread no capabilities but those that a child needs to
// become its user, and none for the program.
func keepOnly(caps ...uint) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return err
	}
	var keep uint32
	for _, c := range caps {
		keep |= data[0].Permitted & (1 << c)
	}
	data = [2]unix.CapUserData{{Effective: keep, Permitted: keep}}
	return unix.Capset(&hdr, &data[0])
}

// childError finds out what a child could not do.
func (c *Command) childError(err error) error {
	if c.Dir != "" && c.Chroot == "" {
		if e := c.enter(c.Dir); e != nil {
			return startError{fmt.Sprintf("cannot change directory to \"%s\" for uid=%d gid=%d", c.Dir, c.UID, c.GID), e, true}
		}
	}
	switch words := strings.Fields(c.Line); {
	case len(words) == 0:
		return startError{"pipe_command: execvp " + c.Argv[0], err, false}
	case len(c.Shell) > 0:
		return startError{"pipe_command: execvp " + c.Shell[0], err, false}
	default:
		return startError{"execvp " + words[0], err, false}
	}
}

// kill ends the command and all that it has started. The kernel asks whose
// process does so, and a thread can be its user's.
func (p *process) kill() {
	pid := p.cmd.Process.Pid
	if !mailbox.Privileged() {
		unix.Kill(-pid, unix.SIGKILL) // gone already, if it fails
		p.hangUp()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked
		syscall.RawSyscall(syscall.SYS_SETRESUID, uintptr(p.uid), uintptr(p.uid), ^uintptr(0))
		unix.Kill(-pid, unix.SIGKILL)
	}()
	<-done
	p.hangUp()
}

// hangUp ends reading and writing, should a descendant have escaped with our
// pipes.
func (p *process) hangUp() {
	p.in.SetDeadline(time.Unix(1, 0)) // closed already, if it fails
	p.out.SetDeadline(time.Unix(1, 0))
}
