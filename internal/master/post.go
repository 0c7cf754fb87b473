package master

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"sekisho/internal/cleanup"
	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
)

// poster puts mail that the server writes itself into the queue: notifications.
type poster struct {
	cleaner *cleanup.Cleaner
	queue   *queue.Queue
	world   *evidence.World
}

// internal is the view of cleanup's parameters that mail of our own has: no
// header and body checks and no content filter, as with
// internal_mail_filter_classes left empty.
func internal(cfg *config.Config) *config.Config {
	return cfg.Service(config.Service{Overrides: []config.Override{
		{Name: "receive_override_options", Value: "no_header_body_checks"},
		{Name: "content_filter", Value: ""},
	}})
}

// post is a bounce.Post.
func (p *poster) post(ctx context.Context, env mail.Envelope, write func(id string, w io.Writer) error) error {
	env.QueueID = p.queue.NewID()
	m, err := p.cleaner.Begin(ctx, env, nil, evidence.NewSession(ctx, p.world))
	if err != nil {
		return err
	}
	defer m.Abort()
	w := &lineWriter{line: m.WriteLine}
	if err := write(env.QueueID, w); err != nil {
		return err
	}
	if err := w.flush(); err != nil {
		return err
	}
	if r := m.Close(); !r.Reply.IsZero() {
		return fmt.Errorf("cleanup: %s", r.Reply)
	}
	return nil
}

// lineWriter cuts what is written to it into lines without their endings.
type lineWriter struct {
	line func([]byte) error
	rest []byte
}

func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.rest = append(w.rest, p...)
			return n, nil
		}
		line := p[:i]
		if len(w.rest) > 0 {
			line = append(w.rest, line...)
			w.rest = w.rest[:0]
		}
		if err := w.line(line); err != nil {
			return 0, err
		}
		p = p[i+1:]
	}
}

// flush passes on a last line that has no ending.
func (w *lineWriter) flush() error {
	if len(w.rest) == 0 {
		return nil
	}
	return w.line(w.rest)
}
