package control

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

// Spool is what queue commands need of a queue. Errors for a message that is
// not there are queue.ErrNotFound, for one that is not held queue.ErrNotHeld.
type Spool interface {
	// All yields every message, in no order. An error ends it.
	All() iter.Seq2[Message, error]
	// Show returns one message.
	Show(id string) (Message, error)
	// Content opens the header and body of a message, lines ending in LF.
	Content(id string) (io.ReadCloser, error)

	Hold(id string) error         // keep it until Release
	Release(id string) error      // of one on hold
	Requeue(id string) error      // due now, on hold or not
	Expire(id string) error       // return it to its sender at the next attempt
	Delete(id string) error       // also while it is being delivered
	FlushMessage(id string) error // due now, unless on hold
	Flush() error                 // the same for all
	// FlushSite does it for messages that wait for a recipient in a domain, and
	// returns how many these are.
	FlushSite(domain string) (int, error)

	Close() error
}

// Message is what is to be known of a message, in the form of --json as well.
type Message struct {
	Envelope mail.Envelope `json:"envelope"`
	State    State         `json:"state"`
	Due      time.Time     `json:"due"`               // next try
	Expired  bool          `json:"expired,omitempty"` // will be returned at the next try
	Bytes    int64         `json:"bytes"`             // of content
	// Progress has one element for each of the envelope's recipients.
	Progress []Progress `json:"progress"`
}

// Progress is how far one recipient has come.
type Progress struct {
	Done bool `json:"done,omitempty"`
	// Last is the outcome of the last attempt, the other side's answer included;
	// nil before the first one.
	Last *deliver.Result `json:"last,omitempty"`
}

// State is where in its life a message is, in Postfix's words.
type State string

const (
	Active   State = "active"   // being delivered
	Incoming State = "incoming" // due, but its turn has not come
	Deferred State = "deferred" // waits for its time
	Held     State = "hold"
)

// describe returns what is to be known of a message.
func describe(i queue.Info, now time.Time) Message {
	m := Message{
		Envelope: *i.Message.Envelope(), State: state(i, now), Due: i.Due, Expired: i.Message.Expired(), Bytes: i.Message.Size(),
	}
	for _, p := range i.Message.Progress() {
		r := Progress{Done: p.Done()}
		if p.Result != (deliver.Result{}) {
			r.Last = &p.Result
		}
		m.Progress = append(m.Progress, r)
	}
	return m
}

func state(i queue.Info, now time.Time) State {
	switch {
	case i.Active:
		return Active
	case i.Held:
		return Held
	case i.Due.After(now):
		return Deferred
	}
	return Incoming
}

// Dir returns the folder of a configuration's spool.
func Dir(cfg *config.Config) string {
	dir := cfg.Str("sekisho_spool_directory")
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(cfg.Dir, dir)
}

// ErrNoServer is the error when no server has the spool open.
var ErrNoServer = errors.New("the server does not run")

// ErrDenied is the error of a user who may not do something. Its text is in
// Postfix's words.
var ErrDenied = errors.New("not allowed")

// reach returns the spool of a server that runs, or ErrNoServer.
func reach(dir string) (*remote, error) {
	r, err := dial(dir)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return nil, fmt.Errorf("spool %s: %w", dir, ErrNoServer)
	}
	if err != nil {
		return nil, fmt.Errorf("spool %s: asking the server: %w", dir, err)
	}
	return r, nil
}

// Ask returns the spool of the server that runs; the error is ErrNoServer when
// none does.
func Ask(dir string) (Spool, error) {
	r, err := reach(dir)
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Open returns the spool in dir, through the server if it runs.
func Open(dir string, o queue.Options) (Spool, error) {
	r, err := reach(dir)
	if err == nil {
		return r, nil
	}
	if !errors.Is(err, ErrNoServer) {
		return nil, err
	}
	if _, err := os.Stat(dir); err != nil {
		return nil, fmt.Errorf("spool: %w", err) // do not make one
	}
	q, err := queue.Open(dir, o)
	if err != nil {
		return nil, err
	}
	return &local{q, o.Clock.Now}, nil
}

// socketName is the socket's name in the spool's directory.
const socketName = "control"

// socket returns an address by which the socket can be reached, however long
// the directory's path is, as long as dir is open.
func socket(dir string) (addr *net.UnixAddr, d *os.File, err error) {
	// O_PATH: others may enter the directory, but not read it.
	if d, err = os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return nil, nil, err
	}
	name := filepath.Join(fmt.Sprintf("/proc/self/fd/%d", d.Fd()), socketName)
	return &net.UnixAddr{Name: name, Net: "unix"}, d, nil
}
