package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"

	"sekisho/internal/mimestate"
)

// errContent marks an error while our own message is read.
var errContent = errors.New("cannot read the message")

// content sends the message, without the final dot. over: it could not be sent
// and the recipients are settled. When neither is true, the connection broke,
// and the host may have said why.
func (t *dialogue) content() (ok, over bool) {
	t.sock.start(t.d.a.DataXferTimeout, t.d.a.MinDataRate)
	refused, err := t.sendContent()
	if err == nil && refused == 0 && t.features.pixDelay {
		if err = t.w.Flush(); err == nil {
			err = t.d.a.Clock.Sleep(t.ctx, t.d.a.PIXDelay)
		}
	}
	switch {
	case refused != 0:
		t.d.fail(t.relay(), t.accepted, trouble{dsn: "5.6.0", text: refused.String()})
		t.broken = true // there is no way to end the message
		return false, true
	case err == nil:
		return true, false
	case errors.Is(err, errContent):
		t.d.a.Log.Error(fmt.Sprintf("%s: %v", t.d.r.QueueID, err))
		t.d.lastHost = true // another host would not help
		t.throttle()
		t.broken = true
		t.d.fail(t.relay(), t.accepted, trouble{dsn: "4.3.0", text: "local data error while talking to " + t.name()})
		return false, true
	case errors.Is(err, errChunk):
		t.d.fail(t.relay(), t.accepted, t.refused(t.chunks.refused, "BDAT command"))
		t.dontCache()
		return false, true
	case errors.Is(err, errLocal):
		t.brokenFor(t.accepted, err, "sending message body")
		t.broken = true
		return false, true
	case errors.Is(err, os.ErrDeadlineExceeded), t.ctx.Err() != nil:
		t.brokenFor(t.accepted, err, "sending message body")
		return false, true
	}
	t.interrupted = err
	t.w.Reset(t.conn) // what could not be sent is not tried again
	return false, false
}

// sendContent sends the lines of the message, changed as the configuration and
// the host's abilities want it.
func (t *dialogue) sendContent() (refused mimestate.Errors, err error) {
	content, err := t.d.r.Content()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errContent, err)
	}
	defer content.Close()
	w := t.w
	if t.chunked() {
		t.chunks = &chunkWriter{t: t}
		w = bufio.NewWriterSize(t.chunks, chunkBytes)
	}
	out := &lineWriter{w: w, verbatim: t.chunked(), limit: t.d.a.LineLimit, broken: func() {
		t.d.a.Log.Info(fmt.Sprintf("%s: breaking line > %d bytes with <CR><LF>SPACE", t.d.r.QueueID, t.d.a.LineLimit))
	}}
	f := t.filter(out)
	for _, header := range t.d.a.Flags.headers(t.d.r) {
		if err := f.line([]byte(header)); err != nil {
			return 0, err
		}
	}
	in := bufio.NewReaderSize(content, 32<<10)
	for {
		piece, err := in.ReadSlice('\n')
		if werr := f.line(piece); werr != nil {
			return 0, werr
		}
		if f.errors() != 0 {
			return f.errors(), nil
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			refused, err := f.end()
			if t.chunked() && refused == 0 && err == nil {
				if err = w.Flush(); err == nil {
					err = t.chunks.last()
				}
			}
			return refused, err
		default:
			return 0, fmt.Errorf("%w: %w", errContent, err)
		}
	}
}

// lineWriter turns lines with LF into lines for SMTP. Lines longer than limit
// are broken by CRLF and a blank.
type lineWriter struct {
	w     *bufio.Writer
	limit int
	// verbatim: a leading dot needs no other, for the end is told otherwise (BDAT).
	verbatim bool
	broken   func() // called before the first line is broken
	used     int    // bytes of the line so far
	begun    bool   // the line has a byte in it, or a dot of ours before it
	warned   bool
}

// write takes a line with its LF, or a part of one.
func (l *lineWriter) write(p []byte) error {
	line, ended := p, false
	if n := len(p); n > 0 && p[n-1] == '\n' {
		line, ended = p[:n-1], true
	}
	for len(line) > 0 {
		if !l.begun && line[0] == '.' && !l.verbatim {
			l.w.WriteByte('.')
		}
		l.begun = true
		n := len(line)
		if l.limit > 0 && l.used+n > l.limit {
			n = l.limit - l.used
		}
		if _, err := l.w.Write(line[:n]); err != nil {
			return err
		}
		l.used += n
		line = line[n:]
		if len(line) > 0 {
			l.breakLine()
		}
	}
	if ended {
		return l.end()
	}
	return nil
}

func (l *lineWriter) breakLine() {
	if !l.warned {
		l.broken()
		l.warned = true
	}
	l.w.WriteString("\r\n ")
	l.used = 1
}

func (l *lineWriter) end() error {
	l.used, l.begun = 0, false
	_, err := l.w.WriteString("\r\n")
	return err
}

// close ends a last line that had no LF.
func (l *lineWriter) close() error {
	if l.begun {
		return l.end()
	}
	return nil
}
