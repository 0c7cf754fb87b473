package conformance

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"

	"sekisho/internal/clock"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

const (
	roleSekisho    = "sekisho"
	binaryVariable = "SEKISHO_BINARY"
	spool          = "/var/spool/postfix/sekisho"
)

// sekisho is ours, with its embedded accounts.
type sekisho struct {
	serve *exec.Cmd
	spool control.Spool // of the running server
}

func (*sekisho) settings() string {
	return `
smtpd_sasl_type = sekisho
sekisho_auth_failure_delay = 0s
sekisho_directory = sqlite:/etc/postfix/sql/directory.db
`
}

func (s *sekisho) start() error {
	s.serve = exec.Command(os.Getenv(binaryVariable), "serve", "-c", configDir)
	s.serve.Stdout, s.serve.Stderr = os.Stderr, os.Stderr
	if err := s.serve.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.serve.Path, err)
	}
	err := awaitServer()
	if err == nil {
		s.spool, err = control.Open(spool, queue.Options{Clock: clock.System{}, Log: slog.Default()})
	}
	return err
}

// idle looks for messages in the queue that the log says nothing final about.
func (s *sekisho) idle(settled func(id string) bool) bool {
	for m, err := range s.spool.All() {
		if err != nil || !settled(m.Envelope.QueueID) {
			return false
		}
	}
	return true
}

// mark writes the log itself: the server, one process, has written what it had
// to say.
func (s *sekisho) mark() error {
	log, err := os.OpenFile(mailLog, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer log.Close()
	_, err = log.WriteString(markLine)
	return err
}

// queue lists what is left, in the words of postqueue.
func (s *sekisho) queue() ([]string, error) {
	var lines []string
	for m, err := range s.spool.All() {
		if err != nil {
			return nil, err
		}
		lines = append(lines, messageLines(m)...)
	}
	return lines, nil
}

// messageLines says of one message what postqueue would.
func messageLines(m control.Message) []string {
	state, env := "deferred", m.Envelope
	if m.State == control.Held {
		state = "hold"
	}
	var lines []string
	for n, r := range env.Recipients {
		if !m.Progress[n].Done {
			lines = append(lines, fmt.Sprintf("%s from=%s rcpt=%s", state, cmp.Or(mail.Quote(env.Sender), "MAILER-DAEMON"), mail.Quote(r.Address)))
		}
	}
	return lines
}

// clear empties the queue.
func (s *sekisho) clear() error {
	for m, err := range s.spool.All() {
		if err != nil {
			return err
		}
		if err := s.spool.Delete(m.Envelope.QueueID); err != nil && !errors.Is(err, queue.ErrNotFound) {
			return err
		}
	}
	return nil
}
