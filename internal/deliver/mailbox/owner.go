package mailbox

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// asOwner runs do with the file access rights of a user: what he may not, do
// may not either, and what it creates is his. Only root can; another process
// does it as itself. Rights belong to a thread on Linux, so do gets one of its
// own, which ends with it.
func asOwner(uid, gid int, do func()) error {
	if os.Geteuid() != 0 {
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
	return setOne(syscall.SYS_SETFSUID, uid)
}

// setOne sets an id; the call tells only the id before it, so it is made twice.
func setOne(call uintptr, id int) error {
	syscall.RawSyscall(call, uintptr(id), 0, 0)
	if now, _, _ := syscall.RawSyscall(call, uintptr(id), 0, 0); int(now) != id {
		return syscall.EPERM
	}
	return nil
}
