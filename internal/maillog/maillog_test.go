package maillog_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/maillog"
)

func at() clock.Clock { return clock.NewManual(time.Date(2026, 11, 4, 10, 33, 0, 0, time.UTC)) }

func TestLines(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(maillog.NewHandler(&b, "mx.example.com", at()))
	smtpd := log.With(maillog.Service("postfix/smtpd"), slog.String("qid", "not printed"))
	smtpd.Info("connect from x\r\n\x7f[1] \xff ユ")
	smtpd.Debug("not printed")
	log.Warn("w")
	log.Error("e")
	log.Log(context.Background(), maillog.LevelFatal, "f")
	want := `^Nov  4 10:33:00 mx postfix/smtpd\[\d+\]: connect from x\?\?\?\[1\] \? ユ
Nov  4 10:33:00 mx postfix/master\[\d+\]: warning: w
Nov  4 10:33:00 mx postfix/master\[\d+\]: error: e
Nov  4 10:33:00 mx postfix/master\[\d+\]: fatal: f
$`
	if !regexp.MustCompile(want).Match(b.Bytes()) {
		t.Errorf("got\n%swant\n%s", b.Bytes(), want)
	}
}

func TestFileIsReopened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	f, err := maillog.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	write := func(s string) {
		t.Helper()
		if _, err := f.Write([]byte(s)); err != nil {
			t.Fatal(err)
		}
	}
	write("1\n")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	write("2\n")
	if err := f.Reopen(); err != nil {
		t.Fatal(err)
	}
	write("3\n")
	for name, want := range map[string]string{path + ".1": "1\n2\n", path: "3\n"} {
		if got, err := os.ReadFile(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
	}
}

// listen plays the syslog daemon.
func listen(t *testing.T, path string) *net.UnixConn {
	t.Helper()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestSyslogSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	daemon := listen(t, path)
	s, err := maillog.DialSyslog(path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	mail, err := maillog.Facility("mail")
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(maillog.NewSyslogHandler(s, mail, at()))
	expect := func(want string) {
		t.Helper()
		buf := make([]byte, 512)
		n, err := daemon.Read(buf)
		if err != nil || !regexp.MustCompile(want).Match(buf[:n]) {
			t.Errorf("got %q, %v; want %s", buf[:n], err, want)
		}
	}
	log.Info("one")
	expect(`^<22>Nov  4 10:33:00 postfix/master\[\d+\]: one$`)
	daemon.Close()
	_ = os.Remove(path)
	daemon = listen(t, path)
	log.Warn("two")
	expect(`^<20>Nov  4 10:33:00 postfix/master\[\d+\]: warning: two$`)
}

func TestFacility(t *testing.T) {
	if n, err := maillog.Facility("local6"); n != 22 || err != nil {
		t.Errorf("local6 = %d, %v", n, err)
	}
	for _, name := range []string{"", "mial"} {
		if _, err := maillog.Facility(name); err == nil {
			t.Errorf("%q is a facility", name)
		}
	}
}
