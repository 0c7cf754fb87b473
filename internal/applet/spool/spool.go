// Package spool opens the spool of a configuration folder for the commands that
// look into it or work on it: through the server while that runs, and otherwise
// as the owner of the spool.
package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"syscall"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

// Config reads the main.cf of a configuration folder. Names in it that begin
// with $config_directory are the server's, wherever the command is started.
func Config(dir string) (*config.Config, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	cfg, _, err := config.ReadMain(dir)
	return cfg, err
}

// Open opens the spool. down tells that no server runs.
func Open(cfg *config.Config, c clock.Clock, log *slog.Logger) (s control.Spool, down bool, err error) {
	dir := control.Dir(cfg)
	s, err = control.Ask(dir)
	if err == nil || !errors.Is(err, control.ErrNoServer) {
		return s, false, err
	}
	if err := becomeOwner(dir); err != nil {
		return nil, true, err
	}
	s, err = control.Open(dir, queue.Options{Clock: c, Log: log})
	return s, true, err
}

// becomeOwner turns a process of root into one of the spool's owner: what it
// writes there is the server's.
func becomeOwner(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || os.Geteuid() != 0 || st.Uid == 0 {
		return nil
	}
	if err := errors.Join(syscall.Setgroups([]int{int(st.Gid)}), syscall.Setgid(int(st.Gid)), syscall.Setuid(int(st.Uid))); err != nil {
		return fmt.Errorf("cannot become the owner of %s: %w", dir, err)
	}
	return nil
}

// ValidID reports whether a word can be a queue id: letters and digits.
func ValidID(id string) bool {
	for _, c := range []byte(id) {
		if (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

const maxID = 100

// Queue returns the name of the Postfix queue that a message would be in.
func Queue(m control.Message) string { return string(m.State) }

// Each does something with every message that was there at the beginning. It
// asks for the list first, so that what is done does not change it.
func Each(s control.Spool, want func(control.Message) bool, do func(id string) error) (n int, err error) {
	var ids []string
	for m, err := range s.All() {
		if err != nil {
			return 0, err
		}
		if want(m) {
			ids = append(ids, m.Envelope.QueueID)
		}
	}
	for _, id := range ids {
		switch err := do(id); {
		case err == nil:
			n++
		case !errors.Is(err, queue.ErrNotFound) && !errors.Is(err, queue.ErrNotHeld): // those have left meanwhile
			return n, err
		}
	}
	return n, nil
}
