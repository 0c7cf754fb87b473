package e2e

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// dovecot is a Dovecot of the test's own: it listens on the loopback only, and
// nothing of it lies outside the site's directory.
type dovecot struct {
	dir  string
	imap string // address
	lmtp string // address; there is a socket in the queue directory as well
	path string
}

// mailbox is one of Dovecot's users, whose password is "secret".
type mailbox struct {
	name string
	more string // extra fields of the passwd-file
}

// newDovecot writes the configuration of a Dovecot with users.
func newDovecot(t *testing.T, s *site, users ...mailbox) *dovecot {
	t.Helper()
	d := &dovecot{dir: filepath.Join(s.dir, "dovecot"), path: need(t, "dovecot", "dovecot-imapd dovecot-lmtpd")}
	for _, part := range []string{"imap", "lmtp"} {
		if _, err := os.Stat("/usr/lib/dovecot/" + part); err != nil {
			missing(t, fmt.Sprintf("%v (Debian: apt-get install dovecot-imapd dovecot-lmtpd)", err))
		}
	}
	addrs := freePorts(t, 2)
	d.imap, d.lmtp = addrs[0], addrs[1]
	private := filepath.Join(s.dir, "queue", "private")
	for _, dir := range []string{d.dir, private} {
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.give(t, private)
	var passwd strings.Builder
	for _, u := range users {
		fmt.Fprintf(&passwd, "%s:{PLAIN}secret:%d:%d::%s::%s\n", u.name, s.uid, s.gid, filepath.Join(s.mail, u.name), u.more)
	}
	d.write(t, "users", passwd.String())
	d.write(t, "dovecot.conf", strings.NewReplacer(
		"{dir}", d.dir, "{socket}", filepath.Join(private, "dovecot-lmtp"), "{accounts}", dovecotAccounts(t),
		"{imap}", portOf(d.imap), "{lmtp}", portOf(d.lmtp)).Replace(dovecotConf))
	return d
}

const dovecotConf = `base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
first_valid_gid = 1
mail_location = maildir:~/Maildir
mail_plugins = quota
{accounts}
passdb {
  driver = passwd-file
  args = {dir}/users
}
userdb {
  driver = passwd-file
  args = {dir}/users
}
plugin {
  quota = maildir:User quota
}
service imap-login {
  chroot =
  inet_listener imap {
    port = {imap}
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
}
service stats {
  chroot =
}
service lmtp {
  unix_listener {socket} {
    mode = 0666
  }
  inet_listener lmtp {
    port = {lmtp}
  }
}
`

// dovecotAccounts are whom Dovecot's processes run as: its own accounts when
// root starts it, and else whoever does.
func dovecotAccounts(t *testing.T) string {
	if os.Geteuid() == 0 {
		return ""
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return "default_internal_user = " + u.Username + "\ndefault_login_user = " + u.Username + "\ndefault_internal_group = " + g.Name
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}

func (d *dovecot) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start runs Dovecot until the end of the test, or until stop is called.
func (d *dovecot) start(t *testing.T) (stop func()) {
	t.Helper()
	out, err := os.OpenFile(filepath.Join(d.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { out.Close() })
	server, err := testsite.StartCommand(exec.Command(d.path, "-F", "-c", filepath.Join(d.dir, "dovecot.conf")), out, d.imap, d.lmtp)
	if err != nil {
		t.Fatalf("%v\n%s", err, d.log())
	}
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		if err := server.Stop(20 * time.Second); err != nil {
			t.Errorf("dovecot: %v", err)
		}
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Log(d.log())
		}
	})
	return stop
}

// log returns the last lines of what Dovecot has printed and logged.
func (d *dovecot) log() string {
	text := "== dovecot\n"
	for _, file := range []string{"output", "log"} {
		if b, err := os.ReadFile(filepath.Join(d.dir, file)); err == nil {
			lines := strings.SplitAfter(string(b), "\n")
			text += strings.Join(lines[max(0, len(lines)-30):], "")
		}
	}
	return text
}

// read returns all that IMAP has in a user's INBOX.
func (d *dovecot) read(t *testing.T, user string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", d.imap, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	r := bufio.NewReader(conn)
	var answer string
	for i, command := range []string{"LOGIN " + user + " secret", "SELECT INBOX", "FETCH 1:* BODY.PEEK[]", "LOGOUT"} {
		tag := fmt.Sprintf("t%d ", i)
		fmt.Fprintf(conn, "%s%s\r\n", tag, command)
		var b strings.Builder
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				t.Fatalf("IMAP %s: %v after %q", command, err, &b)
			}
			if rest, ok := strings.CutPrefix(line, tag); ok {
				if !strings.HasPrefix(rest, "OK") {
					t.Fatalf("IMAP %s: %s", command, rest)
				}
				break
			}
			b.WriteString(line)
		}
		if strings.HasPrefix(command, "FETCH") {
			answer = b.String()
		}
	}
	return answer
}
