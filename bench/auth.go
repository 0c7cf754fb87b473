package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// way is one of the ways to check a password.
type way struct {
	name     string
	settings string // added to main.cf
	smtpd    string // smtpd.conf of Cyrus SASL
	sekisho  bool   // Postfix has nothing like it
}

// openWays starts the backends that the plan needs and returns the ways that
// lead to them. What cannot be had here is left out, with a word why.
func openWays(ctx context.Context, p plan, dir string, subjects []subject) (ways []way, stop func() error, err error) {
	b := &backends{dir: filepath.Join(dir, "backends")}
	for _, open := range b.openers(p, subjects) {
		more, err := open(ctx)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, errRoot) {
			fmt.Fprintln(os.Stderr, "bench: a way to log in is left out:", err)
			continue
		}
		if err != nil {
			return nil, nil, errors.Join(err, b.stop())
		}
		ways = append(ways, more...)
	}
	return ways, b.stop, nil
}

// openers are what starts the backends planned.
func (b *backends) openers(p plan, subjects []subject) (open []func(context.Context) ([]way, error)) {
	if p.what["auth"] {
		open = append(open, b.openSQL, b.openDovecot)
		for _, s := range subjects {
			if k, ok := s.(*sekisho); ok {
				open = append(open, k.openEmbedded)
			}
		}
	}
	if p.what["slow"] {
		open = append(open, b.openSlow)
	}
	return open
}

var errRoot = errors.New("its backend can only be started by root")

// need finds programs that only root can use here.
func need(programs ...string) error {
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return err
		}
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: %w", programs[0], errRoot)
	}
	return nil
}

// openSQL is Cyrus SASL reading passwords from MariaDB.
func (b *backends) openSQL(context.Context) ([]way, error) {
	if err := need("mariadbd", "mariadb-install-db"); err != nil {
		return nil, err
	}
	if found, err := filepath.Glob("/usr/lib/*/sasl2/libsql.so"); err != nil || len(found) == 0 {
		return nil, fmt.Errorf("libsql.so of Cyrus SASL: %w (Debian: apt-get install libsasl2-modules-sql)", exec.ErrNotFound)
	}
	addr, err := b.mariadb()
	if err != nil {
		return nil, err
	}
	return []way{cyrusBy("sql", "pwcheck_method: auxprop\nauxprop_plugin: sql\nsql_engine: mysql\nsql_hostnames: "+addr+
		"\nsql_database: postfix\nsql_user: postfix\nsql_passwd: secret\n"+
		"sql_select: SELECT password FROM mailbox WHERE username='%u@%r' AND active='1'\n")}, nil
}

// openDovecot are the ways that end at Dovecot.
func (b *backends) openDovecot(ctx context.Context) ([]way, error) {
	if err := need("dovecot", "saslauthd"); err != nil {
		return nil, err
	}
	socket, imap, err := b.dovecot()
	if err != nil {
		return nil, err
	}
	mux, err := b.saslauthd(ctx, imap)
	if err != nil {
		return nil, err
	}
	daemon := cyrusBy("saslauthd", "pwcheck_method: saslauthd\nsaslauthd_path: "+mux+"\n")
	direct := cyrusBy("rimap", "pwcheck_method: rimap\nrimap_server: "+imap+"\nrimap_realm: yes\n")
	direct.sekisho = true
	return []way{daemon, direct, dovecotAt("dovecot", socket)}, nil
}

// cyrusBy is a way that an smtpd.conf describes.
func cyrusBy(name, smtpd string) way {
	return way{name: name, settings: saslCF + "smtpd_sasl_type = cyrus\n", smtpd: smtpd + "mech_list: plain login\n"}
}

const saslCF = "smtpd_sasl_auth_enable = yes\n"

// dovecotAt is a way to a socket where Dovecot's protocol is spoken.
func dovecotAt(name, socket string) way {
	return way{name: name, settings: saslCF + "smtpd_sasl_type = dovecot\nsmtpd_sasl_path = " + socket + "\n"}
}

// openEmbedded fills the server's own directory.
func (k *sekisho) openEmbedded(ctx context.Context) ([]way, error) {
	if err := os.MkdirAll(filepath.Join(k.at.data, "sekisho"), 0o700); err != nil {
		return nil, err
	}
	commands := [][]string{{"domain", "add", "bench.test"}}
	for i := range mailboxes {
		commands = append(commands, []string{"mailbox", "add", account(i), "--scheme=PLAIN"})
	}
	for _, args := range commands {
		cmd := exec.CommandContext(ctx, k.binary, append(args, "-c", k.at.conf)...)
		cmd.Stdin = strings.NewReader(password + "\n")
		if out, err := cmd.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out)
		}
	}
	if out, err := exec.CommandContext(ctx, "chown", "-R", "--reference="+k.at.data, k.at.data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("chown: %w\n%s", err, out)
	}
	return []way{{name: "embedded", settings: saslCF + "smtpd_sasl_type = sekisho\n", sekisho: true}}, nil
}

// through measures with the settings of a way.
func (w way) through(step func(subject) error) func(context.Context, subject) error {
	return func(ctx context.Context, s subject) (err error) {
		if _, ours := s.(*sekisho); w.sekisho && !ours {
			return nil
		}
		if err := s.site().configure(w.settings, w.smtpd); err != nil {
			return err
		}
		err = started(ctx, s, toMaildir(s), step)
		return errors.Join(err, s.site().configure("", ""))
	}
}

// auth measures sessions that log in by AUTH PLAIN and leave.
func auth(ctx context.Context, s subject, name string, sessions, logins int, res *results) error {
	login := s.site().client().login
	for i := range mailboxes { // the first ones open connections to the backend
		if err := login(i); err != nil {
			return err
		}
	}
	m, err := newMeter(s.root())
	if err != nil {
		return err
	}
	took, err := repeat(ctx, fmt.Sprintf("%s: auth by %s, %d sessions", s.name(), name, sessions), sessions, logins, login)
	if err != nil {
		return err
	}
	used, share, err := m.read()
	if err != nil {
		return err
	}
	n := float64(logins)
	res.add("auth", sessions, name+": logins/s", s.name(), n/took.Seconds())
	res.add("auth", sessions, name+": CPU s per 1,000 logins", s.name(), used/n*1000)
	res.add("auth", sessions, name+": "+generatorShare, s.name(), share*100)
	return nil
}
