package main

import (
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// catcher takes the log lines of all services where syslog would.
type catcher struct {
	mu       sync.Mutex
	lines    map[string][]string // by service
	other    []string            // of other daemons
	arrivals *sync.Cond
}

// logHead is what precedes the text of a line.
var logHead = regexp.MustCompile(`^<\d+>\w{3} [ \d]\d \d\d:\d\d:\d\d (?:postfix/)?(\S+?)\[\d+\]: `)

// catchLog listens at /dev/log.
func catchLog() (*catcher, error) {
	if err := devices(); err != nil {
		return nil, err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: "/dev/log", Net: "unixgram"})
	if err != nil {
		return nil, err
	}
	if err := os.Chmod("/dev/log", 0o666); err != nil {
		return nil, err
	}
	c := newCatcher()
	go c.read(conn)
	return c, nil
}

func newCatcher() *catcher {
	c := &catcher{lines: map[string][]string{}}
	c.arrivals = sync.NewCond(&c.mu)
	return c
}

func (c *catcher) read(conn *net.UnixConn) {
	buf := make([]byte, 1<<16)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		c.take(strings.TrimRight(string(buf[:n]), "\n\x00"))
	}
}

func (c *catcher) take(line string) {
	head := logHead.FindStringSubmatch(line)
	c.mu.Lock()
	defer c.mu.Unlock()
	if head == nil {
		c.other = append(c.other, line)
		return
	}
	service, daemon, _ := strings.Cut(head[1], "/")
	if daemon != "smtpd" {
		c.other = append(c.other, head[1]+": "+line[len(head[0]):])
		return
	}
	c.lines[service] = append(c.lines[service], line[len(head[0]):])
	c.arrivals.Broadcast()
}

// session returns the lines of a service up to the end of its session, and
// whether that came in time.
func (c *catcher) session(service string, wait time.Duration) ([]string, bool) {
	late := time.AfterFunc(wait, c.arrivals.Broadcast)
	defer late.Stop()
	deadline := time.Now().Add(wait)
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		lines := c.lines[service]
		if end := slices.IndexFunc(lines, isEnd); end >= 0 {
			c.lines[service] = lines[end+1:]
			return lines[:end+1], true
		}
		if !time.Now().Before(deadline) {
			c.lines[service] = nil
			return lines, false
		}
		c.arrivals.Wait()
	}
}

func isEnd(line string) bool { return strings.HasPrefix(line, "disconnect from ") }

// stray returns what other daemons logged.
func (c *catcher) stray() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.other
}
