package account_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"sekisho/internal/applet/account"
	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
)

// commands are what the main program embeds.
type commands struct {
	Domain  account.DomainCmd  `cmd:""`
	Mailbox account.MailboxCmd `cmd:""`
	Alias   account.AliasCmd   `cmd:""`
}

type site struct {
	t    *testing.T
	spec string
	in   *os.File // nil: the input of each command
	out  *os.File // nil: a file
}

func newSite(t *testing.T) *site {
	return &site{t: t, spec: "sqlite:" + filepath.Join(t.TempDir(), "accounts.db")}
}

// run runs one command line with input and returns what it printed.
func (s *site) run(input, line string, more ...string) (string, error) {
	s.t.Helper()
	var cli commands
	parser, err := kong.New(&cli)
	if err != nil {
		s.t.Fatal(err)
	}
	k, err := parser.Parse(append(strings.Fields(line), more...))
	if err != nil {
		return "", err
	}
	in, out := s.in, s.out
	if in == nil {
		in = s.file(input)
	}
	if out == nil {
		out = s.file("")
	}
	err = k.Run(&account.Env{
		Context: context.Background(),
		Directory: func(config string) (string, error) {
			if config != "" && config != "CONF" {
				return "", fmt.Errorf("no configuration in %s", config)
			}
			return s.spec, nil
		},
		In: in, Out: out, Err: io.Discard,
		Clock: clock.NewManual(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)),
	})
	if s.out != nil {
		return "", err
	}
	printed, readErr := os.ReadFile(out.Name())
	if readErr != nil {
		s.t.Fatal(readErr)
	}
	return string(printed), err
}

func (s *site) file(content string) *os.File {
	s.t.Helper()
	f, err := os.CreateTemp(s.t.TempDir(), "")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.WriteString(content); err != nil {
		s.t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { f.Close() })
	return f
}

func TestCommands(t *testing.T) {
	testCommands(t, newSite(t))
}

// TestCommandsOnServers has the accounts in the tables of a real PostfixAdmin.
func TestCommandsOnServers(t *testing.T) {
	for _, engine := range []string{sqldb.MySQL, sqldb.PostgreSQL} {
		t.Run(engine, func(t *testing.T) {
			server := sqltest.Start(t, engine)
			server.PostfixAdmin()
			path := filepath.Join(t.TempDir(), "directory.cf")
			if err := os.WriteFile(path, []byte(server.Settings()), 0o600); err != nil {
				t.Fatal(err)
			}
			testCommands(t, &site{t: t, spec: engine + ":" + path})
		})
	}
}

func testCommands(t *testing.T, s *site) {
	for _, tt := range []struct{ input, line, want string }{
		{"", "domain add Demo.Test --postmaster alice@demo.test", "domain demo.test added\n"},
		{"", "domain add -c CONF second.test --description second --inactive", "domain second.test added\n"},
		{"", "domain list", "demo.test\tactive\tvirtual\t\t\nsecond.test\tinactive\tvirtual\t\tsecond\n"},
		{"", "domain set second.test --active --alias-of demo.test --max-quota 9", "domain second.test changed\n"},
		{"", "domain show second.test", "domain\tsecond.test\ndescription\tsecond\nstate\tactive\ntransport\tvirtual\nalias of\tdemo.test\n" +
			"backup MX\tfalse\nmost aliases\t0\nmost mailboxes\t0\nquota of a mailbox, MB\t9\nquota, MB\t0\n" +
			"created\t2026-11-24 12:00:00\nmodified\t2026-11-24 12:00:00\n"},
		{"alice-demo\n", "mailbox add alice@demo.test --quota 2", "mailbox alice@demo.test added\n"},
		{"bob-demo", "mailbox add bob@demo.test --scheme PLAIN --inactive", "mailbox bob@demo.test added\n"},
		{"", "mailbox list demo.test", "alice@demo.test\tactive\t2\t\nbob@demo.test\tinactive\t\t\n"},
		{"", "mailbox set bob@demo.test --active --name Bob", "mailbox bob@demo.test changed\n"},
		{"", "mailbox show BOB@demo.test", "address\tbob@demo.test\nname\tBob\nstate\tactive\nmaildir\tdemo.test/bob/\nquota, MB\t\n" +
			"created\t2026-11-24 12:00:00\nmodified\t2026-11-24 12:00:00\n"},
		{"new\r\n", "mailbox passwd bob@demo.test --scheme sha512-crypt", "password of bob@demo.test changed\n"},
		{"", "alias add team@demo.test alice@demo.test bob@demo.test", "alias team@demo.test added\n"},
		{"", "alias set team@demo.test --no-active", "alias team@demo.test changed\n"},
		{"", "alias set team@demo.test bob@demo.test", "alias team@demo.test changed\n"},
		{"", "alias show team@demo.test", "address\tteam@demo.test\ngoes to\tbob@demo.test\nstate\tinactive\n" +
			"created\t2026-11-24 12:00:00\nmodified\t2026-11-24 12:00:00\n"},
		{"", "alias remove webmaster@demo.test", "alias webmaster@demo.test removed\n"},
		{"", "alias list", "abuse@demo.test\tactive\talice@demo.test\nhostmaster@demo.test\tactive\talice@demo.test\n" +
			"postmaster@demo.test\tactive\talice@demo.test\nteam@demo.test\tinactive\tbob@demo.test\n"},
		{"", "alias list second.test --json", "[]\n"},
		{"", "mailbox show bob@demo.test --json", "{\n  \"username\": \"bob@demo.test\",\n  \"name\": \"Bob\",\n  \"maildir\": \"demo.test/bob/\",\n" +
			"  \"quota\": 0,\n  \"domain\": \"demo.test\",\n  \"active\": true,\n" +
			"  \"created\": \"2026-11-24 12:00:00\",\n  \"modified\": \"2026-11-24 12:00:00\"\n}\n"},
		{"", "mailbox schemes", "BLF-CRYPT\t1\t1\nSHA512-CRYPT\t1\t1\n"},
		{"", "mailbox schemes --json", "[\n  {\n    \"scheme\": \"BLF-CRYPT\",\n    \"accounts\": 1,\n    \"active\": 1\n  },\n" +
			"  {\n    \"scheme\": \"SHA512-CRYPT\",\n    \"accounts\": 1,\n    \"active\": 1\n  }\n]\n"},
		{"", "mailbox remove bob@demo.test", "mailbox bob@demo.test removed; delivered mail stays in demo.test/bob/\n"},
		{"", "domain remove demo.test --force", "domain demo.test removed; delivered mail stays on disk\n"},
		{"", "mailbox list", ""},
		{"", "mailbox schemes", ""},
		{"", "mailbox schemes --json", "[]\n"},
	} {
		got, err := s.run(tt.input, tt.line)
		if err != nil || got != tt.want {
			t.Errorf("sekisho %s: %v\ngot  %q\nwant %q", tt.line, err, got, tt.want)
		}
	}
}

func TestErrors(t *testing.T) {
	s := newSite(t)
	if _, err := s.run("", "domain list"); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("without a directory: %v", err)
	}
	if _, err := s.run("", "domain add demo.test"); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"domain list -c /elsewhere":                 "no configuration in /elsewhere",
		"domain add demo.test":                      "domain demo.test exists already",
		"domain show none.test":                     "domain none.test does not exist",
		"mailbox list none.test":                    "domain none.test does not exist",
		"alias list none.test":                      "domain none.test does not exist",
		"mailbox add a@demo.test":                   "no password on standard input",
		"mailbox add a@demo.test --scheme ROT13":    "no password on standard input",
		"mailbox passwd none@demo.test":             "mailbox none@demo.test does not exist",
		"mailbox add a@demo.test secret":            "unexpected argument secret",
		"mailbox add a@demo.test --password secret": "unknown flag --password",
		"alias add team@demo.test":                  `expected "<goto> ..."`,
		"alias remove none@demo.test":               "alias none@demo.test does not exist",
		"domain add x.test --aliases many":          "expected a valid 64 bit int",
		"alias add @demo.test nowhere":              `"nowhere" as the target of an alias is not allowed`,
		"mailbox set none@demo.test --quota 1":      "mailbox none@demo.test does not exist",
	} {
		if out, err := s.run("", line); err == nil || !strings.Contains(err.Error(), want) || out != "" {
			t.Errorf("sekisho %s: printed %q, error %v, want %q", line, out, err, want)
		}
	}
}

// openTerminal returns both ends of a pseudo-terminal.
func openTerminal(t *testing.T) (master, slave *os.File) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { master.Close() })
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { slave.Close() })
	return master, slave
}

func TestTerminal(t *testing.T) {
	s := newSite(t)
	if _, err := s.run("", "domain add demo.test"); err != nil {
		t.Fatal(err)
	}
	master, slave := openTerminal(t)
	s.in = slave
	for _, tt := range []struct {
		line, typed, wantErr string
	}{
		{"mailbox add alice@demo.test", "alice-demo\nalice-demo\n", ""},
		{"mailbox passwd alice@demo.test", "one\ntwo\n", "the two passwords differ"},
		{"mailbox passwd alice@demo.test", "\n\n", "must not be empty"},
	} {
		if _, err := master.WriteString(tt.typed); err != nil {
			t.Fatal(err)
		}
		_, err := s.run("", tt.line)
		if tt.wantErr == "" && err != nil || tt.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tt.wantErr)) {
			t.Errorf("%s: error %v, want %q", tt.line, err, tt.wantErr)
		}
	}
	d, err := directory.Open(t.Context(), s.spec, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	a, err := d.LookupPassword(t.Context(), "alice@demo.test")
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := password.Verify(a.Stored, "alice-demo", a.User); !ok || err != nil {
		t.Errorf("stored %s: %v", a.Stored, err)
	}

	s.in, s.out = nil, slave
	if _, err := s.run("", "mailbox list"); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(master)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, "-demo\r") {
			continue // what was typed before the program turned echo off
		}
		if strings.HasPrefix(line, "ADDRESS") {
			if want := "ADDRESS          STATE   QUOTA MB  NAME\r\n"; line != want {
				t.Errorf("head %q, want %q", line, want)
			}
			break
		}
	}
	if line, err := r.ReadString('\n'); err != nil || line != "alice@demo.test  active            \r\n" {
		t.Errorf("row %q, %v", line, err)
	}
}
