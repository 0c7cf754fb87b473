package client

import (
	"bufio"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/smtp"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/site"
)

// scenario is one server, what is sent to it, and how.
type scenario struct {
	name     string
	script   script
	lmtp     bool
	tls      bool
	settings string   // parameters of the transport, one a line
	sender   string   // with parameters of MAIL; "f@q.test" when empty
	to       []string // local parts, with parameters of RCPT
	body     string   // after the header
	header   string
	times    int  // how often the message is sent, one after the other; 0 is once
	noLog    bool // the log has more or other lines with Postfix, for reasons noted in the table
	direct   bool // the server is Postfix itself, and Postfix's client has no part
	server   *server
}

const header = "From: f@q.test\nDate: Mon, 2 Nov 2026 00:00:00 +0000\nMessage-ID: <1@q.test>\nSubject: x\n"

// content is the message as it is in the queue.
func (s *scenario) content() string {
	body := s.body
	if body == "" {
		body = "hello\n.dot\n"
	}
	return header + s.header + "\n" + body
}

// postfix is a running Postfix with a transport for each scenario.
type postfix struct {
	dir  string
	port string // of its smtpd
	auth string // port of its smtpd that wants logins
}

// start begins Postfix in a folder of its own.
func start(t *testing.T, scenarios []*scenario) *postfix {
	t.Helper()
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("Postfix can be started by root only")
		}
		t.Skip("Postfix can be started by root only")
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Postfix is not installed: apt-get install postfix")
		}
		t.Skip("Postfix is not installed")
	}
	dir, err := os.MkdirTemp("", "pfx")
	if err != nil {
		t.Fatal(err)
	}
	writeKey(t, filepath.Join(dir, "key.pem"))
	p := &postfix{dir: dir, port: freePort(t), auth: freePort(t)}
	p.configure(t, scenarios)
	p.run(t, "start")
	t.Cleanup(func() {
		p.run(t, "stop")
		os.RemoveAll(dir)
	})
	return p
}

func (p *postfix) run(t *testing.T, command string) {
	t.Helper()
	out, err := os.Create(filepath.Join(p.dir, command+".out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	c := exec.Command("postfix", "-c", p.dir, command)
	c.Stdout, c.Stderr = out, out // a daemon left behind would keep a pipe open
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		log, _ := os.ReadFile(filepath.Join(p.dir, "maillog"))
		t.Fatalf("postfix %s: %v\n%s%s", command, err, text, log)
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func (p *postfix) configure(t *testing.T, scenarios []*scenario) {
	t.Helper()
	var master, transport strings.Builder
	fmt.Fprintf(&master, "127.0.0.1:%s inet n - n - - smtpd\n", p.port)
	fmt.Fprintf(&master, "127.0.0.1:%s inet n - n - - smtpd -o smtpd_sasl_auth_enable=yes -o smtpd_tls_security_level=may\n", p.auth)
	fmt.Fprintf(&master, "  -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n")
	for _, line := range []string{"cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "tlsmgr unix - - n 1000? 1 tlsmgr",
		"rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
		"trace unix - - n - 0 bounce", "retry unix - - n - - error", "error unix - - n - - error", "discard unix - - n - - discard",
		"anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "proxymap unix - - n - - proxymap",
		"postlog unix-dgram n - n - 1 postlogd"} {
		master.WriteString(line + "\n")
	}
	for _, s := range scenarios {
		daemon := "smtp"
		if s.lmtp {
			daemon = "lmtp"
		}
		fmt.Fprintf(&master, "%s unix - - n - - %s\n", s.name, daemon)
		for _, line := range strings.Split(strings.TrimSpace(s.settings), "\n") {
			if line = strings.TrimSpace(line); line != "" {
				fmt.Fprintf(&master, "    -o { %s }\n", line)
			}
		}
		if s.direct {
			continue
		}
		fmt.Fprintf(&transport, "/@%s\\.test$/ %s:[127.0.0.1]:%s\n", s.name, s.name, s.server.port)
	}
	main := `compatibility_level = 3.6
myhostname = mx.example.com
mydestination =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
inet_protocols = ipv4
queue_directory = DIR/spool
data_directory = DIR/data
maillog_file = DIR/maillog
maillog_file_prefixes = DIR
alias_maps =
alias_database =
transport_maps = regexp:DIR/transport
header_checks = regexp:{ {/^Received:/ IGNORE} }
bounce_notice_recipient = gone@discard.test
smtpd_discard_ehlo_keywords =
default_transport = discard
local_transport = discard
minimal_backoff_time = 1000s
cyrus_sasl_config_path = DIR/sasl
smtpd_tls_chain_files = DIR/key.pem
smtp_helo_timeout = 2s
smtp_mail_timeout = 2s
smtp_rcpt_timeout = 2s
smtp_data_init_timeout = 2s
smtp_data_xfer_timeout = 2s
smtp_data_done_timeout = 2s
smtp_quit_timeout = 2s
smtp_rset_timeout = 2s
smtp_tls_security_level =
smtp_connection_cache_time_limit = 5s
connection_cache_ttl_limit = 5s
sekisho_spool_directory = DIR/unused
`
	for _, sub := range []string{"spool", "data", "sasl"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{"main.cf": strings.ReplaceAll(main, "DIR", p.dir), "master.cf": master.String(), "transport": transport.String(),
		"sasl/smtpd.conf": "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nsasldb_path: " + p.dir + "/sasldb\nmech_list: PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256\n"} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	os.Chmod(p.dir, 0o755)
	if out, err := exec.Command("chown", "postfix", filepath.Join(p.dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// send gives Postfix the message of a scenario.
func (p *postfix) send(s *scenario) error {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+p.port, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(conn)
	sender, options, _ := strings.Cut(s.mailFrom(), " ")
	commands := []string{"", "EHLO test.test", "MAIL FROM:<" + sender + "> " + options}
	for _, to := range s.to {
		local, options, _ := strings.Cut(to, " ")
		commands = append(commands, "RCPT TO:<"+local+"@"+s.name+".test> "+options)
	}
	commands = append(commands, "DATA", strings.ReplaceAll(dotted(s.content()), "\n", "\r\n")+".", "QUIT")
	for _, c := range commands {
		if c != "" {
			fmt.Fprintf(conn, "%s\r\n", strings.TrimRight(c, " "))
		}
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return fmt.Errorf("%s: %w", c, err)
			}
			if line[0] > '3' {
				return fmt.Errorf("%s: %s", c, line)
			}
			if line[3] == ' ' {
				break
			}
		}
	}
	return nil
}

func dotted(content string) string {
	return strings.ReplaceAll("\n"+content, "\n.", "\n..")[1:]
}

func (s *scenario) mailFrom() string {
	if s.sender == "" {
		return "f@q.test"
	}
	return s.sender
}

// log returns the lines that Postfix's smtp(8) has logged for a scenario's
// port, and whether all recipients are among them count times.
func (p *postfix) log(s *scenario, count int) (lines []string, complete bool) {
	text, _ := os.ReadFile(filepath.Join(p.dir, "maillog"))
	id := map[string]bool{}
	results := 0
	for line := range strings.Lines(string(text)) {
		_, rest, ok := strings.Cut(line, "postfix/"+s.daemon()+"[")
		if !ok {
			continue
		}
		pid, rest, _ := strings.Cut(rest, "]: ")
		rest = strings.TrimSuffix(rest, "\n")
		mine := strings.Contains(rest, "@"+s.name+".test>") || strings.Contains(rest, "127.0.0.1]:"+s.server.port)
		q := queueID.FindString(rest)
		switch {
		case mine:
			id[pid+q], id[pid] = true, true
		case q != "" && id[pid+q]:
		default:
			lines = append(lines, "pid "+pid+": "+rest) // perhaps ours: the process tells
			continue
		}
		if strings.Contains(rest, "status=") {
			results++
		}
		lines = append(lines, rest)
	}
	var own []string
	for _, l := range lines {
		if rest, other := strings.CutPrefix(l, "pid "); other {
			pid, rest, _ := strings.Cut(rest, ": ")
			if !id[pid] || strings.Contains(rest, ".test>") || strings.Contains(rest, "127.0.0.1]:") {
				continue
			}
			l = rest
		}
		own = append(own, mask(l))
	}
	return own, results == count*len(s.to)
}

func (s *scenario) daemon() string {
	if s.lmtp {
		return "lmtp"
	}
	return "smtp"
}

var (
	queueID = regexp.MustCompile(`^[0-9A-F]{8,}: `)
	delays  = regexp.MustCompile(`, delay=[0-9.]+, delays=[0-9./]+`)
	level   = regexp.MustCompile(`^(warning|error|fatal): `)
)

var size = regexp.MustCompile(`( SIZE=| IDENT=| PORT=|message size )[0-9A-FQID]+`)

// maskWire hides what differs from run to run on the wire, and the size of the
// message: Postfix counts the bytes of its queue file.
func maskWire(text string) string { return size.ReplaceAllString(text, "${1}N") }

// maxLogged is what of a line is compared; Postfix's log has about 2,000 bytes.
const maxLogged = 1500

// mask hides what differs from run to run.
func mask(line string) string {
	prefix := ""
	if rest := level.ReplaceAllString(line, ""); rest != line {
		prefix, line = "warning: ", rest
	}
	line = queueID.ReplaceAllString(line, "QID: ")
	line = delays.ReplaceAllString(line, "")
	return prefix + maskWire(printable(line[:min(len(line), maxLogged)]))
}

// printable is a line as the log has it.
func printable(line string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c == 127 {
			return '?'
		}
		return c
	}, line)
}

// recorder keeps what is logged.
type recorder struct {
	mu    sync.Mutex
	lines []string
}

func (*recorder) Enabled(context.Context, slog.Level) bool { return true }
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler     { return r }
func (r *recorder) WithGroup(string) slog.Handler          { return r }
func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := rec.Message
	if rec.Level > slog.LevelInfo {
		line = "warning: " + line
	}
	r.lines = append(r.lines, mask(line))
	return nil
}

// agent is Sekisho's client for a scenario, made from Postfix's configuration.
func (s *scenario) agent(t *testing.T, dir string, log slog.Handler) *smtp.Agent {
	t.Helper()
	st, err := site.Load(dir, site.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	entry := st.Config.Services[slices.IndexFunc(st.Config.Services, func(e config.Service) bool { return e.Name == s.name })]
	settings, err := smtp.FromConfig(st.Config.Service(entry), s.lmtp)
	if err != nil {
		t.Fatal(err)
	}
	a := &smtp.Agent{Settings: settings, Name: s.name, World: &evidence.World{Lookup: st.Tables.Lookup, Clock: clock.System{}},
		OwnAddresses: []string{"127.0.0.1"}, Resolver: st.Resolver, Clock: clock.System{}, Log: slog.New(log)}
	t.Cleanup(func() { a.Close() })
	return a
}

// ours delivers the message of a scenario with Sekisho's client, made from the
// same configuration.
func (s *scenario) ours(t *testing.T, dir string) []string {
	t.Helper()
	log := &recorder{}
	a := s.agent(t, dir, log)
	defer a.Close()
	for range max(1, s.times) {
		r := s.request()
		for _, result := range a.Deliver(t.Context(), r) {
			log.lines = append(log.lines, mask(deliver.LogLine("QID", r.Recipients[result.Recipient], result, deliver.Times{}, 2)))
		}
	}
	return log.lines
}

// request is the message as the queue manager would hand it over.
func (s *scenario) request() *deliver.Request {
	sender, options, _ := strings.Cut(s.mailFrom(), " ")
	content := s.content()
	env := &mail.Envelope{QueueID: "QID", Sender: sender, Arrived: time.Now(), Size: int64(len(content)),
		Client: mail.Client{Name: "localhost", Address: "127.0.0.1", Port: "1", Protocol: "ESMTP", Helo: "test.test"}}
	for _, o := range strings.Fields(options) {
		name, value, _ := strings.Cut(o, "=")
		switch name {
		case "BODY":
			env.Body = value
		case "ENVID":
			env.EnvID = value
		case "RET":
			env.Ret = value
		case "SMTPUTF8":
			env.SMTPUTF8 = true
		}
	}
	if strings.Contains(s.header, "Content-Transfer-Encoding: 8") {
		env.Body = "8BITMIME" // what cleanup(8) makes of it (detect_8bit_encoding_header)
	}
	for _, to := range s.to {
		local, options, _ := strings.Cut(to, " ")
		r := mail.Recipient{Address: local + "@" + s.name + ".test", Original: local + "@" + s.name + ".test"}
		for _, o := range strings.Fields(options) {
			name, value, _ := strings.Cut(o, "=")
			switch name {
			case "NOTIFY":
				r.Notify, _ = mail.ParseNotify(value)
			case "ORCPT":
				r.ORCPT = value
			}
		}
		env.Recipients = append(env.Recipients, r)
	}
	return &deliver.Request{QueueID: "QID", Envelope: env, Recipients: env.Recipients, Nexthop: "[127.0.0.1]:" + s.server.port,
		Size: int64(len(content)), Content: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(content)), nil }}
}

// The same server sees and hears the same of both.
func TestSameAsPostfix(t *testing.T) {
	key, cert := newCertificate(t, "srv.test")
	shared, err := os.MkdirTemp("", "ca") // that Postfix's user can look into
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(shared)
	if err := os.Chmod(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(shared, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw}), 0o644); err != nil {
		t.Fatal(err)
	}
	list := append(scenarios(cert, ca), postfixLogins()...)
	for _, s := range list {
		if s.direct {
			continue
		}
		if len(s.to) == 0 {
			s.to = []string{"u", "v"}
		}
		s.server = &server{script: s.script, lmtp: s.lmtp}
		if s.tls {
			s.server.tls = tlsConfig(key, cert)
		}
		s.server.listen(t)
	}
	p := start(t, list)
	wants := make(map[*scenario][2]string)
	play := func(s *scenario) {
		for n := range max(1, s.times) {
			if err := p.send(s); err != nil {
				t.Errorf("%s: %v", s.name, err)
				return
			}
			if !p.await(s, n+1) || s.times > 1 && !p.idle() {
				lines, _ := p.log(s, 1)
				t.Errorf("%s: Postfix has not delivered:\n%s", s.name, strings.Join(lines, "\n"))
				return
			}
		}
	}
	var all sync.WaitGroup
	room := make(chan struct{}, 40) // Postfix's smtpd takes no more at a time
	for _, s := range list {
		if s.times == 0 && !s.direct {
			room <- struct{}{}
			all.Go(func() { play(s); <-room })
		}
	}
	all.Wait()
	for _, s := range list { // whether a connection is kept depends on the time between two messages
		if s.times > 0 {
			play(s)
		}
	}
	for _, s := range list {
		if !s.direct {
			lines, _ := p.log(s, 1)
			s.server.open.Wait() // for connections that are kept, too
			wants[s] = [2]string{s.server.take(), strings.Join(lines, "\n")}
		}
	}
	t.Run("login", func(t *testing.T) { login(t, p, list) })
	for _, s := range list {
		if s.direct {
			continue
		}
		t.Run(s.name, func(t *testing.T) {
			got := strings.Join(s.ours(t, p.dir), "\n")
			s.server.open.Wait()
			heard := s.server.take()
			if d := cmp.Diff(maskWire(wants[s][0]), maskWire(heard)); d != "" {
				t.Errorf("on the wire (-Postfix +Sekisho):\n%s", d)
			}
			if d := cmp.Diff(sorted(wants[s][1]), sorted(got)); d != "" && !s.noLog {
				t.Errorf("in the log (-Postfix +Sekisho):\n%s", d)
			}
		})
	}
}

// idle waits until Postfix has put away all messages, and the connections that
// delivered them.
func (p *postfix) idle() bool {
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		left := 0
		for _, queue := range []string{"incoming", "active"} {
			files, err := os.ReadDir(filepath.Join(p.dir, "spool", queue))
			if err != nil {
				return false
			}
			left += len(files)
		}
		if left == 0 {
			return true
		}
	}
	return false
}

// sorted is a log with the lines in order of the alphabet: recipients are
// reported in another order.
func sorted(log string) []string {
	lines := strings.Split(log, "\n")
	slices.Sort(lines)
	return lines
}

// await waits until Postfix is done with a scenario's message.
func (p *postfix) await(s *scenario, n int) bool {
	for end := time.Now().Add(40 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, complete := p.log(s, n); complete {
			return true
		}
	}
	return false
}
