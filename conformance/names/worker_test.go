//go:build linux

package names

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/zone"
)

// The roles of workers: this test program again, in namespaces of its own, see
// package sandbox.
const (
	rolePostfix = "names-postfix"
	roleSekisho = "names-sekisho"
)

// parallel is how many sessions are had at a time: some wait.
const parallel = 8

func TestMain(m *testing.M) {
	if role := sandbox.Role(); role == rolePostfix || role == roleSekisho {
		if err := sandbox.Serve(handle); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// peerRequest is a site and what to play to it.
type peerRequest struct {
	Binary   string            // of Sekisho; empty: Postfix
	Files    map[string]string // below /etc/postfix
	Zone     string
	Policies map[string]string // what the services at these sockets answer
	Sessions []session
}

type peerReply struct{ Outcomes []outcome }

// session is what one client does. The reply to its last command counts.
type session struct {
	Port        int // 0: nothing is played
	XClient     string
	Helo        string
	Commands    []string
	TLS         bool
	Certificate []string // files of certificate and key
	Pipelining  bool     // where it is not allowed
}

// outcome is how a session went.
type outcome struct {
	Reply string
	Log   []string
}

// text is an outcome as transcripts have it.
func (o outcome) text() string {
	reply := o.Reply
	switch reply[:1] {
	case "2", "3":
		reply = "accepted"
	case "h":
		reply = "hangs up"
	}
	return strings.Join(append([]string{reply}, o.Log...), "\n") + "\n"
}

func handle(r peerRequest) (peerReply, error) {
	if err := start(r); err != nil {
		return peerReply{}, err
	}
	log, err := follow("/var/log/mail.log")
	if err != nil {
		return peerReply{}, err
	}
	out := peerReply{Outcomes: make([]outcome, len(r.Sessions))}
	byPort := make(map[int][]int)
	work := make(chan []int, len(r.Sessions))
	for i, s := range r.Sessions {
		byPort[s.Port] = append(byPort[s.Port], i)
	}
	delete(byPort, 0)
	for _, list := range byPort {
		work <- list
	}
	close(work)
	done := make(chan struct{})
	for range parallel {
		go func() {
			for list := range work {
				for _, i := range list {
					o, err := r.Sessions[i].play(log)
					if err != nil {
						o = outcome{Reply: err.Error()}
					}
					out.Outcomes[i] = o
				}
			}
			done <- struct{}{}
		}()
	}
	for range parallel {
		<-done
	}
	return out, nil
}

// start brings Postfix up with the site, and what it asks.
func start(r peerRequest) error {
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
	for _, dir := range []string{"/etc/postfix", "/var/spool/postfix", "/var/lib/postfix", "/var/log", "/run"} {
		if err := sandbox.Empty(dir, 0o755); err != nil {
			return err
		}
	}
	for name, text := range r.Files {
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
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(owner.Uid)
	if err := os.Chown("/var/lib/postfix", uid, -1); err != nil {
		return err
	}
	if err := names(r.Zone); err != nil {
		return err
	}
	if err := os.WriteFile("/var/log/mail.log", nil, 0o666); err != nil {
		return err
	}
	if r.Binary != "" {
		if err := run(r.Binary, "domain", "add", "-c", "/etc/postfix", "some.test"); err != nil {
			return err
		}
		if err := serveSekisho(r.Binary); err != nil {
			return err
		}
	} else if err := run("postfix", "start"); err != nil {
		more, _ := os.ReadFile("/var/log/mail.log")
		return fmt.Errorf("%w\n%s", err, more)
	}
	return sockets(r.Policies)
}

// names serves a zone to the system's resolver.
func names(text string) error {
	for file, text := range map[string]string{
		"/etc/resolv.conf": "nameserver 127.0.0.1\noptions timeout:1 attempts:2\n", "/etc/hosts": "127.0.0.1 localhost\n",
	} {
		with := filepath.Join("/run", filepath.Base(file))
		if err := os.WriteFile(with, []byte(text), 0o644); err != nil {
			return err
		}
		if err := sandbox.Replace(file, with); err != nil {
			return err
		}
	}
	z, err := zone.Parse("zone", strings.NewReader(text))
	if err != nil {
		return err
	}
	_, err = z.Serve("127.0.0.1:53")
	return err
}

// serveSekisho starts Sekisho and waits until it listens.
func serveSekisho(binary string) error {
	c := exec.Command(binary, "serve", "-c", "/etc/postfix")
	c.Stdout, c.Stderr = os.Stderr, os.Stderr
	if err := c.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	for {
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", plainPort)); err == nil {
			return conn.Close()
		}
		select {
		case err := <-ended:
			return fmt.Errorf("sekisho serve has ended: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// run runs a command. Its output goes to a file: a daemon it leaves behind would
// keep a pipe open.
func run(name string, args ...string) error {
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

// sockets serves policies, and says that there are login mechanisms; nobody
// ever uses one.
func sockets(policies map[string]string) error {
	mechanisms := "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t1\nCUID\t1\nCOOKIE\t00\nDONE\n"
	if err := serve("private/auth", func(c net.Conn) { io.WriteString(c, mechanisms) }); err != nil {
		return err
	}
	for path, action := range policies {
		err := serve(path, func(c net.Conn) {
			in := bufio.NewScanner(c)
			for in.Scan() {
				if in.Text() == "" {
					io.WriteString(c, "action="+action+"\n\n")
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func serve(path string, each func(net.Conn)) error {
	path = filepath.Join("/var/spool/postfix", path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go each(c)
		}
	}()
	return os.Chmod(path, 0o666)
}

// play has one session.
func (s session) play(log *journal) (outcome, error) {
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", s.Port))
	if err != nil {
		return outcome{}, err
	}
	defer conn.Close()
	c := &client{Conn: conn, in: bufio.NewReader(conn)}
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	reply, err := c.say("")
	if err == nil && s.TLS {
		reply, err = c.startTLS(s.Certificate)
	}
	for _, line := range s.lines() {
		if err == nil {
			reply, err = c.say(line)
		}
	}
	if err == io.EOF {
		reply, err = "hangs up", nil
	}
	if err != nil {
		return outcome{}, fmt.Errorf("%w; log: %q", err, log.take(s.Port))
	}
	c.Close()
	lines, err := log.session(s.Port)
	if strings.HasPrefix(s.Commands[len(s.Commands)-1], "ETRN") && !strings.Contains(strings.Join(lines, "\n"), "NOQUEUE: reject:") {
		reply = "250 accepted" // whether or not the queue can be flushed
	}
	return outcome{reply, lines}, err
}

// lines are the commands, from XCLIENT on.
func (s session) lines() []string {
	out := []string{s.XClient}
	if s.Helo != "" {
		out = append(out, "EHLO "+s.Helo)
	}
	if s.Pipelining {
		out[len(out)-1] += "\r\nNOOP"
		out = append(out, "") // the second reply
	}
	return append(out, s.Commands...)
}

// client speaks SMTP.
type client struct {
	net.Conn
	in *bufio.Reader
}

// say sends a line, unless it is empty, and returns the reply.
func (c *client) say(line string) (string, error) {
	if line != "" {
		if _, err := fmt.Fprintf(c.Conn, "%s\r\n", line); err != nil {
			return "", err
		}
	}
	for {
		l, err := c.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if len(l) < 4 || l[3] != '-' {
			return strings.TrimRight(l, "\r\n"), nil
		}
	}
}

// startTLS encrypts, with a certificate if there are files of one.
func (c *client) startTLS(files []string) (string, error) {
	reply, err := c.say("EHLO tls.test")
	if err == nil {
		reply, err = c.say("STARTTLS")
	}
	if err != nil || reply[:1] != "2" {
		return reply, fmt.Errorf("STARTTLS: %s %w", reply, err)
	}
	config := &tls.Config{InsecureSkipVerify: true}
	if len(files) > 0 {
		cert, err := tls.LoadX509KeyPair(files[0], files[1])
		if err != nil {
			return "", err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil }
	}
	c.Conn = tls.Client(c.Conn, config)
	c.in = bufio.NewReader(c.Conn)
	return reply, nil
}

// certificateFiles finds the certificate of the fingerprint that begins a fact.
func certificateFiles(t *testing.T, fact string) []string {
	print, _, _ := strings.Cut(fact, " ")
	for _, path := range tlsFiles(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(text)
		if block == nil || block.Type != "CERTIFICATE" {
			continue
		}
		if sum := sha256.Sum256(block.Bytes); strings.EqualFold(strings.ReplaceAll(print, ":", ""), fmt.Sprintf("%x", sum)) {
			base := "/etc/postfix/tls/" + strings.TrimSuffix(filepath.Base(path), ".pem")
			return []string{base + ".pem", base + ".key"}
		}
	}
	t.Fatalf("no certificate has the fingerprint %s", print)
	return nil
}

// journal sorts the lines of a log by the port in syslog_name.
type journal struct {
	mu    sync.Mutex
	lines map[int][]string
	grown *sync.Cond
}

var tagged = regexp.MustCompile(`^\S+ +\d+ \S+ \S+ postfix/(\d+)/smtpd\[\d+\]: (.*)$`)

// follow reads a log as it grows, until the process ends.
func follow(path string) (*journal, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	j := &journal{lines: make(map[int][]string)}
	j.grown = sync.NewCond(&j.mu)
	go func() {
		var buf []byte
		for tick := time.Tick(2 * time.Millisecond); ; <-tick {
			more, _ := io.ReadAll(f)
			buf = append(buf, more...)
			for i := bytes.IndexByte(buf, '\n'); i >= 0; i = bytes.IndexByte(buf, '\n') {
				j.add(string(buf[:i]))
				buf = buf[i+1:]
			}
			j.grown.Broadcast() // also for those who wait too long
		}
	}()
	return j, nil
}

func (j *journal) add(line string) {
	m := tagged.FindStringSubmatch(line)
	if m == nil {
		return
	}
	port, _ := strconv.Atoi(m[1])
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines[port] = append(j.lines[port], m[2])
}

func (j *journal) take(port int) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.lines[port]
	delete(j.lines, port)
	return out
}

// session waits for the end of the session on a port and returns the lines that
// decisions have left.
func (j *journal) session(port int) ([]string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); j.grown.Wait() {
		lines := j.lines[port]
		if n := len(lines); n > 0 && strings.HasPrefix(lines[n-1], "disconnect from ") {
			delete(j.lines, port)
			return decisions(lines), nil
		}
	}
	return nil, fmt.Errorf("the session's end is not in the log: %q", j.lines[port])
}

var (
	queueID   = regexp.MustCompile(`^[0-9A-F]{6,}: `)
	ownPolicy = regexp.MustCompile(`private/policy-\d+`)
)

// decisions keeps the lines that transcripts have, as they have them.
func decisions(lines []string) []string {
	var out []string
	for _, l := range lines {
		l = queueID.ReplaceAllString(l, "NOQUEUE: ")
		switch word, _, _ := strings.Cut(l, " from "); word {
		case "connect", "disconnect", "lost connection after EHLO", "lost connection after RCPT", "lost connection after DATA",
			"lost connection after DATA (0 bytes)", "lost connection after END-OF-MESSAGE", "lost connection after ETRN",
			"lost connection after MAIL", "improper command pipelining after EHLO", "warning: reject: ETRN etrn.test...", "warning: reject: ETRN other.example...":
			continue
		}
		if strings.HasPrefix(l, "NOQUEUE: client=") {
			continue
		}
		l, _, _ = strings.Cut(l, "; from=")
		out = append(out, ownPolicy.ReplaceAllString(l, "private/policy"))
	}
	return out
}
