package conformance

import (
	"fmt"
	"os"
	"os/exec"
)

const (
	roleSekisho    = "sekisho"
	binaryVariable = "SEKISHO_BINARY"
)

// sekisho is ours, with its embedded accounts.
type sekisho struct{ serve *exec.Cmd }

func (*sekisho) settings() string {
	return `
smtpd_sasl_type = sekisho
sekisho_directory = sqlite:/etc/postfix/sql/directory.db
`
}

func (s *sekisho) start() error {
	s.serve = exec.Command(os.Getenv(binaryVariable), "serve", "-c", configDir)
	s.serve.Stdout, s.serve.Stderr = os.Stderr, os.Stderr
	if err := s.serve.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.serve.Path, err)
	}
	return nil
}

func (s *sekisho) idle() bool { return true }

func (s *sekisho) queue() ([]string, error) { return nil, nil }

func (s *sekisho) clear() error { return nil }
