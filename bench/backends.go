package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sekisho/internal/sasl/saslauthd"
	"sekisho/internal/testsite"
)

// password is every account's. It is stored in clear: the servers are measured,
// not a hash.
const password = "bench-Secret"

// patience bounds the start of a backend, on a busy machine.
const patience = time.Minute

// backends are the real servers that both mail servers ask about passwords.
// They run from the first measurement to the last.
type backends struct {
	dir     string
	running []*testsite.Server
	closers []func() // of what runs in this process
}

// folder makes a directory of a backend, for its socket and its files.
func (b *backends) folder(name string) (string, error) {
	dir := filepath.Join(b.dir, name)
	return dir, errors.Join(os.MkdirAll(dir, 0o755), os.Chmod(dir, 0o755))
}

// run starts a server, whose output goes to dir/output, and returns when all
// addrs accept connections.
func (b *backends) run(dir string, addrs []string, command ...string) error {
	out, err := os.Create(filepath.Join(dir, "output"))
	if err != nil {
		return err
	}
	defer out.Close()
	server, err := testsite.StartCommand(exec.Command(command[0], command[1:]...), out, addrs...)
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", command[0], err, lastLines(out.Name(), 10))
	}
	b.running = append(b.running, server)
	return nil
}

// stop ends all of them, and the processes that they leave behind.
func (b *backends) stop() error {
	for _, stop := range b.closers {
		stop()
	}
	var errs error
	for _, server := range b.running {
		// How it ends says nothing about what was measured.
		_ = server.Stop(10 * time.Second)
		if err := syscall.Kill(-server.PID(), syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = errors.Join(errs, err)
		}
	}
	return errs
}

// mariadb starts a MariaDB with PostfixAdmin's table of mailboxes and returns
// its address.
func (b *backends) mariadb() (string, error) {
	dir, err := b.folder("mariadb")
	if err != nil {
		return "", err
	}
	addrs, err := testsite.Ports(1)
	if err != nil {
		return "", err
	}
	if out, err := exec.Command("chown", "mysql", dir).CombinedOutput(); err != nil {
		return "", fmt.Errorf("chown mysql: %w\n%s", err, out)
	}
	var sql strings.Builder
	sql.WriteString("CREATE DATABASE postfix;\nCREATE USER postfix@127.0.0.1 IDENTIFIED BY 'secret';\nGRANT ALL ON postfix.* TO postfix@127.0.0.1;\n" +
		"CREATE TABLE postfix.mailbox (username VARCHAR(255) PRIMARY KEY, password VARCHAR(255), active TINYINT(1));\n")
	for i := range mailboxes {
		fmt.Fprintf(&sql, "INSERT INTO postfix.mailbox VALUES ('%s', '%s', 1);\n", account(i), password)
	}
	init := filepath.Join(dir, "init.sql")
	if err := os.WriteFile(init, []byte(sql.String()), 0o644); err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	common := []string{"--no-defaults", "--user=mysql", "--datadir=" + filepath.Join(dir, "data"), "--tmpdir=" + dir,
		"--skip-name-resolve", "--innodb-buffer-pool-size=32M", "--innodb-use-native-aio=0"}
	install := exec.Command("mariadb-install-db", append(common, "--skip-test-db")...)
	if out, err := install.CombinedOutput(); err != nil {
		return "", fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return addrs[0], b.run(dir, addrs, append([]string{"mariadbd"}, append(common, "--bind-address=127.0.0.1", "--port="+port,
		"--socket="+filepath.Join(dir, "s"), "--pid-file="+filepath.Join(dir, "pid"), "--init-file="+init)...)...)
}

// dovecot starts a Dovecot with the accounts in a passwd-file, and returns its
// authentication socket and the address of its IMAP server.
func (b *backends) dovecot() (socket, imap string, err error) {
	dir, err := b.folder("dovecot")
	if err != nil {
		return "", "", err
	}
	addrs, err := testsite.Ports(1)
	if err != nil {
		return "", "", err
	}
	mail := filepath.Join(dir, "mail")
	if err := errors.Join(os.Mkdir(mail, 0o777), os.Chmod(mail, 0o777)); err != nil {
		return "", "", err
	}
	_, port, _ := net.SplitHostPort(addrs[0])
	var users strings.Builder
	for i := range mailboxes {
		fmt.Fprintf(&users, "%s:{PLAIN}%s::::::\n", account(i), password)
	}
	conf := filepath.Join(dir, "dovecot.conf")
	err = errors.Join(os.WriteFile(filepath.Join(dir, "users"), []byte(users.String()), 0o644),
		os.WriteFile(conf, []byte(strings.NewReplacer("{dir}", dir, "{port}", port).Replace(dovecotConf)), 0o644))
	if err != nil {
		return "", "", err
	}
	return filepath.Join(dir, "auth"), addrs[0], b.run(dir, addrs, "dovecot", "-F", "-c", conf)
}

// dovecotConf has no penalty for many logins from one address, which is what
// the mail server is to Dovecot's IMAP server.
const dovecotConf = `base_dir = {dir}/run
state_dir = {dir}/run
log_path = {dir}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain login
mail_location = maildir:{dir}/mail/%u
mail_max_userip_connections = 0
passdb {
  driver = passwd-file
  args = {dir}/users
}
userdb {
  driver = static
  args = uid=5000 gid=5000 home={dir}/mail/%u
}
service auth {
  unix_listener {dir}/auth {
    mode = 0666
  }
}
service imap-login {
  chroot =
  service_count = 0
  inet_listener imap {
    port = {port}
  }
  inet_listener imaps {
    port = 0
  }
}
service anvil {
  chroot =
  unix_listener anvil-auth-penalty {
    mode = 0
  }
}
service stats {
  chroot =
}
`

// saslauthd starts Debian's saslauthd in front of an IMAP server, with as many
// processes as Debian gives it, and returns its socket.
func (b *backends) saslauthd(ctx context.Context, imap string) (string, error) {
	dir, err := b.folder("saslauthd")
	if err != nil {
		return "", err
	}
	server := strings.Replace(imap, ":", "/", 1)
	if err := b.run(dir, nil, "saslauthd", "-d", "-m", dir, "-a", "rimap", "-O", server, "-r", "-n", "5"); err != nil {
		return "", err
	}
	mux := filepath.Join(dir, "mux")
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		err := saslauthd.New(mux).Probe(ctx)
		if err == nil || time.Now().After(deadline) {
			return mux, err
		}
	}
}
