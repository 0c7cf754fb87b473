package smtp

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekisho/internal/config"
)

// load reads a main.cf.
func load(t *testing.T, main string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "myhostname = mx.example.com\n" + main, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Every mirrored parameter is a parameter, and of its twin's type.
func TestMirroredParameters(t *testing.T) {
	table := config.Defaults()
	for _, name := range slices.Sorted(maps.Keys(lmtpNames)) {
		smtp, ok := table.Parameter(name)
		lmtp, ok2 := table.Parameter(lmtpNames[name])
		if !ok || !ok2 || smtp.Type != lmtp.Type {
			t.Errorf("%s: %v %s, %s: %v %s", name, ok, smtp.Type, lmtpNames[name], ok2, lmtp.Type)
		}
	}
}

// A service reads the parameters of its own protocol.
func TestFromConfig(t *testing.T) {
	c := load(t, `
queue_directory = /spool
smtp_helo_name = smtp.example.com
lmtp_lhlo_name = lmtp.example.com
lmtp_lhlo_timeout = 7s
lmtp_discard_lhlo_keywords = dsn, Pipelining
lmtp_assume_final = yes
smtp_tls_security_level = encrypt
`)
	s, err := FromConfig(c, true)
	if err != nil {
		t.Fatal(err)
	}
	if s.HeloName != "lmtp.example.com" || s.HeloTimeout != 7*time.Second || s.Port != 24 || s.TLS != TLSNone || s.SkipQuit || !s.AssumeFinal ||
		s.ConnectTimeout != 0 || s.QueueDirectory != "/spool" || !slices.Equal(s.DiscardEHLO, []string{"dsn", "pipelining"}) {
		t.Errorf("LMTP: %+v", s)
	}
	if s, err = FromConfig(c, false); err != nil {
		t.Fatal(err)
	}
	if s.HeloName != "smtp.example.com" || s.HeloTimeout != 300*time.Second || s.Port != 25 || s.TLS != TLSEncrypt || !s.SkipQuit || s.ConnectTimeout != 30*time.Second || len(s.DiscardEHLO) != 0 {
		t.Errorf("SMTP: %+v", s)
	}
}

// Without a level the older parameters count; when nothing is set TLS is taken
// where it is offered.
func TestTLSLevel(t *testing.T) {
	for main, want := range map[string]TLSLevel{
		"": TLSMay, "smtp_tls_security_level =": TLSNone, "smtp_use_tls = no": TLSNone, "smtp_use_tls = yes": TLSMay, "smtp_enforce_tls = yes": TLSVerify,
		"smtp_enforce_tls = yes\nsmtp_tls_enforce_peername = no": TLSEncrypt,
		"smtp_enforce_tls = yes\nsmtp_tls_security_level = may":  TLSMay,
	} {
		if s, err := FromConfig(load(t, main), false); err != nil || s.TLS != want {
			t.Errorf("%q: %d, %v; want %d", main, s.TLS, err, want)
		}
	}
	_, err := FromConfig(load(t, "lmtp_tls_security_level = danish"), true)
	if err == nil || !strings.Contains(err.Error(), `main.cf:2: lmtp_tls_security_level: invalid TLS level "danish"`) {
		t.Errorf("%v", err)
	}
}
