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

// session is one connection to one host.
type session struct {
	d           *delivery
	ctx         context.Context
	host        host
	port        int
	level       TLSLevel
	bestMX      bool
	detectLoops bool

	conn      net.Conn
	r         *bufio.Reader
	w         *bufio.Writer
	encrypted bool
	// retryPlain: TLS failed, and without it there may be more success.
	retryPlain bool
	features   features
	connected  time.Time // when the host was ready for mail
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
	if err := s.connect(); err != nil {
		s.d.why = trouble{dsn: "4.4.1", text: fmt.Sprintf("connect to %s: %s", s.relay(), reason(err))}
		if s.port != 0 {
			s.d.a.Log.Info(s.d.why.text)
		}
		return unusable
	}
	defer s.conn.Close()
	stop := context.AfterFunc(s.ctx, func() { s.conn.Close() })
	defer stop()
	result := unusable
	if s.greet() {
		s.d.lastHost = s.d.lastHost || s.d.lastSite && lastSession
		s.transfer()
		result = transferred
	}
	if s.retryPlain {
		return retryPlain
	}
	return result
}

func (s *session) connect() error {
	dialer := net.Dialer{Timeout: s.d.a.ConnectTimeout}
	if s.port == 0 {
		conn, err := dialer.DialContext(s.ctx, "unix", s.d.socket(s.host.addr))
		if err == nil {
			s.use(conn)
		}
		return err
	}
	bind := s.d.a.BindIPv4
	if isIPv6(s.host) {
		bind = s.d.a.BindIPv6
	}
	if bind != nil {
		dialer.LocalAddr = &net.TCPAddr{IP: bind}
	}
	conn, err := dialer.DialContext(s.ctx, "tcp", net.JoinHostPort(s.host.addr, strconv.Itoa(s.port)))
	if err != nil {
		return err
	}
	s.use(conn)
	return nil
}

func (s *session) use(conn net.Conn) {
	s.conn, s.r, s.w = conn, bufio.NewReader(conn), bufio.NewWriterSize(conn, 16<<10)
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
func (s *session) greet() bool { return s.banner() && s.hello() && s.negotiateTLS() }

// banner reads the server's greeting.
func (s *session) banner() bool {
	s.deadline(s.d.a.HeloTimeout)
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
	if s.detectLoops && len(words) > 1 && strings.EqualFold(words[1], s.d.a.Myhostname) {
		s.d.a.Log.Warn(fmt.Sprintf("host %s greeted me with my own hostname %s", s.relay(), s.d.a.Myhostname))
	}
	return true
}

// unwelcome: the host does not want to talk to us.
func (s *session) unwelcome(r reply) bool {
	return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
		text: fmt.Sprintf("host %s refused to talk to me: %s", s.name(), r.text)})
}

// hello sends EHLO, or HELO when the host does not know it.
func (s *session) hello() bool {
	s.deadline(s.d.a.HeloTimeout)
	if s.d.a.LMTP {
		return s.lhlo()
	}
	if s.features.esmtp || s.encrypted {
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
	s.features = features{}
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

// fail settles all recipients that are left, and says goodbye.
func (s *session) fail(t trouble) bool {
	s.d.fail(s.relay(), s.d.left(), t)
	s.quit()
	return false
}

// lost settles all recipients that are left after an error of the connection.
func (s *session) lost(err error, doing string) bool {
	s.broken(s.d.left(), err, doing)
	return false
}

// broken settles recipients after an error of the connection.
func (s *session) broken(recipients []int, err error, doing string) {
	if s.encrypted {
		s.mayRetryPlain()
	}
	s.d.fail(s.relay(), recipients, s.lostTrouble(err, doing))
}

// lostTrouble is what the loss of the connection means for the recipients.
func (s *session) lostTrouble(err error, doing string) trouble {
	text := fmt.Sprintf("lost connection with %s while %s", s.name(), doing)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		text = fmt.Sprintf("conversation with %s timed out while %s", s.name(), doing)
	}
	return trouble{dsn: "4.4.2", text: text}
}

func (s *session) deadline(d time.Duration) { s.conn.SetDeadline(time.Now().Add(d)) }

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
		return reply{}, err
	}
	r, odd, err := readReply(s.r)
	if odd != "" && s.features.pipelining {
		protocol := "ESMTP"
		if s.d.a.LMTP {
			protocol = "LMTP"
		}
		s.d.a.Log.Warn(fmt.Sprintf("%s: non-%s response from %s: %.100s", s.d.r.QueueID, protocol, s.relay(), odd))
		s.d.a.Log.Warn(fmt.Sprintf("to prevent loss of mail, turn off command pipelining for %s with the %s parameter",
			s.host.addr, params{lmtp: s.d.a.LMTP}.name("smtp_discard_ehlo_keyword_address_maps")))
	}
	return r, err
}

// quit says goodbye. Nothing depends on the answer any more, if one is waited
// for at all.
func (s *session) quit() {
	s.deadline(s.d.a.QuitTimeout)
	s.send("QUIT")
	if s.d.a.SkipQuit {
		s.w.Flush() // whatever comes of it
		return
	}
	s.read() // whatever comes of it
}
