package control

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sekisho/internal/mail"
)

// taken is what a service gets.
type taken struct {
	uid     int
	m       Submission
	content string
}

// service takes messages whose sender is not "refused" or "busy".
func service(t *testing.T, got chan<- taken, allowed bool) Service {
	return Service{
		Allowed: func(Right, string) (bool, error) { return allowed, nil },
		Submit: func(_ context.Context, uid int, m Submission, r io.Reader) (mail.Reply, error) {
			b, err := io.ReadAll(r)
			switch {
			case err != nil:
				return mail.Reply{}, err
			case m.Envelope.Sender == "refused":
				return mail.Reply{Code: 550, Status: "5.7.1", Text: "no"}, nil
			case m.Envelope.Sender == "busy":
				return mail.Reply{}, errors.New("no room")
			}
			got <- taken{uid, m, string(b)}
			return mail.Reply{}, nil
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func submission(sender, content string) (Submission, io.Reader) {
	m := Submission{FullName: "A B", Length: int64(len(content))}
	m.Envelope = mail.Envelope{Sender: sender, Recipients: []mail.Recipient{{Address: "x@a.test"}}}
	return m, strings.NewReader(content)
}

func TestSubmit(t *testing.T) {
	s := newSite(t)
	defer s.q.Close()
	got := make(chan taken, 1)
	srv, err := Serve(s.q, s.dir, s.o)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	m, r := submission("me", "x\n")
	if err := Send(s.dir, m, r); err == nil {
		t.Error("a server without configuration takes mail")
	}
	srv.Use(service(t, got, true))
	content := strings.Repeat("line\n", 100000)
	m, r = submission("me", content)
	if err := Send(s.dir, m, r); err != nil {
		t.Fatal(err)
	}
	if g := <-got; g.uid != os.Getuid() || g.content != content || g.m.FullName != "A B" || g.m.Envelope.Sender != "me" || len(g.m.Envelope.Recipients) != 1 {
		t.Errorf("taken: uid %d, %d bytes, %+v", g.uid, len(g.content), g.m)
	}
	m, r = submission("refused", content)
	var refused *RefusedError
	if err := Send(s.dir, m, r); !errors.As(err, &refused) || err.Error() != "no" {
		t.Errorf("refused: %v", err)
	}
	m, r = submission("busy", content)
	if err := Send(s.dir, m, r); err == nil || !strings.Contains(err.Error(), "no room") {
		t.Errorf("busy: %v", err)
	}
	srv.Use(service(t, got, false))
	m, r = submission("me", content)
	if err := Send(s.dir, m, r); !errors.Is(err, ErrDenied) || !strings.Contains(err.Error(), "is not allowed to submit mail") {
		t.Errorf("not allowed: %v", err)
	}
}

// TestCutOff: a client that ends early has submitted nothing.
func TestCutOff(t *testing.T) {
	s := newSite(t)
	defer s.q.Close()
	got := make(chan taken, 1)
	srv, err := Serve(s.q, s.dir, s.o)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	srv.Use(service(t, got, true))
	remote, err := reach(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer remote.Close()
	m, _ := submission("me", strings.Repeat("x", 100))
	conn, in, err := remote.ask(request{Op: "submit", Submission: &m})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "only this"); err != nil {
		t.Fatal(err)
	}
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if a, err := hear(in); err == nil || len(got) > 0 {
		t.Errorf("half a message is taken: %+v, %v", a, err)
	}
}

func TestRights(t *testing.T) {
	s := &Server{}
	svc := Service{Allowed: func(what Right, user string) (bool, error) {
		switch user {
		case "viewer":
			return what == View, nil
		case "broken":
			return true, errors.New("table is down")
		}
		return false, nil
	}}
	s.service.Store(&svc)
	for _, c := range []struct {
		who  caller
		op   string
		want string // in the error; empty: allowed
	}{
		{caller{0, "root", true}, "delete", ""},
		{caller{0, "root", true}, "list", ""},
		{caller{0, "root", true}, "submit", "User root(0) is not allowed to submit mail"},
		{caller{7, "viewer", false}, "list", ""},
		{caller{7, "viewer", false}, "flush", "User viewer(7) is not allowed to flush the mail queue"},
		{caller{7, "viewer", false}, "flush site", "not allowed to flush"},
		{caller{7, "viewer", false}, "flush message", "not allowed to flush"},
		{caller{7, "viewer", false}, "show", "not allowed"},
		{caller{7, "viewer", false}, "content", "not allowed"},
		{caller{7, "viewer", false}, "delete", "not allowed"},
		{caller{7, "viewer", false}, "hold", "not allowed"},
		{caller{7, "viewer", false}, "nonsense", "not allowed"},
		{caller{8, "broken", false}, "list", "table is down"},
	} {
		err := s.allow(c.who, c.op)
		if (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s asks for %s: %v, want %q", c.who.name, c.op, err, c.want)
		}
		if err != nil && c.who.name != "broken" && !errors.Is(err, ErrDenied) {
			t.Errorf("%s asks for %s: %v is no ErrDenied", c.who.name, c.op, err)
		}
	}
}

// TestMaildrop: what is submitted without a server is taken by the next one; what
// is no message is put aside, and nothing is lost for want of something.
func TestMaildrop(t *testing.T) {
	s := newSite(t)
	defer s.q.Close()
	srv, err := Serve(s.q, s.dir, s.o) // makes the folder
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	m, r := submission("me", "x\n")
	if err := Send(s.dir, m, r); !errors.Is(err, ErrNoServer) {
		t.Fatalf("without a server: %v", err)
	}
	for _, sender := range []string{"me", "refused", "busy"} {
		m, r := submission(sender, "from "+sender+"\n")
		if err := Drop(s.dir, m, r); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(s.dir, maildrop)
	secret := filepath.Join(t.TempDir(), "secret")
	for name, make := range map[string]func(string) error{
		"garbage":  func(p string) error { return os.WriteFile(p, []byte("?\n"), completeMode) },
		"short":    func(p string) error { return os.WriteFile(p, []byte(`{"length":9}`+"\nx"), completeMode) },
		"unending": func(p string) error { return os.WriteFile(p, []byte(`{"length":9}`+"\nx"), writingMode) },
		"link": func(p string) error {
			return errors.Join(os.WriteFile(secret, []byte(`{"length":0}`+"\n"), completeMode), os.Link(secret, p))
		},
		"fifo": func(p string) error { return syscall.Mkfifo(p, completeMode) },
		"sym":  func(p string) error { return os.Symlink(secret, p) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(name, err)
		}
	}
	got := make(chan taken, 9)
	if srv, err = Serve(s.q, s.dir, s.o); err != nil {
		t.Fatal(err)
	}
	svc := service(t, got, true)
	srv.service.Store(&svc)
	if err := srv.pickUpAll(); err != nil {
		t.Fatal(err)
	}
	g := <-got
	if g.uid != os.Getuid() || g.content != "from me\n" || g.m.Envelope.Sender != "me" {
		t.Errorf("taken: %+v", g)
	}
	if err := srv.Close(); err != nil {
		t.Fatal(err)
	}
	left := names(t, dir)
	if len(left) != 2 || !strings.Contains(strings.Join(left, " "), "unending") { // and busy
		t.Errorf("left: %q", left)
	}
	kept := strings.Join(names(t, filepath.Join(s.dir, "corrupt")), " ")
	for _, want := range []string{"garbage", "short", "link", "fifo", "sym"} {
		if !strings.Contains(kept, "maildrop-"+want) {
			t.Errorf("%s is not kept: %s", want, kept)
		}
	}
	if len(got) > 0 {
		t.Errorf("taken as well: %+v", <-got)
	}
}

func names(t *testing.T, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}
