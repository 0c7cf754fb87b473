package directory_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
)

func TestMySQL(t *testing.T)      { testServer(t, sqldb.MySQL) }
func TestPostgreSQL(t *testing.T) { testServer(t, sqldb.PostgreSQL) }

// testServer runs all tests on a real server, in the tables that the real
// PostfixAdmin makes.
func testServer(t *testing.T, engine string) {
	server := sqltest.Start(t, engine)
	spec := specFile(t, server.Engine, server.Settings())
	err := check(t, spec, clock.System{})
	if err == nil || !strings.Contains(err.Error(), "no tables of PostfixAdmin") {
		t.Errorf("an empty database: %v", err)
	}
	server.PostfixAdmin()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			test(t, func(t *testing.T) (*directory.Directory, string, *clock.Manual) {
				server.Exec("DELETE FROM alias", "DELETE FROM mailbox", "DELETE FROM alias_domain", "DELETE FROM domain")
				c := clock.NewManual(start)
				d, err := directory.Create(t.Context(), spec, c)
				must(t, err, d.Check(t.Context()))
				t.Cleanup(func() { d.Close() })
				return d, spec, c
			})
		})
	}
	t.Run("Restart", func(t *testing.T) { testRestart(t, server, spec) })
}

func specFile(t *testing.T, engine, settings string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "directory.cf")
	must(t, os.WriteFile(path, []byte(settings), 0o600))
	return engine + ":" + path
}

// check opens a directory and checks it.
func check(t *testing.T, spec string, c clock.Clock) error {
	t.Helper()
	d, err := directory.Open(t.Context(), spec, c)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Check(t.Context())
}

// testRestart stops the server while the directory is open.
func testRestart(t *testing.T, server *sqltest.Server, spec string) {
	c := clock.NewManual(start)
	d, err := directory.Open(t.Context(), spec, c)
	must(t, err)
	defer d.Close()
	lookup := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := d.LookupPassword(ctx, "none@demo.test")
		return err
	}
	wantErr(t, lookup(), directory.ErrNotFound, "none@demo.test")
	server.Stop()
	var down *sqldb.DownError
	if err := lookup(); !errors.As(err, &down) {
		t.Errorf("the server is down: %v", err)
	}
	if err := check(t, spec, c); !errors.As(err, &down) {
		t.Errorf("a check while the server is down: %v", err)
	}
	server.Start()
	if err := lookup(); !errors.As(err, &down) {
		t.Errorf("a host that failed was tried again at once: %v", err)
	}
	c.Advance(time.Second)
	wantErr(t, lookup(), directory.ErrNotFound, "none@demo.test")
	must(t, d.AddDomain(t.Context(), directory.Domain{Name: "after.test", Active: true}, "a@after.test"))

	server.Stop()
	server.Start()
	wantErr(t, lookup(), directory.ErrNotFound, "none@demo.test") // on new connections, at once
	all, err := d.Aliases(t.Context(), "after.test")
	if err != nil || len(all) != 4 || !slices.Equal(all[0].Goto, []string{"a@after.test"}) {
		t.Errorf("got %+v, %v", all, err)
	}
}

func TestOpenServer(t *testing.T) {
	for settings, want := range map[string]string{
		"hosts = unix:/nowhere/s\n":        "no database server answers: unix:/nowhere/s: cannot connect",
		"idle_interval = x\n":              "idle_interval = x is no time",
		"tls_CAfile = /nowhere\nhosts=h\n": "tls_CAfile",
	} {
		err := check(t, specFile(t, "mysql", settings), clock.System{})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", settings, err, want)
		}
	}
}
