// Package mailbox writes one message into one mailbox, a Maildir or an mbox
// file, and has it on disk before it says so. It is what the delivery agents
// for virtual and for system users share.
//
// It looks up nothing: whose mailbox it is and where comes from the agent. It
// writes as the mailbox's owner when the process may, else as the process.
// maildir(5), mbox(5), Postfix's virtual(8) and local(8).
package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/mail"
)

// Box is a mailbox and whose it is.
type Box struct {
	Path string // a Maildir if it ends in '/', else an mbox file
	UID  int
	GID  int
	// ErrorDSN is the status of an error that is neither a full disk nor
	// anything else that has its own: 4.2.0 where the administrator chooses the
	// place, 5.2.0 where the user does.
	ErrorDSN string
	// Named: a file that an alias or a user names. It may be a device, must not be a
	// program, and goes without its FILE.lock where that cannot be made.
	Named bool
	Quota Quota // of a Maildir
}

// Copy is the message with what delivery writes before it.
type Copy struct {
	Sender    string // internal form, empty for the null sender
	Original  string // for X-Original-To; empty: no such header
	Delivered string // for Delivered-To; empty: no such header
	// Content opens the message. It is opened with the process's own rights.
	Content func() (io.ReadCloser, error)
}

// Failure is a delivery that did not happen. What had been written is gone
// again.
type Failure struct {
	DSN  string // 4.x.x: worth another attempt
	Text string // what goes wrong, in the words Postfix logs
	Full bool   // the Maildir has reached its Quota
	err  error
}

// Error returns the text.
func (f *Failure) Error() string { return f.Text }

// Unwrap returns the error of the system call, if that was it.
func (f *Failure) Unwrap() error { return f.err }

// Store writes mailboxes. It is safe for concurrent use; its fields are set
// once.
type Store struct {
	Limit        int64 // bytes a mailbox file may have, one message of a Maildir; 0: any
	Dotlock      bool  // lock an mbox with FILE.lock
	Fcntl, Flock bool  // lock an mbox with these system calls
	StrictOwner  bool  // an mbox must belong to its owner (strict_mailbox_ownership)
	Attempts     int   // to get a lock (deliver_lock_attempts)
	Delay        time.Duration
	Stale        time.Duration // age of a FILE.lock nobody cares for (stale_lock_time)
	Clock        clock.Clock
	Log          *slog.Logger

	files    sync.Map // path of an mbox: its *sync.Mutex, because fcntl locks don't bind their own process
	sequence atomic.Uint64

	writers  sync.Pool // of *bufio.Writer, large enough for most messages
	hostOnce sync.Once
	host     string
}

// Deliver writes one message. The error is a *Failure.
func (s *Store) Deliver(ctx context.Context, b Box, c Copy) error {
	write := s.mbox
	if strings.HasSuffix(b.Path, "/") {
		write = s.maildir
	}
	content, err := c.Content()
	if err != nil {
		return copyFailure(readError{err})
	}
	defer content.Close()
	if e := asOwner(b.UID, b.GID, func() { err = write(ctx, b, c, content) }); e != nil {
		return &Failure{DSN: "4.3.0", Text: "cannot act as the owner of " + b.Path + ": " + Reason(e), err: e}
	}
	return err
}

// fail makes the Failure of a system call.
func fail(b Box, err error, format string, args ...any) error {
	return &Failure{DSN: status(err, b.ErrorDSN), Text: fmt.Sprintf(format, args...) + ": " + Reason(err), err: err}
}

// status is the enhanced status code for a failed system call.
func status(err error, otherwise string) string {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ESTALE):
		return "4.2.0"
	case errors.Is(err, syscall.ENOSPC):
		return "4.3.0"
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "5.2.2"
	}
	return otherwise
}

// Reason returns the system's words for an error, as strerror(3) has them.
func Reason(err error) string {
	var no syscall.Errno
	if !errors.As(err, &no) {
		return err.Error()
	}
	text := no.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// headers returns the lines that delivery puts before a message.
func (c Copy) headers() string {
	h := "Return-Path: <" + mail.Quote(c.Sender) + ">\n"
	if c.Original != "" {
		h += "X-Original-To: " + mail.Quote(c.Original) + "\n"
	}
	if c.Delivered != "" {
		h += "Delivered-To: " + mail.Quote(c.Delivered) + "\n"
	}
	return h
}

// limited is a file that takes only so much.
type limited struct {
	f    *os.File
	left int64 // below zero: any
}

// Write fails with EFBIG when the limit would be passed.
func (l *limited) Write(p []byte) (int, error) {
	if l.left >= 0 {
		if int64(len(p)) > l.left {
			return 0, syscall.EFBIG
		}
		l.left -= int64(len(p))
	}
	return l.f.Write(p)
}

func (s *Store) limit(used int64) int64 {
	if s.Limit <= 0 {
		return -1
	}
	return max(s.Limit-used, 0)
}

// readError is trouble with the message rather than with the mailbox.
type readError struct{ error }

// copyFailure tells what stopped a copy.
func copyFailure(err error) error {
	var r readError
	if errors.As(err, &r) {
		return &Failure{DSN: "4.3.0", Text: "error reading message: " + Reason(r.error), err: r.error}
	}
	return &Failure{DSN: status(err, "5.3.0"), Text: "error writing message: " + Reason(err), err: err}
}
