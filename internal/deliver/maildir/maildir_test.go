package maildir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/deliver/mailbox"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

// owner is who mailboxes belong to in tests: the tester, or somebody else when
// root tests.
func owner() (uid, gid int) {
	if mailbox.Privileged() {
		return 12345, 12346
	}
	return os.Geteuid(), os.Getegid()
}

type site struct {
	agent *Agent
	base  string
	log   bytes.Buffer
}

func newSite(t *testing.T, mainCf string) (*site, error) {
	t.Helper()
	dir := t.TempDir()
	s := &site{base: filepath.Join(dir, "mail")}
	uid, gid := owner()
	if err := os.Mkdir(s.base, 0o755); err != nil {
		t.Fatal(err)
	}
	if mailbox.Privileged() {
		if err := errors.Join(os.Chown(s.base, uid, gid), os.Chmod(filepath.Dir(dir), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	text := fmt.Sprintf("compatibility_level = 3.6\nmyhostname = mx.example.com\nmyorigin = example.com\nrecipient_delimiter = +\n"+
		"virtual_mailbox_base = %s\nvirtual_mailbox_maps = boxes\nvirtual_uid_maps = uids\nvirtual_gid_maps = static:%d\nvirtual_minimum_uid = %d\n", s.base, gid, min(uid, 100)) + mainCf
	for name, content := range map[string]string{"main.cf": text, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := rewrite.Compile(cfg, rewrite.World{Partial: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	tables := map[string]map[string]string{
		"boxes": {
			"a@example.com": "a/", "deep@example.com": "x/y/z/", "mbox@example.com": "m", "@cat.test": "cat/",
			"up@example.com": "../up/", "nouid@example.com": "n/", "baduid@example.com": "n/", "empty@example.com": "/", "broken@example.com": "",
			"taken@example.com": "taken/",
		},
		"quotas": {"a@example.com": "400"},
		"uids":   {"@example.com": strconv.Itoa(uid), "@cat.test": strconv.Itoa(uid) + " x", "nouid@example.com": "", "baduid@example.com": "-1"},
	}
	clk := clock.NewManual(time.Date(2026, 11, 5, 10, 33, 0, 123456789, time.UTC))
	world := &evidence.World{Clock: clk, Lookup: func(table, key string) (string, bool, error) {
		if strings.HasPrefix(table, "static:") {
			return table[len("static:"):], true, nil
		}
		v, ok := tables[table][strings.ToLower(key)]
		if ok && v == "" {
			return "", false, errors.New("broken")
		}
		return v, ok, nil
	}}
	s.agent, err = New(Options{Name: "virtual", Config: cfg, Resolver: resolver, World: world, Clock: clk, Log: slog.New(slog.NewTextHandler(&s.log, nil))})
	return s, err
}

func (s *site) deliver(content io.Reader, to ...string) []deliver.Result {
	r := &deliver.Request{
		Envelope: &mail.Envelope{Sender: "s p@sender.test"},
		Content:  func() (io.ReadCloser, error) { return io.NopCloser(content), nil },
	}
	for _, a := range to {
		r.Recipients = append(r.Recipients, mail.Recipient{Address: a, Original: "orig@x.test"})
	}
	return s.agent.Deliver(context.Background(), r)
}

func TestMaildir(t *testing.T) {
	s, err := newSite(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ to, dir string }{{"A@Example.com", "a"}, {"a+ext@example.com", "a"}, {"deep@example.com", "x/y/z"}, {"u@cat.test", "cat"}} {
		before, _ := filepath.Glob(filepath.Join(s.base, c.dir, "new", "*"))
		res := s.deliver(strings.NewReader("S: x\n\nb\n"), c.to)[0]
		if want := (deliver.Result{Status: deliver.Sent, DSN: "2.0.0", Text: "delivered to maildir", Relay: "virtual"}); res != want {
			t.Errorf("%s: %+v", c.to, res)
			continue
		}
		files, _ := filepath.Glob(filepath.Join(s.base, c.dir, "new", "*"))
		if len(files) != len(before)+1 {
			t.Fatalf("%s: files %q", c.to, files)
		}
		files = slices.DeleteFunc(files, func(f string) bool { return slices.Contains(before, f) })
		name := files[0]
		host, _ := os.Hostname()
		if !regexp.MustCompile(`^1793874780\.V[0-9a-f]+I[0-9a-f]+M123456\.` + regexp.QuoteMeta(host) + `$`).MatchString(filepath.Base(name)) {
			t.Errorf("%s: name %s", c.to, name)
		}
		text, err := os.ReadFile(name)
		want := "Return-Path: <\"s p\"@sender.test>\nX-Original-To: orig@x.test\nDelivered-To: " + c.to + "\nS: x\n\nb\n"
		if err != nil || string(text) != want {
			t.Errorf("%s: %q, %v; want %q", c.to, text, err, want)
		}
		checkOwner(t, name, 0o600)
		for _, d := range []string{"", "new", "cur", "tmp"} {
			checkOwner(t, filepath.Join(s.base, c.dir, d), 0o700)
		}
		if left, _ := filepath.Glob(filepath.Join(s.base, c.dir, "tmp", "*")); len(left) > 0 {
			t.Errorf("%s: left in tmp: %q", c.to, left)
		}
	}
}

func checkOwner(t *testing.T, name string, mode os.FileMode) {
	t.Helper()
	st, err := os.Stat(name)
	if err != nil {
		t.Error(err)
		return
	}
	uid, gid := owner()
	sys := st.Sys().(*syscall.Stat_t)
	if st.Mode().Perm() != mode || int(sys.Uid) != uid || int(sys.Gid) != gid {
		t.Errorf("%s: %v %d:%d, want %v %d:%d", name, st.Mode(), sys.Uid, sys.Gid, mode, uid, gid)
	}
}

func TestMbox(t *testing.T) {
	s, err := newSite(t, "enable_original_recipient = no\n")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if res := s.deliver(strings.NewReader("S: x\n\nFrom b\n>From c\nend"), "mbox@example.com")[0]; res.Text != "delivered to mailbox" {
			t.Fatalf("%+v", res)
		}
	}
	text, err := os.ReadFile(filepath.Join(s.base, "m"))
	when := time.Date(2026, 11, 5, 10, 33, 0, 0, time.UTC).Local().Format(time.ANSIC)
	one := "From \"s p\"@sender.test  " + when + "\nReturn-Path: <\"s p\"@sender.test>\nDelivered-To: mbox@example.com\nS: x\n\n>From b\n>From c\nend\n\n"
	if err != nil || string(text) != one+one {
		t.Errorf("%q, %v; want %q twice", text, err, one)
	}
	checkOwner(t, filepath.Join(s.base, "m"), 0o600)
	if _, err := os.Stat(filepath.Join(s.base, "m.lock")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the lock is still there: %v", err)
	}
}

// failing is a message that cannot be read to its end.
type failing struct{}

func (failing) Read(p []byte) (int, error) { return copy(p, "S: x\n"), errors.New("damaged") }

func TestFailures(t *testing.T) {
	s, err := newSite(t, "virtual_mailbox_limit = 1000\nmessage_size_limit = 1000\n")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.base, "taken"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1000)
	const trouble = "deferred 4.3.5 mail system configuration error"
	for _, c := range []struct {
		to      string
		content io.Reader
		want    string // BASE stands for the base
	}{
		{"Nobody@example.com", strings.NewReader(""), `bounced 5.1.1 unknown user: "nobody@example.com"`},
		{"up@example.com", strings.NewReader(""), trouble},
		{"nouid@example.com", strings.NewReader(""), trouble},
		{"baduid@example.com", strings.NewReader(""), trouble},
		{"empty@example.com", strings.NewReader(""), trouble},
		{"broken@example.com", strings.NewReader(""), trouble},
		{"a@example.com", strings.NewReader(big), "bounced 5.2.2 maildir delivery failed: error writing message: File too large"},
		{"a@example.com", failing{}, "deferred 4.3.0 maildir delivery failed: error reading message: damaged"},
		{"mbox@example.com", failing{}, "deferred 4.3.0 delivery failed to mailbox BASE/m: error reading message: damaged"},
		{"mbox@example.com", strings.NewReader(big), "bounced 5.2.2 delivery failed to mailbox BASE/m: error writing message: File too large"},
		{"taken@example.com", strings.NewReader(""), `deferred 4.2.0 maildir delivery failed: create maildir file BASE/taken/tmp/\S+: Not a directory`},
	} {
		res := s.deliver(c.content, c.to)[0]
		got := res.Status.String() + " " + res.DSN + " " + res.Text
		if want := strings.ReplaceAll(c.want, "BASE", s.base); !regexp.MustCompile("^" + want + "$").MatchString(got) {
			t.Errorf("%s: %s, want %s", c.to, got, want)
		}
	}
	if left, _ := filepath.Glob(s.base + "/*/*/*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	if st, err := os.Stat(s.base + "/m"); err != nil || st.Size() != 0 {
		t.Errorf("mbox after failures: %v, %v", st, err)
	}
}

func TestEveryRecipient(t *testing.T) {
	s, err := newSite(t, "")
	if err != nil {
		t.Fatal(err)
	}
	res := s.deliver(strings.NewReader("S: x\n"), "nobody@example.com", "a@example.com")
	if len(res) != 2 || res[0].Recipient != 0 || res[0].Status != deliver.Bounced || res[1].Recipient != 1 || res[1].Status != deliver.Sent {
		t.Errorf("%+v", res)
	}
}

func TestConfigurationErrors(t *testing.T) {
	for mainCf, want := range map[string]string{
		"virtual_mailbox_base =\n":                                  "virtual_mailbox_base: set it to the absolute path",
		"virtual_mailbox_limit = 10\n":                              "virtual_mailbox_limit: is smaller than message_size_limit",
		"virtual_mailbox_limit = 10\nmessage_size_limit = 0\n":      "virtual_mailbox_limit: is smaller than message_size_limit",
		"virtual_mailbox_limit = 0\nvirtual_mailbox_base = mail/\n": "virtual_mailbox_base: set it to the absolute path",
	} {
		if _, err := newSite(t, mainCf); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "main.cf:") {
			t.Errorf("%q: %v, want %s", mainCf, err, want)
		}
	}
}

// An address probe finds out whether a mailbox exists, and leaves nothing in it.
func TestProbe(t *testing.T) {
	s, err := newSite(t, "")
	if err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]deliver.Result{
		"a+ext@example.com":  {Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to maildir", Relay: "virtual"},
		"mbox@example.com":   {Status: deliver.Sent, DSN: "2.0.0", Text: "delivers to mailbox", Relay: "virtual"},
		"nobody@example.com": {Status: deliver.Bounced, DSN: "5.1.1", Text: `unknown user: "nobody@example.com"`, Relay: "virtual"},
		"broken@example.com": {Status: deliver.Deferred, DSN: "4.3.5", Text: "mail system configuration error", Relay: "virtual"},
		"baduid@example.com": {Status: deliver.Deferred, DSN: "4.3.5", Text: "mail system configuration error", Relay: "virtual"},
	} {
		r := &deliver.Request{Envelope: &mail.Envelope{}, Recipients: []mail.Recipient{{Address: to}}, Probe: true}
		if got := s.agent.Deliver(t.Context(), r); len(got) != 1 || got[0] != want {
			t.Errorf("%s: %+v, want %+v", to, got, want)
		}
	}
	if left, err := os.ReadDir(s.base); err != nil || len(left) > 0 {
		t.Errorf("probes left %v, %v", left, err)
	}
}

func TestQuota(t *testing.T) {
	for mainCf, want := range map[string]string{
		"sekisho_mailbox_quota_maps = quotas\n":                                       "bounced 5.2.2 mailbox is full",
		"sekisho_mailbox_quota_maps = quotas\nsekisho_mailbox_full_tempfail = yes\n":  "deferred 4.2.2 mailbox is full",
		"sekisho_mailbox_quota_maps = static:10M\n":                                   "deferred 4.3.5 mail system configuration error",
		"sekisho_mailbox_quota_maps = static:0\n":                                     "sent 2.0.0 delivered to maildir",
		"sekisho_mailbox_quota_maps = static:1000000S,1000C\n":                        "sent 2.0.0 delivered to maildir",
		"sekisho_mailbox_quota_maps = quotas\nvirtual_mailbox_maps = static:other/\n": "bounced 5.2.2 mailbox is full",
	} {
		s, err := newSite(t, mainCf)
		if err != nil {
			t.Fatal(err)
		}
		res := s.deliver(strings.NewReader("Subject: x\n\n"+strings.Repeat("x", 500)+"\n"), "a+x@example.com")[0]
		if got := res.Status.String() + " " + res.DSN + " " + res.Text; got != want {
			t.Errorf("%s: %s, want %s; log %s", mainCf, got, want, &s.log)
		}
	}
}
