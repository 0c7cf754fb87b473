package explain

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/cockroachdb/datadriven"

	"sekisho/internal/clock"
	"sekisho/internal/verify"
)

// TestExplain runs command lines; "-update" of datadriven rewrites what they
// print.
func TestExplain(t *testing.T) {
	datadriven.Walk(t, "testdata/commands", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			args := strings.Fields(d.Input)
			for i := range args {
				args[i] = strings.Trim(args[i], "'")
			}
			return run(t, args)
		})
	})
}

func run(t *testing.T, args []string) string {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	var cmd struct {
		Explain Cmd `cmd:""`
	}
	k, err := kong.New(&cmd, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	c, err := k.Parse(append([]string{"explain"}, inFolder(args)...))
	if err == nil {
		err = c.Run(&Env{Context: context.Background(), Out: out, Clock: clock.NewManual(time.Unix(1e9, 0))})
	}
	dir, _ := filepath.Abs("testdata/site")
	if err != nil {
		return "error: " + strings.ReplaceAll(err.Error(), dir, "SITE") + "\n"
	}
	b, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.NewReplacer(dir, "SITE", filepath.Dir(dir), "TESTDATA").Replace(string(b))
}

// inFolder names the usual configuration unless the arguments do.
func inFolder(args []string) []string {
	if len(args) > 0 && args[0] == "-c" {
		return args
	}
	return append([]string{"-c", "testdata/site"}, args...)
}

// An address that a server has verified is explained with what came of it, and
// one that it has not, or not lately, with what might.
func TestVerified(t *testing.T) {
	dir := t.TempDir()
	main := "compatibility_level = 3.6\nmyhostname = mx.demo.test\nrelay_domains = relay.test\nmydestination =\nmynetworks = 127.0.0.1/32\n" +
		"address_verify_map = btree:" + dir + "/known\nunverified_recipient_reject_code = 550\n" +
		"smtpd_recipient_restrictions = reject_unverified_recipient, reject_unauth_destination\nsmtpd_relay_restrictions =\n"
	for name, text := range map[string]string{"main.cf": main, "master.cf": "smtp inet n - n - - smtpd\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := clock.NewManual(time.Unix(1e9, 0).Add(-100 * 24 * time.Hour))
	cache := verify.NewCache(dir+"/known.sekisho", slog.New(slog.DiscardHandler))
	v := verify.New(verify.Options{Settings: verify.Settings{NegativeCache: true}, Cache: cache, Clock: c})
	v.Update("old@relay.test", verify.Undeliverable, "long ago")
	c.Advance(99 * 24 * time.Hour)
	v.Update("bad@relay.test", verify.Undeliverable, "no such user")
	v.Update("good@relay.test", verify.Deliverable, "250 Ok")
	cache.Close()
	ask := func(to string) string {
		return run(t, []string{"-c", dir, "--client", "192.0.2.7", "--name", "host.test", "--from", "a@b.test", "--to", to, "--no-dns"})
	}
	for to, want := range map[string][]string{
		"bad@relay.test":  {"550 5.1.1 <bad@relay.test>: Recipient address rejected: undeliverable address: no such user", "undeliverable (no such user)"},
		"good@relay.test": {"deliverable (250 Ok)"},
		"new@relay.test":  {"undeliverable address: assumed", "not asked"},
		"old@relay.test":  {"undeliverable address: assumed", "not asked"},
	} {
		got := ask(to)
		for _, w := range want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: no %q in\n%s", to, w, got)
			}
		}
	}
	if err := errors.Join(os.Remove(dir+"/known.sekisho"), os.Mkdir(dir+"/known.sekisho", 0o700)); err != nil {
		t.Fatal(err)
	}
	if got := ask("bad@relay.test"); !strings.HasPrefix(got, "error: what the server knows about addresses: ") {
		t.Errorf("an unreadable cache: %s", got)
	}
}
