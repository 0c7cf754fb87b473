package smtpd

import (
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"

	"sekisho/internal/cleanup"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
	"sekisho/internal/wire"
)

var (
	needRcpt   = mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: need RCPT command"}
	noRcpt     = mail.Reply{Code: 554, Status: "5.5.1", Text: "Error: no valid recipients"}
	queueError = mail.Reply{Code: 451, Status: "4.3.0", Text: "Error: queue file write error"}
	tooBig     = mail.Reply{Code: 552, Status: "5.3.4", Text: "Error: message file too big"}
)

// data receives a message.
func (s *session) data(words []token) (ok bool, err error) {
	switch {
	case s.tr.chunks.any():
		return s.say(mail.Reply{Code: 503, Status: "5.5.1", Text: "Error: DATA after BDAT"})
	case len(s.tr.recipients) == 0 && !s.tr.open:
		return s.say(needRcpt)
	case len(s.tr.recipients) == 0:
		return s.say(noRcpt)
	case len(words) != 1:
		return s.say(mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: DATA"})
	}
	if r, err := s.openMessage(); err != nil || !r.IsZero() {
		if err != nil {
			return false, err
		}
		return s.say(r)
	}
	if err := s.reply(mail.Reply{Code: 354, Text: "End data with <CR><LF>.<CR><LF>"}); err != nil {
		return false, err
	}
	s.where = "DATA content"
	d := wire.NewData(s.wire, s.set.lineLimit)
	if err := s.receive(d); err != nil {
		return false, err
	}
	s.where = "END-OF-MESSAGE"
	if d.BareLF() && s.refuseBareLF() {
		s.resetMail()
		return s.say(s.bareReply())
	}
	return s.finish("queued as ")
}

// refuseBareLF logs that content had bare newlines, and says whether it is
// refused for them.
func (s *session) refuseBareLF() bool {
	if s.bare < bareNote {
		return false
	}
	verb := "reject"
	if s.bare == bareNote {
		verb = "note"
	}
	s.facts.ProtocolState = s.where
	s.info("%s", s.facts.LogLine(verb, "bare <LF> received"))
	return s.bare == bareReject
}

// openMessage runs the DATA restrictions and begins the message: what is done
// before its first line of content.
func (s *session) openMessage() (mail.Reply, error) {
	out := s.decideContent(restrict.StageData)
	if out.Hangup {
		return mail.Reply{}, errDone
	}
	if !out.Reply.IsZero() {
		return out.Reply, nil
	}
	return s.createMessage(), nil
}

// decideContent asks the lists of DATA and the end of data, which see the
// recipient only when there is just one.
func (s *session) decideContent(stage restrict.Stage) restrict.Outcome {
	f := &s.facts
	known := f.RecipientKnown
	f.RecipientKnown = s.recipientCount() == 1
	out := s.decide(stage)
	f.RecipientKnown = known
	if stage == restrict.StageEndOfData && s.tr.msg != nil {
		s.apply(out.Effects)
	} else {
		s.tr.effects = append(s.tr.effects, out.Effects...)
	}
	return out
}

func (s *session) apply(effects []restrict.Effect) {
	for _, e := range effects {
		s.tr.msg.Effect(e)
	}
}

// createMessage hands the envelope, the headers that restrictions prepend and
// our own to cleanup.
func (s *session) createMessage() mail.Reply {
	facts := s.facts
	msg, err := s.srv.cleaner.Begin(s.ctx, s.envelope(), &facts, s.src)
	if err != nil {
		s.warn("%s: queue file write error: %v", s.facts.QueueID, err)
		s.blame(restrict.ClassResource)
		return queueError
	}
	s.tr.msg = msg
	s.apply(s.tr.effects)
	for _, line := range s.received() {
		s.tr.msg.WriteLine([]byte(line)) // ErrDecided: Close tells
	}
	return mail.Reply{}
}

// content writes the client's lines to the message. The first lines are looked
// at: an mbox "From " line is made a header, and a header that begins with a
// blank gets the empty line that is missing before it.
type content struct {
	s     *session
	begun bool // past the "From " lines
	lost  bool // nothing more is wanted
}

func (c *content) line(text []byte, complete bool) {
	s := c.s
	if !c.begun {
		if bytes.HasPrefix(bytes.TrimLeft(text, ">"), []byte("From ")) {
			c.write(append([]byte("X-Mailbox-Line: "), text...), complete)
			return
		}
		c.begun = true
		if len(text) > 0 && (text[0] == ' ' || text[0] == '\t') {
			c.write(nil, true)
		}
	}
	n := int64(len(text)) + 2
	if limit := s.set.messageSizeLimit; limit > 0 && !s.tr.tooBig && limit-s.tr.size < n {
		s.tr.tooBig = true
		s.warn("%s: queue file size limit exceeded", s.facts.QueueID)
	}
	if s.tr.tooBig {
		return
	}
	s.tr.size += n
	c.write(text, complete)
}

func (c *content) write(text []byte, complete bool) {
	if c.lost {
		return
	}
	var err error
	if complete {
		err = c.s.tr.msg.WriteLine(text)
	} else {
		err = c.s.tr.msg.WritePart(text)
	}
	c.lost = errors.Is(err, cleanup.ErrDecided)
}

// receive reads the content up to its end mark. Where bare newlines refuse a
// message, nothing after the first one is wanted.
func (s *session) receive(d *wire.Data) error {
	c := content{s: s}
	for {
		l, err := d.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		c.lost = c.lost || s.bare == bareReject && d.BareLF()
		c.line(l.Text, l.Complete)
	}
}

// finish ends the message: last restrictions, cleanup's verdict, the reply.
func (s *session) finish(queued string) (ok bool, err error) {
	s.where = "END-OF-MESSAGE"
	id := s.facts.QueueID
	if s.tr.tooBig {
		s.resetMail()
		s.blame(restrict.ClassBounce)
		return s.say(tooBig)
	}
	s.facts.Size = s.tr.size
	out := s.decideContent(restrict.StageEndOfData)
	if out.Hangup {
		return false, errDone
	}
	if !out.Reply.IsZero() {
		s.abandon() // the transaction stays open, as in Postfix
		return s.say(out.Reply)
	}
	result := s.tr.msg.Close()
	s.resetMail()
	if r := result.Reply; !r.IsZero() {
		if result.Failed {
			s.blame(restrict.ClassResource)
		} else {
			s.blame(restrict.ClassPolicy)
		}
		return s.say(r)
	}
	s.errors, s.junk, s.chat.trouble = 0, 0, 0
	return s.say(mail.Reply{Code: 250, Status: "2.0.0", Text: "Ok: " + queued + id})
}

// chunks is the state of a message that comes by BDAT (RFC 3030).
type chunks struct {
	begun    bool   // the first chunk was accepted
	failed   bool   // an error came before: chunks are thrown away until the last
	fragment []byte // of the chunk that is coming in
	rest     []byte // a line that is not complete
	bare     bool   // a line ended in a bare LF
	out      content
}

// fragmentSize is how much of a chunk is received before any of it is looked
// at; Postfix's buffer size.
const fragmentSize = 4096

// any reports whether a BDAT has come in this transaction.
func (c *chunks) any() bool { return c.begun || c.failed }

// bdat receives one chunk. Its bytes are read whatever the reply is.
func (s *session) bdat(words []token) (ok bool, err error) {
	if s.discard&noChunking != 0 {
		return s.say(mail.Reply{Code: 521, Status: "5.5.1", Text: "Error: command not implemented"})
	}
	size, last, ok := bdatArguments(words)
	if !ok {
		s.warn("%s: malformed BDAT command syntax from %s: %s", s.queueID(), s.facts.NameAddr(), short(printable(untilNUL(s.line)), 100))
		return s.say(mail.Reply{Code: 521, Status: "5.5.4", Text: "Syntax: BDAT count [LAST]"})
	}
	if size == 0 && !last {
		s.warn("%s: null BDAT request from %s", s.queueID(), s.facts.NameAddr())
		return s.skip(size, last, mail.Reply{Code: 551, Status: "5.7.1", Text: "Null BDAT request"})
	}
	if s.tr.chunks.failed {
		return s.skip(size, last, mail.Reply{Code: 551, Status: "5.0.0", Text: "Discarded " + strconv.FormatInt(size, 10) + " bytes after earlier error"})
	}
	if r, err := s.beginChunk(size); err != nil || !r.IsZero() {
		if err != nil {
			return false, err
		}
		return s.skip(size, last, r)
	}
	s.where = "BDAT content"
	if err := s.receiveChunk(size, last); err != nil {
		return false, err
	}
	return s.endChunk(size, last)
}

func (s *session) queueID() string {
	if s.facts.QueueID == "" {
		return "NOQUEUE"
	}
	return s.facts.QueueID
}

func bdatArguments(words []token) (size int64, last, ok bool) {
	if len(words) < 2 || len(words) > 3 || !allDigits(words[1].text) {
		return 0, false, false
	}
	size, err := strconv.ParseInt(words[1].text, 10, 64)
	if err != nil || len(words) == 3 && !strings.EqualFold(words[2].text, "LAST") {
		return 0, false, false
	}
	return size, len(words) == 3, true
}

// skip reads a chunk that nobody wants and says why.
func (s *session) skip(size int64, last bool, r mail.Reply) (ok bool, err error) {
	if err := s.wire.Discard(size); err != nil {
		return false, err
	}
	s.dropChunks(last)
	return s.say(r)
}

// dropChunks ends the message that comes in chunks; what is still to come of
// it is thrown away. The recipients go on counting, as in Postfix.
func (s *session) dropChunks(last bool) {
	count := s.recipientCount()
	if last {
		s.resetMail()
		s.tr.stale = count
		return
	}
	s.tr.chunks.failed = true
}

// beginChunk checks what must hold before a chunk is taken.
func (s *session) beginChunk(size int64) (mail.Reply, error) {
	if !s.tr.chunks.begun {
		switch {
		case len(s.tr.recipients) == 0 && !s.tr.open:
			return needRcpt, nil
		case len(s.tr.recipients) == 0:
			return noRcpt, nil
		}
	}
	if limit := s.set.messageSizeLimit; limit > 0 && size > limit-s.tr.size {
		s.warn("%s: BDAT request from %s exceeds message size limit", s.queueID(), s.facts.NameAddr())
		return mail.Reply{Code: 552, Status: "5.3.4", Text: "Chunk exceeds message size limit"}, nil
	}
	if s.tr.chunks.begun {
		return mail.Reply{}, nil
	}
	r, err := s.openMessage()
	if err == nil && r.IsZero() {
		s.tr.chunks.begun = true
		s.tr.chunks.out = content{s: s, begun: true} // the first lines are as good as any other
	}
	return r, err
}

// receiveChunk reads a chunk; its last line may go on in the next one.
func (s *session) receiveChunk(size int64, last bool) error {
	c := &s.tr.chunks
	for size > 0 {
		b, err := s.wire.ReadChunk(int(min(size, int64(fragmentSize-len(c.fragment)))))
		if err != nil {
			return ended(err)
		}
		size -= int64(len(b))
		c.fragment = append(c.fragment, b...)
		if size == 0 || len(c.fragment) == fragmentSize {
			c.lines(c.fragment, s.set.lineLimit)
			c.fragment = c.fragment[:0]
		}
	}
	c.fragment = nil
	if last && len(c.rest) > 0 {
		c.out.line(c.rest, true)
		c.rest = nil
	}
	return nil
}

// lines cuts bytes into lines of at most limit bytes and keeps what is left.
func (c *chunks) lines(b []byte, limit int) {
	for len(b) > 0 {
		n := min(len(b), limit-len(c.rest))
		end := bytes.IndexByte(b[:n], '\n')
		if end >= 0 {
			n = end + 1
		}
		c.rest = append(c.rest, b[:n]...)
		b = b[n:]
		switch {
		case end >= 0:
			mode := c.out.s.bare
			text, bare := wire.TrimEnd(c.rest, mode != bareAllow)
			c.bare = c.bare || bare
			c.out.lost = c.out.lost || bare && mode == bareReject
			c.out.line(text, true)
			c.rest = c.rest[:0]
		case len(c.rest) == limit:
			c.out.line(c.rest, false)
			c.rest = c.rest[:0]
		}
	}
}

// endChunk answers a chunk that was taken.
func (s *session) endChunk(size int64, last bool) (ok bool, err error) {
	if last {
		s.where = "END-OF-MESSAGE"
	}
	if s.tr.chunks.bare && s.refuseBareLF() {
		s.resetMail()
		s.tr.chunks.failed = !last
		return s.say(s.bareReply())
	}
	switch {
	case last:
		return s.finish(strconv.FormatInt(s.tr.size, 10) + " bytes queued as ")
	case s.tr.tooBig:
		s.resetMail()
		s.tr.chunks.failed = true
		return s.say(tooBig)
	}
	return s.say(mail.Reply{Code: 250, Status: "2.0.0", Text: "Ok: " + strconv.FormatInt(size, 10) + " bytes"})
}
