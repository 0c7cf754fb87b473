//go:build linux

package names

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sekisho/conformance/sandbox"
)

const engine = "../../internal/restrict/testdata"

// trial is one case of a transcript.
type trial struct {
	name, pos            string
	config, stage, facts []string
	expected             string
	answers              []string // of policy services
	plays                bool
	alone                string // why it cannot be played to Postfix
	postfix              string // what Postfix replies instead
}

var stageLine = regexp.MustCompile(`^(CONNECT|EHLO|MAIL|RCPT|VRFY|ETRN|DATA|END-OF-MESSAGE)$`)

// TestPostfix compares what Postfix answers and logs with the transcripts.
func TestPostfix(t *testing.T) {
	if testing.Short() {
		t.Skip("plays to a real Postfix")
	}
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root and postfix")
		}
		t.Skip("needs root and postfix")
	}
	trials := readTrials(t)
	sample(trials)
	request := configure(t, trials)
	w, err := sandbox.Start(role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	var got peerReply
	if err := w.Call(request, &got); err != nil {
		t.Fatal(err)
	}
	played := make(map[string]int)
	for i, tr := range trials {
		if !tr.plays {
			continue
		}
		played[tr.name]++
		tr.compare(t, got.Outcomes[i])
	}
	for _, tr := range trials {
		if played[tr.name] == 0 {
			t.Errorf("no case of %s is played to Postfix", tr.name)
		}
	}
}

// sample chooses what is played: NAMES_EVERY in the environment is 1 for all
// cases; by default it is one of five, and the first of each name.
func sample(trials []*trial) {
	every, err := strconv.Atoi(os.Getenv("NAMES_EVERY"))
	if err != nil || every < 1 {
		every = 5
	}
	seen := make(map[string]bool)
	for i, tr := range trials {
		tr.plays = tr.alone == "" && (i%every == 0 || !seen[tr.name])
		seen[tr.name] = seen[tr.name] || tr.plays
	}
}

// readTrials reads all transcripts.
func readTrials(t *testing.T) []*trial {
	paths, err := filepath.Glob(engine + "/names/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	var out []*trial
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			out = append(out, readTrial(name, d))
			return d.Expected
		})
	}
	return out
}

func readTrial(name string, d *datadriven.TestData) *trial {
	tr := &trial{name: name, pos: d.Pos, expected: d.Expected}
	for _, line := range strings.Split(d.Input, "\n") {
		word, rest, _ := strings.Cut(line, " ")
		switch {
		case tr.stage == nil && stageLine.MatchString(line):
			tr.stage = []string{line}
		case tr.stage == nil:
			tr.config = append(tr.config, line)
		case word == "answers":
			tr.answers = append(tr.answers, rest)
		case word == "alone":
			tr.alone = rest
		case word == "postfix":
			tr.postfix = rest
		default:
			tr.facts = append(tr.facts, line)
		}
	}
	return tr
}

// compare holds a transcript to what Postfix did.
func (tr *trial) compare(t *testing.T, o outcome) {
	t.Helper()
	got, want := o.text(), public(tr.expected)
	same := got == want
	if tr.postfix != "" {
		first := strings.SplitAfter(got, "\n")[0]
		if same {
			t.Errorf("%s: Postfix does not differ", tr.pos)
		}
		got, want, same = first, tr.postfix+"\n", first == tr.postfix+"\n"
	}
	if !same {
		t.Errorf("%s: %s\n%s\n%s\ntranscript:\n%sPostfix:\n%s", tr.pos, strings.Join(tr.config, "\n"), tr.stage[0], strings.Join(tr.facts, "\n"), want, got)
	}
}

// public is what of a transcript smtpd shows: what the resolver of addresses
// logs, it logs anew for every command.
func public(expected string) string {
	var b strings.Builder
	for _, line := range strings.Split(strings.TrimRight(expected, "\n"), "\n") {
		switch word, _, _ := strings.Cut(line, " "); {
		case strings.HasPrefix(word, "main.cf:"), word == "does:", word == "sleeps", word == "carries",
			strings.HasPrefix(line, "warning: relay_domains"):
		default:
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}
