package restrict_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
	"sekisho/internal/restrict"
	"sekisho/internal/site"
	"sekisho/internal/zone"
)

// TestEval plays the transcripts in testdata/eval. Their commands:
//
//	file NAME       a file beside main.cf
//	config          main.cf lines for what follows; prints what is wrong with them
//	policy          what policy services answer from now on: a line
//	                "SERVICE -> ACTION" each, or "SERVICE fails WARNING"
//	eval STAGE      decides about the facts given, prints the outcome
//	request STAGE   prints what policy services are asked
//	trace STAGE     prints how it came to that
//
// Facts that are not given are those of a stranger who sends to a mailbox of
// ours; "carry" goes on with what the evaluation before has left.
func TestEval(t *testing.T) {
	datadriven.Walk(t, "testdata/eval", func(t *testing.T, path string) {
		w := newBench(t)
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			switch d.Cmd {
			case "file":
				if err := os.WriteFile(filepath.Join(w.dir, d.CmdArgs[0].Key), []byte(d.Input+"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				return ""
			case "config":
				return w.configure(t, d.Input)
			case "policy":
				w.policies = strings.Split(d.Input, "\n")
				return ""
			case "eval", "trace", "request":
				return strings.ReplaceAll(w.eval(t, d), w.dir, "DIR")
			}
			t.Fatalf("unknown command %q", d.Cmd)
			return ""
		})
	})
}

// bench is a configuration with a scripted world.
type bench struct {
	dir   string
	base  string // main.cf, to which cases add
	site  *site.Site
	zone  *zone.Zone
	carry restrict.Carry

	policies []string // what services answer
	requests []string // what they were asked
	slept    time.Duration
}

// ask answers for policy services.
func (w *bench) ask(_ context.Context, service, request string) evidence.Answer {
	w.requests = append(w.requests, service+" is asked\n"+request)
	for _, p := range w.policies {
		if action, ok := strings.CutPrefix(p, service+" -> "); ok {
			return evidence.Answer{Status: evidence.Found, Value: strings.ReplaceAll(action, `\xe9`, "\xe9")}
		}
		if warning, ok := strings.CutPrefix(p, service+" fails "); ok {
			return evidence.Answer{Status: evidence.Failed, Warnings: strings.Split(warning, "; ")}
		}
	}
	return evidence.Answer{Status: evidence.Found, Value: "DUNNO"}
}

// sleepless is a clock that takes down how long it should have slept.
type sleepless struct{ bench *bench }

func (sleepless) Now() time.Time { return fixed.Now() }

func (s sleepless) Sleep(_ context.Context, d time.Duration) error {
	s.bench.slept += d
	return nil
}

func newBench(t testing.TB) *bench {
	t.Helper()
	names, err := os.Open("testdata/world/zone.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer names.Close()
	z, err := zone.Parse("zone.txt", names)
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.ReadFile("testdata/world/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	return &bench{dir: t.TempDir(), base: string(base), zone: z}
}

func (w *bench) configure(t testing.TB, main string) string {
	t.Helper()
	for name, text := range map[string]string{"main.cf": w.base + main + "\n", "master.cf": "smtp inet n - n - - smtpd\n"} {
		if err := os.WriteFile(filepath.Join(w.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, err := site.Load(w.dir, site.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	w.site, w.carry = s, restrict.Carry{}
	offset := strings.Count(w.base, "\n")
	var b strings.Builder
	for _, p := range s.Problems {
		if strings.Contains(p.What, "at least one working instance") {
			continue // compile_test.go
		}
		p.Pos.File, p.Pos.Line = "main.cf", p.Pos.Line-offset
		b.WriteString(p.String() + "\n")
	}
	return b.String()
}

func (w *bench) session() *evidence.Session {
	return evidence.NewSession(context.Background(), &evidence.World{
		Query: w.zone.Query, Host: dns.NewSystem(w.zone.Query, "").Host, Lookup: w.site.Tables.Lookup, Verify: probed,
		Policy: w.ask, Clock: sleepless{w},
	})
}

// probed is address verification for addresses whose local parts say what came
// of their probes.
func probed(_ context.Context, addr string) (outcome, reason string) {
	switch local, _, _ := mail.SplitAddress(addr); local {
	case "refused": // as the transports of conformance/names say it
		return evidence.Undeliverable, "no such user"
	case "deferred":
		return evidence.Deferred, "try later"
	case "bad":
		return evidence.Undeliverable, "host mx.a.test[192.0.2.1] said: 550 5.1.1 no such user"
	case "later":
		return evidence.Deferred, "connect to mx.a.test[192.0.2.1]:25: Connection timed out"
	case "probing":
		return evidence.InProgress, "Address verification in progress"
	case "broken":
		return "", "no service"
	case "long":
		return evidence.Undeliverable, strings.Repeat("0123456789", 60)
	}
	return evidence.Deliverable, "250 2.1.5 Ok"
}

func (w *bench) program() *restrict.Program { return w.site.Services[0].Program }

func (w *bench) eval(t *testing.T, d *datadriven.TestData) string {
	state := d.CmdArgs[0].Key
	stage := stageNamed(t, state)
	f, carry := w.facts(t, state, strings.Split(strings.TrimSpace(d.Input), "\n"))
	if d.Cmd == "trace" {
		_, trace := w.program().Explain(stage, &f, w.session(), carry)
		return showTrace(trace)
	}
	w.requests, w.slept = nil, 0
	out := w.program().Eval(stage, &f, w.session(), carry)
	w.carry = out.Carry
	if d.Cmd == "request" {
		return strings.Join(w.requests, "")
	}
	shown := showOutcome(out)
	if w.slept > 0 {
		shown += fmt.Sprintf("sleeps %s\n", w.slept)
	}
	return shown
}

// explain returns how a decision comes about.
func (w *bench) explain(t *testing.T, state string, facts []string) restrict.Trace {
	f, carry := w.facts(t, state, facts)
	_, trace := w.program().Explain(stageNamed(t, state), &f, w.session(), carry)
	return trace
}

func stageNamed(t *testing.T, state string) restrict.Stage {
	stage, ok := map[string]restrict.Stage{
		"CONNECT": restrict.StageConnect, "EHLO": restrict.StageHelo, "MAIL": restrict.StageMail, "RCPT": restrict.StageRcpt,
		"VRFY": restrict.StageVrfy, "ETRN": restrict.StageETRN, "DATA": restrict.StageData, "END-OF-MESSAGE": restrict.StageEndOfData,
	}[state]
	if !ok {
		t.Fatalf("unknown stage %q", state)
	}
	return stage
}

// facts reads facts that are not a stranger's, one a line.
func (w *bench) facts(t *testing.T, state string, lines []string) (mail.Facts, restrict.Carry) {
	f, carry := stranger(state), restrict.Carry{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, " ")
		if name == "carry" {
			carry = w.carry
			continue
		}
		setFact(t, &f, name, strings.TrimSpace(value))
	}
	return f, carry
}

// stranger is somebody of whom nobody has heard.
func stranger(state string) mail.Facts {
	f := mail.Facts{
		ProtocolState: state, ProtocolName: "ESMTP",
		ClientAddress: "198.51.100.1", ClientName: "host.test", ClientNameStatus: mail.NameOK,
		ReverseClientName: "host.test", ReverseClientNameStatus: mail.NameOK, HeloName: "host.test",
	}
	switch state {
	case "CONNECT":
		f.HeloName = ""
	case "EHLO":
	case "ETRN":
		f.ETRNDomain = "etrn.test"
	case "VRFY":
		f.RecipientKnown, f.Recipient = true, "x@mailbox.test"
	case "MAIL":
		f.SenderKnown, f.Sender = true, "s@a.test"
	default:
		f.SenderKnown, f.Sender, f.RecipientKnown, f.Recipient = true, "s@a.test", true, "x@mailbox.test"
	}
	if state == "DATA" || state == "END-OF-MESSAGE" {
		f.RecipientCount = 1
	}
	return f
}

func setFact(t *testing.T, f *mail.Facts, name, value string) {
	host := func() (string, mail.NameStatus) {
		for word, st := range map[string]mail.NameStatus{"none": mail.NamePerm, "temporary": mail.NameTemp, "forged": mail.NameForged} {
			if value == word {
				return "unknown", st
			}
		}
		return value, mail.NameOK
	}
	switch name {
	case "":
	case "client":
		f.ClientAddress = value
	case "name":
		f.ClientName, f.ClientNameStatus = host()
	case "reverse":
		f.ReverseClientName, f.ReverseClientNameStatus = host()
	case "helo":
		f.HeloName = value
	case "from":
		f.Sender, f.SenderKnown = mail.Unquote(value), value != "unknown"
	case "to":
		f.Recipient, f.RecipientKnown = mail.Unquote(value), value != "several"
	case "count":
		f.RecipientCount, _ = strconv.Atoi(value)
	case "login":
		f.SASLUsername = value
	case "tls":
		f.EncryptionProtocol, f.EncryptionCipher, f.EncryptionKeysize = "TLSv1.3", "TLS_AES_256_GCM_SHA384", 256
		f.TLSSNI = value
	case "certificate": // FINGERPRINT KEY CN; nobody vouches for it
		parts := strings.SplitN(value, " ", 3)
		f.CcertPresent, f.CcertFingerprint, f.CcertPubkeyFingerprint = true, parts[0], parts[1]
		f.CcertSubject, f.CcertIssuer = parts[2], "An issuer"
	case "trusted":
		f.CcertTrusted = true
	case "queue":
		f.QueueID = value
	case "instance":
		f.Instance = value
	case "size":
		f.Size, _ = strconv.ParseInt(value, 10, 64)
	case "pipelining":
		f.UnauthPipelining = true
	case "utf8":
		f.SMTPUTF8 = true
	case "etrn":
		f.ETRNDomain = value
	default:
		t.Fatalf("unknown fact %q", name)
	}
}

func showOutcome(out restrict.Outcome) string {
	var b strings.Builder
	switch {
	case out.Hangup:
		b.WriteString("hangs up\n")
	case out.Reply.IsZero():
		b.WriteString("accepted\n")
	default:
		b.WriteString(out.Reply.String() + "\n")
	}
	for _, n := range out.Notes {
		if n.Level == slog.LevelWarn {
			b.WriteString("warning: ")
		}
		text, _, _ := strings.Cut(n.Text, "; from=")
		b.WriteString(text + "\n")
	}
	for _, e := range out.Effects {
		b.WriteString(strings.TrimRight(fmt.Sprintf("does: %s %s", e.Kind, e.Arg), " ") + "\n")
	}
	for name, d := range map[string]restrict.Deferral{"sender": out.Carry.Sender} {
		if d.Active() {
			fmt.Fprintf(&b, "carries from %s: %s\n", name, d.Reply)
		}
	}
	return b.String()
}

func showTrace(trace restrict.Trace) string {
	var b strings.Builder
	for _, s := range trace {
		line := strings.Repeat("  ", s.Depth) + s.Name
		if s.Warn {
			line = strings.Repeat("  ", s.Depth) + "warn_if_reject " + s.Name
		}
		if s.Arg != "" {
			line += " " + s.Arg
		}
		line += ": " + string(s.Result)
		if s.Says != "" {
			line += ": " + s.Says
		}
		if s.List != "" {
			line = strings.TrimSuffix(strings.TrimPrefix(s.List, "smtpd_"), "_restrictions") + line
		}
		b.WriteString(line + "\n")
		for _, a := range s.Asked {
			fmt.Fprintf(&b, "      %s %s\n", a.Question.Name, a.Question.Arg)
		}
	}
	return b.String()
}
