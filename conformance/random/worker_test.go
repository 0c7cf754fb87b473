//go:build linux

package random

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/zone"
)

// rolePostfix is the worker's role: this test program again, in namespaces of its
// own, see package sandbox.
const rolePostfix = "random-postfix"

func TestMain(m *testing.M) {
	if sandbox.Role() == rolePostfix {
		w := &peerWorker{}
		if err := sandbox.Serve(w.handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A peerRequest brings the worker up when it has files, else it plays a case.
type peerRequest struct {
	Files map[string]string // below /etc/postfix
	Zone  string
	Port  int
	Case  peerCase
}

// peerReply is what the server said and logged.
type peerReply struct {
	Replies []string // to MAIL and each RCPT, codes with all lines joined
	Log     []string
}

type peerWorker struct {
	up  bool
	log *os.File
	buf []byte
}

func (w *peerWorker) handle(r peerRequest) (peerReply, error) {
	if !w.up {
		w.up = true
		return peerReply{}, w.start(r.Files, r.Zone)
	}
	return w.play(r.Port, r.Case)
}

func (w *peerWorker) start(files map[string]string, names string) error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	keep := make(map[string][]byte)
	for _, pattern := range []string{"dynamicmaps.cf*", "postfix-files*", "dynamicmaps.cf.d/*"} {
		found, _ := filepath.Glob("/etc/postfix/" + pattern)
		for _, f := range found {
			if b, err := os.ReadFile(f); err == nil {
				keep[strings.TrimPrefix(f, "/etc/postfix/")] = b
			}
		}
	}
	for dir, mode := range map[string]os.FileMode{
		"/etc/postfix": 0o755, "/var/spool/postfix": 0o755, "/var/lib/postfix": 0o755, "/var/log": 0o755, "/run": 0o755,
	} {
		if err := sandbox.Empty(dir, mode); err != nil {
			return err
		}
	}
	for name, text := range files {
		keep[name] = []byte(text)
	}
	for name, text := range keep {
		path := filepath.Join("/etc/postfix", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return err
		}
	}
	return w.run(names)
}

func (w *peerWorker) run(names string) error {
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown("/var/lib/postfix", uid, -1); err != nil {
		return err
	}
	for file, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", "/etc/hosts": "127.0.0.1 localhost\n",
	} {
		with := filepath.Join("/run", filepath.Base(file))
		if err := os.WriteFile(with, []byte(text), 0o644); err != nil {
			return err
		}
		if err := sandbox.Replace(file, with); err != nil {
			return err
		}
	}
	z, err := zone.Parse("zone", strings.NewReader(names))
	if err != nil {
		return err
	}
	if _, err := z.Serve("127.0.0.1:53"); err != nil {
		return err
	}
	if err := os.WriteFile("/var/log/mail.log", nil, 0o666); err != nil {
		return err
	}
	if w.log, err = os.Open("/var/log/mail.log"); err != nil {
		return err
	}
	if err := command("postfix", "start"); err != nil {
		more, _ := os.ReadFile("/var/log/mail.log")
		return fmt.Errorf("%w\n%s", err, more)
	}
	return authSocket("/var/spool/postfix/private/auth")
}

// command runs a command. Its output goes to a file: a daemon it leaves behind
// would keep a pipe open.
func command(name string, args ...string) error {
	out, err := os.CreateTemp("/run", "output")
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", name, err, text)
	}
	return nil
}

// authSocket says that there are login mechanisms; nobody ever uses one.
func authSocket(path string) error {
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	if err := os.Chmod(path, 0o666); err != nil {
		return err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n")
		}
	}()
	return nil
}

// play has one session on one connection.
func (w *peerWorker) play(port int, pc peerCase) (peerReply, error) {
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err = net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil || time.Now().After(deadline) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return peerReply{}, err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	in := bufio.NewReader(conn)
	var rep peerReply
	say := func(line string) (string, error) {
		if line != "" {
			if _, err := fmt.Fprintf(conn, "%s\r\n", line); err != nil {
				return "", err
			}
		}
		return readReply(in)
	}
	if _, err := say(""); err != nil {
		return rep, fmt.Errorf("no greeting: %w\n%s", err, w.lines())
	}
	keep := map[string]bool{"MAIL": true, "RCPT": true, "VRFY": true, "DATA": true}
	for _, line := range pc.lines() {
		r, err := say(line)
		if err != nil && line != "QUIT" {
			rep.Replies = append(rep.Replies, "closed")
		}
		if err != nil {
			break
		}
		if keep[line[:4]] {
			rep.Replies = append(rep.Replies, r)
			if strings.HasPrefix(r, "354") {
				r, err := say("Subject: x\r\n\r\ntext\r\n.")
				if err != nil {
					r = "closed"
				}
				rep.Replies = append(rep.Replies, r)
			}
		} else if line[:4] == "XCLI" && strings.HasPrefix(r, "501") {
			return rep, fmt.Errorf("%s: %s", line, r)
		}
	}
	conn.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		rep.Log = append(rep.Log, w.lines()...)
		for _, l := range rep.Log {
			if strings.Contains(l, "]: disconnect from ") {
				return rep, nil
			}
		}
	}
	return rep, fmt.Errorf("the session's end is not in the log: %q", rep.Log)
}

// lines returns the whole lines that were logged since the last call.
func (w *peerWorker) lines() []string {
	b := make([]byte, 1<<16)
	n, _ := w.log.Read(b)
	w.buf = append(w.buf, b[:n]...)
	var out []string
	for {
		i := bytes.IndexByte(w.buf, '\n')
		if i < 0 {
			return out
		}
		out = append(out, string(w.buf[:i]))
		w.buf = w.buf[i+1:]
	}
}

func readReply(in *bufio.Reader) (string, error) {
	var all []string
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimRight(line, "\r\n")
		all = append(all, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(all, "\n"), nil
		}
	}
}
