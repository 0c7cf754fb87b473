package site

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/clock"
)

// write makes a configuration directory.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t *testing.T, files map[string]string) (*Site, string) {
	t.Helper()
	dir := write(t, files)
	s, err := Load(dir, Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, dir
}

const master = `smtp      inet  n       -       n       -       -       smtpd
submission inet n       -       n       -       -       smtpd
  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject
  -o smtpd_relay_restrictions=
127.0.0.1:2525 inet n   -       n       -       -       smtpd
rewrite   unix  -       -       n       -       -       trivial-rewrite
`

const good = `myhostname = mx.demo.test
mydestination = localhost
inet_interfaces = 127.0.0.1, [::1]
proxy_interfaces = 192.0.2.1
virtual_mailbox_domains = demo.test
virtual_mailbox_maps = inline:{alice@demo.test=demo.test/alice/}
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.1/32
smtpd_client_restrictions = check_client_access hash:$config_directory/access
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
`

func TestLoad(t *testing.T) {
	s, _ := load(t, map[string]string{"main.cf": good, "master.cf": master, "access": "192.0.2.7 REJECT\n"})
	if len(s.Problems) > 0 {
		t.Fatalf("problems: %v", s.Problems)
	}
	if got := strings.Join(s.Own, " "); got != "127.0.0.1 ::1 192.0.2.1" {
		t.Errorf("own addresses %q", got)
	}
	for name, want := range map[string]string{"25": "smtp", "smtp": "smtp", "587": "submission", "2525": "127.0.0.1:2525"} {
		v, ok := s.Service(name)
		if !ok || v.Entry.Name != want {
			t.Errorf("service %s: %q, %v, want %q", name, v.Entry.Name, ok, want)
		}
	}
	if _, ok := s.Service("465"); ok {
		t.Error("a service for port 465 out of nowhere")
	}
	sub, _ := s.Service("submission")
	for _, l := range sub.Program.Lists() {
		if l.Param == "smtpd_recipient_restrictions" && (len(l.Entries) != 2 || l.Entries[0].Name != "permit_sasl_authenticated") {
			t.Errorf("submission's recipient list: %v", l.Entries)
		}
	}
	if v, ok, err := s.Tables.Lookup("inline:{alice@demo.test=demo.test/alice/}", "alice@demo.test"); !ok || err != nil || v != "demo.test/alice/" {
		t.Errorf("lookup: %q %v %v", v, ok, err)
	}
}

func TestProblems(t *testing.T) {
	s, dir := load(t, map[string]string{
		"main.cf": `myhostname = mx.demo.test
inet_interfaces = 127.0.0.1
mynetworks = 127.0.0.1/8
relay_domains = /nowhere/domains
virtual_alias_maps = hsh:/etc/virtual
alias_maps =
local_recipient_maps =
smtpd_client_restrictions =
  permit_mynetwork,
  check_client_access hash:missing
header_checks = regexp:$config_directory/headers
`, "master.cf": master, "headers": "/ok/ REJECT\n/open(/ REJECT\n/(a)/ $2\n",
	})
	want := []string{
		`main.cf:4: relay_domains: cannot read the file: open /nowhere/domains: no such file or directory`,
		`main.cf:3: mynetworks: non-null host address bits in "127.0.0.1/8", perhaps you should use "127.0.0.0/8" instead (until then every client gets 451)`,
		`main.cf:9: smtpd_client_restrictions: unknown smtpd restriction: "permit_mynetwork" (did you mean permit_mynetworks?)`,
		`main.cf:10: table hash:missing: open ` + dir + `/missing: no such file or directory`,
		`main.cf:5: virtual_alias_maps: table hsh:/etc/virtual: unsupported dictionary type: hsh`,
		"headers:2: header_checks: table regexp:" + dir + `/headers: Unmatched ( or \(`,
		"headers:3: header_checks: table regexp:" + dir + `/headers: out of range replacement index "2"`,
	}
	for _, w := range want {
		if !contains(s.Problems, dir+"/"+w) {
			t.Errorf("missing: %s", w)
		}
	}
	if s.Err() == nil {
		t.Error("nothing is fatal")
	}
	if t.Failed() {
		for _, p := range s.Problems {
			t.Log(p)
		}
	}
}

func TestRelayMustBeRefused(t *testing.T) {
	main := strings.Replace(good, "reject_unauth_destination", "permit\nsmtpd_relay_restrictions =", 1)
	s, _ := load(t, map[string]string{"main.cf": main, "master.cf": master, "access": ""})
	var found []Problem
	for _, p := range s.Problems {
		if strings.Contains(p.What, "specify at least one working instance of: ") {
			found = append(found, p)
		}
	}
	if len(found) != 1 || !found[0].Fatal {
		t.Errorf("want one fatal problem (submission rejects), got %v", found)
	}
}

func contains(ps []Problem, prefix string) bool {
	for _, p := range ps {
		if strings.HasPrefix(p.String(), prefix) {
			return true
		}
	}
	return false
}
