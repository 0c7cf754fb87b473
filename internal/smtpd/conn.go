package smtpd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"
	"unicode/utf8"

	"sekisho/internal/anvil"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/matchlist"
	"sekisho/internal/restrict"
	"sekisho/internal/wire"
)

// session is one connection.
type session struct {
	srv      *Server
	set      *settings
	ctx      context.Context
	cancel   context.CancelFunc
	draining context.Context // its end asks for the end of the session
	conn     net.Conn
	wire     *wire.Conn
	src      *evidence.Session

	facts   mail.Facts     // what is known of the client now
	carry   restrict.Carry // what the restrictions leave for later commands
	tr      transaction
	auth    auth
	tls     *tlsInfo // nil: plaintext
	forward forwarded
	counts  counts
	chat    chat
	line    string // the command under way, as it came

	discard                         discardMask
	xclientAllowed, xforwardAllowed bool
	counted                         bool       // anvil knows of this connection
	anvilKey                        anvil.Key  // while counted, or later of the same client
	begun                           bool       // greeted, or refused to
	denied                          mail.Reply // client refused at connect; what it got
	where                           string     // last command, for log lines
	bare                            bareLF     // what a bare newline means, for this client
	hangup                          bool       // the connection ends after this reply
	errors, junk                    int
}

// Errors that end a session, other than those of the connection.
var (
	errDone = errors.New("session is over") // said all there is to say
	errData = errors.New("local data error")
	errAnew = errors.New("session begins anew") // after XCLIENT; counts as nothing
)

// command is an entry of the command table.
type command struct {
	name  string
	junk  bool // counts as junk
	plain bool // allowed where TLS is mandatory, before it is on
	last  bool // must be the last of a pipelined group
}

// commands in the order in which they are counted in the log.
var commands = [len(counts{}) - 1]command{
	{name: "HELO", junk: true, plain: true, last: true},
	{name: "EHLO", junk: true, plain: true, last: true},
	{name: "XCLIENT", plain: true},
	{name: "XFORWARD"},
	{name: "STARTTLS", plain: true},
	{name: "AUTH"},
	{name: "MAIL"},
	{name: "RCPT"},
	{name: "DATA", last: true},
	{name: "BDAT"},
	{name: "RSET", junk: true},
	{name: "NOOP", junk: true, plain: true, last: true},
	{name: "VRFY", junk: true, last: true},
	{name: "ETRN", junk: true},
	{name: "QUIT", plain: true},
	{name: "HELP", junk: true, plain: true},
}

// unknown is the index that commands of no name are counted under.
const unknown = len(commands)

// run holds the session from the first packet to the last log line, or until
// the client is silent for as long as patience; then the session goes on with
// another call. patience 0 has no end.
func (s *session) run(patience time.Duration) (over bool) {
	stop := context.AfterFunc(s.draining, s.wire.Interrupt)
	defer stop()
	var err error
	if !s.begun {
		err = s.connected()
	}
	for err == nil {
		err = s.next(patience)
	}
	if errors.Is(err, wire.ErrSilent) {
		return false
	}
	s.end(err)
	return true
}

// connected is everything until the greeting.
func (s *session) connected() error {
	s.begun = true
	s.src = evidence.NewSession(s.ctx, s.srv.o.World)
	s.wire.SetTimeout(s.set.timeout, s.set.perRequest, s.set.minRate)
	s.where = "CONNECT"
	s.facts.ProtocolName = "SMTP"
	proxyErr := s.peer()
	s.xforwardAllowed = s.matchHost(s.set.lists.xforward)
	s.info("connect from %s", s.facts.NameAddr())
	if proxyErr == nil {
		return s.greet()
	}
	s.reply(mail.Reply{Code: 421, Status: "4.3.0", Text: s.set.myhostname + " Server local error"})
	return errDone
}

// end says goodbye where that is still due, and logs how the session ended.
func (s *session) end(err error) {
	reason := ""
	switch {
	case errors.Is(err, errDone):
	case errors.Is(err, errTooMany):
		reason = "too many errors"
	case wire.Timeout(err):
		reason = "timeout"
		s.reply(mail.Reply{Code: 421, Status: "4.4.2", Text: s.set.myhostname + " Error: timeout exceeded"})
	case errors.Is(err, errData):
		id := s.facts.QueueID
		if id == "" {
			id = "NOQUEUE"
		}
		text := s.set.myhostname + " Server local data error"
		s.info("%s: reject: %s from %s: 421 4.3.0 %s", id, s.where, s.facts.NameAddr(), text)
		s.reply(mail.Reply{Code: 421, Status: "4.3.0", Text: text})
	default:
		reason = "lost connection"
	}
	s.wire.Flush() // the client may be gone
	s.anvilDisconnect()
	s.logEnd(reason)
	s.notify(reason)
	s.resetMail()
	s.info("disconnect from %s%s", s.facts.NameAddr(), &s.counts)
}

func (s *session) logEnd(reason string) {
	if reason == "" || s.where == "END-OF-MESSAGE" && reason == "lost connection" {
		return
	}
	switch s.where {
	case "DATA content":
		s.info("%s after DATA (%d bytes) from %s", reason, s.tr.size+int64(s.wire.Buffered()), s.facts.NameAddr())
	case "BDAT content":
		s.info("%s after BDAT (%d bytes) from %s", reason, s.tr.size+int64(len(s.tr.chunks.fragment)), s.facts.NameAddr())
	default:
		s.info("%s after %s from %s", reason, s.where, s.facts.NameAddr())
	}
}

func (s *session) close() {
	s.wire.Release()
	s.conn.Close() // nothing to be done about an error: the session is over
}

var errTooMany = errors.New("too many errors")

// next reads one command and answers it. wire.ErrSilent means that none has
// come within patience.
func (s *session) next(patience time.Duration) error {
	if s.hangup {
		return errDone
	}
	if s.errors >= s.set.hardErrors {
		s.reply(mail.Reply{Code: 421, Status: "4.7.0", Text: s.set.myhostname + " Error: too many errors"})
		return errTooMany
	}
	line, err := s.readCommand(patience)
	if err != nil {
		return err
	}
	s.line = line
	s.heardCommand(untilNUL(line))
	s.chat.blamed = false
	if s.set.smtputf8 && !utf8.ValidString(line) {
		return s.error(mail.Reply{Code: 500, Status: "5.5.2", Text: "Error: bad UTF-8 syntax"})
	}
	meant, err := s.filterCommand(untilNUL(line))
	if err != nil {
		return err
	}
	words := tokenize(meant)
	if len(words) == 0 {
		return s.error(mail.Reply{Code: 500, Status: "5.5.2", Text: "Error: bad syntax"})
	}
	if s.set.lists.noop.MatchString(s.src, words[0].text).Match {
		s.countJunk()
		return s.reply(ok250)
	}
	return s.command(words)
}

// command checks what holds for all commands, then executes one.
func (s *session) command(words []token) error {
	i := s.counts.find(words[0].text)
	s.counts[i].total++
	if i == unknown {
		s.where = "UNKNOWN"
		if isHeader(words[0].text) || s.set.lists.forbidden.MatchString(s.src, words[0].text).Match {
			s.warn("non-SMTP command from %s: %s", s.facts.NameAddr(), short(escape([]byte(s.line)), 100))
			s.reply(mail.Reply{Code: 221, Status: "2.7.0", Text: "Error: I can break rules, too. Goodbye."})
			return errDone
		}
	}
	quit := i != unknown && commands[i].name == "QUIT"
	switch {
	case !s.denied.IsZero() && !quit:
		return s.error(mail.Reply{Code: 503, Status: "5.7.0", Text: "Error: access denied for " + s.facts.NameAddr()})
	case i == unknown:
		return s.error(mail.Reply{Code: 500, Status: "5.5.2", Text: "Error: command not recognized"})
	case s.set.tls.mandatory && s.tls == nil && !commands[i].plain:
		return s.error(mail.Reply{Code: 530, Status: "5.7.0", Text: "Must issue a STARTTLS command first"})
	}
	cmd := commands[i]
	s.where = cmd.name
	if (s.facts.ProtocolName != "ESMTP" || cmd.last) && s.pipelined() && s.set.forbidPipelining {
		s.reply(outOfStep)
		return errDone
	}
	ok, err := s.execute(cmd.name, words)
	if errors.Is(err, errAnew) {
		return s.greet()
	}
	if err != nil {
		return err
	}
	if ok && !s.hangup {
		s.counts[i].ok++
	} else {
		s.errors++
	}
	if cmd.junk {
		s.countJunk()
	}
	if quit {
		return errDone
	}
	return nil
}

var (
	ok250     = mail.Reply{Code: 250, Status: "2.0.0", Text: "Ok"}
	outOfStep = mail.Reply{Code: 554, Status: "5.5.0", Text: "Error: SMTP protocol synchronization"}
)

// execute runs a command. ok tells whether it counts as a success; an error
// ends the session.
func (s *session) execute(verb string, words []token) (ok bool, err error) {
	var r mail.Reply
	switch verb {
	case "HELO", "EHLO":
		r = s.hello(verb, words)
	case "MAIL":
		r = s.mail(words)
	case "RCPT":
		return s.rcpt(words)
	case "RSET":
		r = s.rset(words)
	case "NOOP":
		r = ok250
	case "VRFY":
		r = s.vrfy(words)
	case "ETRN":
		r = s.etrn(words)
	case "QUIT":
		r = mail.Reply{Code: 221, Status: "2.0.0", Text: "Bye"}
	case "HELP":
		r = mail.Reply{Code: 214, Status: "2.0.0", Text: "Commands: " + commandNames()}
	case "XFORWARD":
		r = s.xforward(words)
	case "XCLIENT":
		return s.xclient(words)
	case "STARTTLS":
		return s.startTLS(words)
	case "AUTH":
		return s.authenticate(words)
	case "DATA":
		return s.data(words)
	case "BDAT":
		return s.bdat(words)
	}
	return s.say(r)
}

// say sends the reply of a command; what is refused is no success.
func (s *session) say(r mail.Reply) (ok bool, err error) {
	s.blameClient(r)
	return !r.Failed(), s.reply(r)
}

// error sends a reply that counts as an error outside of any command.
func (s *session) error(r mail.Reply) error {
	s.blameClient(r)
	err := s.reply(r)
	s.errors++
	return err
}

func (s *session) countJunk() {
	if s.junk > s.set.junkLimit {
		s.errors++
	}
	s.junk++
}

// readCommand waits for a command and reads it.
func (s *session) readCommand(patience time.Duration) (string, error) {
	if err := s.await(patience); err != nil {
		return "", err
	}
	line, err := s.readLine(s.set.lineLimit)
	if err != nil {
		return "", err
	}
	if s.bare == bareReject && line.bare {
		s.facts.ProtocolState = s.where
		s.info("%s", s.facts.LogLine("reject", "bare <LF> received"))
		s.reply(s.bareReply())
		return "", errDone
	}
	return line.text, nil
}

func (s *session) bareReply() mail.Reply {
	return mail.Reply{Code: s.set.bareLFCode, Status: "5.5.2", Text: s.set.myhostname + " Error: bare <LF> received"}
}

// await waits for input. The end of the server's time, which interrupts it, ends
// the session.
func (s *session) await(patience time.Duration) error {
	err := s.wire.Await(patience)
	if s.draining.Err() != nil && (err == nil || errors.Is(err, wire.ErrInterrupted)) {
		s.reply(mail.Reply{Code: 421, Status: "4.3.2", Text: s.set.myhostname + " Service shutting down, try again later"})
		return errDone
	}
	return err
}

type inputLine struct {
	text     string
	complete bool
	bare     bool
}

// readLine reads a line of the dialogue; what is beyond the limit is lost.
func (s *session) readLine(limit int) (inputLine, error) {
	l, err := s.wire.ReadCommand(limit)
	if err != nil {
		return inputLine{}, err
	}
	in := inputLine{text: string(l.Text), complete: l.Complete, bare: l.BareLF}
	if !l.Complete {
		s.warn("%s: request longer than %d: %s...", s.facts.NameAddr(), limit, short(printable(untilNUL(in.text)), 30))
	}
	return in, nil
}

// untilNUL cuts a line at a NUL byte: what follows is as good as not sent.
func untilNUL(line string) string {
	text, _, _ := strings.Cut(line, "\x00")
	return text
}

// filterCommand applies smtpd_command_filter.
func (s *session) filterCommand(line string) (string, error) {
	table := s.set.commandFilter
	if table == "" {
		return line, nil
	}
	to, found, err := s.srv.o.Lookup(table, strings.TrimLeft(line, " \t"))
	if err != nil {
		s.warn("%s lookup error for \"%s\"", table, short(printable(line), 100))
		return "", errData
	}
	if !found {
		return line, nil
	}
	s.info("%s: replacing command \"%s\" with \"%s\"", s.facts.NameAddr(), short(line, 100), short(to, 100))
	return to, nil
}

// pipelined notes that the client has sent more than it may, and says so once
// a session. It reports whether it did so just now.
func (s *session) pipelined() bool {
	if s.facts.UnauthPipelining || !s.wire.Waiting() {
		return false
	}
	s.facts.UnauthPipelining = true
	s.info("improper command pipelining after %s from %s: %s", s.where, s.facts.NameAddr(), escape(s.wire.Peek(100)))
	return true
}

// escape writes bytes as Postfix's escape() does: as in C.
func escape(b []byte) string {
	var out strings.Builder
	for _, c := range b {
		switch {
		case c == '\\':
			out.WriteString(`\\`)
		case c >= ' ' && c < 127:
			out.WriteByte(c)
		case c >= 7 && c <= 13:
			out.WriteString(`\` + string("abtnvfr"[c-7]))
		default:
			fmt.Fprintf(&out, `\%03o`, c)
		}
	}
	return out.String()
}

// match asks a match list and logs its complaints; trouble is no match.
func (s *session) match(r matchlist.Result) bool {
	for _, w := range r.Warnings {
		s.warn("%s", w)
	}
	return r.Match
}

func (s *session) matchHost(l *matchlist.List) bool {
	return s.match(l.MatchHost(s.src, s.facts.ClientName, s.facts.ClientAddress))
}

// bareMode decides what bare newlines of this client mean.
func (s *session) bareMode() bareLF {
	if s.set.bareLF != bareAllow && s.matchHost(s.set.lists.bareLF) {
		return bareAllow
	}
	return s.set.bareLF
}

func (s *session) info(format string, args ...any) { s.log(slog.LevelInfo, format, args...) }
func (s *session) warn(format string, args ...any) { s.log(slog.LevelWarn, format, args...) }

func (s *session) log(level slog.Level, format string, args ...any) {
	s.srv.log.Log(s.ctx, level, fmt.Sprintf(format, args...))
}

// now is the time by the server's clock.
func (s *session) now() time.Time { return s.srv.o.Clock.Now() }

// ended turns the end of input in the middle of something into what the loop
// takes for a lost connection.
func ended(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
