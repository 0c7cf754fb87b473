package peers

import (
	"bytes"
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
	"time"

	"sekisho/conformance/sandbox"
	"sekisho/internal/testsite"
)

// Where things are in the worker's world.
const (
	unpacked = "/var/cache/sekisho-peers"
	home     = "/run/peers"

	role       = "peers"
	binaryName = "SEKISHO_BINARY"
)

// peer is one mail system. It takes mail for its domain at addr, keeps it below
// home/NAME.in, and sends all other mail to 127.0.0.1:2525.
type peer struct {
	name, addr string
	start      func() error
	// plain: it takes mail in the clear only. The server of OpenSMTPD 6.8.0p2-4 in
	// Debian 12 cannot sign with OpenSSL 3, whoever the client is.
	plain bool
}

func peers() []peer {
	return []peer{
		{"exim", "127.0.0.2", startExim, false},
		{"opensmtpd", "127.0.0.3", startOpenSMTPD, true},
		{"postfix", "127.0.0.4", startPostfix, false},
	}
}

// users are those that the peers run as, beside the machine's.
const users = "Debian-exim:x:64001:64001::/nonexistent:/bin/false\nopensmtpd:x:64002:64002::/nonexistent:/bin/false\n" +
	"opensmtpq:x:64003:64003::/nonexistent:/bin/false\nu:x:64004:64004::" + home + ":/bin/sh\n"

const groups = "Debian-exim:x:64001:\nopensmtpd:x:64002:\nopensmtpq:x:64003:\nu:x:64004:\n"

// up makes the worker's world and starts everything in it.
func up() error {
	if err := sandbox.Isolate(); err != nil {
		return err
	}
	for _, dir := range []struct {
		path string
		mode os.FileMode
	}{{"/run", 0o755}, {"/var/spool", 0o755}, {"/var/lib", 0o755}, {"/usr/libexec", 0o755}, {home, 0o777}} {
		if err := sandbox.Empty(dir.path, dir.mode); err != nil {
			return err
		}
	}
	for file, more := range map[string]string{"/etc/passwd": users, "/etc/group": groups, "/etc/resolv.conf": "nameserver 127.0.0.1\n", "/etc/hosts": "127.0.0.1 localhost\n"} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if file == "/etc/resolv.conf" || file == "/etc/hosts" {
			text = nil
		}
		with := filepath.Join("/run", filepath.Base(file))
		if err := os.WriteFile(with, append(text, more...), 0o644); err != nil {
			return err
		}
		if err := sandbox.Replace(file, with); err != nil {
			return err
		}
	}
	if err := libraries(); err != nil {
		return err
	}
	if err := certificate(); err != nil {
		return err
	}
	for _, p := range peers() {
		if err := p.start(); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return startSekisho(os.Getenv(binaryName))
}

// libraries makes those of the unpacked packages known; Exim's binary is setuid
// and heeds no environment.
func libraries() error {
	if err := os.WriteFile("/run/ld.so.conf", []byte("include /etc/ld.so.conf\n"+unpacked+"/usr/lib/x86_64-linux-gnu\n"), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("/sbin/ldconfig", "-f", "/run/ld.so.conf", "-C", "/run/ld.so.cache").CombinedOutput(); err != nil {
		return fmt.Errorf("ldconfig: %w: %s", err, out)
	}
	return sandbox.Replace("/etc/ld.so.cache", "/run/ld.so.cache")
}

// certificate is everybody's: it has all their names, and signs itself.
func certificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers.test"},
		DNSNames:  []string{"exim.test", "opensmtpd.test", "postfix.test", "mx.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	keyText := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private})
	certText := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return write(map[string]string{"key.pem": string(keyText), "cert.pem": string(certText), "chain.pem": string(keyText) + string(certText)})
}

// write writes files below home, where %H stands for it.
func write(files map[string]string) error {
	for name, text := range files {
		path := filepath.Join(home, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "%H", home)), 0o640); err != nil {
			return err
		}
		if err := os.Chown(path, 0, 64001); err != nil { // Exim reads the key as its user
			return err
		}
	}
	return nil
}

// daemon starts a program that stays, with its output in home/NAME.log.
func daemon(name string, args ...string) error {
	log, err := os.Create(filepath.Join(home, name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c := exec.Command(args[0], args[1:]...)
	c.Stdout, c.Stderr = log, log
	return c.Start() // it ends with its namespace
}

// await waits until something listens.
func await(addr string) error {
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return err
		}
	}
}

func startExim() error {
	err := write(map[string]string{"exim.conf": `
primary_hostname = exim.test
exim_path = ` + unpacked + `/usr/sbin/exim4
domainlist local_domains = exim.test
acl_smtp_rcpt = acl_all
tls_advertise_hosts = *
tls_certificate = %H/cert.pem
tls_privatekey = %H/key.pem
spool_directory = %H/exim-spool
log_file_path = %H/exim-%slog
local_interfaces = 127.0.0.2
daemon_smtp_ports = 25
host_lookup =
rfc1413_hosts =
never_users =
begin acl
acl_all:
  accept
begin routers
here:
  driver = accept
  domains = +local_domains
  transport = file
there:
  driver = manualroute
  transport = out
  route_list = * 127.0.0.1::2525
  self = send
begin transports
file:
  driver = appendfile
  file = %H/exim.in/mail
  user = Debian-exim
  create_file = anywhere
out:
  driver = smtp
  hosts_require_tls = *
`})
	if err != nil {
		return err
	}
	for _, dir := range []string{"exim.in", "exim-spool"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o755); err != nil {
			return err
		}
		if err := os.Chown(filepath.Join(home, dir), 64001, 64001); err != nil {
			return err
		}
	}
	if err := os.Chmod(filepath.Join(home, "exim.conf"), 0o644); err != nil {
		return err
	}
	if err := daemon("exim", unpacked+"/usr/sbin/exim4", "-C", home+"/exim.conf", "-bdf", "-q1s"); err != nil {
		return err
	}
	return await("127.0.0.2:25")
}

func startOpenSMTPD() error {
	err := write(map[string]string{"smtpd.conf": `
listen on 127.0.0.3 port 25 hostname opensmtpd.test
action "in" maildir "%H/opensmtpd.in"
action "out" relay host smtp+tls://127.0.0.1:2525 tls no-verify
match from any for domain "opensmtpd.test" action "in"
match from any for any action "out"
`})
	if err != nil {
		return err
	}
	for dir, mode := range map[string]os.FileMode{"/var/lib/opensmtpd/empty": 0o711, "/var/spool/smtpd": 0o711, home + "/opensmtpd.in": 0o700} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return err
		}
		if err := os.Chmod(dir, mode); err != nil {
			return err
		}
	}
	if err := os.Chown(home+"/opensmtpd.in", 64004, 64004); err != nil {
		return err
	}
	if out, err := exec.Command("cp", "-r", unpacked+"/usr/libexec/.", "/usr/libexec").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := daemon("opensmtpd", unpacked+"/usr/sbin/smtpd", "-d", "-f", home+"/smtpd.conf"); err != nil {
		return err
	}
	return await("127.0.0.3:25")
}

func startPostfix() error {
	err := write(map[string]string{
		"postfix/main.cf": `
compatibility_level = 3.6
myhostname = postfix.test
mydestination =
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
queue_directory = %H/postfix-spool
data_directory = %H/postfix-data
maillog_file = %H/postfix.log
maillog_file_prefixes = %H
alias_maps =
local_recipient_maps =
virtual_mailbox_domains = postfix.test
virtual_mailbox_maps = static:mail/
virtual_mailbox_base = %H/postfix.in
virtual_uid_maps = static:64004
virtual_gid_maps = static:64004
relayhost = [127.0.0.1]:2525
smtp_tls_security_level = encrypt
smtpd_tls_security_level = may
smtpd_tls_chain_files = %H/chain.pem
`,
		"postfix/master.cf": `
127.0.0.4:25 inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
proxymap unix - - n - - proxymap
postlog unix-dgram n - n - 1 postlogd
`,
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"postfix-spool", "postfix-data", "postfix.in"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chown(home+"/postfix.in", 64004, 64004); err != nil {
		return err
	}
	if out, err := exec.Command("chown", "postfix", home+"/postfix-data").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	for _, name := range []string{"postfix", "postfix/main.cf", "postfix/master.cf"} {
		if err := os.Chmod(filepath.Join(home, name), 0o755); err != nil {
			return err
		}
	}
	if err := daemon("postfix-start", "postfix", "-c", home+"/postfix", "start"); err != nil {
		return err
	}
	return await("127.0.0.4:25")
}

// startSekisho runs the server that the peers send to.
func startSekisho(binary string) error {
	err := write(map[string]string{
		"sekisho/main.cf": `
myhostname = mx.example.com
mydestination =
mynetworks = 127.0.0.9
inet_protocols = ipv4
queue_directory = %H/sekisho-queue
data_directory = %H/sekisho-data
smtpd_recipient_restrictions = reject_unauth_destination
virtual_mailbox_domains = example.com
virtual_mailbox_maps = static:mail/
virtual_mailbox_base = %H/sekisho.in
virtual_uid_maps = static:64004
virtual_gid_maps = static:64004
smtpd_tls_security_level = may
smtpd_tls_chain_files = %H/chain.pem
smtpd_tls_received_header = yes
smtpd_peername_lookup = no
`,
		"sekisho/master.cf": "127.0.0.1:2525 inet n - n - - smtpd\nvirtual unix - n n - - virtual\nsmtp unix - - n - - smtp\nerror unix - - n - - error\nretry unix - - n - - error\n",
	})
	if err != nil {
		return err
	}
	for _, dir := range []string{"sekisho-queue", "sekisho-data", "sekisho.in"} {
		if err := os.Mkdir(filepath.Join(home, dir), 0o755); err != nil {
			return err
		}
	}
	if err := os.Chown(home+"/sekisho.in", 64004, 64004); err != nil {
		return err
	}
	log := &bytes.Buffer{}
	if _, err := testsite.Start(binary, home+"/sekisho", log, "127.0.0.1:2525"); err != nil {
		return fmt.Errorf("%w\n%s", err, log)
	}
	return nil
}
