package conformance

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
)

const rolePostfix = "postfix"

// postfix is the real one, with Dovecot to check passwords.
type postfix struct{}

func (postfix) settings() string {
	return `
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
`
}

// dovecotConf reads the accounts of the site. A failed login is answered at
// once and leaves no penalty: what is said does not depend on it.
const dovecotConf = `
base_dir = /run/dovecot
log_path = /var/log/dovecot.log
protocols =
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_failure_delay = 0
passdb {
  driver = sql
  args = /etc/postfix/dovecot-sql.conf
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home=/var/mail/vmail
}
service auth {
  unix_listener /var/spool/postfix/private/auth {
    mode = 0660
    user = postfix
    group = postfix
  }
}
service anvil {
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  unix_listener stats-writer {
    mode = 0666
  }
}
`

const dovecotSQL = `
driver = sqlite
connect = /etc/postfix/sql/directory.db
default_pass_scheme = MD5-CRYPT
password_query = SELECT username AS user, password FROM mailbox WHERE username = '%u' AND active = '1'
`

func (postfix) start() error {
	if err := writeDovecot(); err != nil {
		return err
	}
	for _, command := range []string{
		"postmap hash:/etc/postfix/access",
		"postalias hash:/etc/postfix/aliases",
		"mkdir -p /run/dovecot",
		"postfix start",
		"dovecot -c /etc/postfix/dovecot.conf",
	} {
		if err := run(command); err != nil {
			return err
		}
	}
	return awaitServer()
}

// run runs a command of words without quoting. Its output goes to a file: a
// daemon it leaves behind would keep a pipe open.
func run(command string) error {
	words := strings.Fields(command)
	out, err := os.CreateTemp("/run", "output")
	if err != nil {
		return err
	}
	defer out.Close()
	c := exec.Command(words[0], words[1:]...)
	c.Stdout, c.Stderr = out, out
	if err := c.Run(); err != nil {
		text, _ := os.ReadFile(out.Name())
		return fmt.Errorf("%s: %w\n%s", command, err, text)
	}
	return os.Remove(out.Name())
}

func (postfix) idle(func(string) bool) bool { return !anyIn("incoming", "active", "maildrop") }

// markLine is markText as it stands in a log.
const markLine = "Jan  1 00:00:00 mx postfix/conformance[1]: the dialogue is over\n"

// mark goes the way of all log lines, through postlogd's socket.
func (postfix) mark() error {
	conn, err := net.Dial("unixgram", "/var/spool/postfix/public/postlog")
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Write([]byte(strings.TrimSuffix(markLine, "\n")))
	return err
}

// anyIn says whether there are messages in these queues.
func anyIn(queues ...string) bool {
	for _, queue := range queues {
		files, err := os.ReadDir("/var/spool/postfix/" + queue)
		if err != nil || len(files) > 0 {
			return true
		}
	}
	return false
}

func (postfix) queue() ([]string, error) {
	if !anyIn("deferred", "hold") {
		return nil, nil
	}
	out, err := exec.Command("postqueue", "-j").Output()
	if err != nil {
		return nil, fmt.Errorf("postqueue -j: %w", err)
	}
	return queueLines(out)
}

// queueLines reads the output of postqueue -j.
func queueLines(out []byte) ([]string, error) {
	var lines []string
	for text := range strings.Lines(string(out)) {
		var m struct {
			Queue      string `json:"queue_name"`
			Sender     string
			Recipients []struct{ Address string }
		}
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			return nil, fmt.Errorf("postqueue -j: %w", err)
		}
		for _, r := range m.Recipients {
			lines = append(lines, fmt.Sprintf("%s from=%s rcpt=%s", m.Queue, m.Sender, r.Address))
		}
	}
	return lines, nil
}

func (postfix) clear() error { return run("postsuper -d ALL") }
