package smtp

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"sekisho/internal/deliver"
	"sekisho/internal/mail"
)

// transfer sends the message to the recipients that are left (smtp_loop).
func (s *session) transfer() {
	if limit := s.features.sizeLimit; limit > 0 && limit < s.d.r.Envelope.Size {
		s.d.fail(s.relay(), s.d.left(), trouble{dsn: "5.3.4", text: fmt.Sprintf("message size %d exceeds size limit %d of server %s",
			s.d.r.Envelope.Size, limit, s.name())})
		return
	}
	s.connected = s.d.a.Clock.Now()
	t := &transaction{session: s, to: s.d.left()}
	if !t.envelope() {
		return
	}
	if len(t.accepted) == 0 && !t.dataAgreed {
		t.abandon()
		return
	}
	t.message()
}

// transaction is one mail transaction.
type transaction struct {
	*session
	to         []int // recipients tried
	accepted   []int // those the host takes
	dataAgreed bool  // the host waits for the message
}

// envelope sends MAIL, RCPT and DATA: all at once if the host allows it, and
// otherwise no further than makes sense. It returns false when the connection
// is lost.
func (t *transaction) envelope() bool {
	pipelining := t.features.pipelining
	if pipelining {
		t.send(t.mailCommand())
		for _, i := range t.to {
			t.send(t.rcptCommand(i))
		}
		if !t.endsAtRcpt() {
			t.send("DATA")
		}
	}
	ask := func(timeout time.Duration, command string) (reply, error) {
		t.deadline(timeout)
		if !pipelining {
			t.send(command)
		}
		return t.read()
	}
	r, err := ask(t.d.a.MailTimeout, t.mailCommand())
	if err != nil {
		return t.lost(err, "sending MAIL FROM")
	}
	sender := r.class() == 2
	if !sender {
		t.d.fail(t.relay(), t.to, t.refused(r, "MAIL FROM command"))
		if !pipelining {
			return true
		}
	}
	for _, i := range t.to {
		r, err := ask(t.d.a.RcptTimeout, t.rcptCommand(i))
		if err != nil {
			return t.lost(err, "sending RCPT TO")
		}
		t.recipient(i, r, sender)
	}
	if t.endsAtRcpt() || len(t.accepted) == 0 && !pipelining {
		return true
	}
	r, err = ask(t.d.a.DataInitTimeout, "DATA")
	if err != nil {
		return t.lost(err, "sending DATA command")
	}
	t.dataAgreed = r.class() == 3
	if t.dataAgreed && t.d.r.Probe {
		r.dsn = "2.0.0"
		t.sent(r, t.accepted)
		return false // only hanging up leaves the message unsent now
	}
	if !t.dataAgreed && len(t.accepted) > 0 {
		t.d.fail(t.relay(), t.accepted, t.refused(r, "DATA command"))
		t.accepted = nil
	}
	return true
}

// endsAtRcpt: the replies to RCPT answer an address probe, and nothing more is
// asked.
func (t *transaction) endsAtRcpt() bool { return t.d.r.Probe && !t.d.a.ProbeData }

// recipient takes the answer to one RCPT.
func (t *transaction) recipient(i int, r reply, sender bool) {
	switch {
	case !sender:
	case r.class() == 2 && t.endsAtRcpt():
		t.sent(r, []int{i})
	case r.class() == 2:
		t.accepted = append(t.accepted, i)
	default:
		t.d.fail(t.relay(), []int{i}, t.refused(r, "RCPT TO command"))
	}
}

func (s *session) mailCommand() string {
	env := s.d.r.Envelope
	var b strings.Builder
	fmt.Fprintf(&b, "MAIL FROM:<%s>", mail.Quote(env.Sender))
	if s.features.size && (s.features.eightBit || env.Body == "7BIT") {
		fmt.Fprintf(&b, " SIZE=%d", env.Size) // Postfix does not foretell the size of what it may convert
	}
	if s.features.eightBit && env.Body != "" {
		b.WriteString(" BODY=" + env.Body)
	}
	if s.features.dsn && env.EnvID != "" {
		b.WriteString(" ENVID=" + env.EnvID)
	}
	if s.features.dsn && env.Ret != "" {
		b.WriteString(" RET=" + env.Ret)
	}
	if s.features.utf8 && env.SMTPUTF8 {
		b.WriteString(" SMTPUTF8")
	}
	return b.String()
}

func (s *session) rcptCommand(i int) string {
	to := s.d.r.Recipients[i]
	var b strings.Builder
	fmt.Fprintf(&b, "RCPT TO:<%s>", mail.Quote(to.Address))
	if !s.features.dsn {
		return b.String()
	}
	switch {
	case to.ORCPT != "":
		b.WriteString(" ORCPT=" + to.ORCPT)
	case to.Original != "":
		b.WriteString(" ORCPT=rfc822;" + mail.EncodeXtext(mail.Quote(to.Original)))
	}
	if to.Notify != 0 {
		b.WriteString(" NOTIFY=" + to.Notify.String())
	}
	return b.String()
}

// errContent marks an error of our own disk.
var errContent = errors.New("cannot read the message")

// message sends the content and takes the final answer. Without a recipient
// that was accepted it sends none, which the host then refuses (RFC 2920
// section 3.1).
func (t *transaction) message() {
	if len(t.accepted) > 0 {
		if err := t.content(); err != nil {
			t.contentFailed(err)
			return
		}
	}
	t.send(".")
	if t.answers() {
		t.quit()
	}
}

// answers takes the host's answers to the message: one for all recipients, or
// by LMTP one for each that was accepted (RFC 2033 section 4.2). It returns
// false when the connection is lost.
func (t *transaction) answers() bool {
	left := t.accepted
	for first := true; first || len(left) > 0; first = false {
		t.deadline(t.d.a.DataDoneTimeout)
		r, err := t.read()
		if err != nil {
			t.broken(left, err, "sending end of data -- message may be sent more than once")
			return false
		}
		concerned := left
		if t.d.a.LMTP && len(left) > 1 {
			concerned = left[:1]
		}
		left = left[len(concerned):]
		switch {
		case len(concerned) == 0:
		case r.class() == 2:
			t.sent(r, concerned)
		default:
			t.d.fail(t.relay(), concerned, t.refused(r, "end of DATA command"))
		}
	}
	return true
}

// abandon ends a transaction and the session when nobody is left to deliver
// to.
func (t *transaction) abandon() {
	t.deadline(t.d.a.RsetTimeout)
	if _, err := t.command("RSET"); err == nil {
		t.quit()
	}
}

// contentFailed settles the recipients when the message could not be sent
// whole. The connection is closed without the final dot, so that the host drops
// what it has.
func (t *transaction) contentFailed(err error) {
	if !errors.Is(err, errContent) {
		t.broken(t.accepted, err, "sending message body")
		return
	}
	t.d.a.Log.Error(fmt.Sprintf("%s: %v", t.d.r.QueueID, err))
	t.d.lastHost = true // another host would not help
	t.d.fail(t.relay(), t.accepted, trouble{dsn: "4.3.0", text: "local data error while talking to " + t.name()})
}

func (t *transaction) sent(r reply, recipients []int) {
	final := t.d.a.LMTP && (t.d.a.Flags.Final || t.d.a.AssumeFinal) && !t.features.dsn
	for _, i := range recipients {
		t.d.results[i] = &deliver.Result{
			Recipient: i, Status: deliver.Sent, DSN: r.dsn, Text: r.text, Relay: t.relay(),
			RemoteMTA: t.host.name, Diagnostic: r.text,
			Relayed: !final, Reports: t.features.dsn, Connected: t.connected,
		}
	}
}

// content sends the message with CRLF line ends and doubled leading dots.
func (t *transaction) content() error {
	content, err := t.d.r.Content()
	if err != nil {
		return fmt.Errorf("%w: %w", errContent, err)
	}
	defer content.Close()
	in := bufio.NewReaderSize(content, 32<<10)
	out := &lineWriter{w: t.w, limit: t.d.a.LineLimit, broken: func() {
		t.d.a.Log.Info(fmt.Sprintf("%s: breaking line > %d bytes with <CR><LF>SPACE", t.d.r.QueueID, t.d.a.LineLimit))
	}}
	for _, header := range t.d.a.Flags.headers(t.d.r) {
		if err := out.write([]byte(header)); err != nil {
			return err
		}
	}
	for {
		t.deadline(t.d.a.DataXferTimeout)
		piece, err := in.ReadSlice('\n')
		if werr := out.write(piece); werr != nil {
			return werr
		}
		switch err {
		case nil, bufio.ErrBufferFull:
		case io.EOF:
			return out.close()
		default:
			return fmt.Errorf("%w: %w", errContent, err)
		}
	}
}

// lineWriter turns lines with LF into lines for SMTP. Lines longer than limit
// are broken by CRLF and a blank.
type lineWriter struct {
	w      *bufio.Writer
	limit  int
	broken func() // called before the first line is broken
	used   int    // bytes of the line so far
	begun  bool   // the line has a byte in it, or a dot of ours before it
	warned bool
}

// write takes a line with its LF, or a part of one.
func (l *lineWriter) write(p []byte) error {
	line, ended := p, false
	if n := len(p); n > 0 && p[n-1] == '\n' {
		line, ended = p[:n-1], true
	}
	for len(line) > 0 {
		if !l.begun && line[0] == '.' {
			l.w.WriteByte('.')
		}
		l.begun = true
		n := len(line)
		if l.limit > 0 && l.used+n > l.limit {
			n = l.limit - l.used
		}
		l.w.Write(line[:n])
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
