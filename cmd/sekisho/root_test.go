package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// rootMainCF needs what only root has: a key that others may not read, a port
// below 1024, and mail of another user.
const rootMainCF = `compatibility_level = 3.6
myhostname = mx.demo.test
mydestination =
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.1/32
inet_interfaces = 127.0.0.1
sekisho_dns_servers = 127.0.0.1:1
smtpd_peername_lookup = no
mail_owner = nobody
maillog_file = $config_directory/private/log
sekisho_spool_directory = $config_directory/private/spool
smtpd_tls_cert_file = $config_directory/private/cert.pem
smtpd_tls_key_file = $config_directory/private/key.pem
smtpd_tls_security_level = may
virtual_mailbox_domains = demo.test
virtual_mailbox_maps = inline:{alice@demo.test=alice/}
virtual_mailbox_base = $config_directory/mail
virtual_uid_maps = static:12345
virtual_gid_maps = static:12346
`

// TestServeAsRoot starts the server as root and looks for what it is then: not
// root, and yet able to do what root started it for.
func TestServeAsRoot(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("CI must run as root")
		}
		t.Skip("root only")
	}
	dir := t.TempDir()
	for _, d := range []string{filepath.Dir(dir), dir} {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	binary, err := testsite.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	const addr = "127.0.0.127:1022"
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "mail"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, "mail"), 12345, 12346); err != nil {
		t.Fatal(err)
	}
	write("main.cf", rootMainCF, 0o644)
	write("master.cf", addr+" inet n - n - - smtpd\nvirtual unix - n n - - virtual\n", 0o644)
	makeCertificate(t, filepath.Join(dir, "private"))
	out := &output{}
	server, err := testsite.Start(binary, dir, out, addr)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(server.Kill)

	nobody := fmt.Sprintf("%[1]d\t%[1]d\t%[1]d\t%[1]d", 65534)
	if got := statusOf(t, server.PID(), "Uid"); got != nobody {
		t.Errorf("the server runs as %q, want %q", got, nobody)
	}
	send(t, addr, "alice@demo.test")
	var files []string
	await(t, "the message", func() bool {
		files, _ = filepath.Glob(filepath.Join(dir, "mail/alice/new/*"))
		return len(files) == 1
	})
	fi, err := os.Stat(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 12346 || fi.Mode() != 0o600 {
		t.Errorf("the message belongs to %d:%d with mode %v", st.Uid, st.Gid, fi.Mode())
	}
	if err := server.Stop(30 * time.Second); err != nil {
		t.Error(err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "private/log"))
	if err != nil || !strings.Contains(string(log), "status=sent (delivered to maildir)") {
		t.Errorf("log: %v\n%s", err, log)
	}
}

// makeCertificate writes a self-signed certificate and its key, for root only.
func makeCertificate(t *testing.T, dir string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// send sends one message over STARTTLS.
func send(t *testing.T, addr, to string) {
	t.Helper()
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var w io.WriteCloser
	for _, step := range []func() error{
		func() error { return c.StartTLS(&tls.Config{InsecureSkipVerify: true}) },
		func() error { return c.Mail("a@demo.test") },
		func() error { return c.Rcpt(to) },
		func() (err error) { w, err = c.Data(); return },
		func() error { _, err := io.WriteString(w, "Subject: hello\r\n\r\nhello\r\n"); return err },
		func() error { return w.Close() },
		func() error { return c.Quit() },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

// statusOf returns a field of /proc/PID/status.
func statusOf(t *testing.T, pid int, field string) string {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(l, field+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Fatalf("no %s in /proc/%d/status", field, pid)
	return ""
}
