package rewrite

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// TestRewrite plays testdata/*.txt. Commands:
//
//	config       main.cf lines for what follows
//	rewrite      prints each address in standard form
//	resolve      prints class, transport:nexthop, recipient and flags of each
//	find MAPS    prints the keys asked for in tables that have none, or the match
//	map MAPS     prints what the addresses become
//
// Addresses are in external form, one a line.
func TestRewrite(t *testing.T) {
	datadriven.Walk(t, "testdata", func(t *testing.T, path string) {
		r := configure(t, "")
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "config" {
				r = configure(t, d.Input)
				return ""
			}
			var b strings.Builder
			for _, line := range strings.Split(d.Input, "\n") {
				fmt.Fprintf(&b, "%s: %s\n", line, play(t, r, d, mail.Unquote(line)))
			}
			return b.String()
		})
	})
}

func play(t *testing.T, r *Resolver, d *datadriven.TestData, addr string) string {
	switch d.Cmd {
	case "rewrite":
		return r.Rewrite(addr)
	case "resolve":
		return showResolved(r.Resolve(tables{}, "s@sender.test", addr))
	case "find":
		asked := tables{}
		m := r.Find(asked, maps(d), addr)
		if m.Found || m.Failed {
			return fmt.Sprintf("%q ext=%q failed=%v broken=%v", m.Value, m.Ext, m.Failed, m.Broken)
		}
		return strings.Join(asked.list(), " ")
	case "access":
		asked := tables{}
		r.FindAccess(asked, d.CmdArgs[0].String(), addr, true)
		return strings.Join(asked.list(), " ")
	case "map":
		out, m := r.Map(tables{}, maps(d), addr, true)
		if !m.Found {
			return "not found"
		}
		return strings.Join(out, " ")
	}
	t.Fatalf("unknown command %q", d.Cmd)
	return ""
}

func maps(d *datadriven.TestData) []string {
	var out []string
	for _, a := range d.CmdArgs {
		out = append(out, a.Key)
	}
	return out
}

func showResolved(res Resolved) string {
	s := fmt.Sprintf("%s %s:%s %s", res.Class, res.Transport, res.Nexthop, res.Recipient)
	for flag, on := range map[string]bool{"routed": res.Routed} {
		if on {
			s += " " + flag
		}
	}
	if res.Invalid {
		s = "invalid " + res.Recipient
	}
	if res.Failed {
		s = "failed"
	}
	for _, w := range res.Warnings {
		s += "\n  warning: " + w
	}
	return s
}

// tables answers from entries "table key"; it keeps the keys asked for.
type tables map[string]int

var entries = map[string]string{
	"m user@m.test": "found@m.test", "m plus@m.test": "other@b.test, third@c.test", "m @all.test": "@everyone.test",
	"m local": "root@x.test", `m "a b"@m.test`: "quoted@m.test", "m raw x@m.test": "raw@m.test", "m empty@m.test": "", "m octets": "x\xff",
	"trans special@a.test": "smtp:[relay.test]:26", "trans .sub.test": "lmtp:", "trans sub.test": ":[only-hop.test]", "trans bad.test": "error",
	"trans why.test": "error:5.7.1 go away", "reloc moved@a.test": "new@b.test", "snd s@sender.test": "[by-sender.test]", "sxp @sender.test": "slow:",
}

func (a tables) Ask(q evidence.Question) evidence.Answer {
	a[q.Name+" "+q.Arg] = len(a)
	if strings.HasPrefix(q.Name, "broken") {
		return evidence.Answer{Status: evidence.Failed, Permanent: q.Name == "broken for good"}
	}
	if v, ok := entries[q.Name+" "+q.Arg]; ok {
		return evidence.Answer{Status: evidence.Found, Value: v}
	}
	return evidence.Answer{Status: evidence.NotFound}
}

func (a tables) list() []string {
	out := make([]string, len(a))
	for q, i := range a {
		_, key, _ := strings.Cut(q, " ")
		out[i] = key
	}
	return out
}

func configure(t *testing.T, lines string) *Resolver {
	t.Helper()
	dir := t.TempDir()
	main := `compatibility_level = 3.6
myhostname = mx.ours.test
myorigin = ours.test
mydomain = ours.test
mydestination = local.test, $myhostname
virtual_alias_domains = alias.test
virtual_mailbox_domains = mailbox.test
relay_domains = relay.test
recipient_delimiter = +
` + lines + "\n"
	for name, text := range map[string]string{"main.cf": main, "master.cf": ""} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	r, err := Compile(cfg, World{
		OwnAddresses: []string{"127.0.0.1", "2001:db8::1"},
		Partial:      func(table string) bool { return !strings.HasPrefix(table, "pattern") },
		ReadFile:     os.ReadFile,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// FuzzResolve: the short way for ordinary addresses agrees with the long one,
// and whatever is no invalid address has the form user@domain.
func FuzzResolve(f *testing.F) {
	for _, s := range []string{"user@a.test", "a.b@local.test", "u@x.", "u%h@local.test", "h!u", `"a b"@c`, "@a:b@c", "u@[127.0.0.1]", "..@a", "a@b@c", "-x@a.test", "ü@ü.test"} {
		f.Add(s)
	}
	dir := f.TempDir()
	for name, text := range map[string]string{"main.cf": "compatibility_level = 3.6\nmyhostname = mx.ours.test\nmydestination = local.test\nappend_dot_mydomain = yes\n", "master.cf": ""} {
		if err := os.WriteFile(dir+"/"+name, []byte(text), 0o600); err != nil {
			f.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		f.Fatal(err)
	}
	r, err := Compile(cfg, World{Partial: func(string) bool { return true }, ReadFile: os.ReadFile})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		if got, want := r.Rewrite(addr), r.rewriteTokens(addr); got != want {
			t.Errorf("Rewrite(%q) = %q, by tokens %q", addr, got, want)
		}
		src := tables{}
		short, long := &resolution{r: r, src: src}, &resolution{r: r, src: src}
		a, b := short.reduce(addr), mail.JoinTokens(long.reduceTokens(addr))
		if a != b || short.local != long.local {
			t.Errorf("reduce(%q) = %q, %v; by tokens %q, %v", addr, a, short.local, b, long.local)
		}
		if res := r.Resolve(src, "", addr); !res.Invalid && !res.Failed && strings.Count(res.Recipient, "@") < 1 {
			t.Errorf("Resolve(%q) = %+v", addr, res)
		}
	})
}

// TestRewriteExternal tells apart what only the external form has.
func TestRewriteExternal(t *testing.T) {
	r := configure(t, "")
	for in, want := range map[string]string{
		"":          `""`,
		"a b":       `"a b"@ours.test`,
		"x!a \\<b":  `"a <b"@x`,
		"!a,\\<b c": `"a,<bc"@`, // nothing before "!": no blanks
		`"a"."b"@c`: "a.b@c",
	} {
		if got := r.RewriteExternal(in); got != want {
			t.Errorf("%s becomes %s, want %s", in, got, want)
		}
	}
}

// TestBrokenForGood: a failure that no retry mends is told from one that may
// pass.
func TestBrokenForGood(t *testing.T) {
	for table, want := range map[string]bool{"broken": false, "broken for good": true} {
		if m := configure(t, "").Find(tables{}, []string{table}, "x@a.test"); !m.Failed || m.Broken != want {
			t.Errorf("%s: %+v", table, m)
		}
	}
}

// TestOctets: no table has a key that is no UTF-8, and one with such a value is
// broken, unless SMTPUTF8 is off.
func TestOctets(t *testing.T) {
	for text, asked := range map[string]bool{"": false, "smtputf8_enable = no": true} {
		if m := configure(t, text).Find(tables{}, []string{"broken:"}, "\xff"); m.Failed != asked {
			t.Errorf("%q: %+v", text, m)
		}
		if m := configure(t, text).Find(tables{}, []string{"m"}, "octets"); m.Broken == asked || m.Found != asked {
			t.Errorf("%q, the value: %+v", text, m)
		}
	}
}
