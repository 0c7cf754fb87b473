package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/sasltest"
	"sekisho/internal/sqltest"
	"sekisho/internal/testsite"
)

// threeWays is the page that TestThreeWays runs.
const threeWays = "../docs/three-ways.md"

// Replies that are the same in every way, and their beginnings where what
// follows is the reason.
const (
	loggedIn = "235 2.7.0 Authentication successful"
	wrong    = "535 5.7.8 Error: authentication failed: "
	away     = "454 4.7.0 Temporary authentication failure: "
)

// someone is who logs in, in every way.
const (
	someone = "plain@example.com"
	secret  = "plain-Secret-12"
)

// part is a block of the page: a file, or a command, of one way or several.
type part struct {
	kind string
	ways []string
	text string
	used map[string]bool // ways
}

// parts reads the page.
func parts(t *testing.T) []*part {
	t.Helper()
	page, err := os.ReadFile(threeWays)
	if err != nil {
		t.Fatal(err)
	}
	var all []*part
	for _, m := range regexp.MustCompile("(?ms)^```(\\S+) way=(\\S+)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		all = append(all, &part{kind: m[1], ways: strings.Split(m[2], ","), text: m[3], used: make(map[string]bool)})
	}
	return all
}

// way is a site that is set up as the page says.
type way struct {
	*site
	name  string
	parts []*part
	addr  string
	moves []string // what to replace in the page, and by what
}

// newWay makes a site with the main.cf of a way, and the files that the page
// has below /etc/postfix. moves are places besides the usual ones.
func newWay(t *testing.T, all []*part, name string, moves ...string) *way {
	t.Helper()
	w := &way{site: newSite(t, "sekisho_auth_failure_delay = 0s\nsmtpd_client_connection_count_limit = 0\n"), name: name, parts: all, addr: freePorts(t, 1)[0]}
	w.moves = append(moves, "/etc/postfix", w.conf, "/var/spool/postfix", filepath.Join(w.dir, "queue"), "/var/run/saslauthd", w.folder(t, "saslauthd"))
	w.give(t, w.folder(t, "queue/private"))
	w.folder(t, "conf/sasl")
	w.folder(t, "conf/sql")
	w.add(t, w.part(t, "main.cf"))
	w.services(t, w.addr+" inet n - n - - smtpd\n")
	return w
}

// folder makes a folder of the site.
func (w *way) folder(t *testing.T, name string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// part returns a block of this way, with its places changed.
func (w *way) part(t *testing.T, kind string) string {
	t.Helper()
	for _, p := range w.parts {
		if p.kind == kind && slices.Contains(p.ways, w.name) {
			p.used[w.name] = true
			return strings.NewReplacer(w.moves...).Replace(p.text)
		}
	}
	t.Fatalf("%s has no block %q with way=%s", threeWays, kind, w.name)
	return ""
}

// open starts the server while what checks passwords is stopped, which it must
// say, but which is no fault of the page's files.
func (w *way) open(t *testing.T, down string, stop, start func()) {
	t.Helper()
	stop()
	cmd := exec.Command(binary(t), "check", "-c", w.conf)
	if out, _ := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() > 1 {
		t.Errorf("sekisho check:\n%s", out)
	}
	w.serve(t, w.addr)
	await(t, time.Minute, "a warning", func() bool {
		log, err := os.ReadFile(w.log)
		return err == nil && regexp.MustCompile(`main\.cf:\d+: .*; until that is mended, logins get a temporary error`).Match(log)
	})
	want(t, w.addr, someone, secret, down)
	start()
	w.recovered(t)
}

// recovered returns when someone can log in.
func (w *way) recovered(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	await(t, time.Minute, "recovery", func() bool { <-tick.C; return login(t, w.addr, someone, secret) == loggedIn })
}

// login tries a password in a session of its own.
func login(t *testing.T, addr, user, password string) string {
	t.Helper()
	session := sasltest.Dial(t, addr)
	reply := session.Say("AUTH " + sasltest.Plain(user, password))
	session.Say("QUIT")
	return reply
}

// want logs in and expects a reply that begins in a certain way.
func want(t *testing.T, addr, user, password, reply string) {
	t.Helper()
	if got := login(t, addr, user, password); !strings.HasPrefix(got, reply) {
		t.Errorf("%s with %q: %s, want %s", user, password, got, reply)
	}
}

// play logs in, well and badly, and stops and starts what checks passwords
// while a session goes on. While it is stopped the reply is down.
func (w *way) play(t *testing.T, down string, stop, start func()) {
	t.Helper()
	session := sasltest.Dial(t, w.addr)
	if hello := session.Say("EHLO x"); !strings.Contains(hello, "AUTH PLAIN LOGIN\n") && !strings.Contains(hello, "AUTH LOGIN PLAIN\n") {
		t.Errorf("offered:\n%s", hello)
	}
	again := func(password, reply string) {
		t.Helper()
		if got := session.Say("AUTH " + sasltest.Plain(someone, password)); !strings.HasPrefix(got, reply) {
			t.Errorf("with %q: %s, want %s", password, got, reply)
		}
	}
	want(t, w.addr, someone, secret, loggedIn)
	want(t, w.addr, "nobody@example.com", secret, wrong)
	again("wrong", wrong)
	stop()
	again(secret, down)
	want(t, w.addr, someone, secret, down)
	start()
	w.recovered(t)
	again("wrong", wrong)
	again(secret, loggedIn)
}

// daemon starts a command line of the page until the end of the test, and
// returns when the socket answers. Stopped, it can be started again.
func daemon(t *testing.T, socket string, words ...string) (start, stop func()) {
	t.Helper()
	var running *testsite.Server
	output, err := os.Create(filepath.Join(filepath.Dir(socket), "output"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { output.Close() })
	stop = func() {
		if running != nil {
			// The children of saslauthd are in its process group.
			group := -running.PID()
			await(t, time.Minute, "end of "+words[0], func() bool { return errors.Is(syscall.Kill(group, syscall.SIGKILL), syscall.ESRCH) })
			running = nil
		}
	}
	start = func() {
		t.Helper()
		if running, err = testsite.StartCommand(exec.Command(words[0], words[1:]...), output); err != nil {
			t.Fatal(err)
		}
		await(t, time.Minute, words[0]+" at "+socket, func() bool {
			conn, err := net.Dial("unix", socket)
			if err == nil {
				conn.Close()
			}
			return err == nil
		})
	}
	t.Cleanup(func() {
		stop()
		if said, _ := os.ReadFile(output.Name()); t.Failed() {
			t.Logf("%q says:\n%s", words, said)
		}
	})
	start()
	return start, stop
}

// TestThreeWays does what docs/three-ways.md says, with the files of the page.
func TestThreeWays(t *testing.T) {
	all := parts(t)
	t.Run("database", func(t *testing.T) {
		db := newAccounts(t)
		t.Run("sql", func(t *testing.T) { waySQL(t, all, db) })
		t.Run("sekisho", func(t *testing.T) { waySekisho(t, all, db) })
		t.Run("auth-server", func(t *testing.T) { wayAuthServer(t, all, db) })
		t.Run("accounts", func(t *testing.T) { wayAccounts(t, all, db) })
	})
	t.Run("saslauthd", func(t *testing.T) { waySaslauthd(t, all) })
	t.Run("drop-in", func(t *testing.T) { wayDropIn(t, all) })
	t.Run("rimap", func(t *testing.T) { wayRimap(t, all) })
	t.Run("dovecot", func(t *testing.T) { wayDovecot(t, all) })
	if os.Getenv("CI") != "true" {
		return // some of it may have been skipped
	}
	for _, p := range all {
		for _, name := range p.ways {
			if !p.used[name] {
				t.Errorf("%s: the block %s of way=%s is not run by a test:\n%s", threeWays, p.kind, name, p.text)
			}
		}
	}
}

// schemes are stored forms that the page's ways must understand.
var schemes = []string{"MD5-CRYPT", "SHA512-CRYPT", "BLF-CRYPT", "SSHA512", "ARGON2ID"}

// accounts is PostfixAdmin's database in MariaDB, with someone and the owners of
// hashes, all with the same password.
type accounts struct {
	*sqltest.Server
	stored map[string]string // hashes, by user names
}

// newAccounts makes a user for each scheme, with its name in front and, where a
// hash tells its scheme, without. The database's password is the page's.
func newAccounts(t *testing.T) *accounts {
	t.Helper()
	doveadm := need(t, "doveadm", "dovecot-core")
	db := &accounts{sqltest.MariaDB(t), make(map[string]string)}
	db.PostfixAdmin()
	db.Exec("INSERT INTO domain (domain, description, transport, active) VALUES ('example.com', '', 'virtual', 1)")
	db.insert("plain", secret)
	for _, scheme := range schemes {
		out, err := exec.Command(doveadm, "pw", "-s", scheme, "-p", secret).Output()
		if err != nil {
			t.Fatalf("doveadm pw -s %s: %v", scheme, err)
		}
		name, hash := strings.ToLower(scheme), strings.TrimSpace(string(out))
		db.stored[name+"@example.com"] = hash
		db.insert(name, hash)
		if bare := strings.TrimPrefix(hash, "{"+scheme+"}"); strings.HasPrefix(bare, "$") {
			db.stored["bare-"+name+"@example.com"] = bare
			db.insert("bare-"+name, bare)
		}
	}
	for _, host := range []string{"localhost", "127.0.0.1"} {
		db.Admin("ALTER USER postfix@" + host + " IDENTIFIED BY 'secret'")
	}
	return db
}

func (db *accounts) insert(name, stored string) {
	db.Exec(fmt.Sprintf("INSERT INTO mailbox (username,maildir,quota,domain,active,password,name,local_part) VALUES ('%s@example.com','',0,'example.com',1,'%s','','')", name, stored))
}

// forms logs in as the owner of each hash: with the password, with another,
// and with the hash.
func (db *accounts) forms(t *testing.T, addr string) {
	t.Helper()
	if len(db.stored) < len(schemes) {
		t.Fatal(db.stored)
	}
	for name, hash := range db.stored {
		want(t, addr, name, secret, loggedIn)
		want(t, addr, name, "wrong", wrong)
		want(t, addr, name, hash, wrong)
	}
}

func waySQL(t *testing.T, all []*part, db *accounts) {
	w := newWay(t, all, "sql", "localhost", db.Addr)
	w.write(t, "sasl/smtpd.conf", w.part(t, "smtpd.conf"))
	start := func() { db.Start() }
	w.open(t, away+"generic failure", db.Stop, start)
	w.play(t, away+"generic failure", db.Stop, start)
	db.forms(t, w.addr)
}

func waySekisho(t *testing.T, all []*part, db *accounts) {
	w := newWay(t, all, "sekisho", "localhost", db.Addr)
	w.write(t, "sql/directory.cf", w.part(t, "directory.cf"))
	start := func() { db.Start() }
	w.open(t, away, db.Stop, start)
	w.play(t, away, db.Stop, start)
	db.forms(t, w.addr)
}

// wayAuthServer has a real Postfix ask as it asks Dovecot.
func wayAuthServer(t *testing.T, all []*part, db *accounts) {
	w := newWay(t, all, "auth-server", "localhost", db.Addr)
	w.write(t, "sql/directory.cf", w.part(t, "directory.cf"))
	w.add(t, "mail_owner = postfix\n")
	socket := filepath.Join(w.dir, "queue/private/auth")
	own(t, filepath.Dir(socket), "postfix")
	start, stop := w.command(t, socket)
	peer := &way{site: w.site, name: "asking-postfix", parts: all, moves: []string{"private/auth", socket}}
	asked(t, db, sasltest.StartPostfix(t, peer.part(t, "main.cf")), start, stop)
}

// wayAccounts has a real Postfix with Cyrus SASL ask as it asks saslauthd.
func wayAccounts(t *testing.T, all []*part, db *accounts) {
	w := newWay(t, all, "accounts", "localhost", db.Addr)
	w.write(t, "sql/directory.cf", w.part(t, "directory.cf"))
	start, stop := w.command(t, filepath.Join(w.dir, "saslauthd/mux"), "-d")
	peer := &way{site: w.site, name: "asking-cyrus", parts: all, moves: w.moves}
	postfix := sasltest.StartPostfix(t, peer.part(t, "main.cf"))
	conf := filepath.Join(postfix.Conf(), "sasl")
	if err := os.Mkdir(conf, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(conf, "smtpd.conf"), []byte(peer.part(t, "smtpd.conf")), 0o644); err != nil {
		t.Fatal(err)
	}
	asked(t, db, postfix, start, stop)
}

// command starts the command of a way, with more arguments.
func (w *way) command(t *testing.T, socket string, more ...string) (start, stop func()) {
	t.Helper()
	words := strings.Fields(w.part(t, "sh"))
	words[0] = binary(t)
	return daemon(t, socket, append(words, more...)...)
}

// asked logs in at a Postfix that asks a command of ours.
func asked(t *testing.T, db *accounts, postfix *sasltest.Postfix, start, stop func()) {
	t.Helper()
	want(t, postfix.Addr, someone, secret, loggedIn)
	want(t, postfix.Addr, someone, "wrong", wrong)
	db.forms(t, postfix.Addr)
	session := sasltest.Dial(t, postfix.Addr)
	stop()
	if got := session.Say("AUTH " + sasltest.Plain(someone, secret)); !strings.HasPrefix(got, away) {
		t.Errorf("it is stopped: %s", got)
	}
	start()
	if got := session.Say("AUTH " + sasltest.Plain(someone, secret)); got != loggedIn {
		t.Errorf("it is back: %s", got)
	}
}

// own gives a folder to a user.
func own(t *testing.T, path, name string) {
	t.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		missing(t, err.Error())
	}
	uid, err := strconv.Atoi(u.Uid)
	if err == nil {
		err = os.Chown(path, uid, -1)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// users is Dovecot's file of them.
const users = someone + ":{PLAIN}" + secret + "\n"

// imap is a Dovecot with an IMAP server at addr.
func imap(t *testing.T) (d *sasltest.Dovecot, addr string) {
	t.Helper()
	if _, err := os.Stat("/usr/lib/dovecot/imap"); err != nil {
		missing(t, err.Error()+" (Debian: apt-get install dovecot-imapd)")
	}
	addr = freePorts(t, 1)[0]
	mail := sasltest.Folder(t)
	if err := os.Chmod(mail, 0o777); err != nil {
		t.Fatal(err)
	}
	d = sasltest.NewDovecot(t, users, strings.NewReplacer("{mail}", mail, "{port}", portOf(addr)).Replace(`protocols = imap
mail_location = maildir:{mail}/%u
service imap-login {
  chroot =
  inet_listener imap {
    port = {port}
  }
  inet_listener imaps {
    port = 0
  }
}
`))
	startIMAP(t, d, addr)
	return d, addr
}

// startIMAP starts Dovecot and returns when its IMAP server answers.
func startIMAP(t *testing.T, d *sasltest.Dovecot, addr string) {
	t.Helper()
	d.Start(t)
	await(t, time.Minute, "IMAP at "+addr, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// waySaslauthd runs the real daemon with the options of the page.
func waySaslauthd(t *testing.T, all []*part) {
	program := need(t, "saslauthd", "sasl2-bin")
	d, addr := imap(t)
	w := newWay(t, all, "saslauthd", "localhost", strings.Replace(addr, ":", "/", 1))
	w.write(t, "sasl/smtpd.conf", w.part(t, "smtpd.conf"))
	set := make(map[string]string)
	for line := range strings.Lines(w.part(t, "saslauthd")) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		set[name] = strings.Trim(value, `"`)
	}
	words := append([]string{program, "-d", "-m", set["SOCKETDIR"], "-a", set["MECH"]}, strings.Fields(set["FLAGS"])...)
	start, stop := daemon(t, filepath.Join(set["SOCKETDIR"], "mux"), words...)
	w.open(t, away+"generic failure", stop, start)
	w.play(t, away+"generic failure", stop, start)
	// The daemon cannot tell a server that is down from a wrong password.
	w.play(t, wrong, func() { d.Stop(t) }, func() { startIMAP(t, d, addr) })
}

// wayDropIn has ours in place of the daemon.
func wayDropIn(t *testing.T, all []*part) {
	d, addr := imap(t)
	w := newWay(t, all, "drop-in", "localhost", strings.Replace(addr, ":", "/", 1))
	w.write(t, "sasl/smtpd.conf", w.part(t, "smtpd.conf"))
	start, stop := w.command(t, filepath.Join(w.dir, "saslauthd/mux"), "-d")
	w.open(t, away+"generic failure", stop, start)
	w.play(t, away+"generic failure", stop, start)
	w.play(t, away+"generic failure", func() { d.Stop(t) }, func() { startIMAP(t, d, addr) })
}

// wayRimap asks the IMAP server directly.
func wayRimap(t *testing.T, all []*part) {
	d, addr := imap(t)
	w := newWay(t, all, "rimap", "localhost", addr)
	w.write(t, "sasl/smtpd.conf", w.part(t, "smtpd.conf"))
	stop, start := func() { d.Stop(t) }, func() { startIMAP(t, d, addr) }
	w.open(t, away+"generic failure", stop, start)
	w.play(t, away+"generic failure", stop, start)
}

// wayDovecot adds the page's block to a Dovecot.
func wayDovecot(t *testing.T, all []*part) {
	w := newWay(t, all, "dovecot")
	u, err := user.LookupId(strconv.Itoa(w.uid))
	if err != nil {
		t.Fatal(err)
	}
	g, err := user.LookupGroupId(strconv.Itoa(w.gid))
	if err != nil {
		t.Fatal(err)
	}
	w.moves = append(w.moves, "user = postfix", "user = "+u.Username, "group = postfix", "group = "+g.Name)
	d := sasltest.NewDovecot(t, users, w.part(t, "dovecot.conf"))
	stop, start := func() { d.Stop(t) }, func() { d.Start(t) }
	w.open(t, away, stop, start)
	w.play(t, away, stop, start)
}
