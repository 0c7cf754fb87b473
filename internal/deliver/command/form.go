package command

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"time"

	"sekisho/internal/mail"
)

// Form is how a message is written to a command (mail_copy.c).
type Form struct {
	FromLine   bool // begin with "From SENDER  DATE"
	ReturnPath bool // add Return-Path
	QuoteFrom  bool // '>' before lines that begin with "From "
	Dot        bool // '.' before lines that begin with '.'
	Blank      bool // end with an empty line
	EOL        string

	Sender    string // internal form; empty is the null sender
	Original  string // for X-Original-To, internal form; empty: no such header
	Delivered string // for Delivered-To, internal form; empty: no such header
}

// Write writes the message. Errors of content are ReadErrors.
func (f Form) Write(w io.Writer, content io.Reader, now time.Time) error {
	out := bufio.NewWriterSize(w, 32<<10)
	out.WriteString(f.headers(now)) // errors stay until Flush
	in := bufio.NewReaderSize(content, 32<<10)
	for start := true; ; {
		piece, err := in.ReadSlice('\n')
		if err != nil && err != io.EOF && !errors.Is(err, bufio.ErrBufferFull) {
			return ReadError{err}
		}
		if start {
			f.escape(out, piece)
		}
		line, whole := bytes.CutSuffix(piece, []byte("\n"))
		out.Write(line)
		if whole || err == io.EOF && !(start && len(piece) == 0) {
			out.WriteString(f.EOL)
		}
		start = whole
		if err == io.EOF {
			break
		}
	}
	if f.Blank {
		out.WriteString(f.EOL)
	}
	return out.Flush()
}

// escape writes what comes before the line that begins with piece.
func (f Form) escape(out *bufio.Writer, piece []byte) {
	if f.QuoteFrom && bytes.HasPrefix(piece, []byte("From ")) {
		out.WriteByte('>')
	}
	if f.Dot && bytes.HasPrefix(piece, []byte(".")) {
		out.WriteByte('.')
	}
}

func (f Form) headers(now time.Time) string {
	var h string
	sender := mail.Quote(f.Sender)
	if f.FromLine {
		name := sender
		if f.Sender == "" {
			name = "MAILER-DAEMON"
		}
		h += "From " + name + "  " + now.Local().Format(time.ANSIC) + f.EOL
	}
	if f.ReturnPath {
		h += "Return-Path: <" + sender + ">" + f.EOL
	}
	if f.Original != "" {
		h += "X-Original-To: " + mail.Quote(f.Original) + f.EOL
	}
	if f.Delivered != "" {
		h += "Delivered-To: " + mail.Quote(f.Delivered) + f.EOL
	}
	return h
}
