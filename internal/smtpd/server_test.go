package smtpd_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/anvil"
	"sekisho/internal/cleanup"
	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/maillog"
	"sekisho/internal/queue"
	"sekisho/internal/rewrite"
	"sekisho/internal/sasl"
	"sekisho/internal/site"
	"sekisho/internal/smtpd"
	"sekisho/internal/table"
	"sekisho/internal/zone"
)

const mainCF = `
compatibility_level = 3.6
myhostname = mx.example
mydestination =
mynetworks = 192.0.2.0/24
inet_interfaces = 127.0.0.1
virtual_mailbox_domains = example.com
virtual_mailbox_maps = inline:{user@example.com=x, other@example.com=x}
smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_helo_required = yes
`

const names = `
1.0.0.127.in-addr.arpa PTR client.test
client.test A 127.0.0.1
`

// server is a Server with all that it needs, in a directory of its own.
type server struct {
	*smtpd.Server
	log   *lockedBuilder
	clock *clock.Manual
	queue *queue.Queue

	asked []string // what policy services were asked, by the one session that asks
}

// policy is a policy service without an opinion.
func (s *server) policy(_ context.Context, _, request string) evidence.Answer {
	s.asked = append(s.asked, request)
	return evidence.Answer{Status: evidence.Found, Value: "DUNNO"}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

var logPrefix = regexp.MustCompile(`(?m)^\w+ +\d+ [\d:]+ \S+ (\S+)\[\d+\]: `)

// text returns what was logged, without dates and process ids.
func (l *lockedBuilder) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return logPrefix.ReplaceAllString(l.b.String(), "$1: ")
}

// newServer makes the server that settings, added to mainCF, describe.
func newServer(t *testing.T, settings string, backend sasl.Backend) (*server, error) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), mainCF+settings)
	write(t, filepath.Join(dir, "master.cf"), "smtp inet n - n - - smtpd\n")
	s := &server{log: &lockedBuilder{}, clock: clock.NewManual(time.Unix(1700000000, 0))}
	log := slog.New(maillog.NewHandler(s.log, "mx", s.clock))
	st, err := site.Load(dir, site.Options{Clock: s.clock, Log: log})
	if err == nil {
		err = st.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	z, err := zone.Parse("zone", strings.NewReader(names))
	if err != nil {
		t.Fatal(err)
	}
	if s.queue, err = queue.Open(filepath.Join(dir, "spool"), queue.Options{Clock: s.clock, Log: log}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.queue.Close() })
	system := dns.NewSystem(z.Query, "")
	lists := rewrite.World{Partial: table.Partial, ReadFile: os.ReadFile}
	cleaner, problems := cleanup.New(st.Config, cleanup.World{
		Resolver: st.Resolver, Lists: lists, Mynetworks: st.Main.Mynetworks, Queue: s.queue, Clock: s.clock, Log: log,
	})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	v := st.Services[0]
	s.Server, err = smtpd.New(smtpd.Options{
		Config: v.Config, Service: "smtp", Program: v.Program, Resolver: st.Resolver,
		World: &evidence.World{Query: z.Query, Host: system.Host, Lookup: st.Tables.Lookup, Policy: s.policy, Clock: s.clock},
		Lists: lists, Peers: system, SASL: backend, Anvil: anvil.New(time.Minute, s.clock),
		Cleaner: cleaner, Queue: s.queue, Lookup: st.Tables.Lookup, Clock: s.clock, Log: log,
	})
	return s, err
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// dial begins a session; done is closed when the server is through with it.
func (s *server) dial(t *testing.T, ctx context.Context) (conn net.Conn, done chan struct{}) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if conn, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	done = make(chan struct{})
	go func() {
		defer close(done)
		s.Serve(ctx, accepted)
	}()
	t.Cleanup(func() { conn.Close(); <-done })
	return conn, done
}

var queueID = regexp.MustCompile(`\b[0-9A-F]{10}\b`)

// talk plays the client's lines of a dialogue ("C: ") over conn and returns the
// dialogue as it went: each reply to the lines that were sent before it in one
// write. "S: " lines of the script tell where replies are due.
func talk(t *testing.T, conn net.Conn, script string) string {
	t.Helper()
	r := bufio.NewReader(conn)
	var said, group strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "C: "); ok || line == "C:" {
			group.WriteString(text + "\r\n")
			said.WriteString(line + "\n")
			continue
		}
		if group.Len() > 0 {
			if _, err := io.WriteString(conn, group.String()); err != nil {
				return said.String() + "S! " + err.Error() + "\n"
			}
			group.Reset()
		}
		got, err := r.ReadString('\n')
		if err != nil {
			said.WriteString("S! closed\n")
			return said.String()
		}
		said.WriteString("S: " + strings.TrimRight(queueID.ReplaceAllString(got, "QID"), "\r\n") + "\n")
	}
	return said.String()
}

// trim takes the indentation off a script.
func trim(script string) string {
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		b.WriteString(strings.TrimSpace(line) + "\n")
	}
	return b.String()
}

func TestDialogues(t *testing.T) {
	for _, c := range dialogues {
		t.Run(c.name, func(t *testing.T) {
			s, err := newServer(t, c.settings, nil)
			if err != nil {
				t.Fatal(err)
			}
			conn, done := s.dial(t, context.Background())
			if got, want := talk(t, conn, c.script), trim(c.script); got != want {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			conn.Close()
			<-done
			log := queueID.ReplaceAllString(s.log.text(), "QID")
			for _, line := range strings.Split(trim(c.log), "\n") {
				if !strings.Contains(log, line+"\n") {
					t.Errorf("not logged: %s\nbut\n%s", line, log)
				}
			}
		})
	}
}

// TestDrain: a session between commands ends with a 421; one within a message
// goes on to its end.
func TestDrain(t *testing.T) {
	s, err := newServer(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	conn, done := s.dial(t, ctx)
	talk(t, conn, "S: \nC: EHLO c.test\n"+strings.Repeat("S:\n", 10)+"C: MAIL FROM:<a@b.test>\nS:\nC: RCPT TO:<user@example.com>\nS:\nC: DATA\nS:")
	cancel()
	if got := talk(t, conn, "C: Subject: x\nC:\nC: y\nC: .\nS:\nS:"); !strings.Contains(got, "S: 250 2.0.0 Ok: queued as QID\nS: 421 4.3.2 ") {
		t.Errorf("got\n%s", got)
	}
	<-done
	idle, done := s.dial(t, ctx)
	if got := talk(t, idle, "S:\nS:\nS:"); !strings.Contains(got, "S: 421 4.3.2 mx.example ") {
		t.Errorf("idle: got\n%s", got)
	}
	<-done
}

// certificate makes a self-signed certificate for name and returns the files.
func certificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	write(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})))
	return cert, key
}

func startTLS(t *testing.T, conn net.Conn, cfg *tls.Config) *tls.Conn {
	t.Helper()
	cfg.InsecureSkipVerify = true
	c := tls.Client(conn, cfg)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSTARTTLS(t *testing.T) {
	cert, key := certificate(t, "mx.example")
	sniCert, sniKey := certificate(t, "www.example")
	s, err := newServer(t, fmt.Sprintf(`
smtpd_tls_security_level = may
smtpd_tls_cert_file = %s
smtpd_tls_key_file = %s
smtpd_tls_loglevel = 1
smtpd_tls_received_header = yes
tls_server_sni_maps = inline:{{www.example = %s %s}}
smtpd_delay_reject = no
smtpd_helo_restrictions = check_policy_service unix:policy
`, cert, key, sniKey, sniCert), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, done := s.dial(t, context.Background())
	got := talk(t, conn, "S:\nC: EHLO c.test\n"+strings.Repeat("S:\n", 11)+"C: STARTTLS\nC: NOOP\nS:")
	if !strings.Contains(got, "S: 250-STARTTLS\n") || !strings.Contains(got, "S: 220 2.0.0 Ready to start TLS\n") {
		t.Fatalf("got\n%s", got)
	}
	c := startTLS(t, conn, &tls.Config{ServerName: "www.example"})
	if name := c.ConnectionState().PeerCertificates[0].Subject.CommonName; name != "www.example" {
		t.Errorf("certificate of %s", name)
	}
	got = talk(t, c, "C: MAIL FROM:<a@b.test>\nS:\nC: EHLO c.test\n"+strings.Repeat("S:\n", 10)+"C: STARTTLS\nS:\nC: QUIT\nS:")
	if strings.Contains(got, "STARTTLS\nS: 250") || !strings.HasPrefix(got, "C: MAIL FROM:<a@b.test>\nS: 503 5.5.1 Error: send HELO/EHLO first\n") ||
		!strings.Contains(got, "S: 554 5.5.1 Error: TLS already active\nC: QUIT\nS: 221 2.0.0 Bye\n") {
		t.Errorf("got\n%s", got)
	}
	<-done
	if len(s.asked) != 2 || !strings.Contains(s.asked[0], "\ntls_sni=\n") || !strings.Contains(s.asked[1], "\ntls_sni=www.example\n") {
		t.Errorf("asked %q", s.asked)
	}
	log := s.log.text()
	for _, want := range []string{
		"Anonymous TLS connection established from client.test[127.0.0.1] to www.example: TLSv1.3 with cipher TLS_",
		"disconnect from client.test[127.0.0.1] ehlo=2 starttls=1/2 mail=0/1 quit=1 commands=4/6\n",
	} {
		if !strings.Contains(log, want) {
			t.Errorf("not logged: %s\nbut\n%s", want, log)
		}
	}
}

func TestRequiredClientCertificate(t *testing.T) {
	cert, key := certificate(t, "mx.example")
	s, err := newServer(t, fmt.Sprintf("smtpd_tls_wrappermode = yes\nsmtpd_tls_req_ccert = yes\nsmtpd_tls_chain_files = %s %s\n", key, cert), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, done := s.dial(t, context.Background())
	c := startTLS(t, conn, &tls.Config{})
	if got := talk(t, c, "C: EHLO c.test\nS:\nS:"); !strings.Contains(got, "S: 421 4.7.1 mx.example Error: No client certificate presented\nS! closed\n") {
		t.Errorf("got\n%s", got)
	}
	<-done
}

// TestPipeliningIsSeenThroughTLS: data that the TLS library has read already
// counts as waiting.
func TestPipeliningIsSeenThroughTLS(t *testing.T) {
	cert, key := certificate(t, "mx.example")
	s, err := newServer(t, fmt.Sprintf("smtpd_tls_wrappermode = yes\nsmtpd_tls_chain_files = %s %s\n", key, cert), nil)
	if err != nil {
		t.Fatal(err)
	}
	conn, done := s.dial(t, context.Background())
	c := startTLS(t, conn, &tls.Config{})
	if got := talk(t, c, "S:\nC: HELO c.test\nC: NOOP\nS:\nS:"); !strings.Contains(got, "S: 554 5.5.0 Error: SMTP protocol synchronization\nS! closed\n") {
		t.Errorf("got\n%s", got)
	}
	<-done
}

func TestBadSettingsAreTold(t *testing.T) {
	for _, c := range []struct{ settings, want string }{
		{"smtpd_sasl_auth_enable = yes", "smtpd_sasl_auth_enable"},
		{"smtpd_sasl_security_options = nonsense", `unknown security option "nonsense"`},
		{"smtpd_tls_security_level = sometimes", `invalid TLS level "sometimes"`},
		{"smtpd_tls_security_level = encrypt", "no server certificate is configured"},
		{"smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /nowhere", "cannot use certificate /nowhere"},
		{"smtpd_tls_security_level = may\nsmtpd_tls_protocols = TLSv9", `unknown TLS protocol in "TLSv9"`},
		{"smtpd_forbid_bare_newline = perhaps", `unknown value "perhaps"`},
		{"smtpd_upstream_proxy_protocol = socks", `unknown protocol "socks"`},
	} {
		_, err := newServer(t, c.settings+"\n", nil)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "main.cf:") {
			t.Errorf("%s: %v", c.settings, err)
		}
	}
}
