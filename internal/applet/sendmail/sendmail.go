// Package sendmail is the command sendmail(1), by which programs of this machine
// send mail: cron, PHP, mail(1). Mail goes to the server over the spool's
// socket, which knows who sends it; while no server runs it waits in a folder
// of the spool. -bp and -q are postqueue(1).
//
// It does not speak SMTP on standard input (-bs), nor test addresses (-bv).
package sendmail

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"sekisho/internal/applet/exit"
	"sekisho/internal/applet/postqueue"
	"sekisho/internal/applet/spool"
	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/mail"
	"sekisho/internal/queue/control"
	"sekisho/internal/tok822"
)

// Env is what the command gets from the program.
type Env struct {
	In     io.Reader
	Out    io.Writer
	Err    io.Writer
	Config string // the folder of main.cf if -C does not say
	Clock  clock.Clock
}

// Cmd takes its command line as sendmail(1) reads it.
type Cmd struct {
	Args []string `arg:"" optional:"" help:"[-t] [-i] [-f SENDER] [-F NAME] [-bp] [-q] RECIPIENT..."`
}

// Run runs the command; the error is an exit.Status.
func (c *Cmd) Run(env *Env) error { return exit.Error(Run(env, c.Args)) }

// MailqCmd is mailq(1).
type MailqCmd Cmd

// Run runs the command; the error is an exit.Status.
func (c *MailqCmd) Run(env *Env) error {
	return exit.Error(Run(env, append([]string{"-bp"}, c.Args...)))
}

// tempFail is EX_TEMPFAIL of sysexits(3): the status of all failures.
const tempFail = 75

// Run runs one command line and returns its exit status.
func Run(env *Env, args []string) int {
	say := func(text string) { fmt.Fprintln(env.Err, "sendmail: "+text) }
	o, err := parse(args, say)
	if err == nil {
		if status, done := o.elsewhere(env); done {
			return status
		}
		err = (&message{env: env, options: o}).send(say)
	}
	if err != nil {
		say("fatal: " + err.Error())
		return tempFail
	}
	return 0
}

// elsewhere does what is not sending mail.
func (o *options) elsewhere(env *Env) (status int, done bool) {
	var args []string
	switch {
	case o.mode == 'i': // newaliases: there is nothing to be built
		return 0, true
	case o.mode == 'p':
		args = []string{"-p"}
	case o.mode == 'q' && strings.HasPrefix(o.flush, "I"):
		args = []string{"-i", o.flush[1:]}
	case o.mode == 'q' && strings.HasPrefix(o.flush, "R"):
		args = []string{"-s", o.flush[1:]}
	case o.mode == 'q' && strings.HasPrefix(o.flush, "S"):
		fmt.Fprintln(env.Err, "sendmail: fatal: -qS is not implemented")
		return tempFail, true
	case o.mode == 'q':
		args = []string{"-f"}
	default:
		return 0, false
	}
	e := &postqueue.Env{Out: env.Out, Err: env.Err, Config: env.Config, Clock: env.Clock}
	if o.config != "" {
		e.Config = o.config
	}
	return postqueue.Run(e, args), true
}

// message is mail being sent.
type message struct {
	env     *Env
	options *options
	who     string // name(uid), for errors
	m       control.Submission
}

func (m *message) send(say func(string)) error {
	dir := m.env.Config
	if m.options.config != "" {
		dir = m.options.config
	}
	cfg, err := spool.Config(dir)
	if err != nil {
		return trouble(err)
	}
	if err := m.begin(say); err != nil {
		return err
	}
	c := newContent(m.env.In, !m.options.dots, cfg.Str("sendmail_fix_line_endings"))
	defer c.close()
	if err := c.read(); err != nil {
		return fmt.Errorf("%s: error reading input: %w", m.who, err)
	}
	if err := m.recipients(c); err != nil {
		return err
	}
	m.m.Envelope.SMTPUTF8 = c.header8bit || m.addresses8bit()
	m.m.Length = c.size
	if m.options.verbose {
		fmt.Fprintf(m.env.Out, "Mail Delivery Status Report will be mailed to <%s>.\n", m.m.Envelope.Sender)
	}
	return m.hand(cfg, c)
}

// hand gives the message to the server, or puts it where the server finds it.
func (m *message) hand(cfg *config.Config, c *content) error {
	r, err := c.open()
	if err != nil {
		return err
	}
	dir := control.Dir(cfg)
	err = control.Send(dir, m.m, r)
	if errors.Is(err, control.ErrNoServer) {
		if r, err = c.open(); err == nil {
			err = control.Drop(dir, m.m, r)
		}
	}
	var refused *control.RefusedError
	switch {
	case errors.As(err, &refused):
		return fmt.Errorf("%s: %s", m.who, strings.TrimPrefix(refused.Reply.Text, "Error: "))
	case err != nil && !errors.Is(err, control.ErrDenied):
		return fmt.Errorf("%s: %w", m.who, err)
	}
	return err
}

// begin fills in who sends the message, and what the options say.
func (m *message) begin(say func(string)) error {
	u, err := user.LookupId(strconv.Itoa(os.Getuid()))
	if err != nil {
		return fmt.Errorf("unable to find your user name: %w", err)
	}
	o := m.options
	m.who = fmt.Sprintf("%s(%s)", u.Username, u.Uid)
	m.m.FullName = fullName(u)
	if o.fullName != nil {
		m.m.FullName = *o.fullName
	}
	e := &m.m.Envelope
	e.Sender, e.Ret, e.EnvID, e.Body = u.Username, o.ret, o.envID, o.body
	if o.sender == nil {
		return nil
	}
	list := tok822.Parse(*o.sender, 0).Addresses()
	if len(list) > 1 || len(list) == 0 && strings.Trim(*o.sender, "<> ") != "" {
		say("warning: -f option specified malformed sender: " + *o.sender)
	}
	e.Sender = ""
	if len(list) > 0 {
		e.Sender = list[0].Internal()
	}
	return nil
}

// fullName is the name of a user: his own wish, or what the password file says.
func fullName(u *user.User) string {
	if name := os.Getenv("NAME"); name != "" {
		return name
	}
	return strings.ReplaceAll(u.Name, "&", strings.ToUpper(u.Username[:1])+u.Username[1:])
}

// recipients collects those of the command line and, with -t, those of the
// header.
func (m *message) recipients(c *content) error {
	for _, arg := range m.options.recipients {
		if arg == "" {
			m.add("")
		}
		m.addAll(arg)
	}
	if m.options.extract {
		for _, value := range c.recipients() {
			m.addAll(value)
		}
	}
	switch {
	case len(m.m.Envelope.Recipients) > 0:
		return nil
	case m.options.extract:
		return errors.New(m.who + ": No recipient addresses found in message header")
	}
	return errors.New(m.who + ": Recipient addresses must be specified on the command line or via the -t option")
}

func (m *message) addAll(text string) {
	for _, a := range tok822.Parse(text, 0).Addresses() {
		m.add(a.Internal())
	}
}

func (m *message) add(address string) {
	e := &m.m.Envelope
	e.Recipients = append(e.Recipients, mail.Recipient{Address: address, Notify: m.options.notify})
}

func (m *message) addresses8bit() bool {
	e := &m.m.Envelope
	if !ascii(e.Sender) {
		return true
	}
	for _, r := range e.Recipients {
		if !ascii(r.Address) {
			return true
		}
	}
	return false
}

func ascii(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// trouble says in Postfix's words why a configuration cannot be read.
func trouble(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) && errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("open %s: No such file or directory", path.Path)
	}
	return err
}
