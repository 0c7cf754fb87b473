package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/zone"
)

// security is how a client reaches the server.
type security string

const (
	plaintext security = "plain"
	startTLS  security = "STARTTLS"
	smtps     security = "SMTPS"
)

// letter is one attempt of a client to send a message.
type letter struct {
	addr     string
	security security
	source   string // address to connect from, "" for 127.0.0.1
	mech     string // "" sends without logging in
	user     string
	password string
	from, to string
	subject  string // also the body
}

// mailer is a real client. It says whether the message was accepted, and what
// it and the server said.
type mailer struct {
	name string
	send func(ctx context.Context, t *testing.T, s *mailSite, l letter) (accepted bool, output string)
}

var mailers = []mailer{{"swaks", swaks}, {"curl", curl}, {"smtplib", smtplib}}

// TestClientsSend has every client send by every way in and every mechanism.
func TestClientsSend(t *testing.T) {
	s := newMailSite(t)
	for _, m := range mailers {
		t.Run(m.name, func(t *testing.T) {
			for _, sec := range []security{plaintext, startTLS, smtps} {
				for _, mech := range []string{"", "PLAIN", "LOGIN", "CRAM-MD5"} {
					if mech == "" && sec == smtps {
						continue // that port is for users
					}
					t.Run(strings.TrimSuffix(string(sec)+" "+mech, " "), func(t *testing.T) {
						l := letter{addr: s.addr(sec, mech), security: sec, mech: mech, user: "alice@demo.test", password: "alice-demo",
							from: "alice@demo.test", to: "bob@demo.test", subject: m.name + "-" + string(sec) + "-" + mech}
						if mech == "" {
							l.from = "stranger@sender.test"
						}
						s.wantDelivered(t, m, l)
					})
				}
			}
		})
	}
}

// TestClientsAreRefused has every client meet every kind of refusal.
func TestClientsAreRefused(t *testing.T) {
	s := newMailSite(t)
	tests := []struct {
		name string
		l    letter
		want string
	}{
		{"bad password", letter{addr: s.submission, security: startTLS, mech: "PLAIN", user: "alice@demo.test", password: "wrong",
			from: "alice@demo.test", to: "bob@demo.test"}, "535 5.7.8 Error: authentication failed"},
		{"unknown login", letter{addr: s.smtps, security: smtps, mech: "LOGIN", user: "nobody@demo.test", password: "alice-demo",
			from: "alice@demo.test", to: "bob@demo.test"}, "535 5.7.8 Error: authentication failed"},
		{"no login where one is needed", letter{addr: s.submission, security: startTLS,
			from: "stranger@sender.test", to: "bob@demo.test"}, "554 5.7.1 <localhost[127.0.0.1]>: Client host rejected: Access denied"},
		{"relay", letter{addr: s.smtp, security: plaintext,
			from: "stranger@sender.test", to: "someone@remote.test"}, "554 5.7.1 <someone@remote.test>: Relay access denied"},
		{"access table", letter{addr: s.smtp, security: plaintext,
			from: "someone@spammer.test", to: "bob@demo.test"}, "554 5.7.1 <someone@spammer.test>: Sender address rejected: go away"},
		{"sender domain", letter{addr: s.smtp, security: startTLS,
			from: "someone@nowhere.test", to: "bob@demo.test"}, "450 4.1.8 <someone@nowhere.test>: Sender address rejected: Domain not found"},
		{"unknown user", letter{addr: s.smtp, security: plaintext,
			from: "stranger@sender.test", to: "zoe@demo.test"}, "550 5.1.1 <zoe@demo.test>: Recipient address rejected: User unknown in virtual mailbox table"},
		{"block list", letter{addr: s.smtp, security: plaintext, source: "127.0.0.6",
			from: "stranger@sender.test", to: "bob@demo.test"}, "554 5.7.1 Service unavailable; Client host [127.0.0.6] blocked using bl.test; listed for a test"},
	}
	for _, m := range mailers {
		t.Run(m.name, func(t *testing.T) {
			for _, tt := range tests {
				t.Run(tt.name, func(t *testing.T) {
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					defer cancel()
					tt.l.subject = "refused"
					accepted, output := m.send(ctx, t, s, tt.l)
					if accepted {
						t.Errorf("was accepted:\n%s", output)
					}
					if !strings.Contains(output, tt.want) {
						t.Errorf("want %q in\n%s", tt.want, output)
					}
				})
			}
		})
	}
	if files, err := filepath.Glob(filepath.Join(s.mail, "*", "*", "new", "*")); err != nil || len(files) > 0 {
		t.Errorf("delivered nevertheless: %v, %v", files, err)
	}
}

// mailSite is a site as in the documentation: accounts in SQLite, port 25, 587
// and 465, and a zone for the DNS.
type mailSite struct {
	*site
	smtp, submission, smtps string
	certificate             string // file, its own authority
}

// addr returns the way in for a security and a mechanism: users have ports of
// their own.
func (s *mailSite) addr(sec security, mech string) string {
	switch {
	case sec == smtps:
		return s.smtps
	case mech != "":
		return s.submission
	}
	return s.smtp
}

const clientZone = `
sender.test            MX 10 mx.sender.test
mx.sender.test         A 127.0.0.77
remote.test            MX 10 mx.remote.test
mx.remote.test         A 127.0.0.78
spammer.test           MX 10 mx.sender.test
demo.test              MX 10 mx.sender.test
6.0.0.127.in-addr.arpa PTR listed.client.test
listed.client.test     A 127.0.0.6
bl.test                EXISTS
6.0.0.127.bl.test      A 127.0.0.2
6.0.0.127.bl.test      TXT "listed for a test"
`

func newMailSite(t *testing.T) *mailSite {
	t.Helper()
	z, err := zone.Parse("zone", strings.NewReader(clientZone))
	if err != nil {
		t.Fatal(err)
	}
	dns, err := z.Serve("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	s := &mailSite{site: newSite(t, `sekisho_dns_servers = `+dns.Addr()+`
sekisho_directory = sqlite:{dir}/data/accounts.db
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = sekisho
sekisho_auth_failure_delay = 0s
smtpd_sasl_security_options = noanonymous
smtpd_tls_security_level = may
smtpd_tls_cert_file = {conf}/cert.pem
smtpd_tls_key_file = {conf}/key.pem
smtpd_relay_restrictions =
smtpd_client_restrictions = reject_rbl_client bl.test
smtpd_sender_restrictions = check_sender_access hash:{conf}/access, reject_unknown_sender_domain
smtpd_recipient_restrictions = permit_sasl_authenticated, reject_unauth_destination
virtual_mailbox_domains = sqlite:{conf}/domains.cf
virtual_mailbox_maps = sqlite:{conf}/mailboxes.cf
`)}
	for file, query := range map[string]string{
		"domains.cf":   "SELECT domain FROM domain WHERE domain = '%s' AND active = 1",
		"mailboxes.cf": "SELECT maildir FROM mailbox WHERE username = '%s' AND active = 1",
	} {
		s.write(t, file, "dbpath = {dir}/data/accounts.db\nquery = "+query+"\n")
	}
	s.write(t, "access", "spammer.test REJECT go away\n")
	addrs := freePorts(t, 3)
	s.smtp, s.submission, s.smtps = addrs[0], addrs[1], addrs[2]
	users := `
  -o { smtpd_client_restrictions = permit_sasl_authenticated, reject }
  -o smtpd_sender_restrictions=
`
	s.services(t, s.smtp+" inet n - n - - smtpd\n"+
		s.submission+" inet n - n - - smtpd"+users+
		s.smtps+" inet n - n - - smtpd"+users+"  -o smtpd_tls_wrappermode=yes\n")
	s.makeCertificate(t)
	s.makeAccounts(t)
	s.serve(t, addrs...)
	return s
}

// makeAccounts makes alice and bob. Their passwords are stored so that every
// mechanism can be offered.
func (s *mailSite) makeAccounts(t *testing.T) {
	t.Helper()
	file := filepath.Join(s.dir, "data", "accounts.db")
	d, err := directory.Create(t.Context(), "sqlite:"+file, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Transport: "virtual", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"alice", "bob"} {
		stored, err := password.Hash("PLAIN", user+"-demo")
		if err != nil {
			t.Fatal(err)
		}
		if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: user + "@demo.test", Active: true}, stored); err != nil {
			t.Fatal(err)
		}
	}
}

// makeCertificate makes a certificate for 127.0.0.1 that is its own authority.
func (s *mailSite) makeCertificate(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    []string{"mx.example.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	s.certificate = s.write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	s.write(t, "key.pem", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})))
}

// wantDelivered sends a letter, which has to be accepted and to arrive.
func (s *mailSite) wantDelivered(t *testing.T, m mailer, l letter) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	accepted, output := m.send(ctx, t, s, l)
	if !accepted {
		t.Fatalf("was not accepted:\n%s", output)
	}
	var message string
	await(t, 10*time.Second, "delivery", func() bool {
		message = s.find(t, "demo.test/bob", l.subject)
		return message != ""
	})
	head, body, _ := strings.Cut(message, "\n\n")
	if strings.TrimSpace(body) != "This is "+l.subject+"." {
		t.Errorf("body %q", body)
	}
	for _, want := range []string{"Return-Path: <" + l.from + ">", "Delivered-To: bob@demo.test", "Subject: " + l.subject, with(l)} {
		if !strings.Contains(head, want) {
			t.Errorf("want %q in\n%s", want, head)
		}
	}
}

// with returns the protocol in the Received field, which tells whether the
// session was encrypted and authenticated.
func with(l letter) string {
	name := "ESMTP"
	if l.security != plaintext {
		name += "S"
	}
	if l.mech != "" {
		name += "A"
	}
	return "with " + name + " id "
}

// find returns the message of a Maildir with this subject, "" if there is none.
func (s *mailSite) find(t *testing.T, maildir, subject string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.mail, maildir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "\nSubject: "+subject+"\n") {
			return string(data)
		}
	}
	return ""
}

// text is the message that clients send that want a whole one.
func (l letter) text() string {
	return fmt.Sprintf("From: <%s>\r\nTo: <%s>\r\nSubject: %s\r\n\r\nThis is %s.\r\n", l.from, l.to, l.subject, l.subject)
}

func run(t *testing.T, cmd *exec.Cmd) (accepted bool, output string) {
	out, err := cmd.CombinedOutput()
	if _, refused := err.(*exec.ExitError); err != nil && !refused {
		t.Fatal(err)
	}
	return err == nil, string(out)
}

func swaks(ctx context.Context, t *testing.T, s *mailSite, l letter) (bool, string) {
	program := need(t, "swaks", "swaks")
	args := []string{"--server", l.addr, "--from", l.from, "--to", l.to, "--ehlo", "client.test", "--no-hints",
		"--header", "Subject: " + l.subject, "--body", "This is " + l.subject + "."}
	if l.source != "" {
		args = append(args, "--local-interface", l.source)
	}
	switch l.security {
	case startTLS:
		args = append(args, "--tls", "--tls-verify", "--tls-ca-path", s.certificate)
	case smtps:
		args = append(args, "--tls-on-connect", "--tls-verify", "--tls-ca-path", s.certificate)
	}
	if l.mech != "" {
		args = append(args, "--auth", l.mech, "--auth-user", l.user, "--auth-password", l.password)
	}
	accepted, output := run(t, exec.CommandContext(ctx, program, args...))
	if strings.Contains(output, "requires Net::SSLeay") {
		missing(t, "swaks speaks no TLS (Debian: apt-get install libnet-ssleay-perl)")
	}
	return accepted, output
}

func curl(ctx context.Context, t *testing.T, s *mailSite, l letter) (bool, string) {
	program := need(t, "curl", "curl")
	scheme := "smtp"
	if l.security == smtps {
		scheme = "smtps"
	}
	args := []string{"--verbose", "--no-progress-meter", "--url", scheme + "://" + l.addr + "/client.test",
		"--mail-from", l.from, "--mail-rcpt", l.to, "--upload-file", "-", "--cacert", s.certificate}
	if l.source != "" {
		args = append(args, "--interface", l.source)
	}
	if l.security == startTLS {
		args = append(args, "--ssl-reqd")
	}
	if l.mech != "" {
		args = append(args, "--user", l.user+":"+l.password, "--login-options", "AUTH="+l.mech)
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdin = strings.NewReader(l.text())
	return run(t, cmd)
}

// smtplibScript sends standard input with Python's smtplib.
const smtplibScript = `
import smtplib, ssl, sys
host, port, security, source, ca, mech, user, password, sender, to = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
options = dict(local_hostname="client.test", timeout=20, source_address=(source, 0) if source else None)
if security == "SMTPS":
    client = smtplib.SMTP_SSL(host, int(port), context=context, **options)
else:
    client = smtplib.SMTP(host, int(port), **options)
try:
    client.ehlo()
    if security == "STARTTLS":
        client.starttls(context=context)
        client.ehlo()
    if mech:
        if mech not in client.esmtp_features["auth"].split():
            sys.exit("not offered: " + client.esmtp_features["auth"])
        client.esmtp_features["auth"] = mech
        client.login(user, password)
    client.sendmail(sender, [to], sys.stdin.buffer.read())
    client.quit()
except smtplib.SMTPRecipientsRefused as e:
    for code, text in e.recipients.values():
        sys.exit("%d %s" % (code, text.decode()))
except smtplib.SMTPResponseException as e:
    sys.exit("%d %s" % (e.smtp_code, e.smtp_error.decode()))
`

func smtplib(ctx context.Context, t *testing.T, s *mailSite, l letter) (bool, string) {
	program := need(t, "python3", "python3")
	host, port, err := net.SplitHostPort(l.addr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "-c", smtplibScript, host, port, string(l.security), l.source, s.certificate,
		l.mech, l.user, l.password, l.from, l.to)
	cmd.Stdin = strings.NewReader(l.text())
	return run(t, cmd)
}
