package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqldb"
)

// params are a table's file.
func params(lines string) func(string) string {
	m := map[string]string{}
	for line := range strings.Lines(lines) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " = ")
		m[name] = value
	}
	return func(name string) string { return m[name] }
}

func open(t *testing.T, engine, lines string, c clock.Clock) *sqldb.Servers {
	t.Helper()
	settings, err := sqldb.Read(engine, params(lines))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqldb.Open(settings, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// tried runs Do with a function that fails as fails says, and returns the names
// of the hosts it was run on.
func tried(s *sqldb.Servers, fails map[string]error) ([]string, error) {
	var names []string
	err := s.Do(context.Background(), func(_ context.Context, h *sqldb.Host) error {
		names = append(names, h.Name)
		return fails[h.Name]
	})
	return names, err
}

func TestOrder(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	for _, engine := range []string{sqldb.MySQL, sqldb.PostgreSQL} {
		s := open(t, engine, "hosts = a b, unix:/c inet:d:99\nretry_interval = 2m", c)
		down := &sqldb.ConnectError{Err: errors.New("down")}
		first := map[string]bool{}
		for range 100 {
			names, err := tried(s, nil)
			if err != nil || !slices.Equal(names, []string{"unix:/c"}) {
				t.Fatalf("%v, %v: want the socket first", names, err)
			}
		}
		if names, _ := tried(s, map[string]error{"unix:/c": down}); len(names) != 2 {
			t.Errorf("%v: want another host after the socket", names)
		}
		for range 100 { // the socket rests
			names, err := tried(s, nil)
			if err != nil || len(names) != 1 || names[0] == "unix:/c" {
				t.Fatalf("%v, %v", names, err)
			}
			first[names[0]] = true
		}
		if len(first) != 3 {
			t.Errorf("of hosts that answer only %v are asked", first)
		}
		statement := errors.New("syntax error")
		if names, err := tried(s, map[string]error{"a": statement, "b": statement, "inet:d:99": statement}); err != statement || len(names) != 1 {
			t.Errorf("%v, %v: an error in a statement is no host's", names, err)
		}
		c.Advance(2 * time.Minute)
		if names, _ := tried(s, nil); names[0] != "unix:/c" {
			t.Errorf("%v: want the socket again after retry_interval", names)
		}
	}
}

func TestAllDown(t *testing.T) {
	c := clock.NewManual(time.Unix(1e9, 0))
	s := open(t, sqldb.MySQL, "hosts = a b", c)
	down := &sqldb.ConnectError{Err: errors.New("refused")}
	all := map[string]error{"a": down, "b": down}
	names, err := tried(s, all)
	var e *sqldb.DownError
	if len(names) != 2 || !errors.As(err, &e) || !strings.Contains(err.Error(), "a: cannot connect: refused") {
		t.Errorf("%v, %v", names, err)
	}
	names, err = tried(s, nil)
	if len(names) != 0 || !errors.As(err, &e) || len(e.Hosts) != 2 || !strings.Contains(err.Error(), "b: cannot connect: refused") {
		t.Errorf("at once: %v, %v", names, err)
	}
	c.Advance(time.Second)
	if names, err = tried(s, map[string]error{"a": down}); err != nil || names[len(names)-1] != "b" {
		t.Errorf("after a second: %v, %v", names, err)
	}
}

// TestDeadConnection has a connection that turns out to be lost: a new one is
// tried before the host is given up.
func TestDeadConnection(t *testing.T) {
	s := open(t, sqldb.MySQL, "hosts = a", clock.NewManual(time.Unix(1e9, 0)))
	n := 0
	err := s.Do(t.Context(), func(context.Context, *sqldb.Host) error {
		if n++; n == 1 {
			return net.ErrClosed
		}
		return nil
	})
	if n != 2 || err != nil {
		t.Errorf("%d attempts, %v", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = s.Do(ctx, func(ctx context.Context, _ *sqldb.Host) error { return ctx.Err() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if names, err := tried(s, nil); len(names) != 1 || err != nil {
		t.Errorf("a caller who gave up is held against the host: %v, %v", names, err)
	}
}

// TestCrowd has more callers than connections: they wait for their turn.
func TestCrowd(t *testing.T) {
	s := open(t, sqldb.MySQL, "hosts = a", clock.System{})
	var wg sync.WaitGroup
	var now, most, done atomic.Int32
	for range 500 {
		wg.Go(func() {
			err := s.Do(t.Context(), func(context.Context, *sqldb.Host) error {
				most.Store(max(most.Load(), now.Add(1)))
				runtime.Gosched()
				now.Add(-1)
				return nil
			})
			if err == nil {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if most.Load() > 40 || done.Load() != 500 {
		t.Errorf("%d at a time, %d done", most.Load(), done.Load())
	}
}

// TestSilentHost has a host that accepts connections and says nothing.
func TestSilentHost(t *testing.T) {
	for _, engine := range []string{sqldb.MySQL, sqldb.PostgreSQL} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			s := open(t, engine, "hosts = inet:"+l.Addr().String(), clock.System{})
			start := time.Now()
			err = s.Do(t.Context(), func(ctx context.Context, h *sqldb.Host) error { return h.DB.PingContext(ctx) })
			var down *sqldb.DownError
			if took := time.Since(start); !errors.As(err, &down) || took > 20*time.Second {
				t.Errorf("after %s: %v", took, err)
			}
		})
	}
}

func TestRead(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "more.cnf", "[client]\nport=3399\n[mysqld]\nuser=daemon\n")
	options := write(t, dir, "my.cnf", fmt.Sprintf(`# a comment
[mysqld]
user = mysql
[client]
user = optional	# not this
password = "with # in it"
socket=/tmp/s
ssl_ca = 'ca.pem'
!include %s/more.cnf
[mail]
database = maildb
`, dir))
	s, err := sqldb.Read(sqldb.MySQL, params("hosts = a,\t b\nuser = own\noption_file = "+options+"\noption_group = mail\nidle_interval = 90\nretry_interval = 2h"))
	want := sqldb.Settings{
		Engine: sqldb.MySQL, Hosts: "a b", User: "own", Password: "with # in it", Database: "maildb", Socket: "/tmp/s", Port: "3399",
		TLS: sqldb.TLS{CAFile: "ca.pem"}, Idle: 90 * time.Second, Retry: 2 * time.Hour,
	}
	if err != nil || s != want {
		t.Errorf("got  %+v, %v\nwant %+v", s, err, want)
	}
	s, err = sqldb.Read(sqldb.PostgreSQL, params("encoding = LATIN1"))
	want = sqldb.Settings{Engine: sqldb.PostgreSQL, Hosts: "localhost", Charset: "LATIN1", Idle: time.Minute, Retry: time.Minute}
	if err != nil || s != want {
		t.Errorf("got  %+v, %v\nwant %+v", s, err, want)
	}
}

func TestErrors(t *testing.T) {
	dir := t.TempDir()
	empty := write(t, dir, "empty.pem", "nothing")
	for lines, want := range map[string]string{
		"idle_interval = never":                     "idle_interval = never is no time",
		"retry_interval = 0":                        "retry_interval = 0 is no time",
		"option_file = /nowhere/my.cnf":             "option_file: open /nowhere/my.cnf",
		"tls_verify_cert = maybe":                   "tls_verify_cert = maybe",
		"tls_ciphers = HIGH":                        "tls_ciphers cannot be chosen",
		"tls_CAfile = " + empty:                     "no certificate in " + empty,
		"tls_CApath = " + dir:                       "no certificate in " + dir,
		"tls_cert_file = " + empty:                  "tls_cert_file:",
		"hosts = :3306":                             `":3306" is no host:port`,
		"option_file = " + write(t, dir, "x", "!x"): "a name is missing",
	} {
		s, err := sqldb.Read(sqldb.MySQL, params(lines))
		if err == nil {
			var servers *sqldb.Servers
			if servers, err = sqldb.Open(s, clock.System{}); err == nil {
				servers.Close()
			}
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", lines, err, want)
		}
	}
	if _, err := sqldb.Read("oracle", params("")); err == nil {
		t.Error("an engine that there is not")
	}
}
