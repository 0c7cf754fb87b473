// Package e2e tests the whole server: the binary, as a process of its own, on
// a configuration directory as an operator would write it, with clients that
// know nothing of its insides.
package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/testsite"
)

// builtIn is where binary has built the server.
var builtIn string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtIn != "" {
		os.RemoveAll(builtIn)
	}
	os.Exit(code)
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := publicDir("sekisho-e2e-bin-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	return testsite.Build(context.Background(), dir)
})

// binary returns the path of the server, built once for all tests.
func binary(t *testing.T) string {
	t.Helper()
	path, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// publicDir makes a temporary directory that every user can look into: the
// server becomes another user when root runs the tests.
func publicDir(prefix string) (string, error) {
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

// site is a configuration directory with what belongs to it.
type site struct {
	dir  string // all of it
	conf string
	mail string // virtual_mailbox_base
	log  string // maillog_file
	// uid and gid own the mail, and are who the server runs as.
	uid, gid int
}

// newSite makes the directories of a site and main.cf with what every site
// needs, followed by more. {dir}, {conf} and {mail} stand for the directories.
func newSite(t *testing.T, more string) *site {
	t.Helper()
	dir, err := publicDir("sekisho-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	s := &site{dir: dir, conf: filepath.Join(dir, "conf"), mail: filepath.Join(dir, "mail"), log: filepath.Join(dir, "mail.log")}
	owner := s.owner(t)
	for _, d := range []string{s.conf, s.mail, filepath.Join(dir, "queue"), filepath.Join(dir, "data")} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		s.give(t, d)
	}
	s.write(t, "main.cf", `compatibility_level = 3.6
myhostname = mx.example.test
mydomain = example.test
myorigin = $mydomain
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 192.0.2.1/32
queue_directory = {dir}/queue
data_directory = {dir}/data
maillog_file = {dir}/mail.log
maillog_file_prefixes = {dir}
mail_owner = `+owner+`
alias_maps =
local_recipient_maps =
virtual_alias_maps =
virtual_mailbox_base = {mail}
virtual_minimum_uid = 1
virtual_uid_maps = static:`+strconv.Itoa(s.uid)+`
virtual_gid_maps = static:`+strconv.Itoa(s.gid)+`
`+more)
	return s
}

// owner finds who owns the mail: whoever runs the test, or nobody in place of
// root. It returns the name.
func (s *site) owner(t *testing.T) string {
	u, err := user.Current()
	if err == nil && os.Geteuid() == 0 {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	var errs [2]error
	s.uid, errs[0] = strconv.Atoi(u.Uid)
	s.gid, errs[1] = strconv.Atoi(u.Gid)
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	return u.Username
}

// give hands a file over to the server's user.
func (s *site) give(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(path, s.uid, s.gid); err != nil {
		t.Fatal(err)
	}
}

// services writes master.cf: the listeners given and what delivers mail.
func (s *site) services(t *testing.T, listeners string) {
	t.Helper()
	s.write(t, "master.cf", listeners+`virtual unix - n n - - virtual
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
`)
}

// write writes a file of the configuration and returns its path.
func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(s.conf, name)
	text = strings.NewReplacer("{dir}", s.dir, "{conf}", s.conf, "{mail}", s.mail).Replace(text)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s.give(t, path)
	return path
}

// add adds lines to main.cf.
func (s *site) add(t *testing.T, lines string) {
	t.Helper()
	main, err := os.ReadFile(filepath.Join(s.conf, "main.cf"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "main.cf", string(main)+lines)
}

// serve runs the server on the site until the end of the test. When the test
// failed, the end of the log is shown.
func (s *site) serve(t *testing.T, addrs ...string) {
	t.Helper()
	server, err := testsite.Start(binary(t), s.conf, s.output(t), addrs...)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.logTail())
	}
	t.Cleanup(func() {
		if err := server.Stop(10 * time.Second); err != nil {
			t.Error("SIGTERM:", err)
		}
		if t.Failed() {
			t.Log(s.logTail())
		}
	})
}

// output is where the server's standard output and error go: a file, so that
// it outlives the server.
func (s *site) output(t *testing.T) io.Writer {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(s.dir, "output"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// logTail returns the last lines of what the server printed and logged.
func (s *site) logTail() string {
	var b strings.Builder
	for _, file := range []string{filepath.Join(s.dir, "output"), s.log} {
		data, err := os.ReadFile(file)
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		lines := strings.SplitAfter(strings.TrimRight(string(data), "\n"), "\n")
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(file), strings.Join(lines[max(0, len(lines)-40):], ""))
	}
	return b.String()
}

// await returns when done does, or fails the test after patience.
func await(t *testing.T, patience time.Duration, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// freePorts returns addresses to listen at.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	addrs, err := testsite.Ports(n)
	if err != nil {
		t.Fatal(err)
	}
	return addrs
}

// need skips the test when a program it needs is missing, or fails it under
// CI=true, where everything has to be there.
func need(t *testing.T, program, debianPackage string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err == nil {
		return path
	}
	missing(t, fmt.Sprintf("%s is missing (Debian: apt-get install %s)", program, debianPackage))
	return ""
}

// missing skips the test, or fails it under CI=true.
func missing(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}
