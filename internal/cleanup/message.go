package cleanup

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
	"sekisho/internal/queue"
	"sekisho/internal/restrict"
	"sekisho/internal/rewrite"
)

// ErrDecided is the error of WriteLine when what becomes of the message is
// certain already: it is refused or discarded, and more content changes
// nothing. The caller may go on or stop; Close tells the rest.
var ErrDecided = errors.New("the message has been decided on")

// Result is what became of a message.
type Result struct {
	Reply mail.Reply // zero: accepted and on disk, or discarded as a table said
	// Size is the bytes of content as Postfix counts them: two or three a line
	// on top of the text, as in its queue files.
	Size int64
	// Failed: the message was refused because a table or the disk failed.
	Failed bool
}

// Message is a message on its way through cleanup. It belongs to one
// goroutine.
type Message struct {
	c     *Cleaner
	ctx   context.Context
	src   evidence.Source
	facts *mail.Facts
	env   mail.Envelope // Recipients are those the message goes to, as far as known

	draft  *queue.Draft
	walker *mimestate.Walker
	size   int64
	line   []byte // scratch

	trouble trouble
	reason  string // enhanced status code and text of a refusal, empty: the trouble's own
	discard bool
	checks  bool // header and body checks are still applied
	maps    bool // addresses are mapped
	copies  bool // automatic blind copies are made
	closed  bool

	seenAddress map[string]bool // recipients that are there already
	recipient   string          // the last one, as log lines name it
	recipients  int             // taken from the client or an access table
	bcc         []string        // of header and body checks
	redirect    string
	redirect2   string // of header and body checks: comes before the former
	filter2     string // same

	fullName string            // of the sender
	rewriter *rewrite.Resolver // completes addresses in headers; nil: they stay
	local    bool              // the message comes from a client that is ours
	hops     int
	seen     headerSet
	resent   string // "Resent-" once such a header was seen
}

// trouble is a set of things that keep a message from being accepted.
type trouble uint8

const (
	deferred trouble = 1 << iota // a check or an expansion limit says: not now
	tooBig
	tooManyHops
	refused
	noQueue // a table or the disk failed
)

// reply returns what the client is told about the most serious trouble.
func (m *Message) reply() mail.Reply {
	switch t := m.trouble; {
	case t&deferred != 0:
		return m.worded(451, mail.Reply{Code: 451, Status: "4.7.1", Text: "Error: service unavailable"})
	case t&tooBig != 0:
		return mail.Reply{Code: 552, Status: "5.3.4", Text: "Error: message file too big"}
	case t&tooManyHops != 0:
		return mail.Reply{Code: 554, Status: "5.4.0", Text: "Error: too many hops"}
	case t&refused != 0:
		return m.worded(550, mail.Reply{Code: 550, Status: "5.7.1", Text: "Error: message content rejected"})
	case t&noQueue != 0:
		return mail.Reply{Code: 451, Status: "4.3.0", Text: "Error: queue file write error"}
	}
	return mail.Reply{}
}

func (m *Message) worded(code int, otherwise mail.Reply) mail.Reply {
	if m.reason == "" {
		return otherwise
	}
	status, text, _ := strings.Cut(m.reason, " ")
	return mail.Reply{Code: code, Status: status, Text: text}
}

// Begin starts a message: env has the queue id, the arrival time, the sender,
// all accepted recipients as the client gave them, and the client; facts are
// those of the session, for log lines, without a client's address for a message
// that a local user submitted, and nil for one that the server made itself; src answers table look-ups. Trouble with
// the envelope is kept for Close; an error means that the queue has no room or
// its disk fails.
func (c *Cleaner) Begin(ctx context.Context, env mail.Envelope, facts *mail.Facts, src evidence.Source) (*Message, error) {
	draft, err := c.world.Queue.Create(env.QueueID)
	if err != nil {
		return nil, err
	}
	m := &Message{
		c: c, ctx: ctx, src: src, facts: facts, env: env, draft: draft,
		checks: !c.in.noChecks, maps: !c.in.noMappings,
		seenAddress: make(map[string]bool, len(env.Recipients)),
	}
	if m.env.Arrived.IsZero() {
		m.env.Arrived = c.world.Clock.Now()
	}
	if m.env.Filter == "" {
		m.env.Filter = c.in.filter
	}
	m.env.Recipients = nil
	m.copies = m.maps && !m.internal()
	m.walker = mimestate.New(m.mimeOptions(), mimestate.Output{
		Header: m.header, HeadersEnd: m.headersEnd, Body: m.body, Error: m.mimeError,
	})
	m.chooseContext()
	m.takeSender(env.Sender)
	for _, r := range env.Recipients {
		if m.ok() {
			m.takeRecipient(r)
		}
	}
	return m, nil
}

// internal reports whether the server made the message itself.
func (m *Message) internal() bool { return m.facts == nil || m.env.Probe }

// homemade reports whether no client brought the message.
func (m *Message) homemade() bool { return m.facts == nil || m.facts.ClientAddress == "" }

// SetFullName tells the name of the sender, for a From header that is missing.
// It comes before the first WriteLine.
func (m *Message) SetFullName(name string) { m.fullName = name }

// chooseContext finds out whether headers are rewritten, and how.
func (m *Message) chooseContext() {
	m.local = m.clientIsLocal()
	if m.local {
		m.rewriter = m.c.world.Resolver
	} else {
		m.rewriter = m.c.set.remote
	}
}

func (m *Message) mimeOptions() mimestate.Options {
	s := &m.c.set
	o := mimestate.Options{
		Plain: s.plain, HeaderLimit: s.headerSize, BoundaryLimit: s.boundarySize, NestingLimit: s.nesting,
	}
	if s.plain || !m.checks {
		return o
	}
	for _, e := range []struct {
		on     bool
		report mimestate.Errors
	}{{s.strictHeaders, mimestate.EightBitHeader}, {s.strictBody, mimestate.EightBitBody}, {s.strictDomain, mimestate.BadEncoding}} {
		if e.on {
			o.Report |= e.report | mimestate.TooDeep
		}
	}
	if len(s.headerChecks.maps)+len(s.mimeChecks.maps)+len(s.nestedChecks.maps) > 0 {
		o.Report |= mimestate.TooDeep
	}
	return o
}

// Effect does what an access table asked for besides accepting the message.
// Effects of the envelope's commands come before the first WriteLine. Prepend
// writes its header at once.
func (m *Message) Effect(e restrict.Effect) {
	switch e.Kind {
	case restrict.Hold:
		m.env.Hold = true
	case restrict.Filter:
		m.env.Filter = e.Arg
	case restrict.Redirect:
		m.redirect = e.Arg
	case restrict.Discard:
		m.discard = true
	case restrict.Bcc:
		if m.ok() {
			m.addCopy(e.Arg)
		}
	case restrict.Prepend:
		for _, line := range strings.Split(e.Arg, "\n") {
			_ = m.WriteLine([]byte(line)) // what is decided already stays so
		}
	}
}

// ok reports whether the message is still going to the queue.
func (m *Message) ok() bool { return m.trouble == 0 && !m.discard }

// WriteLine takes one line of content without its line ending: first the
// headers that the server makes, then what the client sent. Lines may be of any
// length; the line is not kept. Trouble is kept for Close; the only error is
// ErrDecided.
func (m *Message) WriteLine(line []byte) error {
	n := m.c.set.lineLength
	for len(line) >= n {
		m.write(line[:n], true)
		line = line[n:]
	}
	m.write(line, false)
	return m.decided()
}

// WritePart takes a part of a line that the next WritePart or WriteLine
// continues. Body checks see parts as Postfix shows them: in pieces of
// line_length_limit.
func (m *Message) WritePart(part []byte) error {
	m.write(part, true)
	return m.decided()
}

func (m *Message) decided() error {
	if !m.ok() {
		return ErrDecided
	}
	return nil
}

func (m *Message) write(text []byte, more bool) {
	if !m.ok() {
		return
	}
	s := &m.c.set
	text = m.replaceStray(text)
	if m.checks && s.rejectChars != "" && strings.ContainsAny(string(text), s.rejectChars) {
		m.act("content", "character reject", string(text), "REJECT disallowed character")
		return
	}
	if m.checks && s.stripChars != "" {
		text = strip(text, s.stripChars)
	}
	m.walker.Line(text, more)
}

// replaceStray turns CR and LF inside a line into blanks: nobody may take them
// for the end of a line later.
func (m *Message) replaceStray(text []byte) []byte {
	if !m.c.set.straySpace || bytes.IndexByte(text, '\r') < 0 && bytes.IndexByte(text, '\n') < 0 {
		return text
	}
	m.line = append(m.line[:0], text...)
	for i, c := range m.line {
		if c == '\r' || c == '\n' {
			m.line[i] = ' '
		}
	}
	return m.line
}

func strip(text []byte, chars string) []byte {
	out := make([]byte, 0, len(text))
	for _, c := range text {
		if strings.IndexByte(chars, c) < 0 {
			out = append(out, c)
		}
	}
	return out
}

// Close ends the content. With a zero Reply the message is in the queue and
// synced to disk.
func (m *Message) Close() Result {
	if m.closed {
		return m.result()
	}
	m.closed = true
	if m.ok() {
		m.endContent()
	}
	if m.discard {
		m.trouble = 0
	} else if m.trouble == 0 {
		m.commit()
		return m.result()
	}
	m.draft.Discard()
	return m.result()
}

func (m *Message) result() Result {
	return Result{Reply: m.reply(), Size: m.size, Failed: m.trouble == noQueue}
}

func (m *Message) endContent() {
	if e := m.walker.End(); e != 0 && m.reason == "" {
		m.trouble |= refused
		m.reason = "5.6.0 " + e.String()
	}
	if m.copies && m.c.set.alwaysBcc != "" {
		m.addBcc(m.c.set.alwaysBcc)
	}
	for _, a := range m.bcc {
		if m.ok() {
			m.addBcc(a)
		}
	}
}

func (m *Message) commit() {
	m.env.Size = m.size
	if m.filter2 != "" {
		m.env.Filter = m.filter2
	}
	if m.redirect2 != "" {
		m.redirect = m.redirect2
	}
	if m.redirect != "" {
		m.redirectTo(m.redirect)
	}
	if err := m.draft.Commit(m.env); err != nil {
		m.warn("%v", err)
		m.trouble |= noQueue
	}
}

// redirectTo leaves one recipient. Postfix's queue manager does this, after
// aliases, so the new address is not expanded; it has sorted the recipients
// before, and takes the first.
func (m *Message) redirectTo(addr string) {
	m.env.Redirected = len(m.env.Recipients) - 1
	m.env.Filter = "" // REDIRECT overrides FILTER (access(5))
	first := slices.MinFunc(m.env.Recipients, byDomain)
	first.Address = m.c.world.Resolver.Rewrite(mail.Unquote(addr))
	m.env.Recipients = []mail.Recipient{first}
}

// byDomain orders recipients by domain, then by local part, in any case.
func byDomain(a, b mail.Recipient) int {
	localA, domainA, _ := mail.SplitAddress(strings.ToLower(a.Address))
	localB, domainB, _ := mail.SplitAddress(strings.ToLower(b.Address))
	return cmp.Or(strings.Compare(domainA, domainB), strings.Compare(localA, localB))
}

// Abort drops the message. It may be called at any time, also after Close,
// where it does nothing.
func (m *Message) Abort() {
	if !m.closed {
		m.closed = true
		m.draft.Discard()
	}
}

func (m *Message) info(format string, args ...any) {
	m.c.log.LogAttrs(m.ctx, slog.LevelInfo, m.env.QueueID+": "+fmt.Sprintf(format, args...))
}

func (m *Message) warn(format string, args ...any) {
	m.bareWarn(m.env.QueueID + ": " + fmt.Sprintf(format, args...))
}

// bareWarn logs a warning without the queue id, where Postfix leaves it out.
func (m *Message) bareWarn(text string) {
	m.c.log.LogAttrs(m.ctx, slog.LevelWarn, text)
}
