package postmap

import (
	"bufio"
	"errors"
	"io"
	"strings"

	"sekisho/internal/mimestate"
)

// message asks for the headers (-h) and body lines (-b) of the message on
// standard input. Without -m everything after the message's own headers is body.
func (m *run) message(ask func(string)) error {
	headers, body := strings.Contains(m.parts, "h"), strings.Contains(m.parts, "b")
	w := mimestate.New(mimestate.Options{
		Plain:         !strings.Contains(m.parts, "m"),
		HeaderLimit:   m.cfg.Int("header_size_limit"),
		BoundaryLimit: m.cfg.Int("mime_boundary_length_limit"),
		NestingLimit:  m.cfg.Int("mime_nesting_limit"),
	}, mimestate.Output{
		Header: func(_ mimestate.Class, header string) {
			if headers {
				ask(header)
			}
		},
		HeadersEnd: func() {},
		Body: func(line []byte, _ bool, _ int64) {
			if body {
				ask(string(line))
			}
		},
		Error: func(mimestate.Errors, string) {},
	})
	in := bufio.NewReader(m.env.In)
	for {
		line, err := in.ReadBytes('\n')
		if len(line) > 0 {
			w.Line([]byte(strings.TrimSuffix(string(line), "\n")), false)
		}
		if errors.Is(err, io.EOF) {
			w.End()
			return nil
		}
		if err != nil {
			return err
		}
	}
}
