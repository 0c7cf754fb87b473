package conformance

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// logFile follows the log of a server.
type logFile struct {
	path string
	read int64 // how far it was read
}

// logPrefix is what precedes the text of a line: date, host, service, pid.
var logPrefix = regexp.MustCompile(`^\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ (postfix/\S+)\[\d+\]: `)

// housekeeping are lines that belong to no dialogue: of services that serve none,
// and about the clock of the machine.
var housekeeping = regexp.MustCompile(`^postfix/(?:(?:master|postfix-script|postlog|postlogd|postsuper|anvil|scache|tlsmgr|pickup|sekisho|verify): ` +
	`|\w+: warning: (?:file system clock is|resetting file time stamps))`)

// next returns the complete lines that were added since the last call, in the
// form of a transcript.
func (l *logFile) next() ([]string, error) {
	f, err := os.Open(l.path)
	if os.IsNotExist(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.NewSectionReader(f, l.read, 1<<40))
	if err != nil {
		return nil, err
	}
	end := bytes.LastIndexByte(text, '\n') + 1
	l.read += int64(end)
	var lines []string
	for line := range bytes.Lines(text[:end]) {
		text := escape(bytes.TrimSuffix(line, []byte("\n")))
		text = logPrefix.ReplaceAllString(unescapeBackslash(text), "$1: ")
		if !housekeeping.MatchString(text) {
			lines = append(lines, text)
		}
	}
	return lines, nil
}

// unescapeBackslash leaves the server's own escapes readable: its log is text
// already.
func unescapeBackslash(s string) string { return strings.ReplaceAll(s, `\\`, `\`) }

// progress is what the log says about the messages of a dialogue.
type progress struct {
	connections int // that ended
	messages    map[string]*message
	dropped     map[string]bool // discarded or held on purpose
	dropNext    bool            // the message that begins next is
}

type message struct {
	recipients, tried int
	deferred, removed bool
}

var (
	disconnected = regexp.MustCompile(`^postfix/\w+: disconnect from `)
	queued       = regexp.MustCompile(`^postfix/qmgr: (\w+): from=<.*>, size=\d+, nrcpt=(\d+) \(queue active\)$`)
	removed      = regexp.MustCompile(`^postfix/qmgr: (\w+): removed$`)
	tried        = regexp.MustCompile(`: ([0-9A-F]+): to=<.*, status=(\w+) `)
	notified     = regexp.MustCompile(`notification: ([0-9A-F]+)$`)
	begun        = regexp.MustCompile(`^postfix/\w+: (\w+): client=`)
	dropped      = regexp.MustCompile(`: (\w+): (?:discard|hold): `)
)

func progressOf(log []string) *progress {
	p := &progress{messages: map[string]*message{}, dropped: map[string]bool{}}
	for _, l := range log {
		if disconnected.MatchString(l) {
			p.connections++
		}
		p.noteDropped(l)
		if f := queued.FindStringSubmatch(l); f != nil {
			fmt.Sscan(f[2], &p.message(f[1]).recipients)
		} else if f := removed.FindStringSubmatch(l); f != nil {
			p.message(f[1]).removed = true
		} else if f := tried.FindStringSubmatch(l); f != nil {
			m := p.message(f[1])
			m.tried++
			m.deferred = m.deferred || f[2] == "deferred"
		} else if f := notified.FindStringSubmatch(l); f != nil {
			p.message(f[1])
		}
	}
	return p
}

// noteDropped takes down which messages will not be queued, or not be delivered,
// by a decision that is logged. The decision can come before the message has an
// id.
func (p *progress) noteDropped(line string) {
	if f := dropped.FindStringSubmatch(line); f != nil {
		p.dropped[f[1]] = true
		p.dropNext = p.dropNext || f[1] == "NOQUEUE"
	} else if f := begun.FindStringSubmatch(line); f != nil && p.dropNext {
		p.dropped[f[1]], p.dropNext = true, false
	}
}

func (p *progress) message(id string) *message {
	if p.messages[id] == nil {
		p.messages[id] = &message{}
	}
	return p.messages[id]
}

// done says whether the connection ended and every message that was accepted,
// or made, found its end.
func (p *progress) done(said []Step) bool {
	if p.connections == 0 {
		return false
	}
	for _, s := range said {
		if f := replyID.FindSubmatch(s.Data); s.Kind == Reply && f != nil && !p.dropped[string(f[1])] {
			p.message(string(f[1]))
		}
	}
	for id, m := range p.messages {
		if !m.removed && !p.settled(id) {
			return false
		}
	}
	return true
}

// settled says whether a message stays in the queue, for good or for later.
func (p *progress) settled(id string) bool {
	m := p.messages[id]
	return p.dropped[id] || m != nil && m.deferred && m.tried >= m.recipients
}

// follow collects the log until the dialogue is done and the server is idle.
func (l *logFile) follow(said []Step, from server) ([]string, error) {
	var log []string
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		quiet := from.idle(progressOf(log).settled) // before the log is read: what was done is in it
		lines, err := l.next()
		if err != nil {
			return log, err
		}
		log = append(log, lines...)
		if quiet && progressOf(log).done(said) {
			rest, err := l.upTo(from.mark)
			return append(log, rest...), err
		}
		if time.Now().After(deadline) {
			return append(log, "(the server did not log the end of the dialogue within 20 s)"), nil
		}
	}
}

// upTo has the server write a mark into its log and returns the lines before it.
func (l *logFile) upTo(mark func() error) ([]string, error) {
	if err := mark(); err != nil {
		return nil, err
	}
	var log []string
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		lines, err := l.next()
		if err != nil {
			return log, err
		}
		log = append(log, lines...)
		if n := len(log); n > 0 && log[n-1] == markText {
			return log[:n-1], nil
		}
	}
	return log, fmt.Errorf("%q did not arrive in the log within 20 s", markText)
}

// markText is the line of a mark.
const markText = "postfix/conformance: the dialogue is over"

// takeMail reads and removes the messages delivered below base. A file that is
// not its recipient's alone is remarked upon.
func takeMail(base string) ([]File, error) {
	paths, err := filepath.Glob(base + "/*/*/new/*")
	if err != nil {
		return nil, err
	}
	var files []File
	for _, path := range paths {
		content, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		label, _ := filepath.Rel(base, filepath.Dir(filepath.Dir(path)))
		owner := info.Sys().(*syscall.Stat_t)
		if owner.Uid != vmail || owner.Gid != vmail || info.Mode() != 0o600 {
			label += fmt.Sprintf(" (owner %d:%d, mode %s)", owner.Uid, owner.Gid, info.Mode())
		}
		files = append(files, File{label, contentLines(content)})
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// contentLines cuts a message into lines; the last one is remarked upon if it
// has no end.
func contentLines(content []byte) []string {
	var lines []string
	for line := range bytes.Lines(content) {
		text, ended := bytes.CutSuffix(line, []byte("\n"))
		out := escape(text)
		if !ended {
			out += `\c`
		}
		lines = append(lines, out)
	}
	return lines
}
