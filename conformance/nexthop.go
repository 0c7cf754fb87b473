package conformance

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// nextHop is the mail server of another domain: it accepts every message and
// keeps what it was sent. Only of recipients it is choosy, see recipientReply.
type nextHop struct {
	address string
	mu      sync.Mutex
	got     []File
}

// listenNextHop serves SMTP at port 25 of the address.
func listenNextHop(address string) (*nextHop, error) {
	l, err := net.Listen("tcp", address+":25")
	if err != nil {
		return nil, err
	}
	h := &nextHop{address: address}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.session(conn)
		}
	}()
	return h, nil
}

// take returns, and forgets, what was received: the envelope commands and the
// content of each message.
func (h *nextHop) take() []File {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got = nil
	return got
}

func (h *nextHop) session(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	say := func(text string) { conn.Write([]byte(text + "\r\n")) }
	say("220 mx.remote.test ESMTP")
	var lines []string
	for {
		conn.SetReadDeadline(time.Now().Add(Patience))
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO":
			say("250-mx.remote.test\r\n250-PIPELINING\r\n250-SIZE 10240000\r\n250-8BITMIME\r\n250-DSN\r\n250 ENHANCEDSTATUSCODES")
		case "MAIL":
			lines = append(lines, line)
			say("250 2.1.0 Ok")
		case "RCPT":
			lines = append(lines, line)
			answer := recipientReply(line)
			if answer == "" {
				io.Copy(io.Discard, r) // until the client loses patience
				return
			}
			say(answer)
		case "DATA":
			say("354 Go ahead")
			content, ok := readContent(r)
			if !ok {
				return
			}
			h.keep(append(lines, content...))
			lines = nil
			say("250 2.0.0 Ok: accepted")
		case "RSET":
			lines = nil
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("250 2.0.0 Ok")
		}
	}
}

// recipientReply is the answer to a RCPT command: what a local part such as
// "550-5.1.1-x" asks for. To "silence-x" there is none.
func recipientReply(line string) string {
	_, local, _ := strings.Cut(line, "<")
	local, _, _ = strings.Cut(local, "@")
	code, rest, _ := strings.Cut(local, "-")
	status, _, _ := strings.Cut(rest, "-")
	switch {
	case code == "silence":
		return ""
	case len(code) == 3 && strings.Contains("45", code[:1]):
		return code + "-" + status + " " + local + "\r\n" + code + " " + status + " says the next hop"
	}
	return "250 2.1.0 Ok"
}

// readContent reads a message up to the final dot, as it came.
func readContent(r *bufio.Reader) ([]string, bool) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, false
		}
		text, crlf := strings.CutSuffix(line, "\r\n")
		if crlf && text == "." {
			return lines, true
		}
		if !crlf {
			text = line
		}
		lines = append(lines, escape([]byte(text)))
	}
}

func (h *nextHop) keep(lines []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.got = append(h.got, File{h.address, lines})
}
