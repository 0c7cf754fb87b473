package conformance

import (
	"bufio"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/diff"

	"sekisho/internal/config"
)

// differences reads differences.md: under "### NAME", the diff of a dialogue.
func differences(t *testing.T) map[string]string {
	f, err := os.Open("differences.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	found := map[string]string{}
	var name string
	var block *strings.Builder
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "### "):
			name = strings.TrimPrefix(line, "### ")
		case line == "```diff":
			block = &strings.Builder{}
		case line == "```" && block != nil:
			if _, twice := found[name]; twice || name == "" {
				t.Fatalf("differences.md: a second diff below %q", name)
			}
			found[name], block = block.String(), nil
		case block != nil:
			block.WriteString(line + "\n")
		}
	}
	return found
}

// difference is the lines in which got is not want, or empty.
func difference(want, got *Transcript) string {
	full := string(diff.Diff("recorded", comparable(want), "now", comparable(got)))
	var b strings.Builder
	for i, line := range strings.Split(full, "\n") {
		if i > 2 && (strings.HasPrefix(line, "-") || strings.HasPrefix(line, "+")) {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// comparable is t with its log grouped by service.
func comparable(t *Transcript) []byte {
	sorted := *t
	sorted.Log = byService(t.Log)
	return sorted.Format()
}

// TestDifferencesAreOfDialogues holds differences.md to the dialogues there are.
func TestDifferencesAreOfDialogues(t *testing.T) {
	for name := range differences(t) {
		if _, err := os.Stat(transcriptPath(name)); err != nil {
			t.Errorf("differences.md names a dialogue that does not exist: %v", err)
		}
	}
}

// TestFormat holds the transcripts to the form that -record writes.
func TestFormat(t *testing.T) {
	for _, script := range transcripts(t, "testdata") {
		text, err := os.ReadFile(transcriptPath(script.Name))
		if err != nil {
			t.Fatal(err)
		}
		if d := diff.Diff("file", text, "formatted", script.Format()); d != nil {
			t.Errorf("%s is not as Format writes it:\n%s", script.Name, d)
		}
	}
}

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ plain, escaped string }{
		{"EHLO client.test", "EHLO client.test"},
		{"a\rb\n", `a\rb\n`},
		{`back\slash`, `back\\slash`},
		{"nul\x00 \xe3\x83\xa6", `nul\x00 \xe3\x83\xa6`},
		{strings.Repeat("a", 29), strings.Repeat("a", 29)},
		{"x" + strings.Repeat("a", 30) + "y", "xa{*30}y"},
		{strings.Repeat("\x00", 40), `\x00{*40}`},
		{"a{*30}", `a\x7b*30}`},
	} {
		if got := escape([]byte(tt.plain)); got != tt.escaped {
			t.Errorf("escape(%q) = %s, want %s", tt.plain, got, tt.escaped)
		}
		if got, err := unescape(tt.escaped); err != nil || string(got) != tt.plain {
			t.Errorf("unescape(%s) = %q, %v, want %q", tt.escaped, got, err, tt.plain)
		}
	}
}

func TestMask(t *testing.T) {
	log := []string{
		"postfix/smtpd: 4XJ2: not an id",
		"postfix/smtpd: ABCDEF1: client=good.client.test[127.0.0.2]",
		"postfix/qmgr: ABCDEF1: from=<a@b>, size=251, nrcpt=1 (queue active)",
		"postfix/virtual: ABCDEF1: to=<c@d>, relay=virtual, delay=0.03, delays=0.02/0.01/0/0.01, dsn=2.0.0, status=sent (ok)",
	}
	m := newMask(log, []Step{{Reply, []byte("250 2.0.0 Ok: queued as ABCDEF2")}})
	want := []string{
		log[0],
		"postfix/smtpd: <ID1>: client=good.client.test[127.0.0.2]",
		"postfix/qmgr: <ID1>: from=<a@b>, size=254, nrcpt=1 (queue active)",
		"postfix/virtual: <ID1>: to=<c@d>, relay=virtual, delay=<N>, delays=<N>, dsn=2.0.0, status=sent (ok)",
	}
	if got := m.log(log); !slices.Equal(got, want) {
		t.Errorf("log is\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, tt := range []struct{ plain, masked string }{
		{"Ok: queued as ABCDEF2", "Ok: queued as <ID2>"},
		{"\tfor <x@y>; Wed, 25 Nov 2026 13:42:56 +0000 (UTC)", "\tfor <x@y>; <DATE>"},
		{"Message-Id: <20261125134256.ABCDEF1@mx.example.com>", "Message-Id: <<TIME>.<ID1>@mx.example.com>"},
		{"--ABCDEF1.1795613776/mx.example.com", "--<ID1>.<TIME>/mx.example.com"},
	} {
		if got := m.text(tt.plain); got != tt.masked {
			t.Errorf("%q is masked as %q, want %q", tt.plain, got, tt.masked)
		}
	}
}

// TestSaferDefaults holds Sekisho to the defaults of later Postfix that
// differences.md speaks of.
func TestSaferDefaults(t *testing.T) {
	defaults := config.Defaults()
	for name, want := range map[string]string{
		"smtpd_forbid_bare_newline":            "normalize",
		"smtpd_forbid_unauth_pipelining":       "yes",
		"smtpd_forbid_bare_newline_exclusions": "$mynetworks",
	} {
		if got := defaults.Default(name); got != want {
			t.Errorf("the default of %s is %q, want %q", name, got, want)
		}
	}
}
