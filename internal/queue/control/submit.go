package control

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"sekisho/internal/mail"
)

// Service is what the configuration in force has to say to the commands.
type Service struct {
	// Allowed reports whether the configuration grants a user a right.
	Allowed func(what Right, user string) (bool, error)
	// Submit puts mail of a local user into the queue. Content that ends early
	// ends with an error, and the message is not to be taken. refused is why it
	// is not taken when it is not for want of anything.
	Submit func(ctx context.Context, uid int, m Submission, content io.Reader) (refused mail.Reply, err error)
	// Log takes what is done to messages by hand.
	Log *slog.Logger
}

// Submission is a message that a local user hands in.
type Submission struct {
	Envelope mail.Envelope `json:"envelope"`       // addresses as the user gave them
	FullName string        `json:"name,omitempty"` // for a From header that is missing
	Length   int64         `json:"length"`         // of the content, whose lines end in LF
}

// RefusedError is the error of a submission that will never be taken.
type RefusedError struct{ Reply mail.Reply }

// Error returns the text of the reply.
func (e *RefusedError) Error() string { return e.Reply.Text }

// submit takes the message that follows a request.
func (s *Server) submit(conn net.Conn, in *bufio.Reader, who caller, m *Submission) answer {
	if m == nil {
		return failed(fmt.Errorf("submit: no message"))
	}
	service := s.service.Load()
	content := &whole{io.LimitReader(&patient{conn, in}, m.Length), m.Length}
	refused, err := service.Submit(s.ctx, who.uid, *m, content)
	_, _ = io.Copy(io.Discard, content) // or closing would take the answer back
	a := failed(err)
	if !refused.IsZero() {
		a.Refused = &refused
	}
	return a
}

// patient waits for each piece of content, but not for ever.
type patient struct {
	conn net.Conn
	r    io.Reader
}

func (p *patient) Read(b []byte) (int, error) {
	if err := p.conn.SetReadDeadline(time.Now().Add(requestTime)); err != nil {
		return 0, err
	}
	return p.r.Read(b)
}

// whole is content that is an error unless it comes to its end.
type whole struct {
	r    io.Reader
	left int64
}

func (w *whole) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	w.left -= int64(n)
	if err == io.EOF && w.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// Send hands a message to the server that has the spool in dir. The error is
// ErrNoServer when none runs, a DeniedError's text when the user may not, a
// RefusedError when the message will never be taken; everything else may be
// tried again.
func Send(dir string, m Submission, content io.Reader) error {
	r, err := reach(dir)
	if err != nil {
		return err
	}
	defer r.Close()
	conn, in, err := r.ask(request{Op: "submit", Submission: &m})
	if err != nil {
		return err
	}
	defer conn.Close()
	_, sent := io.Copy(conn, content)
	a, err := hear(in) // also when it did not take all
	switch {
	case err != nil:
		return err
	case a.Refused != nil:
		return &RefusedError{*a.Refused}
	}
	return sent
}
