package sendmail_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/applet/sendmail"
	"sekisho/internal/clock"
	"sekisho/internal/mail"
	"sekisho/internal/queue"
	"sekisho/internal/queue/control"
)

// server takes submissions and writes them down.
type server struct {
	dir string
	log string // what came, in one form for all tests
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{dir: t.TempDir()}
	spool := filepath.Join(s.dir, "spool")
	if err := errors.Join(os.WriteFile(filepath.Join(s.dir, "main.cf"), []byte("sekisho_spool_directory = spool\n"), 0o644), os.Mkdir(spool, 0o700)); err != nil {
		t.Fatal(err)
	}
	o := queue.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)}
	q, err := queue.Open(spool, o)
	if err != nil {
		t.Fatal(err)
	}
	c, err := control.Serve(q, spool, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), q.Close()); err != nil {
			t.Error(err)
		}
	})
	c.Use(control.Service{
		Allowed: func(control.Right, string) (bool, error) { return true, nil },
		Submit:  s.submit, Log: o.Log,
	})
	return s
}

func (s *server) submit(_ context.Context, _ int, m control.Submission, r io.Reader) (mail.Reply, error) {
	b, err := io.ReadAll(r)
	if err != nil {
		return mail.Reply{}, err
	}
	e := &m.Envelope
	var to []string
	for _, r := range e.Recipients {
		to = append(to, r.Address)
	}
	s.log = fmt.Sprintf("from %s to %s", e.Sender, strings.Join(to, "|"))
	for _, word := range []string{e.Ret, e.EnvID, e.Body, e.Recipients[0].Notify.String()} {
		if word != "" {
			s.log += " " + word
		}
	}
	if e.SMTPUTF8 {
		s.log += " utf8"
	}
	s.log += fmt.Sprintf(" name %q: %q", m.FullName, b)
	return mail.Reply{}, nil
}

// TestSend compares with what Postfix's sendmail puts into its queue.
func TestSend(t *testing.T) {
	t.Setenv("NAME", "Full Name")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(t)
	who := fmt.Sprintf("%s(%s)", me.Username, me.Uid)
	for _, c := range []struct {
		args, in string
		want     string // with ME for the user, and N for the name
	}{
		{"-i b@y.test c@y.test", "S: x\n\nhi\n.\nmore\n", `from ME to b@y.test|c@y.test N: "S: x\n\nhi\n.\nmore\n"`},
		{"b@y.test", "hi\n.\nmore\n", `from ME to b@y.test N: "hi\n"`},
		{"-oi b@y.test", ".\r\nno end", `from ME to b@y.test N: ".\nno end\n"`},
		{"b@y.test", ">From a\nFrom b\n From c\nFrom d\n", `from ME to b@y.test N: " From c\nFrom d\n"`},
		{"b@y.test", "", `from ME to b@y.test N: ""`},
		{"-f a@x.test -F Other b@y.test", "x\n", `from a@x.test to b@y.test name "Other": "x\n"`},
		{"-fa@x.test -odi -em -v b@y.test", "x\n", "Mail Delivery Status Report will be mailed to <a@x.test>.\n" + `from a@x.test to b@y.test N: "x\n"`},
		{"-f <> b@y.test", "x\n", `from  to b@y.test N: "x\n"`},
		{`-r "a_b"@x.test "c_d"@y.test`, "x\n", `from a b@x.test to c d@y.test N: "x\n"`},
		{"user_(comment)_<b@y.test>,_c@y.test", "x\n", `from ME to b@y.test|c@y.test N: "x\n"`},
		{"-N success,delay -R full -V env_id -B 8bitmime b@y.test", "x\n", `from ME to b@y.test FULL env+20id 8BITMIME SUCCESS,DELAY N: "x\n"`},
		{"-N bad -R bad b@y.test", "x\n", "sendmail: warning: unknown DSN NOTIFY command value \"bad\" in \"bad\"\n" +
			"sendmail: warning: bad -N option value -- ignored\nsendmail: warning: bad -R option value -- ignored\n" + `from ME to b@y.test N: "x\n"`},
		{"-t", "To: a@y.test,\n (c) \"q q\"@y.test\nCc: g:;\nbcc: c@y.test\n\nTo: no@y.test\n",
			`from ME to a@y.test|q q@y.test|c@y.test N: "To: a@y.test,\n (c) \"q q\"@y.test\nCc: g:;\nbcc: c@y.test\n\nTo: no@y.test\n"`},
		{"-t x@y.test", "To: a@y.test\nResent-To: r@y.test\n\n", `from ME to x@y.test|r@y.test N: "To: a@y.test\nResent-To: r@y.test\n\n"`},
		{"b@y.test", "Subject: 日本\n\n", `from ME to b@y.test utf8 N: "Subject: 日本\n\n"`},
		{"b@y.test", "S: x\n\n日本\n", `from ME to b@y.test N: "S: x\n\n日本\n"`},
		{"", "x\n", "sendmail: fatal: WHO: Recipient addresses must be specified on the command line or via the -t option\n75"},
		{"-t", "S: x\n\nTo: no@y.test\n", "sendmail: fatal: WHO: No recipient addresses found in message header\n75"},
		{"-B BAD b@y.test", "x\n", "sendmail: fatal: -B option needs 8BITMIME or 7BIT\n75"},
		{"-bz b@y.test", "x\n", "sendmail: fatal: unsupported: -bz\n75"},
		{"-z b@y.test", "x\n", "sendmail: invalid option -- 'z'\nsendmail: fatal: usage: sendmail [options]\n75"},
		{"-C /nonexist b@y.test", "x\n", "sendmail: fatal: open /nonexist/main.cf: No such file or directory\n75"},
		{"-qSx", "", "sendmail: fatal: -qS is not implemented\n75"},
		{"-q", "", ""}, {"-q15m", "", ""}, {"-qIABC", "", ""}, {"-bi", "", ""},
		{"-qRx.test", "", "postqueue: fatal: Flush service is not configured for destination \"x.test\"\n69"},
		{"-bp", "", "Mail queue is empty\n"},
	} {
		var out bytes.Buffer
		s.log = ""
		args := strings.Fields(c.args)
		for i := range args {
			args[i] = strings.ReplaceAll(args[i], "_", " ")
		}
		status := sendmail.Run(&sendmail.Env{In: strings.NewReader(c.in), Out: &out, Err: &out, Config: s.dir, Clock: clock.System{}}, args)
		got := out.String() + s.log
		if status != 0 {
			got += fmt.Sprint(status)
		}
		want := strings.NewReplacer("from ME", "from "+me.Username, "WHO", who, "N:", `name "Full Name":`).Replace(c.want)
		if got != want {
			t.Errorf("sendmail %s:\n%s\nwant\n%s", c.args, got, want)
		}
	}
}

// TestLarge sends what does not fit into memory, with a line that has no end.
func TestLarge(t *testing.T) {
	s := newServer(t)
	in := "S: x\n\n" + strings.Repeat("0123456789\n", 50000) + strings.Repeat("x", 1<<20)
	var out bytes.Buffer
	if status := sendmail.Run(&sendmail.Env{In: strings.NewReader(in), Out: &out, Err: &out, Config: s.dir, Clock: clock.System{}}, []string{"-F", "N", "-f", "m", "b@y.test"}); status != 0 {
		t.Fatal(status, out.String())
	}
	if want := fmt.Sprintf("from m to b@y.test name \"N\": %q", in+"\n"); s.log != want {
		t.Errorf("%d bytes came, want %d", len(s.log), len(want))
	}
}
