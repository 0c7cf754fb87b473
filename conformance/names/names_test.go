//go:build linux

package names

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
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
	if _, err := exec.LookPath("postfix"); err != nil {
		unavailable(t, "needs postfix")
	}
	trials, outcomes := play(t, rolePostfix, "")
	played := make(map[string]bool)
	for i, tr := range trials {
		if tr.plays {
			played[tr.name] = true
			tr.compare(t, outcomes[i], tr.postfix)
		}
	}
	for _, tr := range trials {
		if !played[tr.name] {
			t.Errorf("no case of %s is played to Postfix", tr.name)
		}
	}
}

// TestSekisho does the same with the whole server.
func TestSekisho(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "sekisho")
	if out, err := exec.Command("go", "build", "-o", binary, "sekisho/cmd/sekisho").CombinedOutput(); err != nil {
		t.Fatalf("building sekisho: %v\n%s", err, out)
	}
	trials, outcomes := play(t, roleSekisho, binary)
	for i, tr := range trials {
		if tr.plays {
			tr.compare(t, outcomes[i], "")
		}
	}
}

// play plays a sample to a server.
func play(t *testing.T, role, binary string) ([]*trial, []outcome) {
	if testing.Short() {
		t.Skip("plays to whole servers")
	}
	if os.Getuid() != 0 {
		unavailable(t, "namespaces need root")
	}
	trials := readTrials(t)
	sample(trials, func(tr *trial) bool {
		return tr.alone == "" && (binary == "" || tr.serves())
	})
	request := configure(t, trials)
	if request.Binary = binary; binary != "" {
		request.Files["main.cf"] = strings.Replace(request.Files["main.cf"], "smtpd_sasl_type = dovecot", sekishoCf, 1)
	}
	w, err := sandbox.Start(role)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	var got peerReply
	if err := w.Call(request, &got); err != nil {
		t.Fatal(err)
	}
	return trials, got.Outcomes
}

// unavailable skips a test whose peer is missing; where the whole proof is asked
// for, that is a failure.
func unavailable(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip(why)
}

// sample chooses what is played: NAMES_EVERY in the environment is 1 for all
// cases; by default it is one of five, and the first of each name.
func sample(trials []*trial, can func(*trial) bool) {
	every, err := strconv.Atoi(os.Getenv("NAMES_EVERY"))
	if err != nil || every < 1 {
		every = 5
	}
	seen := make(map[string]bool)
	for i, tr := range trials {
		tr.plays = can(tr) && (i%every == 0 || !seen[tr.name])
		seen[tr.name] = seen[tr.name] || tr.plays
	}
}

// serves reports whether Sekisho can have the case's service: it does not start
// with a problem, and has one address resolver for all services.
func (tr *trial) serves() bool {
	return !strings.HasPrefix(tr.expected, "main.cf:") && !slices.ContainsFunc(tr.config, resolverParameter.MatchString)
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

// compare holds a transcript to what a server did, or only its reply to another
// one that it is known to give.
func (tr *trial) compare(t *testing.T, o outcome, other string) {
	t.Helper()
	got, want := o.text(), public(tr.expected)
	same := got == want
	if other != "" {
		first := strings.SplitAfter(got, "\n")[0]
		if same {
			t.Errorf("%s: there is no difference", tr.pos)
		}
		got, want, same = first, other+"\n", first == other+"\n"
	}
	if !same {
		t.Errorf("%s: %s\n%s\n%s\ntranscript:\n%snow:\n%s", tr.pos, strings.Join(tr.config, "\n"), tr.stage[0], strings.Join(tr.facts, "\n"), want, got)
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
