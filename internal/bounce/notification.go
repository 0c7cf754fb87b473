package bounce

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"sekisho/internal/mail"
)

// dateLayout is the form of RFC 5322 dates that Postfix writes.
const dateLayout = "Mon, _2 Jan 2006 15:04:05 -0700 (MST)"

// notification writes one multipart/report (RFC 6522).
type notification struct {
	b      *Bouncer
	kind   *kind
	report Report
	to     addressee
	id     string // of the notification
	now    time.Time
	w      *bufio.Writer
}

func (n *notification) write(w io.Writer) error {
	n.w = bufio.NewWriter(w)
	n.header()
	n.text()
	n.status()
	if err := n.original(); err != nil {
		return err
	}
	n.line("")
	n.line("--%s--", n.boundary())
	return n.w.Flush()
}

// line writes a line; a write error stays in n.w until Flush.
func (n *notification) line(format string, args ...any) {
	fmt.Fprintf(n.w, format+"\n", args...)
}

func (n *notification) boundary() string {
	return fmt.Sprintf("%s.%d/%s", n.report.Envelope.QueueID, n.now.Unix(), n.b.o.Myhostname)
}

func (n *notification) header() {
	o := n.b.o
	t := n.kind.template(&o.Templates)
	subject, submitted := t.subject, "auto-replied"
	if n.to.postmaster {
		subject, submitted = cmp.Or(t.postmaster, t.subject), "auto-generated"
	}
	n.line("Received: by %s (%s)", o.Myhostname, o.MailName)
	n.line("\tid %s; %s", n.id, n.now.Format(dateLayout))
	n.line("Date: %s", n.now.Format(dateLayout))
	n.line("From: %s", cmp.Or(t.from, "Mail Delivery System <MAILER-DAEMON@"+o.Myorigin+">"))
	n.line("Subject: %s", subject)
	n.line("To: %s", n.qualified(n.to.address))
	n.line("Auto-Submitted: %s", submitted)
	n.line("MIME-Version: 1.0")
	n.line("Content-Type: multipart/report; report-type=delivery-status;")
	n.line("\tboundary=%q", n.boundary())
	n.line("Content-Transfer-Encoding: 8bit")
	n.line("Message-Id: <%s.%s@%s>", n.now.UTC().Format("20060102150405"), n.id, o.Myhostname)
	n.line("")
	n.line("This is a MIME-encapsulated message.")
}

// qualified is an address in external form with the domain it lacks.
func (n *notification) qualified(address string) string {
	if _, _, ok := mail.SplitAddress(address); !ok {
		address += "@" + n.b.o.Myorigin
	}
	return mail.Quote(address)
}

func (n *notification) part(description, contentType string) {
	n.line("")
	n.line("--%s", n.boundary())
	n.line("Content-Description: %s", description)
	n.line("Content-Type: %s", contentType)
}

// text is the part for people.
func (n *notification) text() {
	t := n.kind.template(&n.b.o.Templates)
	n.part("Notification", "text/plain; charset="+cmp.Or(t.charset, "utf-8"))
	n.line("Content-Transfer-Encoding: 8bit")
	n.line("")
	if !n.to.postmaster {
		n.w.WriteString(t.text)
	}
	for _, e := range n.report.Entries {
		n.line("")
		expanded := ""
		if e.Recipient.Original != "" && (e.Recipient.Original != e.Recipient.Address || e.Owner != "") {
			expanded = fmt.Sprintf(" (expanded from <%s>)", mail.Quote(e.Recipient.Original))
		}
		n.wrapped("<%s>%s: %s", mail.Quote(e.Recipient.Address), expanded, e.Result.Text)
	}
}

// wrapped writes a long line as several.
func (n *notification) wrapped(format string, args ...any) {
	for _, l := range mail.Wrap(fmt.Sprintf(format, args...), 79) {
		n.line("%s", l)
	}
}

// status is the part for programs (RFC 3464).
func (n *notification) status() {
	o, env := n.b.o, n.report.Envelope
	global := ""
	if env.SMTPUTF8 {
		global = "global-"
	}
	n.part("Delivery report", "message/"+global+"delivery-status")
	if env.SMTPUTF8 {
		n.line("Content-Transfer-Encoding: 8bit")
	}
	n.line("")
	n.line("Reporting-MTA: dns; %s", o.Myhostname)
	if env.EnvID != "" {
		n.line("Original-Envelope-Id: %s", decodeXtext(env.EnvID))
	}
	n.line("X-%s-Queue-ID: %s", o.MailName, env.QueueID)
	n.line("X-%s-Sender: %s; %s", o.MailName, n.addressType(env.Sender), n.sender())
	n.line("Arrival-Date: %s", env.Arrived.In(n.now.Location()).Format(dateLayout))
	for _, e := range n.report.Entries {
		n.recipientStatus(e)
	}
}

func (n *notification) recipientStatus(e Entry) {
	r := e.Result
	n.line("")
	n.line("Final-Recipient: %s; %s", n.addressType(e.Recipient.Address), mail.Quote(e.Recipient.Address))
	switch {
	case e.Recipient.ORCPT != "":
		n.line("Original-Recipient: %s", decodeXtext(e.Recipient.ORCPT))
	case e.Recipient.Original != "":
		n.line("Original-Recipient: %s;%s", n.addressType(e.Recipient.Original), mail.Quote(e.Recipient.Original))
	}
	n.line("Action: %s", n.action(e))
	n.line("Status: %s", r.DSN)
	if r.RemoteMTA != "" {
		n.wrapped("Remote-MTA: dns; %s", r.RemoteMTA)
	}
	if r.Diagnostic != "" {
		n.wrapped("Diagnostic-Code: %s; %s", cmp.Or(r.DiagnosticType, "smtp"), r.Diagnostic)
	} else {
		n.wrapped("Diagnostic-Code: X-%s; %s", n.b.o.MailName, r.Text)
	}
	if n.kind == delay {
		until := n.report.Envelope.Arrived.Add(n.b.o.QueueLifetime)
		n.line("Will-Retry-Until: %s", until.In(n.now.Location()).Format(dateLayout))
	}
}

func (n *notification) action(e Entry) string {
	switch {
	case n.kind.action != "":
		return n.kind.action
	case e.expanded:
		return "expanded"
	case e.Result.Relayed:
		return "relayed"
	}
	return "delivered"
}

// sender is the sender in external form, with a name for the null sender.
func (n *notification) sender() string {
	if s := n.report.Envelope.Sender; s != "" {
		return mail.Quote(s)
	}
	return "MAILER-DAEMON@" + n.b.o.Myhostname
}

// addressType is the address type of RFC 3464, or of RFC 6533 where it is
// needed and the sender can read it.
func (n *notification) addressType(address string) string {
	if n.report.Envelope.SMTPUTF8 && strings.ContainsFunc(address, func(r rune) bool { return r > 127 }) {
		return "utf-8"
	}
	return "rfc822"
}

// original returns the message, or its header.
func (n *notification) original() error {
	headersOnly := n.to.ret == "HDRS" ||
		n.b.o.SizeLimit > 0 && n.report.Envelope.Size > n.b.o.SizeLimit
	what, contentType := "Message", "message/rfc822"
	if n.report.Envelope.SMTPUTF8 {
		contentType = "message/global"
	}
	if headersOnly {
		what, contentType = "Message Headers", "text/rfc822-headers"
		if n.report.Envelope.SMTPUTF8 {
			contentType = "message/global-headers"
		}
	}
	if n.kind != success {
		what = "Undelivered " + what
	}
	n.part(what, contentType)
	n.line("Content-Transfer-Encoding: 8bit")
	n.line("")
	n.line("Return-Path: <%s>", n.sender())
	return n.copyContent(headersOnly)
}

func (n *notification) copyContent(headersOnly bool) error {
	content, err := n.report.Content()
	if err != nil {
		return err
	}
	defer content.Close()
	r := bufio.NewReader(content)
	for atLineStart := true; ; {
		piece, err := r.ReadSlice('\n')
		if headersOnly && atLineStart && !headerLine(piece) {
			return nil
		}
		n.w.Write(piece)
		switch {
		case err == nil:
			atLineStart = true
		case err == bufio.ErrBufferFull:
			atLineStart = false
		case err == io.EOF:
			if len(piece) > 0 {
				n.line("")
			}
			return nil
		default:
			return err
		}
	}
}

// headerLine reports whether a line belongs to the header: NAME: or a
// continuation.
func headerLine(line []byte) bool {
	for i, c := range line {
		switch {
		case c == ':':
			return i > 0
		case (c == ' ' || c == '\t') && i == 0:
			return true
		case c == ' ' || c == '\t':
			return strings.HasPrefix(strings.TrimLeft(string(line[i:]), " \t"), ":")
		case c < 33 || c > 126:
			return false
		}
	}
	return false
}
