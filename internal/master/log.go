package master

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/maillog"
)

// syslogSocket is where a syslog daemon listens.
const syslogSocket = "/dev/log"

// Log is an open log.
type Log struct {
	*slog.Logger
	// Reopen opens the log anew after its file was renamed.
	Reopen func() error
	Close  func() error
	// Terminal: lines go to standard output or standard error.
	Terminal bool
}

// OpenLog opens the log that a configuration asks for: maillog_file, else
// syslog when there is a daemon, else standard error.
func OpenLog(cfg *config.Config, c clock.Clock) (*Log, error) {
	switch path := cfg.Str("maillog_file"); path {
	case "":
	case "/dev/stdout": // another user might not be allowed to open it again
		return terminal(cfg, os.Stdout, c), nil
	default:
		f, err := maillog.OpenFile(path)
		if err != nil {
			return nil, fmt.Errorf("%s: maillog_file: %w", cfg.Pos("maillog_file"), err)
		}
		h := maillog.NewHandler(f, cfg.Str("myhostname"), c)
		return &Log{Logger: asMaster(cfg, h), Reopen: f.Reopen, Close: f.Close}, nil
	}
	facility, err := maillog.Facility(cfg.Str("syslog_facility"))
	if err != nil {
		return nil, fmt.Errorf("%s: syslog_facility: %w", cfg.Pos("syslog_facility"), err)
	}
	s, err := maillog.DialSyslog(syslogSocket)
	if err != nil { // no daemon: the operator or systemd reads standard error
		return terminal(cfg, os.Stderr, c), nil
	}
	h := maillog.NewSyslogHandler(s, facility, c)
	return &Log{Logger: asMaster(cfg, h), Reopen: nothing, Close: s.Close}, nil
}

func terminal(cfg *config.Config, w io.Writer, c clock.Clock) *Log {
	h := maillog.NewHandler(w, cfg.Str("myhostname"), c)
	return &Log{Logger: asMaster(cfg, h), Reopen: nothing, Close: nothing, Terminal: true}
}

func asMaster(cfg *config.Config, h slog.Handler) *slog.Logger {
	return slog.New(h).With(maillog.Service(cfg.Str("syslog_name") + "/master"))
}

func nothing() error { return nil }
