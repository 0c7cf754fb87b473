package conformance

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Patience is how long the client of a recorded dialogue waits for a line:
	// longer than any DNS time-out or error delay of the dialogues.
	Patience = 60 * time.Second
	// hurry is its patience after a reply that was not the recorded one.
	hurry = 8 * time.Second
)

// Play holds the dialogue of script with the server at 127.0.0.1 and returns what
// was said, also with an error: a server that says nothing for as long as
// patience.
func Play(script *Transcript, patience time.Duration) ([]Step, error) {
	early := leadingSends(script.Steps)
	conn, err := dial(script, early)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	secure, err := secured(conn, script.Cert)
	if err != nil {
		return nil, err
	}
	c := &client{tcp: conn, conn: secure, lines: make(chan string, 1000), patience: patience}
	c.said = append(c.said, early...)
	go c.read()
	if err := c.run(script.Steps[len(early):]); err != nil {
		return c.said, err
	}
	return c.said, nil
}

// leadingSends are the steps in which the client talks before the greeting.
func leadingSends(steps []Step) []Step {
	return steps[:sameKind(steps, Send)]
}

// dial connects from the client's address and sends what the client sends before
// the greeting. Nothing comes between the two, so the data are there before the
// server can greet.
func dial(script *Transcript, early []Step) (*net.TCPConn, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(s), "client") // FileConn works on a copy
	defer file.Close()
	from := &unix.SockaddrInet4{Addr: [4]byte(net.ParseIP(script.Client).To4())}
	if err := unix.Bind(s, from); err != nil {
		return nil, fmt.Errorf("binding to %s: %w", script.Client, err)
	}
	if len(early) > 0 {
		defer hastily()()
	}
	if err := unix.Connect(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: script.Port}); err != nil {
		return nil, fmt.Errorf("connecting to port %d: %w", script.Port, err)
	}
	if len(early) > 0 {
		if _, err := unix.Write(s, joined(early)); err != nil {
			return nil, err
		}
	}
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// hastily lets this goroutine run before anything else on the machine, until the
// function it returns is called.
func hastily() func() {
	runtime.LockOSThread()
	ahead := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if err := unix.SchedSetAttr(0, ahead, 0); err != nil {
		runtime.UnlockOSThread()
		return func() {}
	}
	return func() {
		usual := &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL}
		if unix.SchedSetAttr(0, usual, 0) == nil {
			runtime.UnlockOSThread() // else the thread ends with the goroutine
		}
	}
}

func joined(steps []Step) []byte {
	var group []byte
	for _, s := range steps {
		group = append(group, s.Data...)
	}
	return group
}

// stream is the connection of a client.
type stream interface {
	io.ReadWriter
	CloseWrite() error
}

// secured is the connection itself, or TLS over it with a client certificate of
// the site.
func secured(conn *net.TCPConn, certificate string) (stream, error) {
	if certificate == "" {
		return conn, nil
	}
	config := &tls.Config{InsecureSkipVerify: true} // the server is not what is tested
	if certificate != "none" {
		pem, err := site.ReadFile("site/tls/" + certificate + ".pem")
		if err != nil {
			return nil, err
		}
		key, err := site.ReadFile("site/tls/" + certificate + ".key")
		if err != nil {
			return nil, err
		}
		c, err := tls.X509KeyPair(pem, key)
		if err != nil {
			return nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &c, nil // whether or not the server trusts whoever made it
		}
	}
	return tls.Client(conn, config), nil
}

// client is the playing side of a dialogue.
type client struct {
	tcp      *net.TCPConn
	conn     stream      // tcp, or TLS over it
	lines    chan string // the server's lines; closed when the server closes
	said     []Step
	patience time.Duration
}

// read takes the server's lines as they come, so that none is lost when the
// server closes while the client still sends.
func (c *client) read() {
	defer close(c.lines)
	r := bufio.NewReader(c.conn)
	for {
		line, err := r.ReadString('\n')
		if line != "" {
			c.lines <- line
		}
		if err != nil {
			return
		}
	}
}

func (c *client) run(steps []Step) error {
	for len(steps) > 0 {
		n := 1
		switch steps[0].Kind {
		case Content:
			n += sameKind(steps[1:], Content)
			if !c.wantsContent() {
				steps = steps[n:]
				steps = steps[sameKind(steps, Reply):]
				continue
			}
			if err := c.send(steps[:n]); err != nil {
				return c.end() // the server closed
			}
		case Send, Pause:
			n += sameKind(steps[1:], Send)
			if err := c.send(steps[:n]); err != nil {
				return c.end()
			}
		case Reply:
			n += sameKind(steps[1:], Reply)
			if open, err := c.replies(steps[:n]); err != nil || !open {
				return err
			}
		case Closed:
			return c.end()
		}
		steps = steps[n:]
	}
	c.conn.CloseWrite()
	err := c.end()
	if len(c.said) > 0 && c.said[len(c.said)-1].Kind == Closed {
		c.said = c.said[:len(c.said)-1]
	}
	return err
}

// sameKind counts the steps at the front that are of this kind.
func sameKind(steps []Step, k Kind) int {
	n := 0
	for n < len(steps) && steps[n].Kind == k {
		n++
	}
	return n
}

// wantsContent says whether the last thing the server said was 354.
func (c *client) wantsContent() bool {
	last := c.said[len(c.said)-1]
	return last.Kind == Reply && bytes.HasPrefix(last.Data, []byte("354 "))
}

func (c *client) send(steps []Step) error {
	if steps[0].Kind == Pause {
		if err := waitRead(c.tcp); err != nil {
			return err
		}
	}
	c.said = append(c.said, steps...)
	_, err := c.conn.Write(joined(steps))
	return err
}

// replies reads as many complete replies as are expected, and says whether the
// connection is still open.
func (c *client) replies(expected []Step) (open bool, err error) {
	at := len(c.said)
	for _, e := range expected {
		if continues(e.Data) {
			continue
		}
		for more := true; more; {
			line, ok, err := c.line()
			if err != nil {
				return false, err
			}
			if !ok {
				c.said = append(c.said, Step{Kind: Closed})
				return false, nil
			}
			c.said = append(c.said, Step{Reply, line})
			more = continues(line)
		}
	}
	if string(expected[0].Data) != "?" && !sameReplies(c.said[at:], expected) {
		c.patience = hurry
	}
	return true, nil
}

func continues(line []byte) bool { return len(line) > 3 && line[3] == '-' }

// line is the server's next line without CR and LF; ok is false when there is
// none because the server closed.
func (c *client) line() (line []byte, ok bool, err error) {
	select {
	case text, ok := <-c.lines:
		if !ok {
			return nil, false, nil
		}
		if cut, crlf := strings.CutSuffix(text, "\r\n"); crlf {
			text = cut
		}
		return []byte(text), true, nil
	case <-time.After(c.patience):
		return nil, false, fmt.Errorf("no answer within %s", c.patience)
	}
}

// end waits for the server to close and keeps what it says until then.
func (c *client) end() error {
	for {
		line, ok, err := c.line()
		if err != nil {
			return fmt.Errorf("waiting for the end of the connection: %w", err)
		}
		if !ok {
			c.said = append(c.said, Step{Kind: Closed})
			return nil
		}
		c.said = append(c.said, Step{Reply, line})
	}
}
