package smtp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// session is one connection to one host. It belongs to one delivery at a time;
// between deliveries it may wait in the pool.
type session struct {
	d           *delivery
	ctx         context.Context
	stop        func() bool // ends watching ctx
	host        host
	port        int
	tls         *tlsPolicy
	bestMX      bool
	detectLoops bool

	sock      *timedConn // the connection below TLS
	conn      net.Conn
	r         *bufio.Reader
	w         *bufio.Writer
	secured   *secured // nil: in the clear
	features  features
	used      time.Time // when the host was ready for this delivery's message
	broken    bool      // the connection has failed
	forbidden bool      // TLS has failed: nothing more can be said

	greeted  string // how the host calls itself
	reported bool   // the result of TLS was reported

	// retryPlain: TLS failed, and without it there may be more success.
	retryPlain bool

	// For the pool.
	expires          time.Time // when it has served long enough; zero: not to be kept
	throttled        bool      // the host is in trouble
	reused           int       // how often it was taken up again
	rsetRejected     bool
	hostKey, destKey string
	idleUntil        time.Time
}

// end is how a session went.
type end uint8

const (
	unusable    end = iota // not even greeted
	transferred            // there was an answer about the message
	retryPlain             // TLS failed, try the same host without
)

// run connects, introduces itself and sends the message. lastSession is set
// when no other host would be tried after an answer of this one.
func (s *session) run(lastSession bool) end {
	begun := s.d.a.Clock.Now()
	if err := s.connect(); err != nil {
		s.d.why = err.trouble(s)
		if s.port != 0 {
			s.d.a.Log.Info(s.d.why.text)
		}
		return unusable
	}
	if s.d.store {
		s.expires = begun.Add(s.d.a.ReuseTime)
	}
	s.watch()
	if s.greet() {
		return s.deliver(lastSession)
	}
	if !s.forbidden && !s.broken {
		s.quit()
	}
	s.settle()
	if s.retryPlain {
		return retryPlain
	}
	return unusable
}

// deliver sends the message by a session that is ready.
func (s *session) deliver(lastSession bool) end {
	d := s.d
	d.lastHost = d.lastHost || d.lastSite && lastSession
	s.transfer()
	s.settle()
	if s.retryPlain {
		return retryPlain
	}
	return transferred
}

// watch closes the connection when the delivery's time is over.
func (s *session) watch() {
	conn := s.conn
	s.stop = context.AfterFunc(s.ctx, func() { conn.Close() })
}

// close ends the connection. A QUIT that nobody waits for may still be on its
// way.
func (s *session) close() {
	if !s.broken {
		s.w.Flush()
	}
	s.stop()
	s.conn.Close()
}

// connectError is why there is no connection.
type connectError struct {
	err error
	own bool // our configuration is to blame
}

func (e *connectError) trouble(s *session) trouble {
	if e.own {
		return trouble{dsn: "4.4.0", text: "server configuration error"}
	}
	return trouble{dsn: "4.4.1", text: fmt.Sprintf("connect to %s: %s", s.relay(), reason(e.err))}
}

func (s *session) connect() *connectError {
	a := s.d.a
	dialer := net.Dialer{Timeout: a.ConnectTimeout}
	network, addr := "tcp", net.JoinHostPort(s.host.addr, strconv.Itoa(s.port))
	bind := a.BindIPv4
	switch {
	case s.port == 0:
		network, addr, bind = "unix", s.d.socket(s.host.addr), nil
	case isIPv6(s.host):
		bind = a.BindIPv6
	}
	if bind != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: bind}
	}
	conn, err := dialer.DialContext(s.ctx, network, addr)
	if bind != nil && errors.Is(err, syscall.EADDRNOTAVAIL) {
		a.Log.Warn(fmt.Sprintf("smtp_connect_addr: bind %s: %s", bind, reason(err)))
		if a.BindEnforce {
			return &connectError{err, true}
		}
		dialer.LocalAddr = nil
		conn, err = dialer.DialContext(s.ctx, network, addr)
	}
	if err != nil {
		return &connectError{err, false}
	}
	s.sock = &timedConn{Conn: conn, requests: a.RequestDeadline}
	s.use(s.sock)
	return nil
}

// use makes conn what is read and written.
func (s *session) use(conn net.Conn) {
	s.conn, s.r, s.w = conn, bufio.NewReader(conn), bufio.NewWriterSize(conn, 32<<10)
}

// reason is an error of the network in the words of the C library.
func reason(err error) string {
	var timeout net.Error
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		text := errno.Error()
		return strings.ToUpper(text[:1]) + text[1:]
	case errors.As(err, &timeout) && timeout.Timeout():
		return "Connection timed out"
	}
	return err.Error()
}

// greet speaks the dialogue up to the point where mail can be sent.
func (s *session) greet() bool {
	if s.d.a.WrapperMode {
		return s.startTLS() && s.banner() && s.hello() && s.ready()
	}
	return s.banner() && s.hello() && s.negotiateTLS() && s.ready()
}

// ready is what remains when the session is as secure as it will be.
func (s *session) ready() bool { return s.checkRequireTLS() && s.login() }

// banner reads the server's greeting.
func (s *session) banner() bool {
	s.begin(s.d.a.HeloTimeout)
	r, err := s.read()
	if err != nil {
		return s.lost(err, "receiving the initial server greeting")
	}
	if r.class() != 2 {
		if r.class() == 5 && s.d.a.Skip5xxGreeting {
			r.dsn = "4" + r.dsn[1:]
		}
		return s.unwelcome(r)
	}
	words := strings.Fields(r.text)
	s.features.esmtp = s.d.a.AlwaysEHLO || slices.ContainsFunc(words, func(w string) bool { return strings.EqualFold(w, "ESMTP") })
	s.features.esmtp = s.features.esmtp && !s.d.a.NeverEHLO
	s.pix(r.text)
	if s.detectLoops && len(words) > 1 && strings.EqualFold(words[1], s.d.a.Myhostname) {
		s.d.a.Log.Warn(fmt.Sprintf("host %s greeted me with my own hostname %s", s.relay(), s.d.a.Myhostname))
	}
	return true
}

// unwelcome: the host does not want to talk to us.
func (s *session) unwelcome(r reply) bool {
	s.checkCode(r.code)
	return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
		text: fmt.Sprintf("host %s refused to talk to me: %s", s.name(), r.text)})
}

// hello sends EHLO, or HELO when the host does not know it.
func (s *session) hello() bool {
	s.begin(s.d.a.HeloTimeout)
	if s.d.a.LMTP {
		return s.lhlo()
	}
	if s.features.esmtp || s.secured != nil {
		r, err := s.command("EHLO " + s.d.a.HeloName)
		if err != nil {
			return s.lost(err, "performing the EHLO handshake")
		}
		if r.code == 421 {
			return s.unwelcome(r)
		}
		if r.class() == 2 {
			return s.learn(r)
		}
	}
	s.features = features{pixDelay: s.features.pixDelay}
	r, err := s.command("HELO " + s.d.a.HeloName)
	if err != nil {
		return s.lost(err, "performing the HELO handshake")
	}
	if r.class() != 2 {
		return s.unwelcome(r)
	}
	return true
}

// isMyself reports, and treats as a failure, that the host has our own name.
func (s *session) isMyself(name string) bool {
	if !s.detectLoops || !strings.EqualFold(name, s.d.a.Myhostname) {
		return false
	}
	s.d.a.Log.Warn(fmt.Sprintf("host %s replied to HELO/EHLO with my own hostname %s", s.relay(), s.d.a.Myhostname))
	t := trouble{dsn: "4.4.6", text: fmt.Sprintf("mail for %s loops back to myself", s.d.r.Nexthop)}
	if s.bestMX {
		t.dsn = "5.4.6"
	}
	s.fail(t)
	return true
}

// fail settles all recipients that are left: the host is in trouble.
func (s *session) fail(t trouble) bool {
	s.throttle()
	s.d.fail(s.relay(), s.d.left(), t)
	s.d.hostFailed(t)
	return false
}

// throttle: the host is in trouble, and the session is not used again.
func (s *session) throttle() {
	s.dontCache()
	s.throttled = true
}

// checkCode looks at the code of a refusal: after what seems to be a
// misunderstanding of the protocol the session is not used again
// (smtp_check_code).
func (s *session) checkCode(code int) {
	if code < 400 || code > 599 || code == 555 || code >= 500 && code < 510 {
		s.dontCache()
	}
}

// lost settles all recipients that are left after an error of the connection.
func (s *session) lost(err error, doing string) bool {
	s.brokenFor(s.d.left(), err, doing)
	return false
}

// errLocal marks an error of our own: a table or the disk.
var errLocal = errors.New("local data error")

// brokenFor settles recipients after an error of the connection
// (smtp_stream_except).
func (s *session) brokenFor(recipients []int, err error, doing string) {
	s.throttle()
	if errors.Is(err, errLocal) {
		s.d.a.Log.Warn(fmt.Sprintf("%s: %v", s.d.r.QueueID, err))
		s.d.fail(s.relay(), recipients, trouble{dsn: "4.3.0", text: "local data error while talking to " + s.name()})
		return
	}
	s.broken = true
	if s.secured != nil && len(recipients) > 0 {
		s.mayRetryPlain()
	}
	text := fmt.Sprintf("lost connection with %s while %s", s.name(), doing)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		text = fmt.Sprintf("conversation with %s timed out while %s", s.name(), doing)
	}
	t := trouble{dsn: "4.4.2", text: text}
	s.d.fail(s.relay(), recipients, t)
	s.d.hostFailed(t)
}

// begin starts a request that the server has limit for.
func (s *session) begin(limit time.Duration) { s.sock.start(limit, 0) }

// command sends one command and reads the reply.
func (s *session) command(line string) (reply, error) {
	s.send(line)
	return s.read()
}

// send writes a command that goes out with the next read. Its error comes back
// there.
func (s *session) send(line string) { s.w.WriteString(line + "\r\n") }

func (s *session) read() (reply, error) {
	if err := s.w.Flush(); err != nil {
		s.broken = true
		return reply{}, err
	}
	r, err := (&replyReader{r: s.r, filter: s.filterReply, warn: s.warnReply}).read()
	if err != nil && !errors.Is(err, errLocal) {
		s.broken = true
	}
	if r.odd != "" {
		s.oddReply(r.odd)
	}
	return r, err
}

// oddReply: a line was no reply at all.
func (s *session) oddReply(line string) {
	s.dontCache()
	if !s.features.pipelining {
		return
	}
	protocol := "ESMTP"
	if s.d.a.LMTP {
		protocol = "LMTP"
	}
	s.d.a.Log.Warn(fmt.Sprintf("%s: non-%s response from %s: %.100s", s.d.r.QueueID, protocol, s.relay(), line))
	s.d.a.Log.Warn(fmt.Sprintf("to prevent loss of mail, turn off command pipelining for %s with the %s parameter",
		s.host.addr, params{lmtp: s.d.a.LMTP}.name("smtp_discard_ehlo_keyword_address_maps")))
}

// warnReply tells of a reply that is too long.
func (s *session) warnReply(what, line string) {
	s.d.a.Log.Warn(fmt.Sprintf("%s: %s %d%s %.30s...", s.relay(), what, maxLine, map[bool]string{true: ":"}[what == longLine], line))
}

// filterReply changes a line of a reply as smtp_reply_filter says.
func (s *session) filterReply(line string) (string, error) {
	a := s.d.a
	if a.ReplyFilter == "" {
		return line, nil
	}
	value, found, err := a.World.Lookup(a.ReplyFilter, line)
	if err != nil {
		return "", fmt.Errorf("table %s lookup error for %s: %w: %w", a.ReplyFilter, line, errLocal, err)
	}
	if !found {
		return line, nil
	}
	a.Log.Info(fmt.Sprintf("%s: replacing server reply \"%s\" with \"%s\"", s.relay(), line, value))
	return value, nil
}

// quit says goodbye. Nothing depends on the answer any more, if one is waited
// for at all.
func (s *session) quit() {
	t := &dialogue{session: s, quitting: true}
	t.run(sayQuit)
}
