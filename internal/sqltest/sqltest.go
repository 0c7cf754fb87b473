// Package sqltest starts real MariaDB and PostgreSQL servers, and real
// PostfixAdmin on them, for tests: each in a folder of its own, on 127.0.0.1
// and a Unix socket, ended with the test. Where the programs are missing the
// test is skipped, or fails if the environment has CI=true.
package sqltest

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqldb"
	"sekisho/internal/testsite"
)

// What the databases that tests get are called.
const (
	User     = "postfix"
	Password = "se'cr\\et"
	Database = "postfix"
)

// patience bounds the start of a server, on a busy machine.
const patience = 2 * time.Minute

// Server is a database server with an empty database that belongs to User.
type Server struct {
	Engine string // sqldb.MySQL or sqldb.PostgreSQL
	Dir    string // readable by everybody
	Addr   string // 127.0.0.1:port
	Socket string // MariaDB's socket, PostgreSQL's folder:port
	t      testing.TB
	start  *exec.Cmd
	admin  string // settings of the server's administrator
	output *buffer
	server *testsite.Server
}

// buffer collects what a server prints.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// Start starts a server of that engine.
func Start(t testing.TB, engine string) *Server {
	t.Helper()
	if engine == sqldb.MySQL {
		return MariaDB(t)
	}
	return PostgreSQL(t)
}

// Need finds a program on the path or in one of dirs, or ends the test.
func Need(t testing.TB, name string, dirs ...string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	for _, pattern := range dirs {
		found, err := filepath.Glob(filepath.Join(pattern, name))
		if err == nil && len(found) > 0 {
			return found[len(found)-1]
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is not installed: run .ci/packages", name)
	}
	t.Skipf("%s is not installed", name)
	return ""
}

// MariaDB starts a MariaDB server.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	install, daemon := Need(t, "mariadb-install-db"), Need(t, "mariadbd", "/usr/sbin")
	s := newServer(t, sqldb.MySQL, "mysql")
	data := filepath.Join(s.Dir, "data")
	// Native I/O has a limit for the whole machine, which other servers share.
	const small = "--innodb-buffer-pool-size=32M"
	const native = "--innodb-use-native-aio=0"
	// Temporary tables are named by process ids, of which another namespace may
	// have the same.
	temporary := "--tmpdir=" + s.Dir
	s.run("mysql", install, "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--skip-name-resolve", small, native, temporary)
	s.Socket = filepath.Join(s.Dir, "s")
	_, port, _ := net.SplitHostPort(s.Addr)
	s.start = asUser("mysql", daemon, "--no-defaults", "--datadir="+data, "--socket="+s.Socket, "--bind-address=127.0.0.1", "--port="+port,
		"--pid-file="+filepath.Join(s.Dir, "pid"), "--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=0", "--skip-name-resolve", small, native, temporary)
	s.admin = "hosts = unix:" + s.Socket + "\nuser = root\ndbname = mysql\n"
	s.Start()
	password := `'se\'cr\\et'`
	s.Admin("CREATE DATABASE "+Database,
		"CREATE USER "+User+"@localhost IDENTIFIED BY "+password, "CREATE USER "+User+"@127.0.0.1 IDENTIFIED BY "+password,
		"GRANT ALL ON "+Database+".* TO "+User+"@localhost", "GRANT ALL ON "+Database+".* TO "+User+"@127.0.0.1")
	return s
}

// PostgreSQL starts a PostgreSQL server.
func PostgreSQL(t testing.TB) *Server {
	t.Helper()
	const versions = "/usr/lib/postgresql/*/bin"
	initdb, daemon := Need(t, "initdb", versions), Need(t, "postgres", versions)
	s := newServer(t, sqldb.PostgreSQL, "postgres")
	data := filepath.Join(s.Dir, "data")
	s.run("postgres", initdb, "-D", data, "-A", "trust", "-U", "postgres", "--no-sync", "-E", "UTF8", "--locale=C")
	hba := "local all postgres trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(s.Addr)
	s.Socket = s.Dir + ":" + port
	s.start = asUser("postgres", daemon, "-D", data, "-k", s.Dir, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off")
	s.admin = "hosts = unix:" + s.Socket + "\nuser = postgres\ndbname = postgres\n"
	s.Start()
	s.Admin("CREATE ROLE "+User+" LOGIN PASSWORD 'se''cr\\et'", "CREATE DATABASE "+Database+" OWNER "+User)
	return s
}

func newServer(t testing.TB, engine, user string) *Server {
	t.Helper()
	// Not t.TempDir: other users must get there, and a socket's path be short.
	dir, err := os.MkdirTemp("", "sekisho-"+engine)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	addrs, err := testsite.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &Server{Engine: engine, Dir: dir, Addr: addrs[0], t: t, output: new(buffer)}
	if os.Geteuid() == 0 {
		s.run("root", "chown", user, dir)
	}
	return s
}

// asUser is a command that root runs as somebody else, because a database
// server refuses to be root's.
func asUser(user, name string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 && user != "root" {
		args = append([]string{"--reuid=" + user, "--regid=" + user, "--clear-groups", name}, args...)
		name = "setpriv"
	}
	cmd := exec.Command(name, args...)
	cmd.Dir = "/"
	return cmd
}

func (s *Server) run(user, name string, args ...string) {
	s.t.Helper()
	cmd := asUser(user, name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
}

// Start starts the server again after Stop, with more arguments, and returns
// when it answers.
func (s *Server) Start(more ...string) {
	s.t.Helper()
	cmd := *s.start
	cmd.Args = append(slices.Clip(cmd.Args), more...)
	server, err := testsite.StartCommand(&cmd, s.output, s.Addr)
	if err != nil {
		s.t.Fatalf("%v\n%s", err, s.output)
	}
	s.server = server
	s.t.Cleanup(func() { s.stop(server) })
	s.await()
}

// await returns when the server, which listens already, lets somebody in.
func (s *Server) await() {
	s.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		servers := s.open(s.admin)
		err := servers.Do(context.Background(), func(ctx context.Context, h *sqldb.Host) error { return h.DB.PingContext(ctx) })
		servers.Close()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%s does not answer: %v\n%s", s.Engine, err, s.output)
		}
	}
}

// Stop stops the server; its clients lose their connections.
func (s *Server) Stop() {
	s.t.Helper()
	s.stop(s.server)
}

func (s *Server) stop(server *testsite.Server) {
	select {
	case <-server.Exited():
		return
	default:
	}
	// PostgreSQL waits for its clients when it gets SIGTERM.
	sig := map[string]syscall.Signal{sqldb.MySQL: syscall.SIGTERM, sqldb.PostgreSQL: syscall.SIGINT}[s.Engine]
	if err := syscall.Kill(server.PID(), sig); err != nil {
		s.t.Errorf("stopping %s: %v", s.Engine, err)
	}
	select {
	case <-server.Exited():
	case <-time.After(patience):
		server.Kill()
		s.t.Errorf("%s did not end\n%s", s.Engine, s.output)
	}
}

// Admin runs statements as the administrator of the server.
func (s *Server) Admin(statements ...string) {
	s.t.Helper()
	s.exec(s.admin, statements)
}

// Exec runs statements in the database as its user.
func (s *Server) Exec(statements ...string) {
	s.t.Helper()
	s.exec(s.Settings(), statements)
}

func (s *Server) exec(settings string, statements []string) {
	s.t.Helper()
	servers := s.open(settings)
	defer servers.Close()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, q := range statements {
		err := servers.Do(ctx, func(ctx context.Context, h *sqldb.Host) error {
			_, err := h.DB.ExecContext(ctx, q)
			return err
		})
		if err != nil {
			s.t.Fatalf("%s: %v\n%s", q, err, s.output)
		}
	}
}

// Value returns the first column of the only row that a statement selects.
func (s *Server) Value(statement string) string {
	s.t.Helper()
	servers := s.open(s.Settings())
	defer servers.Close()
	var value string
	err := servers.Do(context.Background(), func(ctx context.Context, h *sqldb.Host) error {
		rows, err := h.Query(ctx, statement)
		if err == nil && len(rows) != 1 {
			err = fmt.Errorf("%d rows", len(rows))
		}
		if err == nil {
			value = rows[0][0].String
		}
		return err
	})
	if err != nil {
		s.t.Fatalf("%s: %v", statement, err)
	}
	return value
}

func (s *Server) open(settings string) *sqldb.Servers {
	s.t.Helper()
	params := map[string]string{}
	for line := range strings.Lines(settings) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		params[name] = value
	}
	read, err := sqldb.Read(s.Engine, func(name string) string { return params[name] })
	if err != nil {
		s.t.Fatal(err)
	}
	servers, err := sqldb.Open(read, clock.System{})
	if err != nil {
		s.t.Fatal(err)
	}
	return servers
}

// Settings returns the lines of a table's file that lead to the database.
func (s *Server) Settings() string {
	return s.SettingsFor("unix:" + s.Socket)
}

// SettingsFor is Settings with other hosts.
func (s *Server) SettingsFor(hosts string) string {
	return fmt.Sprintf("hosts = %s\nuser = %s\npassword = %s\ndbname = %s\n", hosts, User, Password, Database)
}
