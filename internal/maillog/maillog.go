// Package maillog prints log records as Postfix prints them, so that fail2ban,
// pflogsumm and an administrator's eye go on working:
//
//	Nov 24 10:33:00 mx postfix/smtpd[4711]: warning: hostname x does not resolve
//
// It is a slog.Handler: the attribute "service" (see Service) gives the name
// before the process id, the level gives the word before the text (warning,
// error, fatal), every other attribute is ignored in the line. Lines go to a
// file (File), to syslog's socket (Syslog) or to any writer; which of them is
// the caller's choice. It does not rotate files; File.Reopen does what postlogd
// does for "postfix logrotate". See postlogd(8) and the maillog_file parameter in
// postconf(5), RFC 3164 for the socket.
package maillog

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"sekisho/internal/clock"
)

// LevelFatal is a record that ends what the service was doing; it prints
// "fatal: " before the text.
const LevelFatal = slog.LevelError + 4

// Service names the daemon that speaks, as in "postfix/smtpd".
func Service(name string) slog.Attr { return slog.String("service", name) }

// Handler writes records to one writer, one write a line. It is safe for
// concurrent use.
type Handler struct {
	out     *output
	service string
}

type output struct {
	mu       sync.Mutex
	w        io.Writer
	clock    clock.Clock
	host     string
	pid      string
	priority int // syslog facility times 8, negative for a file
	buf      []byte
}

// NewHandler returns a handler that stamps lines with c's time and with host's
// first label, as syslog does.
func NewHandler(w io.Writer, host string, c clock.Clock) *Handler {
	short, _, _ := strings.Cut(host, ".")
	return &Handler{
		out:     &output{w: w, clock: c, host: short, pid: strconv.Itoa(os.Getpid()), priority: -1},
		service: "postfix/master",
	}
}

// NewSyslogHandler returns a handler that writes datagrams for a syslog daemon,
// such as those that Syslog sends: a priority made of facility (see Facility)
// and level, no host name and no line ending.
func NewSyslogHandler(w io.Writer, facility int, c clock.Clock) *Handler {
	return &Handler{
		out:     &output{w: w, clock: c, pid: strconv.Itoa(os.Getpid()), priority: facility << 3},
		service: "postfix/master",
	}
}

// Enabled reports whether a level is printed: everything but debug.
func (h *Handler) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelInfo }

// WithAttrs takes the service name out of attrs.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	c := *h
	for _, a := range attrs {
		if a.Key == "service" {
			c.service = a.Value.String()
		}
	}
	return &c
}

// WithGroup returns h: the line has no place for groups.
func (h *Handler) WithGroup(string) slog.Handler { return h }

// Handle prints one line. Control characters, and bytes that are no UTF-8,
// become '?', as in Postfix.
func (h *Handler) Handle(_ context.Context, r slog.Record) error {
	o := h.out
	o.mu.Lock()
	defer o.mu.Unlock()
	b := o.buf[:0]
	if o.priority >= 0 {
		b = append(b, '<')
		b = strconv.AppendInt(b, int64(o.priority|severity(r.Level)), 10)
		b = append(b, '>')
	}
	b = o.clock.Now().AppendFormat(b, "Jan _2 15:04:05 ")
	if o.priority < 0 {
		b = append(b, o.host...)
		b = append(b, ' ')
	}
	b = append(b, h.service...)
	b = append(b, '[')
	b = append(b, o.pid...)
	b = append(b, "]: "...)
	b = append(b, word(r.Level)...)
	b = appendPrintable(b, r.Message)
	if o.priority < 0 {
		b = append(b, '\n')
	}
	o.buf = b
	if _, err := o.w.Write(b); err != nil {
		return fmt.Errorf("maillog: %w", err)
	}
	return nil
}

// severity is the level in syslog's numbers.
func severity(l slog.Level) int {
	switch {
	case l >= LevelFatal:
		return 2
	case l >= slog.LevelError:
		return 3
	case l >= slog.LevelWarn:
		return 4
	}
	return 6
}

func word(l slog.Level) string {
	switch {
	case l >= LevelFatal:
		return "fatal: "
	case l >= slog.LevelError:
		return "error: "
	case l >= slog.LevelWarn:
		return "warning: "
	}
	return ""
}

func appendPrintable(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		n := continuation(s[i+1:])
		switch {
		case c >= 194 && c < 254 && n > 0: // UTF-8, as far as Postfix looks
			b = append(b, s[i:i+1+n]...)
			i += n
		case c < ' ' || c >= 127:
			b = append(b, '?')
		default:
			b = append(b, c)
		}
	}
	return b
}

// continuation counts the bytes at the start of s that continue a character in
// UTF-8.
func continuation(s string) int {
	n := 0
	for n < len(s) && s[n]&0xC0 == 0x80 {
		n++
	}
	return n
}
