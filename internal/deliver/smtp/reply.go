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
}

func (r reply) class() int { return r.code / 100 }

// readReply reads one reply of one or more lines. Lines without a code are
// skipped, as Postfix does; odd is the first of them.
func readReply(r *bufio.Reader) (rep reply, odd string, err error) {
	size := 0
	for {
		line, err := readLine(r)
		if err != nil {
			return rep, odd, err
		}
		if size < maxLine {
			rep.list = append(rep.list, line)
			size += len(line) + 1
		}
		code, ended, ok := splitCode(line)
		if !ok {
			if odd == "" {
				odd = line
			}
			continue
		}
		if !ended {
			continue
		}
		rep.code = code
		rep.dsn = statusOf(line)
		rep.text = strings.Join(rep.list, " ")
		return rep, odd, nil
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
// off, and what cannot be printed becomes a question mark.
func readLine(r *bufio.Reader) (string, error) {
	var line []byte
	for {
		piece, err := r.ReadSlice('\n')
		line = append(line, piece[:min(len(piece), maxLine-len(line))]...)
		if err == nil {
			break
		}
		if err != bufio.ErrBufferFull {
			return "", err
		}
	}
	text := strings.TrimRight(string(line), "\r\n")
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 127 || c == '\uFFFD' {
			return '?'
		}
		return c
	}, text), nil
}

// refused is the trouble that a reply to a command makes.
func (s *session) refused(r reply, command string) trouble {
	return trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
		text: fmt.Sprintf("host %s said: %s (in reply to %s)", s.name(), r.text, command)}
}
