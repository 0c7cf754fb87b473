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

// OpenLog opens the log that a configuration asks for: maillog_file, else
// syslog when there is a daemon, else standard error. reopen is for log
// rotation.
func OpenLog(cfg *config.Config, c clock.Clock) (log *slog.Logger, reopen func() error, err error) {
	nothing := func() error { return nil }
	host := cfg.Str("myhostname")
	toWriter := func(w io.Writer) *slog.Logger {
		return slog.New(maillog.NewHandler(w, host, c)).With(maillog.Service(cfg.Str("syslog_name") + "/master"))
	}
	switch path := cfg.Str("maillog_file"); path {
	case "":
	case "/dev/stdout": // may not be opened anew by another user
		return toWriter(os.Stdout), nothing, nil
	default:
		f, err := maillog.OpenFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: maillog_file: %w", cfg.Pos("maillog_file"), err)
		}
		return toWriter(f), f.Reopen, nil
	}
	s, err := maillog.DialSyslog(syslogSocket)
	if err != nil { // no daemon: the operator or systemd reads standard error
		return toWriter(os.Stderr), nothing, nil
	}
	facility, err := maillog.Facility(cfg.Str("syslog_facility"))
	if err != nil {
		return nil, nil, fmt.Errorf("%s: syslog_facility: %w", cfg.Pos("syslog_facility"), err)
	}
	h := maillog.NewSyslogHandler(s, facility, c)
	return slog.New(h).With(maillog.Service(cfg.Str("syslog_name") + "/master")), nothing, nil
}
