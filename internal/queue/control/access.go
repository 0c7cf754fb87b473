package control

import (
	"fmt"
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// Right is what a user may be allowed to do who is neither root nor the owner of
// the spool. These two may do everything.
type Right string

const (
	View   Right = "view the mail queue"  // authorized_mailq_users
	Flush  Right = "flush the mail queue" // authorized_flush_users
	Submit Right = "submit mail"          // authorized_submit_users
)

// rights are what requests of other users need; those not named are for root
// and the owner only.
var rights = map[string]Right{
	"list": View, "flush": Flush, "flush site": Flush, "flush message": Flush, "submit": Submit,
}

// DeniedError is the error of a user who may not do something.
type DeniedError struct {
	User string
	UID  int
	What Right
}

// Error says it in Postfix's words.
func (e *DeniedError) Error() string {
	return fmt.Sprintf("User %s(%d) is not allowed to %s", e.User, e.UID, e.What)
}

// Unwrap returns ErrDenied.
func (e *DeniedError) Unwrap() error { return ErrDenied }

// caller is the user at the other end of a connection.
type caller struct {
	uid  int
	name string
	full bool // root or the spool's owner
}

func peer(conn *net.UnixConn) (caller, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return caller{}, err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return caller{}, err
	}
	if failed != nil {
		return caller{}, fmt.Errorf("who asks: %w", failed)
	}
	uid := int(cred.Uid)
	return caller{uid: uid, name: userName(uid), full: uid == 0 || uid == os.Geteuid()}, nil
}

// userName returns the name of a user, "unknown" for one without.
func userName(uid int) string {
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return "unknown"
	}
	return u.Username
}

// allow returns why somebody may not ask for something, if he may not.
func (s *Server) allow(c caller, op string) error {
	right, known := rights[op]
	service := s.service.Load()
	switch {
	case c.full && right != Submit:
		return nil
	case !known:
		return &DeniedError{User: c.name, UID: c.uid, What: Right(op + " messages")}
	case service == nil:
		return fmt.Errorf("%s: the server is starting", op)
	}
	ok, err := service.Allowed(right, c.name)
	if err == nil && !ok {
		err = &DeniedError{User: c.name, UID: c.uid, What: right}
	}
	return err
}
