package client

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// script is how a server answers: by verb, or "verb N" for the Nth command of
// that verb in a session, or "verb N/M" in the Mth session only. "banner" is
// the greeting, "." the answer to the message. What an answer may end with:
//
//	^  closes the connection after it
//	~  says nothing more, and lets the client wait
type script map[string]string

// server plays a script.
type server struct {
	script script
	lmtp   bool
	tls    *tls.Config
	port   string

	mu       sync.Mutex
	sessions []*strings.Builder // what clients said
	open     sync.WaitGroup
}

func (s *server) listen(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, s.port, _ = net.SplitHostPort(l.Addr().String())
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			heard := &strings.Builder{}
			s.mu.Lock()
			s.sessions = append(s.sessions, heard)
			n := len(s.sessions)
			s.mu.Unlock()
			s.open.Go(func() { s.serve(conn, n, heard) })
		}
	})
	t.Cleanup(func() { l.Close(); accepting.Wait(); s.open.Wait() })
}

// take returns what was said since the last call, a session after the other.
func (s *server) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	for i, heard := range s.sessions {
		fmt.Fprintf(&b, "--- session %d\n%s", i+1, heard)
	}
	s.sessions = nil
	return b.String()
}

func (s *server) hear(to *strings.Builder, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to.WriteString(strings.ReplaceAll(text, "\r\n", "\n"))
}

// answer is the scripted answer to the nth command of a verb.
func (s *server) answer(verb string, n, session int) string {
	for _, key := range []string{fmt.Sprintf("%s %d/%d", verb, n, session), fmt.Sprintf("%s %d", verb, n), verb} {
		if r, ok := s.script[key]; ok {
			return r
		}
	}
	return map[string]string{"banner": "220 srv.test ESMTP", "EHLO": "250 srv.test", "LHLO": "250 srv.test", "DATA": "354 go",
		"STARTTLS": "220 go", "QUIT": "221 bye", ".": "250 2.0.0 Ok: queued"}[verb]
}

func (s *server) serve(conn net.Conn, session int, heard *strings.Builder) {
	defer func() { conn.Close() }()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	seen := map[string]int{}
	say := func(verb string) (code byte, ok bool) {
		seen[verb]++
		text := s.answer(verb, seen[verb], session)
		if text == "" {
			text = "250 2.0.0 ok"
		}
		end := text[len(text)-1]
		io.WriteString(conn, strings.ReplaceAll(strings.TrimRight(text, "^~"), "\n", "\r\n"))
		switch end {
		case '~':
			io.Copy(io.Discard, r)
			return 0, false
		case '^':
			return 0, false
		}
		io.WriteString(conn, "\r\n")
		return text[0], true
	}
	if _, ok := say("banner"); !ok {
		return
	}
	accepted := 0
	for {
		line, err := r.ReadString('\n')
		s.hear(heard, line)
		if err != nil {
			return
		}
		verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimRight(line, "\r\n")), " ")
		code, ok := say(verb)
		if !ok || verb == "QUIT" {
			return
		}
		if verb == "RCPT" && code == '2' {
			accepted++
		}
		if verb == "RSET" {
			accepted = 0
		}
		switch {
		case verb == "STARTTLS" && code == '2':
			secured := tls.Server(conn, s.tls)
			conn, r = secured, bufio.NewReader(secured)
		case verb == "DATA" && code == '3':
			if !s.message(r, heard) {
				return
			}
			answers := 1
			if s.lmtp {
				answers = max(1, accepted)
			}
			for range answers {
				if _, ok := say("."); !ok {
					return
				}
			}
			accepted = 0
		}
	}
}

func (s *server) message(r *bufio.Reader, heard *strings.Builder) bool {
	for {
		line, err := r.ReadString('\n')
		s.hear(heard, line)
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			return true
		}
	}
}
