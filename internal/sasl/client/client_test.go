package client

import (
	"errors"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

func TestBegin(t *testing.T) {
	for name, c := range map[string]struct {
		offered string
		want    Properties
		chosen  string // empty: none
	}{
		"the best":         {"PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256", 0, "SCRAM-SHA-256"},
		"case":             {"plain login", NoAnonymous, "PLAIN"},
		"no plaintext":     {"PLAIN LOGIN", NoPlaintext, ""},
		"hashed":           {"PLAIN CRAM-MD5", NoPlaintext | NoAnonymous, "CRAM-MD5"},
		"mutual":           {"CRAM-MD5 SCRAM-SHA-1", MutualAuth, "SCRAM-SHA-1"},
		"nothing has that": {"PLAIN SCRAM-SHA-256", ForwardSecrecy, ""},
		"unknown":          {"GSSAPI ANONYMOUS", 0, ""},
		"token":            {"XOAUTH2", NoAnonymous, "XOAUTH2"},
	} {
		e, err := Begin(strings.Fields(c.offered), c.want, "user", "pass")
		switch {
		case c.chosen == "" && !errors.Is(err, ErrNoMechanism):
			t.Errorf("%s: %+v, %v", name, e, err)
		case c.chosen != "" && (err != nil || e.Mechanism != c.chosen):
			t.Errorf("%s: %+v, %v; want %s", name, e, err, c.chosen)
		}
	}
}

// The vectors of the RFCs, and what is said by custom.
func TestExchanges(t *testing.T) {
	for _, c := range []struct {
		mechanism, user, password string
		first                     string
		dialogue                  []string // challenge, answer, ...
	}{
		{"PLAIN", "tim", "tanstaaftanstaaf", "\x00tim\x00tanstaaftanstaaf", nil},
		{"LOGIN", "tim", "secret", "", []string{"Username:", "tim", "Password:", "secret"}},
		{"CRAM-MD5", "tim", "tanstaaftanstaaf", "", []string{"<1896.697170952@postoffice.reston.mci.net>", "tim b913a602c7eda7a495b4e6e7334d3890"}},
		{"XOAUTH2", "someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg", "user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01", []string{`{"status":"401"}`, ""}},
	} {
		e, err := Begin([]string{c.mechanism}, 0, c.user, c.password)
		if err != nil || string(e.First) != c.first {
			t.Errorf("%s: %+v, %v", c.mechanism, e, err)
			continue
		}
		for i := 0; i < len(c.dialogue); i += 2 {
			if answer, err := e.Next([]byte(c.dialogue[i])); err != nil || string(answer) != c.dialogue[i+1] {
				t.Errorf("%s: %q: %q, %v", c.mechanism, c.dialogue[i], answer, err)
			}
		}
		if answer, err := e.Next([]byte("more")); err == nil {
			t.Errorf("%s: a challenge too many got %q", c.mechanism, answer)
		}
	}
}

// SCRAM logs in where the password is known, and notices a server that does not
// know it.
func TestSCRAM(t *testing.T) {
	for name, hash := range map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256, "SCRAM-SHA-512": scram.SHA512} {
		for _, known := range []string{"pencil", "pen"} {
			c, err := hash.NewClient("user", known, "")
			if err != nil {
				t.Fatal(err)
			}
			stored, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "salt", Iters: 4096})
			if err != nil {
				t.Fatal(err)
			}
			server, err := hash.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
			if err != nil {
				t.Fatal(err)
			}
			conversation := server.NewConversation()
			e, err := Begin([]string{name}, NoPlaintext|MutualAuth, "user", "pencil")
			if err != nil {
				t.Fatal(err)
			}
			said := string(e.First)
			for range 2 {
				challenge, err := conversation.Step(said)
				if err != nil {
					break
				}
				answer, err := e.Next([]byte(challenge))
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				said = string(answer)
			}
			if conversation.Valid() != (known == "pencil") {
				t.Errorf("%s: server that knows %s: valid %v", name, known, conversation.Valid())
			}
			if _, err := e.Next([]byte("v=AAAA")); err == nil {
				t.Errorf("%s: a wrong signature of the server is accepted", name)
			}
		}
	}
}

func TestParseProperties(t *testing.T) {
	if p, err := ParseProperties([]string{"noplaintext", "NoAnonymous"}); err != nil || p != NoPlaintext|NoAnonymous {
		t.Errorf("%v %v", p, err)
	}
	if _, err := ParseProperties([]string{"nosuch"}); err == nil {
		t.Error("an unknown word is taken")
	}
}
