package conformance

import (
	"cmp"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"sekisho/internal/clock"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

const (
	roleSekisho    = "sekisho"
	binaryVariable = "SEKISHO_BINARY"
	spool          = "/var/spool/postfix/sekisho"
)

// sekisho is ours, with its embedded accounts.
type sekisho struct{ serve *exec.Cmd }

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
	return awaitServer()
}

func (s *sekisho) stop() error {
	if err := s.serve.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return s.serve.Wait()
}

// idle looks for messages in the spool that the log says nothing final about.
func (s *sekisho) idle(settled func(id string) bool) bool {
	files, err := os.ReadDir(spool + "/messages")
	return err == nil && !slices.ContainsFunc(files, func(f os.DirEntry) bool { return !settled(f.Name()) })
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

// queue stops the server when its spool is not empty: the spool is one process's
// alone, and so is looking into it.
func (s *sekisho) queue() ([]string, error) {
	files, err := os.ReadDir(spool + "/messages")
	if err != nil || len(files) == 0 {
		return nil, err
	}
	if err := s.stop(); err != nil {
		return nil, fmt.Errorf("stopping sekisho: %w", err)
	}
	q, err := queue.Open(spool, queue.Options{Clock: clock.System{}, Log: slog.Default()})
	if err != nil {
		return nil, err
	}
	defer q.Close()
	var lines []string
	for _, i := range q.List() {
		lines = append(lines, infoLines(i)...)
	}
	return lines, nil
}

// infoLines says of one message what postqueue would.
func infoLines(i queue.Info) []string {
	state, env := "deferred", i.Message.Envelope()
	if i.Held {
		state = "hold"
	}
	var lines []string
	for n, r := range env.Recipients {
		if !i.Message.Progress()[n].Done() {
			lines = append(lines, fmt.Sprintf("%s from=%s rcpt=%s", state, cmp.Or(mail.Quote(env.Sender), "MAILER-DAEMON"), mail.Quote(r.Address)))
		}
	}
	return lines
}

// clear empties the spool and starts the server again.
func (s *sekisho) clear() error {
	if err := os.RemoveAll(spool + "/messages"); err != nil {
		return err
	}
	return s.start()
}
