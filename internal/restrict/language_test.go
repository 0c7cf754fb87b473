package restrict_test

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/config"
	"sekisho/internal/restrict"
)

// update rewrites the page that is made from the table:
//
//	go test ./internal/restrict -run TestDocument -update
var update = flag.Bool("update", false, "rewrite docs/restrictions.md")

const documentPath = "../../docs/restrictions.md"

// argumentOf is a good argument of each kind.
var argumentOf = map[restrict.Argument]string{
	restrict.ArgumentTable: "static:DUNNO", restrict.ArgumentDomain: "list.test", restrict.ArgumentService: "unix:private/policy",
	restrict.ArgumentSeconds: "1", restrict.ArgumentRestriction: "reject",
}

// TestLanguage holds the table of the language to what Compile understands.
func TestLanguage(t *testing.T) {
	all := restrict.Language()
	if len(all) != 78 {
		t.Errorf("the table has %d names, Postfix knows 78", len(all))
	}
	source, err := os.ReadFile("names.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`"([a-z]+_[a-z_]+[a-z])"`).FindAllStringSubmatch(string(source), -1) {
		if !slices.ContainsFunc(all, func(r restrict.Restriction) bool { return strings.HasPrefix(r.Name, m[1]) }) {
			t.Errorf("%s is evaluated, but not in the table", m[1])
		}
	}
	w := newBench(t)
	for _, r := range all {
		d, ok := restrict.Describe(strings.ToUpper(r.Name))
		if !ok || d.AliasOf != "" || d.Meaning == "" || len(d.Parameters) > 0 && len(d.Replies) == 0 {
			t.Errorf("%s is not described: %+v", r.Name, d)
		}
		for _, p := range d.Parameters {
			if !slices.ContainsFunc(config.Parameters(), func(c config.Parameter) bool { return c.Name == p && c.State != config.None }) {
				t.Errorf("%s: there is no parameter %s", r.Name, p)
			}
		}
		if p := w.configure(t, "smtpd_client_restrictions = "+r.Name+" "+argumentOf[d.Argument]); p != "" {
			t.Errorf("%s: %s", r.Name, p)
		}
		entry := w.program().Lists()[0].Entries[0]
		if d.Argument == restrict.ArgumentRestriction {
			if !entry.Warn {
				t.Errorf("%s is not warn_if_reject", r.Name)
			}
			continue
		}
		if entry.Name != d.Name || entry.Arg != argumentOf[d.Argument] {
			t.Errorf("%s %s is compiled as %s %s", r.Name, argumentOf[d.Argument], entry.Name, entry.Arg)
		}
		if p := w.configure(t, "smtpd_client_restrictions = "+r.Name); (p != "") != (d.Argument != restrict.ArgumentNone) {
			t.Errorf("%s alone: %s", r.Name, p)
		}
	}
}

// TestDocument compares docs/restrictions.md with the table it is made from.
func TestDocument(t *testing.T) {
	want := document(restrict.Language())
	if *update {
		if err := os.WriteFile(documentPath, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentPath)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale; run: go test ./internal/restrict -run TestDocument -update", documentPath)
	}
}

const head = `# Restrictions

Made from ` + "`internal/restrict/restrictions.tsv`" + ` by ` + "`go test ./internal/restrict -run TestDocument -update`" + `; a test fails when it is stale.

These are the %d names that can stand in the eight restriction lists and in restriction classes, as in Postfix: everyone in every
list, in upper or lower case. A list may name a restriction whose facts are not known yet, or missing; it is then skipped. With
` + "`smtpd_delay_reject = yes`" + ` the lists of client, HELO and sender wait for the recipient, and know all there is.

* ` + "`from`" + ` is the first list that knows what the restriction is about when ` + "`smtpd_delay_reject = no`" + `.
* Facts have the names that policy services know them by.
* Who is asked: *dns* the resolver; *list* a DNS list; *host* the system's resolver, hosts file included; *table* the table that is the
  argument; *resolver* the tables behind address classes (` + "`relay_domains`, `virtual_mailbox_domains`, `transport_maps`" + ` ...); other tables by
  their parameter; *policy* a policy service; *verify* address verification. What happens when they fail is in the transcript.
* Replies are the ones by default. ` + "`<N>: C`" + ` is what the list is about: ` + "`<NAME[ADDRESS]>: Client host`, `<HELO>: Helo command`, `<SENDER>: Sender address`,\n  `<RECIPIENT>: Recipient address`, `<DATA>: Data command`, `<END-OF-MESSAGE>: End-of-data`, `<DOMAIN>: Etrn command`" + `.
  The status code follows the reply code's first digit. Every restriction that cannot be evaluated answers
  ` + "`451 4.3.5 Server configuration error`" + `.
* The transcript of each name shows it decide, have no opinion, miss what it looks at, fail, with each of its parameters changed, inside
  ` + "`warn_if_reject`" + `, a class and an access table. They are in ` + "`internal/restrict/testdata/names`" + ` and are played to Sekisho and to Postfix.
`

// document writes the table as a page.
func document(all []restrict.Restriction) string {
	aliases := make(map[string][]string)
	for _, r := range all {
		if r.AliasOf != "" {
			aliases[r.AliasOf] = append(aliases[r.AliasOf], "`"+r.Name+"`")
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, head, len(all))
	b.WriteString("\n| name | argument | from | facts | asks | refuses with | changed by | since | transcript |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range all {
		if r.AliasOf != "" {
			fmt.Fprintf(&b, "| `%s` | | | | | the same as `%s` | | | |\n", r.Name, r.AliasOf)
			continue
		}
		meaning := r.Meaning
		if len(aliases[r.Name]) > 0 {
			meaning += "; also " + strings.Join(aliases[r.Name], ", ")
		}
		fmt.Fprintf(&b, "| `%s`: %s | %s | %s | %s | %s | %s | %s | %s | [%s](../internal/restrict/testdata/names/%s.txt) |\n",
			r.Name, meaning, spoken(r.Argument.Form()), from(r.Earliest), fenced(r.Facts, " "), asked(r.Asks), replies(r.Replies),
			fenced(r.Parameters, "<br>"), since(r), "cases", r.Name)
	}
	return b.String()
}

func from(list string) string {
	if list == "client" {
		return "any"
	}
	return list
}

func spoken(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func replies(all []string) string {
	var out []string
	for _, r := range all {
		if r[0] >= '4' && r[0] <= '5' {
			r = "`" + r + "`"
		}
		out = append(out, r)
	}
	return strings.Join(out, "<br>")
}

func fenced(words []string, between string) string {
	var out []string
	for _, w := range words {
		out = append(out, "`"+w+"`")
	}
	return strings.Join(out, between)
}

func asked(kinds []string) string {
	var out []string
	for _, k := range kinds {
		if p, ok := strings.CutPrefix(k, "maps:"); ok {
			k = "`" + p + "`"
		}
		out = append(out, k)
	}
	return strings.Join(out, ", ")
}

func since(r restrict.Restriction) string {
	if r.Removed != "" {
		return "removed in " + r.Removed + "; instead " + strings.ReplaceAll(r.Instead, `"`, "`")
	}
	return r.Since
}
