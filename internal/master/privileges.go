package master

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"

	"sekisho/internal/config"
	"sekisho/internal/deliver/mailbox"
)

// kept are the capabilities that stay when root is given up: to listen at low
// ports also after a reload, to write mail as its owner, and to read keys and
// write logs that are root's.
var kept = []uint{unix.CAP_NET_BIND_SERVICE, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_DAC_OVERRIDE}

// GiveUpRoot turns a process that runs as root into one of the user that
// mail_owner names, with the few capabilities in kept. It does so by executing
// the program anew, so it does not return but with an error; for a process
// that is not root it does nothing.
//
// Executing anew is what makes it safe in Go: the kernel keeps user and
// capabilities by thread, and a new program has only one thread.
func GiveUpRoot(cfg *config.Config) error {
	if os.Geteuid() != 0 {
		return nil
	}
	uid, gid, groups, err := owner(cfg)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := become(uid, gid, groups); err != nil {
		return fmt.Errorf("master: cannot become %s: %w", cfg.Str("mail_owner"), err)
	}
	return startAnew()
}

// StayOneUser gives up the right to act as other users, so that mail is written
// as the process's own user even when that is root. Like GiveUpRoot it executes
// the program anew; for a process without that right it does nothing.
func StayOneUser() error {
	if !mailbox.Privileged() {
		return nil
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for _, c := range []uintptr{unix.CAP_SETUID, unix.CAP_SETGID} {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil {
			return fmt.Errorf("master: prctl: %w", err)
		}
	}
	return startAnew()
}

// startAnew executes the program again, as the calling thread: by its path, so
// that ps(1) shows its name, or if that has gone by what is running.
func startAnew() error {
	path, err := os.Executable()
	if err == nil {
		err = unix.Exec(path, os.Args, os.Environ())
	}
	return fmt.Errorf("master: cannot start anew: %w", errors.Join(err, unix.Exec("/proc/self/exe", os.Args, os.Environ())))
}

// owner looks mail_owner up.
func owner(cfg *config.Config) (uid, gid int, groups []int, err error) {
	name := cfg.Str("mail_owner")
	fail := func(what string) (int, int, []int, error) {
		return 0, 0, nil, fmt.Errorf("%s: mail_owner = %s: %s", cfg.Pos("mail_owner"), name, what)
	}
	u, err := user.Lookup(name)
	if err != nil {
		return fail(`no such user; make it with "useradd --system ` + name + `" or name another`)
	}
	ids, err := u.GroupIds()
	if err != nil {
		return fail(err.Error())
	}
	for _, s := range ids {
		g, err := strconv.Atoi(s)
		if err != nil {
			return fail("group " + s + " is no number")
		}
		groups = append(groups, g)
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return fail(err.Error())
	}
	if uid == 0 {
		return fail("the mail system must not run as root; name another user")
	}
	return uid, gid, groups, nil
}

// become changes the user, and leaves the calling thread with those of the
// kept capabilities that it has, in a way that survives unix.Exec.
func become(uid, gid int, groups []int) error {
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("prctl: %w", err)
	}
	if err := unix.Setgroups(groups); err != nil {
		return fmt.Errorf("setgroups: %w", err)
	}
	if err := unix.Setresgid(gid, gid, gid); err != nil {
		return fmt.Errorf("setresgid: %w", err)
	}
	if err := unix.Setresuid(uid, uid, uid); err != nil {
		return fmt.Errorf("setresuid: %w", err)
	}
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	have, want := data[0].Permitted, uint32(0)
	for _, c := range kept {
		want |= have & (1 << c)
	}
	all := unix.CapUserData{Effective: want, Permitted: want, Inheritable: want}
	data = [2]unix.CapUserData{all}
	if err := unix.Capset(&hdr, &data[0]); err != nil {
		return fmt.Errorf("capset: %w", err)
	}
	for _, c := range kept {
		if want&(1<<c) == 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
			return fmt.Errorf("prctl: %w", err)
		}
	}
	return nil
}
