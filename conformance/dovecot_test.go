package conformance

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestSekishoWithDovecot plays the dialogues with logins to Sekisho once more,
// this time with the Dovecot that they were recorded with. What is said about
// passwords is then all Dovecot's, so nothing may differ on purpose.
func TestSekishoWithDovecot(t *testing.T) {
	requireRoot(t)
	if _, err := exec.LookPath("dovecot"); err != nil {
		unavailable(t, err.Error())
	}
	binary := filepath.Join(t.TempDir(), "sekisho")
	if out, err := exec.Command("go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput(); err != nil {
		t.Fatalf("building sekisho: %v\n%s", err, out)
	}
	p := newPool(roleSekisho, []string{siteVariable + "=" + dovecotSite, binaryVariable + "=" + binary})
	t.Cleanup(p.close)
	played := 0
	for _, script := range transcripts(t, "testdata") {
		if !strings.HasPrefix(script.Name, "auth-dovecot-") || script.Site != "" {
			continue
		}
		played++
		t.Run(script.Name, func(t *testing.T) {
			t.Parallel()
			got, _, err := p.play(script)
			if err != nil {
				t.Fatal(err)
			}
			if d := difference(script, got); d != "" {
				t.Errorf("Sekisho with Dovecot differs from Postfix with it (- recorded, + now):\n%s", d)
			}
		})
	}
	if played < 50 {
		t.Errorf("only %d dialogues", played)
	}
}
