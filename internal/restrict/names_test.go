package restrict_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sekisho/internal/evidence"
	"sekisho/internal/restrict"
)

// TestNames plays testdata/names: a transcript for every restriction of the
// language, named as it, with each situation that it can be in. A case is
//
//	case SITUATION
//	main.cf lines
//	STAGE
//	facts as in TestEval; "answers" is a line of its command policy
//
// Situations are explained at situations. Package conformance/names plays the
// same cases to Postfix: only cases with "alone REASON" among their facts are
// ours alone, and one with "postfix REPLY" is known to differ there.
func TestNames(t *testing.T) {
	aliases := make(map[string][]string)
	for _, r := range restrict.Language() {
		if r.AliasOf != "" {
			aliases[r.AliasOf] = append(aliases[r.AliasOf], r.Name)
		}
	}
	known := make(map[string]bool)
	for _, r := range restrict.Language() {
		if r.AliasOf != "" {
			continue
		}
		known[r.Name+".txt"] = true
		t.Run(r.Name, func(t *testing.T) {
			n := &named{Restriction: r, bench: newBench(t), aliases: aliases[r.Name]}
			datadriven.RunTest(t, filepath.Join("testdata/names", r.Name+".txt"), n.play)
			for _, s := range situations(r, n.aliases) {
				if !slices.Contains(n.seen, s) {
					t.Errorf("no case %q", s)
				}
			}
			for _, reply := range r.Replies {
				if strings.IndexAny(reply, "45") == 0 && !n.says(reply) {
					t.Errorf("no case is answered: %s", reply)
				}
			}
		})
	}
	files, err := os.ReadDir("testdata/names")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !known[f.Name()] {
			t.Errorf("testdata/names/%s is named as no restriction", f.Name())
		}
	}
}

// absentable are the facts that a session may lack.
var absentable = []string{
	"helo_name", "sender", "recipient", "sasl_username", "client_name", "reverse_client_name", "etrn_domain",
	"ccert_fingerprint", "encryption_protocol",
}

// situations are the cases that a restriction must have.
func situations(r restrict.Restriction, aliases []string) []string {
	out := []string{
		"hit",   // it decides
		"warn",  // inside warn_if_reject
		"class", // inside a restriction class
		"value", // as an access table's value
	}
	if len(r.Facts) > 0 && r.Removed == "" {
		out = append(out, "miss") // it has no opinion
	}
	if r.Argument != restrict.ArgumentNone {
		out = append(out, "argument") // with a wrong one, or none
	}
	for _, f := range r.Facts { // what it looks at is missing
		if slices.Contains(absentable, f) {
			out = append(out, "absent "+f)
		}
	}
	for _, a := range r.Asks { // whoever is asked fails
		if a != "sleep" {
			out = append(out, "failure "+a)
		}
	}
	for _, p := range r.Parameters { // the parameter is changed
		out = append(out, "parameter "+p)
	}
	for _, a := range aliases { // written so
		out = append(out, "alias "+a)
	}
	return out
}

// named is one restriction with its cases.
type named struct {
	restrict.Restriction
	bench   *bench
	aliases []string
	seen    []string
	output  strings.Builder // of all cases
}

func (n *named) play(t *testing.T, d *datadriven.TestData) string {
	if d.Cmd != "case" || len(d.CmdArgs) == 0 {
		d.Fatalf(t, "want case SITUATION")
	}
	kind, what := d.CmdArgs[0].Key, ""
	if len(d.CmdArgs) > 1 {
		what = d.CmdArgs[1].Key
	}
	n.seen = append(n.seen, strings.TrimRight(kind+" "+what, " "))
	c := split(d.Input)
	out, steps := n.run(t, d, c)
	n.asksAsDescribed(t, d, steps)
	if !n.fits(kind, what, c) {
		d.Fatalf(t, "the configuration does not have the situation %s %s", kind, what)
	}
	switch kind {
	case "hit", "miss":
		if n.Name != "sleep" && n.Name != "warn_if_reject" && n.decided(steps) != (kind == "hit") {
			d.Fatalf(t, "it is no %s:\n%s", kind, showTrace(steps))
		}
	case "parameter":
		without := c
		without.config = regexp.MustCompile(`(?m)^`+what+` =.*\n(?:[ \t].*\n)*`).ReplaceAllString(c.config, "")
		if plain, _ := n.run(t, d, without); plain == out {
			d.Fatalf(t, "%s changes nothing", what)
		}
	case "failure":
		if !failed(steps, what) {
			d.Fatalf(t, "no question of the kind %s fails", what)
		}
	}
	n.output.WriteString(out)
	return out
}

// placeholder is a word of Restriction.Replies that stands for others.
var placeholder = regexp.MustCompile(`\b[A-Z]+\b`)

// says reports whether a case has had the reply.
func (n *named) says(reply string) bool {
	pattern := placeholder.ReplaceAllStringFunc(regexp.QuoteMeta(reply), func(word string) string {
		switch word {
		case "DNS":
			return word
		case "C":
			return `[A-Z][\w-]+( \w+)*`
		}
		return `.*`
	})
	return regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(n.output.String())
}

// trial is a case in its parts.
type trial struct{ config, stage, facts string }

var stageLine = regexp.MustCompile(`(?m)^(CONNECT|EHLO|MAIL|RCPT|VRFY|ETRN|DATA|END-OF-MESSAGE)$`)

func split(input string) trial {
	at := stageLine.FindStringIndex(input)
	if at == nil {
		return trial{config: input + "\n"}
	}
	return trial{input[:at[0]], input[at[0]:at[1]], strings.TrimPrefix(input[at[1]:], "\n")}
}

// run configures, decides, and returns what TestEval's config and eval print,
// with the way to the decision.
func (n *named) run(t *testing.T, d *datadriven.TestData, c trial) (string, restrict.Trace) {
	if c.stage == "" {
		d.Fatalf(t, "no stage")
	}
	out := n.bench.configure(t, strings.TrimSuffix(c.config, "\n"))
	n.bench.policies = nil
	var facts []string
	for _, l := range strings.Split(c.facts, "\n") {
		switch word, rest, _ := strings.Cut(l, " "); word {
		case "answers":
			n.bench.policies = append(n.bench.policies, rest)
		case "alone", "postfix": // for conformance/names
		default:
			facts = append(facts, l)
		}
	}
	eval := &datadriven.TestData{Cmd: "eval", Input: strings.Join(facts, "\n"), CmdArgs: []datadriven.CmdArg{{Key: c.stage}}}
	out += strings.ReplaceAll(n.bench.eval(t, eval), n.bench.dir, "DIR")
	return out, n.bench.explain(t, c.stage, facts)
}

// fits reports whether a case is what it says.
func (n *named) fits(kind, what string, c trial) bool {
	name := regexp.QuoteMeta(n.Name)
	if kind == "alias" {
		name = regexp.QuoteMeta(what)
	}
	has := func(pattern string) bool { return regexp.MustCompile(`(?m)` + pattern).MatchString(c.config) }
	switch kind {
	case "warn":
		return has(`warn_if_reject ` + strings.TrimPrefix(name, "warn_if_reject"))
	case "class":
		return has(`^smtpd_restriction_classes = class$`) && has(`^class = (.*[ ,])?`+name+`\b`)
	case "value":
		return has(`inline:\{.*= ?([^}]*[ ,])?` + name + `\b`)
	}
	return has(`= (.*[ ,])?` + name + `\b`)
}

// decided reports whether the restriction had an opinion.
func (n *named) decided(steps restrict.Trace) bool {
	return slices.ContainsFunc(steps, func(s restrict.Step) bool {
		return strings.EqualFold(s.Name, n.Name) && s.Result != restrict.Passed && s.Result != restrict.NotReached
	})
}

// kinds are the questions that a word of Restriction.Asks stands for.
func kinds(asks string) evidence.Kind {
	switch {
	case asks == "dns", asks == "list":
		return evidence.DNS
	case asks == "host":
		return evidence.Host
	case asks == "policy":
		return evidence.Policy
	case asks == "verify":
		return evidence.Verify
	case asks == "sleep":
		return evidence.Sleep
	}
	return evidence.Table // table, resolver, maps:PARAMETER
}

// asksAsDescribed holds the table of the language to what the restriction asks.
func (n *named) asksAsDescribed(t *testing.T, d *datadriven.TestData, steps restrict.Trace) {
	for _, s := range steps {
		if !strings.EqualFold(s.Name, n.Name) {
			continue
		}
		for _, a := range s.Asked {
			if !slices.ContainsFunc(n.Asks, func(asks string) bool { return kinds(asks) == a.Question.Kind }) {
				t.Errorf("%s: it asks %s %q; restrictions.tsv does not say so", d.Pos, a.Question.Name, a.Question.Arg)
			}
		}
	}
}

// failed reports whether a question of the kind got no answer that says
// anything.
func failed(steps restrict.Trace, asks string) bool {
	for _, s := range steps {
		for _, a := range s.Asked {
			st := a.Answer.Status
			if a.Question.Kind == kinds(asks) && st != evidence.Found && st != evidence.NotFound && st != evidence.NoData {
				return true
			}
		}
	}
	return false
}
