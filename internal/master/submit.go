package master

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"sekisho/internal/cleanup"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/maillog"
	"sekisho/internal/queue/control"
	"sekisho/internal/rewrite"
)

// errReloading is the answer to somebody who asks a configuration that has just
// been replaced.
var errReloading = errors.New("the configuration is being replaced; try again")

// commands is what the queue commands and those who submit mail locally get
// from this configuration.
func (b *builder) commands() control.Service {
	cfg := view(b.config, "pickup")
	cleaner, problems := b.cleaner.For(cfg, b.site.Main.Mynetworks)
	b.failAll(problems)
	return control.Service{
		Allowed: b.allowed(),
		Submit:  (&pickup{graph: b.graph, cleaner: cleaner, world: b.world}).submit,
		Log:     b.log.With(maillog.Service(b.config.Str("syslog_name") + "/postsuper")),
	}
}

// allowed asks the authorized_*_users lists.
func (b *builder) allowed() func(control.Right, string) (bool, error) {
	lists := map[control.Right]string{
		control.View: "authorized_mailq_users", control.Flush: "authorized_flush_users", control.Submit: "authorized_submit_users",
	}
	tests := make(map[control.Right]func(evidence.Source, string) (bool, error))
	for right, param := range lists {
		list, err := rewrite.MatchList(b.config, b.lists(), param)
		if err != nil {
			b.fail(err)
			continue
		}
		tests[right] = func(src evidence.Source, user string) (bool, error) {
			r := list.MatchString(src, user)
			if r.Failed {
				return false, fmt.Errorf("%s: table lookup problem", param)
			}
			return r.Match, nil
		}
	}
	return func(right control.Right, user string) (bool, error) {
		if !b.graph.begin() {
			return false, errReloading
		}
		defer b.graph.end()
		return tests[right](evidence.NewSession(context.Background(), b.world), user)
	}
}

// pickup takes mail that local users submit: the job of pickup(8).
type pickup struct {
	graph   *graph
	cleaner *cleanup.Cleaner
	world   *evidence.World
}

func (p *pickup) submit(ctx context.Context, uid int, s control.Submission, content io.Reader) (mail.Reply, error) {
	if !p.graph.begin() {
		return mail.Reply{}, errReloading
	}
	defer p.graph.end()
	cfg := view(p.graph.config, "pickup")
	env := mail.Envelope{
		QueueID: p.graph.shared.queue.NewID(), Arrived: p.graph.shared.clock.Now(), Sender: s.Envelope.Sender, Recipients: s.Envelope.Recipients,
		Ret: s.Envelope.Ret, EnvID: s.Envelope.EnvID, Body: s.Envelope.Body, SMTPUTF8: s.Envelope.SMTPUTF8,
	}
	log := p.graph.log.With(maillog.Service(cfg.Str("syslog_name") + "/pickup"))
	log.Info(fmt.Sprintf("%s: uid=%d from=<%s>", env.QueueID, uid, mail.Quote(env.Sender)))
	m, err := p.cleaner.Begin(ctx, env, &mail.Facts{}, evidence.NewSession(ctx, p.world))
	if err != nil {
		return mail.Reply{}, err
	}
	defer m.Abort()
	m.SetFullName(s.FullName)
	received := fmt.Sprintf("Received: by %s (%s, from userid %d)\n\tid %s; %s\n",
		cfg.Str("myhostname"), cfg.Str("mail_name"), uid, env.QueueID, mail.Date(env.Arrived.Local()))
	if err := writeLines(m, io.MultiReader(strings.NewReader(received), content)); err != nil {
		return mail.Reply{}, err
	}
	r := m.Close().Reply
	if r.Code/100 == 4 {
		return mail.Reply{}, errors.New(r.Text)
	}
	return r, nil
}

// writeLines passes on content, line by line, until it ends or the message has
// been decided on.
func writeLines(m *cleanup.Message, content io.Reader) error {
	in := bufio.NewReader(content)
	for {
		line, err := in.ReadSlice('\n')
		write := m.WriteLine
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			write, err = m.WritePart, nil
		case err == nil:
			line = line[:len(line)-1]
		case err == io.EOF && len(line) == 0:
			return nil
		case err != io.EOF:
			return err
		}
		if decided := write(line); decided != nil || err == io.EOF {
			return nil // Close tells
		}
	}
}
