package master

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
)

// Yesterday's results of TLS sessions become a letter in the queue, and it is
// written down who has the report.
func TestTLSReports(t *testing.T) {
	state := t.TempDir()
	file := filepath.Join(state, "tlsrpt.json")
	const yesterday = `{"2026-11-01":{"d.test":{"record":"v=TLSRPTv1; rua=mailto:r@d.test","policies":[` +
		`{"policy":{"policy-type":"no-policy-found","policy-domain":"d.test"},"summary":{"total-successful-session-count":1}}]}}}`
	if err := os.WriteFile(file, []byte(yesterday), 0o600); err != nil {
		t.Fatal(err)
	}
	c := clock.NewManual(time.Date(2026, 11, 2, 2, 0, 0, 0, time.UTC))
	r := startBy(t, c, mainCF+"sekisho_mta_sts = "+filepath.Join(state, "sts.json")+"\nsekisho_tlsrpt = "+file+"\ndefer_transports = smtp\n", smtpdAt(freeAddr(t)))
	r.expect("for d.test sent to mailto:r@d.test")
	r.stop()
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), `"sent":["mailto:r@d.test"]`) {
		t.Errorf("%s %v", text, err)
	}
}

// A file that cannot be read stops the start, and is named.
func TestDamagedTLSKnowledge(t *testing.T) {
	for _, param := range []string{"sekisho_mta_sts", "sekisho_tlsrpt"} {
		dir := t.TempDir()
		file := filepath.Join(dir, "damaged.json")
		if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, "main.cf"), mainCF+param+" = "+file+"\n")
		write(t, filepath.Join(dir, "master.cf"), smtpdAt(freeAddr(t)))
		err := Run(t.Context(), dir, Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), param+": ") || !strings.Contains(err.Error(), "damaged.json is damaged; remove it") {
			t.Errorf("%s: %v", param, err)
		}
	}
}
