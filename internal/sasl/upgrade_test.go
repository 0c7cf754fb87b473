package sasl_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
)

func loginPLAIN(t *testing.T, e *sasl.Embedded, user, secret string) sasl.Step {
	t.Helper()
	_, step := e.Start(t.Context(), sasl.Client{}, "PLAIN", b64("\x00"+user+"\x00"+secret), true)
	return step
}

func storedOf(t *testing.T, d *directory.Directory, user string) string {
	t.Helper()
	a, err := d.LookupPassword(t.Context(), user)
	if err != nil {
		t.Fatal(err)
	}
	return a.Stored
}

func TestUpgrade(t *testing.T) {
	const md5 = "$1$saltsalt$9T3cUS1EUG/L6TvTCoJP10"
	const bcrypt = "{BLF-CRYPT}$2y$05$3oEIHFwB1ga0FNsuoPQX7eP/BeI.86hAUz79QUVcTl3bXY4yom9Y2"
	const secret = "Secret pass-1"
	tests := []struct {
		to, stored, secret string
		want               string // how the stored form begins afterwards; "": as before
	}{
		{"", md5, secret, ""},
		{"BLF-CRYPT", md5, secret, "{BLF-CRYPT}$2y$10$"},
		{"BLF-CRYPT", "bob-demo", "bob-demo", "{BLF-CRYPT}$2y$10$"},
		{"BLF-CRYPT", bcrypt, secret, ""},
		{"SHA512-CRYPT", bcrypt, secret, ""},
		{"ARGON2ID", bcrypt, secret, "{ARGON2ID}$argon2id$"},
		{"SCRAM-SHA-256", md5, secret, "{SCRAM-SHA-256}4096,"},
		{"ARGON2ID", md5, "wrong", ""},
	}
	for _, tt := range tests {
		t.Run(tt.to+" "+tt.stored, func(t *testing.T) {
			e, d, _ := site(t, "a@demo.test "+tt.stored)
			e.UpgradeTo(tt.to)
			right := tt.secret != "wrong"
			step := loginPLAIN(t, e, "A@demo.test", tt.secret)
			if (step.Kind == sasl.Done) != right || len(step.Warnings) != 0 {
				t.Fatalf("login: %+v", step)
			}
			now := storedOf(t, d, "a@demo.test")
			if tt.want == "" && now != tt.stored || !strings.HasPrefix(now, tt.want) {
				t.Errorf("stored is %s", now)
			}
			if step = loginPLAIN(t, e, "a@demo.test", tt.secret); (step.Kind == sasl.Done) != right {
				t.Errorf("next login: %+v", step)
			}
			if again := storedOf(t, d, "a@demo.test"); again != now {
				t.Errorf("rewritten once more, from %s to %s", now, again)
			}
		})
	}
}

// TestUpgradeLetsSCRAMBe: its keys are slow to try, and nothing else allows
// SCRAM.
func TestUpgradeLetsSCRAMBe(t *testing.T) {
	before, err := password.Hash("SCRAM-SHA-256", "bob-demo")
	if err != nil {
		t.Fatal(err)
	}
	e, d, _ := site(t, "a@demo.test "+before)
	e.UpgradeTo("ARGON2ID")
	if step := loginPLAIN(t, e, "a@demo.test", "bob-demo"); step.Kind != sasl.Done {
		t.Fatalf("login: %+v", step)
	}
	if now := storedOf(t, d, "a@demo.test"); now != before {
		t.Errorf("stored is %s", now)
	}
}

// TestUpgradeFails: the login succeeds all the same, and the log says why the
// password stays.
func TestUpgradeFails(t *testing.T) {
	long := strings.Repeat("x", 80) // more than bcrypt takes
	e, d, _ := site(t, "a@demo.test "+long)
	e.UpgradeTo("BLF-CRYPT")
	step := loginPLAIN(t, e, "a@demo.test", long)
	if step.Kind != sasl.Done || len(step.Warnings) != 1 ||
		!strings.HasPrefix(step.Warnings[0], "SASL: mailbox a@demo.test: the password stays as it is stored: ") {
		t.Errorf("login: %+v", step)
	}
	if strings.Contains(strings.Join(step.Warnings, ""), long) {
		t.Error("the log has the password")
	}
	if now := storedOf(t, d, "a@demo.test"); now != long {
		t.Errorf("stored is %s", now)
	}
}

// TestUpgradeMeetsOthers: many logins at once all succeed, quietly, and a
// password that is set meanwhile is never overwritten with the old one.
func TestUpgradeMeetsOthers(t *testing.T) {
	e, d, _ := site(t, "a@demo.test {PLAIN}old")
	e.UpgradeTo("BLF-CRYPT")
	steps := make([]sasl.Step, 6)
	var wg sync.WaitGroup
	for i := range steps {
		wg.Go(func() { steps[i] = loginPLAIN(t, e, "a@demo.test", "old") })
	}
	wg.Go(func() {
		if err := d.SetPassword(t.Context(), "a@demo.test", "{PLAIN}new"); err != nil {
			t.Error(err)
		}
	})
	wg.Wait()
	if i := slices.IndexFunc(steps, func(s sasl.Step) bool { return len(s.Warnings) > 0 }); i >= 0 {
		t.Errorf("login %d: %+v", i, steps[i])
	}
	if step := loginPLAIN(t, e, "a@demo.test", "new"); step.Kind != sasl.Done {
		t.Errorf("the new password: %+v", step)
	}
}
