// Package postcat is the command postcat(1): it prints a message of the queue
// and its envelope, in the form in which Postfix prints its queue files. What a
// Postfix queue file would have and Sekisho's does not is left out.
package postcat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/getopt"
	"sekisho/internal/applet/spool"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/mimestate"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

// Env is what the command gets from the program.
type Env struct {
	Out    io.Writer
	Err    io.Writer
	Config string // the folder of main.cf if -c does not say
	Clock  clock.Clock
}

// Cmd takes its command line as getopt(3) reads it.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"[-bdehov] [-c DIR] -q ID..."`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

const usage = "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] " +
	"[-h (header text)] [-q (access queue)] [-v] [file(s)...]"

// Run runs one command line and returns its exit status.
func Run(env *Env, args []string) int {
	p := &printer{env: env, out: bufio.NewWriter(env.Out)}
	err := p.run(args)
	if flushed := p.out.Flush(); err == nil {
		err = flushed
	}
	if err != nil {
		fmt.Fprintln(env.Err, "postcat: fatal: "+err.Error())
		return 1
	}
	return 0
}

type printer struct {
	env                              *Env
	out                              *bufio.Writer
	dir                              string
	envelope, header, body           bool
	offsets, verbose, decimal, queue bool
	at                               int64 // in the file
}

func (p *printer) run(args []string) error {
	options, ids, err := getopt.Parse(args, "bc:dehoqv")
	if err != nil {
		fmt.Fprintln(p.env.Err, "postcat: "+err.Error())
		return errors.New(usage)
	}
	p.dir = p.env.Config
	for _, o := range options {
		if o.Letter == 'c' {
			p.dir = o.Value
			continue
		}
		*map[byte]*bool{'b': &p.body, 'd': &p.decimal, 'e': &p.envelope, 'h': &p.header, 'o': &p.offsets, 'q': &p.queue, 'v': &p.verbose}[o.Letter] = true
	}
	if !p.body && !p.envelope && !p.header {
		p.body, p.envelope, p.header = true, true, true
	}
	if len(ids) == 0 {
		return nil
	}
	if !p.queue {
		return fmt.Errorf("%s: Sekisho's queue files are not Postfix's; use -q with the queue id", ids[0])
	}
	cfg, err := spool.Config(p.dir)
	if err != nil {
		return err
	}
	return p.print(cfg, ids)
}

func (p *printer) print(cfg *config.Config, ids []string) error {
	for _, id := range ids {
		if !spool.ValidID(id) {
			return errors.New("bad mail queue ID: " + id)
		}
	}
	s, _, err := spool.Open(cfg, p.env.Clock, slog.New(slog.DiscardHandler))
	for _, id := range ids {
		if err == nil {
			err = p.message(s, id)
		}
		switch {
		case errors.Is(err, queue.ErrNotFound):
			err = fmt.Errorf("open queue file %s: No such file or directory", id)
		case errors.Is(err, os.ErrPermission) || errors.Is(err, control.ErrDenied):
			err = fmt.Errorf("open queue file %s: Permission denied", id)
		}
		if err != nil {
			break
		}
	}
	if s != nil {
		err = errors.Join(err, s.Close())
	}
	return err
}

// message prints one message.
func (p *printer) message(s control.Spool, id string) error {
	m, err := s.Show(id)
	if err != nil {
		return err
	}
	content, err := s.Content(id)
	if err != nil {
		return err
	}
	defer content.Close()
	file := path(m)
	p.at = 0
	if p.envelope {
		fmt.Fprintf(p.out, "*** ENVELOPE RECORDS %s ***\n", file)
	}
	for _, r := range envelope(m) {
		p.record(r)
	}
	p.mark("MESSAGE CONTENTS " + file)
	p.at += 2
	if p.header || p.body {
		if err := p.content(content); err != nil {
			return err
		}
	}
	p.mark("HEADER EXTRACTED " + file)
	p.at += 2
	p.mark("MESSAGE FILE END " + file)
	return nil
}

// path is where Postfix would have a message.
func path(m control.Message) string {
	id := m.Envelope.QueueID
	if m.State == control.Deferred {
		return "deferred/" + id[:1] + "/" + id
	}
	return string(m.State) + "/" + id
}

func (p *printer) mark(text string) {
	if p.envelope {
		p.position()
		fmt.Fprintf(p.out, "*** %s ***\n", text)
	}
}

func (p *printer) record(r record) {
	if p.envelope {
		p.position()
		name := r.name
		if n, ok := types[name]; ok && p.decimal {
			name = fmt.Sprint(n)
		}
		fmt.Fprintf(p.out, "%s: %s\n", name, r.text)
	}
	p.at += r.size
}

// types are Postfix's record types by name.
var types = map[string]byte{
	"message_size": 'C', "message_arrival_time": 'T', "named_attribute": 'A', "create_time": 'A', "content_filter": 'L', "sender": 'S',
	"original_recipient": 'O', "recipient": 'R', "done_recipient": 'D', "regular_text": 'N',
}

func (p *printer) position() {
	if p.offsets {
		fmt.Fprintf(p.out, "%9d ", p.at)
	}
}

// content prints the header, the body or both.
func (p *printer) content(r io.Reader) error {
	in := bufio.NewReader(r)
	for header := true; ; {
		line, err := in.ReadString('\n')
		if err == io.EOF && line == "" {
			return nil
		}
		if err != nil && err != io.EOF {
			return err
		}
		text := strings.TrimSuffix(line, "\n")
		if header && !partOfHeader(text) {
			header = false
		}
		if header && p.header || !header && p.body {
			p.position()
			if p.verbose {
				p.out.WriteString("regular_text: ")
			}
			p.out.WriteString(text + "\n")
		}
		p.at += stored(len(text)) + int64(len(text))
	}
}

func partOfHeader(line string) bool {
	return strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") || mimestate.HeaderName([]byte(line)) > 0
}
