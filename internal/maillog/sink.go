package maillog

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
)

// File is a log file that can be opened anew after it was renamed. It is safe
// for concurrent use.
type File struct {
	path string
	mu   sync.Mutex
	f    *os.File
}

// OpenFile opens a log file for appending and makes it if it is missing. Its
// mode is that of Postfix's: readable by the owner only.
func OpenFile(path string) (*File, error) {
	l := &File{path: path}
	return l, l.Reopen()
}

// Reopen opens the file again by its name. If that fails the open file stays
// in use.
func (l *File) Reopen() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("maillog: %w", err)
	}
	l.mu.Lock()
	old := l.f
	l.f = f
	l.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.Close()
}

// Write appends one line.
func (l *File) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Write(p)
}

// Close closes the file.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.f.Close()
}

// Syslog sends datagrams to a syslog daemon's socket. When the daemon was
// started anew it connects again; what can't be sent is lost, as with
// syslog(3). It is safe for concurrent use.
type Syslog struct {
	path string
	mu   sync.Mutex
	conn net.Conn
}

// DialSyslog connects to the socket at path, usually /dev/log.
func DialSyslog(path string) (*Syslog, error) {
	s := &Syslog{path: path}
	return s, s.dial()
}

func (s *Syslog) dial() error {
	conn, err := net.Dial("unixgram", s.path)
	if err != nil {
		return fmt.Errorf("maillog: %w", err)
	}
	s.conn = conn
	return nil
}

// Write sends one datagram.
func (s *Syslog) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, err := s.conn.Write(p); err == nil {
		return n, nil
	}
	old := s.conn
	if err := s.dial(); err != nil {
		return 0, err
	}
	_ = old.Close() // it is broken already
	return s.conn.Write(p)
}

// Close closes the connection.
func (s *Syslog) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conn.Close()
}

// facilities are the names that syslog_facility takes, at the number of each
// (RFC 3164, 4.1.1).
var facilities = []string{
	"kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp",
	"", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
}

// Facility returns the number of a syslog facility by its name.
func Facility(name string) (int, error) {
	n := slices.Index(facilities, name)
	if name == "" || n < 0 {
		return 0, fmt.Errorf("maillog: unknown syslog facility %q", name)
	}
	return n, nil
}
