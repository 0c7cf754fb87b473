package policyd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxReply bounds a reply. Postfix sets no limit; more than this is no action.
const maxReply = 1 << 20

// readAction reads a reply, "name=value" lines up to an empty one, and returns
// the value of the first action (attr_scan_plain(3)). server is what warnings
// call the service.
func readAction(r *bufio.Reader, server string) (action string, err error) {
	rd := &replyReader{r: r, server: server, room: maxReply}
	if _, err := r.Peek(1); err != nil {
		if errors.Is(err, io.EOF) {
			return "", errClosed
		}
		return "", err
	}
	found := false
	for {
		name, hasValue, err := rd.name()
		switch {
		case err != nil:
			return "", err
		case name == "" && !hasValue && found:
			return action, nil
		case name == "" && !hasValue:
			return "", &trouble{warnings: []string{"missing attribute action in input from " + server}}
		case name == "action" && !found && !hasValue:
			return "", &trouble{warnings: []string{"missing value for string attribute action from " + server}}
		case !hasValue:
			continue
		}
		value, err := rd.until("\n", "input attribute value")
		if err != nil {
			return "", err
		}
		if name == "action" && !found {
			action, found = value[:len(value)-1], true
		}
	}
}

// replyReader reads the parts of a reply.
type replyReader struct {
	r      *bufio.Reader
	server string
	room   int
}

// name reads the name of an attribute; without a value it is a whole line.
func (r *replyReader) name() (name string, hasValue bool, err error) {
	text, err := r.until("=\n", "input attribute name")
	if err != nil {
		return "", false, err
	}
	end := len(text) - 1
	return text[:end], text[end] == '=', nil
}

// until reads up to one of the terminators, which is part of the text.
func (r *replyReader) until(terminators, what string) (string, error) {
	var b strings.Builder
	for {
		c, err := r.r.ReadByte()
		switch {
		case timedOut(err):
			return "", &trouble{warnings: []string{fmt.Sprintf("timeout on %s while reading %s", r.server, what)}, err: err}
		case errors.Is(err, io.EOF):
			return "", &trouble{warnings: []string{fmt.Sprintf("premature end-of-input on %s while reading %s", r.server, what)}}
		case err != nil:
			return "", &trouble{warnings: []string{fmt.Sprintf("premature end-of-input on %s while reading %s", r.server, what)}, err: err}
		}
		if r.room--; r.room < 0 {
			return "", &trouble{warnings: []string{fmt.Sprintf("reply longer than %d bytes from %s", maxReply, r.server)}}
		}
		b.WriteByte(c)
		if strings.IndexByte(terminators, c) >= 0 {
			return b.String(), nil
		}
	}
}
