package smtp

import (
	"bufio"
	"bytes"
	"crypto"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/zone"
)

// server is an SMTP or LMTP server that answers as its script says.
type server struct {
	// replies by verb, or "verb N" for the Nth command of that verb; "" drops
	// the connection. "banner" is the greeting, "." the answer to the message,
	// ". N" that to the Nth recipient that LMTP has.
	replies map[string]string
	lmtp    bool
	tls     *tls.Config
	drip    time.Duration // between the bytes of the greeting

	mu       sync.Mutex
	commands []string
	data     string
}

// set changes an answer of a server that listens already.
func (s *server) set(key, answer string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies[key] = answer
}

// listen serves on host, at port 0 for a new one, and returns the port.
func (s *server) listen(t *testing.T, host, port string) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(host, port))
	if err != nil {
		t.Fatal(err)
	}
	s.accept(t, l)
	_, port, _ = net.SplitHostPort(l.Addr().String())
	return port
}

// accept serves what comes to l until the test ends.
func (s *server) accept(t *testing.T, l net.Listener) {
	var sessions sync.WaitGroup
	sessions.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			sessions.Go(func() { s.serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); sessions.Wait() })
}

// reply returns the scripted answer to a command.
func (s *server) reply(verb string, n int, otherwise string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r, ok := s.replies[fmt.Sprintf("%s %d", verb, n)]; ok {
		return r
	}
	if r, ok := s.replies[verb]; ok {
		return r
	}
	return otherwise
}

func (s *server) serve(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(conn)
	seen := map[string]int{}
	say := func(text string) bool {
		if text == "" {
			return false
		}
		io.WriteString(conn, strings.ReplaceAll(text, "\n", "\r\n")+"\r\n")
		return true
	}
	for _, c := range []byte(strings.Repeat(" ", 20)) {
		if s.drip == 0 {
			break
		}
		conn.Write([]byte{'2', '2', '0', '-', c, '\r', '\n'})
		time.Sleep(s.drip)
	}
	if !say(s.reply("banner", 1, "220 srv.test ESMTP")) {
		return
	}
	defaults := map[string]string{"EHLO": "250-srv.test\n250 8BITMIME", "LHLO": "250-srv.test\n250 8BITMIME", "DATA": "354 go", "STARTTLS": "220 go", "QUIT": "221 bye"}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		s.mu.Lock()
		s.commands = append(s.commands, line)
		s.mu.Unlock()
		seen[verb]++
		otherwise := defaults[verb]
		if otherwise == "" {
			otherwise = "250 2.0.0 ok"
		}
		answer := s.reply(verb, seen[verb], otherwise)
		if !say(answer) {
			return
		}
		if verb == "RCPT" && answer[0] == '2' {
			seen["accepted"]++
		}
		switch {
		case verb == "QUIT":
			return
		case verb == "STARTTLS" && answer[0] == '2':
			secured := tls.Server(conn, s.tls)
			conn, r = secured, bufio.NewReader(secured)
		case verb == "DATA" && answer[0] == '3':
			if !s.receive(r) {
				return
			}
			answers := 1
			if s.lmtp {
				answers = max(1, seen["accepted"])
			}
			for n := range answers {
				if !say(s.reply(".", n+1, "250-2.0.0 first\n250 2.0.0 Ok: queued as 123")) {
					return
				}
			}
		}
	}
}

func (s *server) receive(r *bufio.Reader) bool {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return false
		}
		s.mu.Lock()
		s.data += line
		s.mu.Unlock()
		if line == ".\r\n" {
			return true
		}
	}
}

// said returns the commands the client sent.
func (s *server) said() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.commands, "|")
}

// received returns the content as it came over the wire.
func (s *server) received() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

const zoneText = `
s.test        MX 10 mx1.s.test
mx1.s.test    A 127.0.0.1
two.test      MX 10 mx1.s.test
two.test      MX 20 mx2.s.test
mx2.s.test    A 127.0.0.2
tls.test      A 127.0.0.1
nodata.test   TXT "x"
servfail.test SERVFAIL
refused.test  REFUSED
nullmx.test   MX 0 .
mxgone.test   MX 10 gone.test
mxservfail.test MX 10 servfail.test
mxmixed.test  MX 10 servfail.test
mxmixed.test  MX 20 gone.test
mxnodata.test MX 10 nodata.test
mxip.test     MX 10 127.0.0.1
aonly.test    A 127.0.0.66
loop.test     MX 10 mx.loop.test
mx.loop.test  A 127.0.0.9
loop2.test    MX 20 mx.loop.test
loop2.test    MX 10 gone.test
loop3.test    MX 20 mx.loop.test
loop3.test    MX 10 aonly.test
loopa.test    A 127.0.0.9
`

// newAgent returns an agent in the scripted DNS above, and what it logs.
func newAgent(t *testing.T) (*Agent, *bytes.Buffer) {
	t.Helper()
	z, err := zone.Parse("zone", strings.NewReader(zoneText))
	if err != nil {
		t.Fatal(err)
	}
	log := &bytes.Buffer{}
	hide := func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}
	s := Settings{
		Myhostname: "mx.example.com", HeloName: "mx.example.com", Port: 25,
		DNS: true, LookupDNS: true, Balance: true, HeaderLimit: 102400, BoundaryLimit: 2048, NestingLimit: 100, IPv4: true, IPv6: true, AddressLimit: 5, SessionLimit: 2,
		Skip5xxGreeting: true, SkipQuit: true, AlwaysEHLO: true, LineLimit: 998,
		TLS: TLSMay, TLSConfig: &tls.Config{}, Digest: crypto.SHA256,
		TLSDefaults: TLSDefaults{Protocols: ">=TLSv1", MandatoryProtocols: ">=TLSv1", Ciphers: "medium", MandatoryCiphers: "medium",
			VerifyMatch: []string{"hostname"}, SecureMatch: []string{"nexthop", "dot-nexthop"}, EnforceSTSPatterns: true},
	}
	for _, d := range []*time.Duration{
		&s.ConnectTimeout, &s.HeloTimeout, &s.StartTLSTimeout, &s.MailTimeout, &s.RcptTimeout,
		&s.DataInitTimeout, &s.DataXferTimeout, &s.DataDoneTimeout, &s.QuitTimeout, &s.RsetTimeout,
	} {
		*d = 5 * time.Second
	}
	return &Agent{
		Settings: s, World: &evidence.World{Query: z.Query}, OwnAddresses: []string{"127.0.0.9"},
		Clock: clock.System{},
		Log:   slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{ReplaceAttr: hide})),
	}, log
}

// request is a message to two recipients of a next hop.
func request(nexthop, content string) *deliver.Request {
	env := &mail.Envelope{Sender: "from@q.test", Size: 300, Recipients: []mail.Recipient{
		{Address: "u@s.test", Original: "u@s.test"}, {Address: "v@s.test", Original: "alias=x@s.test"}}}
	return &deliver.Request{
		QueueID: "QID", Envelope: env, Recipients: env.Recipients, Nexthop: nexthop, Size: int64(len(content)),
		Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil },
	}
}

// lines prints results as the log would, without delays.
func lines(results []deliver.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%d relay=%s, dsn=%s, status=%s (%s)\n", r.Recipient, r.Relay, r.DSN, r.Status, r.Text)
	}
	return b.String()
}
