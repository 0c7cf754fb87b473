package mailbox

import (
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Privileged reports whether the process can write as other users: it is root's,
// or root has left it the capabilities to change its user and group.
func Privileged() bool {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return false
	}
	const needed = 1<<unix.CAP_SETUID | 1<<unix.CAP_SETGID
	return data[0].Effective&needed == needed
}

// AsOwner runs do with the file access rights of a user, as deliveries are made,
// and returns its error.
func AsOwner(uid, gid int, do func() error) error {
	var err error
	if e := asOwner(uid, gid, func() { err = do() }); e != nil {
		return e
	}
	return err
}

// asOwner runs do with the file access rights of a user: what he may not, do
// may not either, and what it creates is his. A process that is not Privileged
// does it as itself. Rights belong to a thread on Linux, so do gets one of its
// own, which ends with it.
func asOwner(uid, gid int, do func()) error {
	if !Privileged() {
		do()
		return nil
	}
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread is not used again
		if err = setRights(uid, gid); err == nil {
			do()
		}
	}()
	<-done
	return err
}

// setRights gives this thread the file access rights of a user and no others.
func setRights(uid, gid int) error {
	groups := [1]uint32{uint32(gid)}
	if _, _, e := syscall.RawSyscall(syscall.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0])), 0); e != 0 {
		return e
	}
	if err := setOne(syscall.SYS_SETFSGID, gid); err != nil {
		return err
	}
	if err := setOne(syscall.SYS_SETFSUID, uid); err != nil {
		return err
	}
	// Without root's user, capabilities that override file access stay unless
	// they are given up.
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capset(&hdr, &new([2]unix.CapUserData)[0])
}

// setOne sets an id; the call tells only the id before it, so it is made twice.
func setOne(call uintptr, id int) error {
	syscall.RawSyscall(call, uintptr(id), 0, 0)
	if now, _, _ := syscall.RawSyscall(call, uintptr(id), 0, 0); int(now) != id {
		return syscall.EPERM
	}
	return nil
}
