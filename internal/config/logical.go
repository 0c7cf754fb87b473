package config

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// blank are the characters that are white space to Postfix.
const blank = " \t\r\n\v\f"

// Line is a logical line: a physical line and those that continue it
// (postconf(5): lines that begin with white space). Comments and blank lines
// between them are gone; the white space that begins a continuation stays.
type Line struct {
	Text   string
	Number int // of its first physical line, from 1
}

// Lines reads the logical lines of a file, main.cf and master.cf as well as
// the sources of tables. Lines at the top that begin with white space continue
// nothing; they are left out and returned as the text of a warning in Postfix's
// words.
func Lines(r io.Reader) (lines []Line, stray string, err error) {
	ls, stray, err := readLogical(r)
	lines = make([]Line, len(ls))
	for i, l := range ls {
		lines[i] = Line{l.text(), l[0].line}
	}
	return lines, stray, err
}

// physical is one line of a file that belongs to a logical line.
type physical struct {
	text string
	line int
}

type logical []physical

func (l logical) text() string {
	if len(l) == 1 {
		return l[0].text
	}
	parts := make([]string, len(l))
	for i, p := range l {
		parts[i] = p.text
	}
	return strings.Join(parts, "")
}

// at returns the line number of a byte offset in text.
func (l logical) at(offset int) int {
	for _, p := range l {
		if offset < len(p.text) {
			return p.line
		}
		offset -= len(p.text)
	}
	return l[len(l)-1].line
}

// longestLine bounds a physical line.
const longestLine = 1 << 24

func readLogical(r io.Reader) (lines []logical, stray string, err error) {
	sc := bufio.NewScanner(r)
	sc.Buffer(nil, longestLine)
	sc.Split(splitLines)
	var top logical
	for n := 1; sc.Scan(); n++ {
		t := sc.Text()
		trimmed := strings.TrimLeft(t, blank)
		if trimmed == "" || trimmed[0] == '#' {
			continue
		}
		switch {
		case len(trimmed) == len(t):
			lines = append(lines, logical{{t, n}})
		case len(lines) == 0:
			top = append(top, physical{t, n})
		default:
			last := len(lines) - 1
			lines[last] = append(lines[last], physical{t, n})
		}
	}
	if err = sc.Err(); errors.Is(err, bufio.ErrTooLong) {
		err = fmt.Errorf("a line is longer than %d bytes", longestLine)
	}
	if len(top) > 0 {
		stray = strayText(top.text())
	}
	return lines, stray, err
}

// splitLines splits at LF and keeps a CR, which is white space like any other.
func splitLines(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

func strayText(line string) string {
	const shown = 30
	if len(line) > shown {
		line = line[:shown] + "..."
	}
	return `logical line must not start with whitespace: "` + line + `"`
}
