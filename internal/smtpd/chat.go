package smtpd

import (
	"fmt"
	"io"
	"strings"
	"unicode"

	"sekisho/internal/mail"
	"sekisho/internal/restrict"
)

// chat is what a letter to the postmaster is made of: the dialogue so far, and
// the classes of what went wrong since the last message that was accepted.
type chat struct {
	said    []saying
	n       int // lines of it
	trouble classes
	blamed  bool // the class of the reply under way is known
}

// saying is a command or a reply, whose lines end in CRLF but for the last.
type saying struct {
	ours bool
	text string
}

// maxChat is how many lines of a dialogue are kept, the first ones.
const maxChat = 1000

// classes is a set of error classes, one bit each.
type classes uint16

func (c *classes) add(class restrict.ErrorClass) {
	if class != restrict.ClassNone {
		*c |= 1 << class
	}
}

// classNames are the words of notify_classes that a session can cause.
var classNames = map[string]restrict.ErrorClass{
	"policy": restrict.ClassPolicy, "protocol": restrict.ClassProtocol, "resource": restrict.ClassResource,
	"software": restrict.ClassSoftware, "data": restrict.ClassData, "bounce": restrict.ClassBounce,
}

func classesOf(words []string) classes {
	var c classes
	for _, w := range words {
		c.add(classNames[strings.ToLower(w)])
	}
	return c
}

// heard and told keep the dialogue, for sessions that somebody may be told of.
func (s *session) heard(line string) { s.keep(saying{text: line}, 1) }
func (s *session) told(reply string, lines int) {
	s.keep(saying{ours: true, text: reply}, lines)
}

func (s *session) keep(what saying, lines int) {
	if s.set.notify != 0 && s.chat.n < maxChat {
		s.chat.said = append(s.chat.said, what)
		s.chat.n += lines
	}
}

// transcript is the dialogue with a word before each line that tells who spoke.
func (c *chat) transcript() (lines []string) {
	for _, what := range c.said {
		if !what.ours {
			lines = append(lines, "In:  "+what.text)
			continue
		}
		for _, l := range strings.Split(what.text, "\r\n") {
			lines = append(lines, "Out: "+l)
		}
	}
	return lines
}

// heardCommand keeps a command, without what AUTH would tell of a password.
func (s *session) heardCommand(line string) {
	if c := strings.TrimLeftFunc(line, unicode.IsSpace); len(c) > 4 && strings.EqualFold(c[:4], "AUTH") {
		if words := strings.Fields(c); len(words) > 2 && len(words[0]) == 4 {
			line = words[0] + " " + words[1] + " (hidden)"
		}
	}
	s.heard(line)
}

// blame notes of what class the refusal is that the client is about to get.
func (s *session) blame(class restrict.ErrorClass) {
	s.chat.trouble.add(class)
	s.chat.blamed = true
}

// blameClient notes that a refusal nobody else is to blame for is the client's
// fault.
func (s *session) blameClient(r mail.Reply) {
	if r.Failed() && !s.chat.blamed {
		s.chat.trouble.add(restrict.ClassProtocol)
	}
}

// notify tells the postmaster of a session that went wrong in one of the ways of
// notify_classes. reason is why it ended, if not by the client's wish.
func (s *session) notify(reason string) {
	if s.chat.trouble&s.set.notify == 0 || s.srv.o.Post == nil {
		return
	}
	to := s.set.errorNotice
	env := mail.Envelope{
		Sender:     s.set.doubleBounce + "@" + s.set.myhostname,
		Recipients: []mail.Recipient{{Address: to, Original: to, Notify: mail.NotifyNever}},
		Arrived:    s.now(),
	}
	if err := s.srv.o.Post(s.ctx, env, func(id string, w io.Writer) error { return s.letter(w, id, reason) }); err != nil {
		s.warn("postmaster notify: %v", err)
	}
}

// letter writes the message of notify.
func (s *session) letter(w io.Writer, id, reason string) error {
	host, now := s.set.myhostname, s.now()
	date := now.Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)")
	var b strings.Builder
	fmt.Fprintf(&b, "Received: by %s (%s)\n\tid %s; %s\n", host, s.set.mailName, id, date)
	fmt.Fprintf(&b, "Date: %s\nFrom: Mail Delivery System <MAILER-DAEMON@%s>\nTo: Postmaster <%s>\n", date, host, s.set.errorNotice)
	fmt.Fprintf(&b, "Subject: %s SMTP server: errors from %s\n", s.set.mailName, s.facts.NameAddr())
	fmt.Fprintf(&b, "Message-Id: <%s.%s@%s>\n\n", now.UTC().Format("20060102150405"), id, host)
	b.WriteString("Transcript of session follows.\n\n")
	for _, line := range s.chat.transcript() {
		for _, part := range mail.Wrap(printable(line), 78) {
			b.WriteString(" " + part + "\n")
		}
	}
	b.WriteString("\n")
	if reason != "" {
		b.WriteString("Session aborted, reason: " + reason + "\n")
	}
	b.WriteString("\nFor other details, see the local mail logfile\n")
	_, err := io.WriteString(w, b.String())
	return err
}
