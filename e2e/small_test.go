package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSmallServer is no test: TestCrashTestFindsLoss runs it as the server to
// be killed.
func TestSmallServer(t *testing.T) {
	manner := os.Getenv("SEKISHO_SMALL_SERVER")
	if manner == "" {
		t.Skip("runs as a process of TestCrashTestFindsLoss")
	}
	l, err := net.Listen("tcp", os.Getenv("SEKISHO_SMALL_ADDR"))
	if err != nil {
		t.Fatal(err)
	}
	for serial := 0; ; serial++ {
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		s := smallSession{
			conn: conn, r: bufio.NewReader(conn),
			dir: os.Getenv("SEKISHO_SMALL_DIR"), hasty: manner == "hasty",
			name: fmt.Sprintf("%d-%d", os.Getpid(), serial),
		}
		go s.serve()
	}
}

// smallSession speaks just enough SMTP for the crash test's clients.
type smallSession struct {
	conn  net.Conn
	r     *bufio.Reader
	dir   string
	hasty bool
	name  string // of files
	boxes []string
	count int
}

func (s *smallSession) serve() {
	defer s.conn.Close()
	s.say("220 small")
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return
		}
		switch verb, rest, _ := strings.Cut(strings.TrimSpace(line), " "); verb {
		case "MAIL":
			s.boxes = nil
			s.say("250 ok")
		case "RCPT":
			box, _, _ := strings.Cut(strings.TrimPrefix(rest, "TO:<"), "@")
			s.boxes = append(s.boxes, box)
			s.say("250 ok")
		case "DATA":
			s.say("354 go on")
			if err := s.take(); err != nil {
				fmt.Fprintln(os.Stderr, "small server:", err)
				return
			}
		case "QUIT":
			s.say("221 bye")
			return
		default:
			s.say("250 ok")
		}
	}
}

func (s *smallSession) say(line string) { fmt.Fprint(s.conn, line, "\r\n") }

// take reads a message and stores and acknowledges it, in the order that suits
// the session's manner.
func (s *smallSession) take() error {
	var b bytes.Buffer
	b.WriteString("Received: small\n")
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			return err
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(strings.TrimSuffix(line, "\r\n"), ".") + "\n")
	}
	s.count++
	name, boxes := fmt.Sprintf("%s-%d", s.name, s.count), slices.Clone(s.boxes)
	if s.hasty {
		s.say("250 ok")
		// As a server that leaves the disk to the kernel would lose it.
		time.AfterFunc(20*time.Millisecond, func() {
			if err := s.store(name, boxes, b.Bytes()); err != nil {
				fmt.Fprintln(os.Stderr, "small server:", err)
			}
		})
		return nil
	}
	if err := s.store(name, boxes, b.Bytes()); err != nil {
		return err
	}
	s.say("250 ok")
	return nil
}

// store delivers to the Maildirs.
func (s *smallSession) store(name string, boxes []string, data []byte) error {
	for _, box := range boxes {
		tmp, folder := filepath.Join(s.dir, box, "tmp"), filepath.Join(s.dir, box, "new")
		if err := errors.Join(os.MkdirAll(tmp, 0o755), os.MkdirAll(folder, 0o755)); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(tmp, name), data, 0o644); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(tmp, name), filepath.Join(folder, name)); err != nil {
			return err
		}
	}
	return nil
}
