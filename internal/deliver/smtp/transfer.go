package smtp

import (
	"fmt"
	"slices"
	"time"

	"sekisho/internal/deliver"
)

// step is a place in the dialogue of a transaction, in the order in which they
// come (smtp_proto.c).
type step uint8

const (
	forwardAddress step = iota
	forwardHelo
	sendMail
	sendRcpt
	sendData
	sendDot
	abort
	probe
	sayQuit
	done
)

// doing and replyTo name the steps in reasons.
var doing = [...]string{
	"sending XFORWARD name/address", "sending XFORWARD protocol/helo_name", "sending MAIL FROM", "sending RCPT TO",
	"sending DATA command", "sending end of data -- message may be sent more than once",
	"sending final RSET", "sending RSET probe", "sending QUIT",
}

var replyTo = [...]string{
	"XFORWARD name/address command", "XFORWARD helo/protocol command", "MAIL FROM command", "RCPT TO command",
	"DATA command", "end of DATA command", "final RSET command", "RSET probe", "QUIT command",
}

// pipelineBytes is how much is sent before the replies are read.
const pipelineBytes = 4096

// transfer sends the message to the recipients that are left (smtp_xfer).
func (s *session) transfer() {
	if limit := s.features.sizeLimit; limit > 0 && limit < s.d.r.Envelope.Size {
		s.d.fail(s.relay(), s.d.left(), trouble{dsn: "5.3.4", text: fmt.Sprintf("message size %d exceeds size limit %d of server %s",
			s.d.r.Envelope.Size, limit, s.name())})
		return
	}
	t := &dialogue{session: s, to: s.d.left()}
	address, helo := s.forwards()
	t.forwardsHelo = helo != ""
	switch {
	case address != "":
		t.run(forwardAddress)
	case helo != "":
		t.run(forwardHelo)
	default:
		t.run(sendMail)
	}
}

// dialogue is one mail transaction, or a single command between two. What is
// sent may be ahead of what was answered, if the host allows it (PIPELINING).
type dialogue struct {
	*session
	to           []int // recipients tried, as indexes in the request
	forwardsHelo bool
	quitting     bool // nothing but QUIT

	send, recv         step
	sendRcpt, recvRcpt int // recipients sent and answered

	refusedSender bool
	accepted      []int // recipients that the host takes
	answered      int   // of these, by LMTP's answers to the message
	refusedData   bool
	kept          []int // recipients that this host will not take now
	earlyReply    bool  // the server answers MAIL before it was sent
	chunks        *chunkWriter
	interrupted   error // the connection broke while the message was sent
}

// run speaks the dialogue from a step on. It returns false when it could not be
// finished; the recipients are settled then. The session is not used again
// after that.
func (t *dialogue) run(from step) (ok bool) {
	t.send, t.recv = from, from
	if t.quitting && t.d.a.SkipQuit {
		t.recv = done
	}
	defer func() {
		if t.recv != done {
			t.dontCache()
		}
	}()
	t.begin(t.limit(from))
	for {
		command, next := t.command()
		if t.mustWait(command) {
			if !t.drain() {
				return false
			}
			if t.hopeless() {
				t.send, t.recv = abort, abort
				t.sendRcpt, t.recvRcpt = 0, 0
				command, next = t.command()
			}
		}
		if t.send != done {
			if !t.put(command, &next) {
				return false
			}
			t.send = next
		}
		if t.recv == done {
			return true
		}
	}
}

// limit is the time for a step.
func (t *dialogue) limit(s step) time.Duration {
	a := t.d.a
	return [...]time.Duration{a.XforwardTimeout, a.XforwardTimeout, a.MailTimeout, a.RcptTimeout, a.DataInitTimeout,
		a.DataDoneTimeout, a.RsetTimeout, a.RsetTimeout, a.QuitTimeout, a.QuitTimeout}[s]
}

// command is what is to be sent now, and the step after that.
func (t *dialogue) command() (line string, next step) {
	switch t.send {
	case forwardAddress:
		line, _ = t.forwards()
		if t.forwardsHelo {
			return line, forwardHelo
		}
		return line, sendMail
	case forwardHelo:
		_, line = t.forwards()
		return line, sendMail
	case sendMail:
		t.used = t.d.a.Clock.Now()
		t.d.connected, t.d.uses = t.used, t.uses()
		t.earlyReply = t.d.a.BlockEarlyReply && t.secured != nil && t.r.Buffered() > 0
		return t.mailCommand(), sendRcpt
	case sendRcpt:
		next = sendRcpt
		if t.sendRcpt+1 == len(t.to) {
			next = t.afterRcpt()
		}
		return t.rcptCommand(t.to[t.sendRcpt]), next
	case sendData:
		return "DATA", sendDot
	case sendDot, abort:
		if t.expired() {
			t.dontCache()
		}
		line = map[step]string{sendDot: ".", abort: "RSET"}[t.send]
		if t.cacheable() {
			return line, done
		}
		return line, sayQuit
	case probe:
		return "RSET", done
	case sayQuit:
		t.dontCache()
		return "QUIT", done
	}
	return "", done
}

// put sends a command; before the final dot comes the message.
func (t *dialogue) put(command string, next *step) bool {
	if t.send == sendDot && len(t.accepted) > 0 {
		switch ok, over := t.content(); {
		case over:
			return false
		case !ok: // the host may have said why it does not read on
			*next = done
			t.dontCache()
			return true
		}
	}
	if t.send == sendRcpt {
		t.sendRcpt++
	}
	if t.send == sendDot && t.chunked() {
		return true // the last chunk has said it
	}
	t.session.send(command)
	return true
}

// ahead reports whether something sent was not answered.
func (t *dialogue) ahead() bool { return t.recv < t.send || t.recvRcpt != t.sendRcpt }

// mustWait reports whether replies come before the next command.
func (t *dialogue) mustWait(command string) bool {
	if t.send == sendDot || t.send == done {
		return true
	}
	full := !(t.recv == sendDot && t.send == sayQuit) && t.w.Buffered()+len(command)+2 > pipelineBytes
	return t.ahead() && (!t.features.pipelining || full)
}

// hopeless reports that no recipient is left who could get the message.
func (t *dialogue) hopeless() bool {
	return t.send == sendRcpt && t.refusedSender || t.send == sendData && len(t.accepted) == 0 || t.send == sendDot && (t.refusedData || t.chunked() && len(t.accepted) == 0)
}

// drain reads the replies to all that was sent.
func (t *dialogue) drain() bool {
	for t.ahead() {
		t.begin(t.limit(t.recv))
		r, err := t.read()
		switch {
		case err == nil:
		case t.interrupted != nil:
			t.brokenFor(t.accepted, t.interrupted, "sending message body")
			return false
		case t.recv <= sendDot:
			t.brokenFor(t.unanswered(), err, doing[t.recv])
			return false
		default:
			return false
		}
		t.answer(r)
	}
	return true
}

// unanswered are the recipients whose fate is open when the connection breaks.
func (t *dialogue) unanswered() []int {
	var list []int
	for _, i := range t.to {
		if t.d.results[i] == nil && !slices.Contains(t.kept, i) {
			list = append(list, i)
		}
	}
	return list
}

// answer takes the reply to the step that waits for one.
func (t *dialogue) answer(r reply) {
	switch t.recv {
	case forwardAddress, forwardHelo:
		if r.class() != 2 {
			t.d.a.Log.Warn(fmt.Sprintf("host %s said: %s (in reply to %s)", t.relay(), r.text, replyTo[t.recv]))
		}
		if t.recv == forwardAddress && t.forwardsHelo {
			t.recv = forwardHelo
		} else {
			t.recv = sendMail
		}
	case sendMail:
		t.answerMail(r)
		t.recv = sendRcpt
	case sendRcpt:
		if !t.refusedSender {
			t.answerRcpt(t.to[t.recvRcpt], r)
		}
		if t.recvRcpt++; t.recvRcpt == len(t.to) {
			t.recv = t.afterRcpt()
		}
	case sendData:
		t.recv = sendDot
		t.answerData(r)
	case sendDot:
		t.answerDot(r)
	case abort:
		t.recv = t.end()
	case probe:
		t.rsetRejected = r.class() != 2
		t.recv = done
	default:
		t.recv = done
	}
}

// end is the last reply that is waited for.
func (t *dialogue) end() step {
	if t.d.a.SkipQuit || t.cacheable() {
		return done
	}
	return sayQuit
}

func (t *dialogue) answerMail(r reply) {
	if r.class() != 2 {
		t.d.fail(t.relay(), t.to, t.refused(r, replyTo[sendMail]))
		t.refusedSender = true
	}
	if t.earlyReply {
		t.fail(trouble{dsn: "4.7.0", text: "unexpected server message"})
		t.d.a.Log.Warn(fmt.Sprintf("server %s violates %s policy", t.name(),
			params{lmtp: t.d.a.LMTP}.name("smtp_tls_block_early_mail_reply")))
		t.refusedSender = true
	}
}

// afterRcpt is what follows the recipients: an address probe may end there
// (smtp_address_verify_target).
func (t *dialogue) afterRcpt() step {
	if t.d.r.Probe && !t.d.a.ProbeData {
		return abort
	}
	if t.chunked() {
		return sendDot
	}
	return sendData
}

func (t *dialogue) answerData(r reply) {
	switch {
	case r.class() == 3 && t.d.r.Probe: // only hanging up leaves the message unsent now
		r.dsn = "2.0.0"
		t.sent(r, t.accepted)
		t.dontCache()
		t.send, t.recv, t.broken = done, done, true
	case r.class() != 3:
		if len(t.accepted) > 0 {
			t.d.fail(t.relay(), t.accepted, t.refused(r, replyTo[sendData]))
		}
		t.accepted, t.refusedData = nil, true
	}
}

func (t *dialogue) answerRcpt(i int, r reply) {
	if r.class() == 2 {
		t.accepted = append(t.accepted, i)
		if t.afterRcpt() == abort {
			t.sent(r, []int{i})
		}
		return
	}
	t.d.fail(t.relay(), []int{i}, t.refused(r, replyTo[sendRcpt]))
	t.kept = append(t.kept, i)
}

// answerDot takes an answer to the message: the only one, or by LMTP one for
// each recipient that was accepted (RFC 2033 section 4.2).
func (t *dialogue) answerDot(r reply) {
	concerned := t.accepted[t.answered:]
	if t.d.a.LMTP && len(concerned) > 1 {
		concerned = concerned[:1]
	}
	t.answered += len(concerned)
	switch {
	case len(concerned) == 0:
	case r.class() == 2 && t.interrupted == nil:
		t.sent(r, concerned)
	case r.class() == 2: // it cannot have the whole message
		t.brokenFor(concerned, t.interrupted, "sending message body")
	default:
		t.d.fail(t.relay(), concerned, t.refused(r, replyTo[sendDot]))
		t.kept = append(t.kept, concerned...)
	}
	if t.answered < len(t.accepted) {
		return
	}
	t.recv = t.end()
	if t.interrupted != nil {
		t.recv, t.broken = done, true
	}
}

func (t *dialogue) sent(r reply, recipients []int) {
	final := t.d.a.LMTP && (t.d.a.Flags.Final || t.d.a.AssumeFinal) && !t.features.dsn
	for _, i := range recipients {
		t.d.finish(&deliver.Result{
			Recipient: i, Status: deliver.Sent, DSN: r.dsn, Text: r.text, Relay: t.relay(),
			RemoteMTA: t.host.name, Diagnostic: r.text,
			Relayed: !final, Reports: t.features.dsn, Connected: t.used, Uses: t.d.uses,
		})
	}
}

// uses is how many deliveries the connection has served, this one included.
func (s *session) uses() int {
	if s.reused == 0 {
		return 0
	}
	return s.reused + 1
}
