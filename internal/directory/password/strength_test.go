package password_test

import (
	"strings"
	"testing"

	"sekisho/internal/directory/password"
)

func TestTarget(t *testing.T) {
	for s, want := range map[string]string{
		"{ARGON2ID}": "ARGON2ID", "argon2id": "ARGON2ID", "{Blf-Crypt}": "BLF-CRYPT",
		"SHA512-CRYPT": "SHA512-CRYPT", "{SCRAM-SHA-256}": "SCRAM-SHA-256",
	} {
		if got, err := password.Target(s); got != want || err != nil {
			t.Errorf("%s: %q, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "{}", "PLAIN", "{CRAM-MD5}", "{MD5}", "ROT13", "{SHA256-CRYPT}"} {
		got, err := password.Target(s)
		if err == nil || !strings.Contains(err.Error(), "there are {BLF-CRYPT}, {SHA512-CRYPT}, {ARGON2ID}, {SCRAM-SHA-256}") {
			t.Errorf("%q: %q, %v", s, got, err)
		}
	}
}

func TestWeaker(t *testing.T) {
	const bcrypt = "$2y$05$3oEIHFwB1ga0FNsuoPQX7eP/BeI.86hAUz79QUVcTl3bXY4yom9Y2"
	const scram = "{SCRAM-SHA-256}4096,c2FsdA==,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, tt := range []struct {
		stored string
		weaker string // than these of the targets, in order
	}{
		{"secret", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"{CLEARTEXT}secret", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"5f4dcc3b5aa765d61d8327deb882cf99", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"{SSHA512}x", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"{CRAM-MD5}x", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"$1$saltsalt$9T3cUS1EUG/L6TvTCoJP10", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"{MD5}$1$saltsalt$9T3cUS1EUG/L6TvTCoJP10", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"abJnggxhB/yWI", "SCRAM-SHA-256 SHA512-CRYPT BLF-CRYPT ARGON2ID"},
		{"$6$salt$x", "BLF-CRYPT ARGON2ID"},
		{"{SHA256-CRYPT}$5$salt$x", "BLF-CRYPT ARGON2ID"},
		{"{PBKDF2}$1$salt$5000$x", "BLF-CRYPT ARGON2ID"},
		{bcrypt, "ARGON2ID"},
		{"{BLF-CRYPT}" + bcrypt, "ARGON2ID"},
		{"{CRYPT}" + bcrypt, "ARGON2ID"},
		{"{ARGON2I}$argon2i$v=19$x", ""},
		{"$argon2id$v=19$x", ""},
		{scram, ""},
	} {
		p, err := password.Parse(tt.stored)
		if err != nil {
			t.Fatalf("%s: %v", tt.stored, err)
		}
		var weaker []string
		for _, scheme := range []string{"SCRAM-SHA-256", "SHA512-CRYPT", "BLF-CRYPT", "ARGON2ID"} {
			if p.Weaker(scheme) {
				weaker = append(weaker, scheme)
			}
		}
		if got := strings.Join(weaker, " "); got != tt.weaker {
			t.Errorf("%s is weaker than %q, want %q", tt.stored, got, tt.weaker)
		}
	}
}

func TestForm(t *testing.T) {
	for stored, want := range map[string]string{
		"secret":                             "PLAIN",
		"{ssha}x":                            "SSHA",
		"5f4dcc3b5aa765d61d8327deb882cf99":   "DIGEST",
		"$1$saltsalt$9T3cUS1EUG/L6TvTCoJP10": "CRYPT $1$",
		"{CRYPT}$2y$05$x":                    "CRYPT $2y$",
		"abJnggxhB/yWI":                      "CRYPT DES",
	} {
		p, err := password.Parse(stored)
		if err != nil {
			t.Fatalf("%s: %v", stored, err)
		}
		if got := p.Form(); got != want {
			t.Errorf("%s: %s, want %s", stored, got, want)
		}
	}
}
