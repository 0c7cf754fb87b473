package smtp

import (
	"bufio"
	"fmt"
	"strconv"
	"strings"

	"sekisho/internal/mail"
)

// maxLine is how much of a reply's line is kept (line_length_limit), and how
// long a reply may grow.
const maxLine = 2048

// reply is what the server answered.
type reply struct {
	code int    // 0 when the last line had none
	dsn  string // enhanced status code, made up from the code when there is none
	text string // all lines, code included, joined by blanks
	list []string
	odd  string // the first line that was none of a reply; empty: all were
}

func (r reply) class() int { return r.code / 100 }

// What a replyReader warns of.
const (
	longLine  = "response longer than"
	longReply = "multi-line response longer than"
)

// replyReader reads replies of one or more lines.
type replyReader struct {
	r      *bufio.Reader
	filter func(line string) (string, error) // changes a line
	warn   func(what, line string)           // tells of too much
}

// read reads one reply. Lines without a code are skipped, as Postfix does.
func (rr *replyReader) read() (rep reply, err error) {
	size, long := 0, false
	for {
		line, whole, err := readLine(rr.r)
		if err != nil {
			return rep, err
		}
		if !whole {
			rr.warn(longLine, line)
		}
		if size >= maxLine && !long {
			rr.warn(longReply, strings.Join(rep.list, " "))
			long = true
		}
		if line, err = rr.filter(line); err != nil {
			return rep, err
		}
		if !long {
			rep.list = append(rep.list, line)
			size += len(line) + 1
		}
		code, ended, ok := splitCode(line)
		if !ok && rep.odd == "" {
			rep.odd = line
		}
		if !ok || !ended {
			continue
		}
		rep.code = code
		rep.dsn = statusOf(line)
		rep.text = strings.Join(rep.list, " ")
		return rep, nil
	}
}

// splitCode reads the three digits at the beginning of a line.
func splitCode(line string) (code int, ended, ok bool) {
	if len(line) < 3 || len(line) > 3 && line[3] != ' ' && line[3] != '-' {
		return 0, false, false
	}
	code, err := strconv.Atoi(line[:3])
	if err != nil || line[0] < '0' {
		return 0, false, false
	}
	return code, len(line) == 3 || line[3] == ' ', true
}

// statusOf returns the enhanced status code of a reply's last line.
func statusOf(line string) string {
	if !strings.ContainsRune("245", rune(line[0])) {
		return "5.5.0"
	}
	word, _, _ := strings.Cut(strings.TrimLeft(line[3:], " "), " ")
	if mail.IsStatus(word) && word[0] == line[0] {
		return word
	}
	return line[:1] + ".0.0"
}

// readLine reads a line without its end. What is longer than maxLine is cut
// off, as is what follows a NUL byte, and what cannot be printed becomes a
// question mark.
func readLine(r *bufio.Reader) (text string, whole bool, err error) {
	var line []byte
	whole = true
	for {
		piece, err := r.ReadSlice('\n')
		if len(piece) > maxLine-len(line)+2 {
			whole = false
		}
		line = append(line, piece[:min(len(piece), maxLine-len(line))]...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return "", whole, err
		}
	}
	text = strings.TrimRight(string(line), "\r\n")
	text, _, _ = strings.Cut(text, "\x00") // as Postfix's strings end
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 127 || c == '\uFFFD' {
			return '?'
		}
		return c
	}, text), whole, nil
}

// refused is the trouble that a reply to a command makes.
func (s *session) refused(r reply, command string) trouble {
	s.checkCode(r.code)
	return trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
		text: fmt.Sprintf("host %s said: %s (in reply to %s)", s.name(), r.text, command)}
}
