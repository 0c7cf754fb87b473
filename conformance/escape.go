package conformance

import (
	"fmt"
	"strconv"
	"strings"
)

// longRun is how many equal bytes in a row are written as x{*N}.
const longRun = 30

// escape writes bytes so that they stand in one line of printable ASCII.
func escape(data []byte) string {
	var b strings.Builder
	for i := 0; i < len(data); {
		n := 1
		for i+n < len(data) && data[i+n] == data[i] {
			n++
		}
		if n < longRun {
			n = 1
		}
		b.WriteString(escapeByte(data[i], data[i+1:]))
		if n > 1 {
			fmt.Fprintf(&b, "{*%d}", n)
		}
		i += n
	}
	return b.String()
}

func escapeByte(c byte, next []byte) string {
	switch {
	case c == '\r':
		return `\r`
	case c == '\n':
		return `\n`
	case c == '\\':
		return `\\`
	case c == '{' && len(next) > 0 && next[0] == '*', c < ' ', c >= 0x7f:
		return fmt.Sprintf(`\x%02x`, c)
	}
	return string(rune(c))
}

// unescape is the inverse of escape.
func unescape(text string) ([]byte, error) {
	var out []byte
	for text != "" {
		c, rest, err := unescapeByte(text)
		if err != nil {
			return nil, err
		}
		n := 1
		if tail, ok := strings.CutPrefix(rest, "{*"); ok {
			number, after, _ := strings.Cut(tail, "}")
			if n, err = strconv.Atoi(number); err != nil {
				return nil, fmt.Errorf("bad repetition in %q", text)
			}
			rest = after
		}
		for range n {
			out = append(out, c)
		}
		text = rest
	}
	return out, nil
}

func unescapeByte(text string) (byte, string, error) {
	if text[0] != '\\' {
		return text[0], text[1:], nil
	}
	if len(text) < 2 {
		return 0, "", fmt.Errorf(`lone \ at the end of a line`)
	}
	switch text[1] {
	case 'r':
		return '\r', text[2:], nil
	case 'n':
		return '\n', text[2:], nil
	case '\\':
		return '\\', text[2:], nil
	case 'x':
		if len(text) >= 4 {
			c, err := strconv.ParseUint(text[2:4], 16, 8)
			return byte(c), text[4:], err
		}
	}
	return 0, "", fmt.Errorf("bad escape in %q", text)
}
