package table_test

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/table"
)

func newSet(t *testing.T, dir string, c clock.Clock) *table.Set {
	t.Helper()
	s := table.NewSet(table.Options{Duplicates: true,
		Clock: c, Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Dir: dir, DefaultType: "hash",
		Env: func(n string) (string, bool) { return "env-" + n, n == "HOME" },
	})
	t.Cleanup(func() { s.Close() })
	return s
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// postmapDir makes a configuration directory for the real postmap, or skips
// the test where there is none; under CI it must be there. Postfix waits until
// a file is two seconds old before it trusts it, so the peer tests write theirs
// into the past.
func postmapDir(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("postmap"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("postmap(1) is missing; install postfix, postfix-pcre and postfix-sqlite")
		}
		t.Skip("postmap(1) is not installed")
	}
	dir := t.TempDir()
	writeOld(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nmyhostname = mx.example.test\n")
	return dir
}

func writeOld(t *testing.T, path, content string) {
	t.Helper()
	write(t, path, content)
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

// askPostfix returns what the real postmap says of each key: the value, "-"
// for not found, "!" for an error.
func askPostfix(t *testing.T, dir, spec string, keys ...string) map[string]string {
	t.Helper()
	answers := make(map[string]string, len(keys))
	var stream strings.Builder
	for _, k := range keys {
		if strings.ContainsAny(k, "\n") || k == "" {
			answers[k] = askOnce(dir, spec, k)
			continue
		}
		answers[k] = "-"
		stream.WriteString(k + "\n")
	}
	cmd := exec.Command("postmap", "-c", dir, "-q", "-", spec)
	cmd.Stdin = strings.NewReader(stream.String())
	var errs strings.Builder
	cmd.Stderr = &errs
	out, _ := cmd.Output()
	if strings.Contains(errs.String(), "fatal") { // it gives up at the first error
		for _, k := range keys {
			answers[k] = askOnce(dir, spec, k)
		}
		return answers
	}
	for l := range strings.Lines(string(out)) {
		if k, v, ok := strings.Cut(strings.TrimSuffix(l, "\n"), "\t"); ok {
			answers[k] = v
		}
	}
	return answers
}

func askOnce(dir, spec, key string) string {
	cmd := exec.Command("postmap", "-c", dir, "-q", key, spec)
	out, err := cmd.Output()
	if err == nil {
		return strings.TrimSuffix(string(out), "\n")
	}
	var x *exec.ExitError
	if errors.As(err, &x) && x.ExitCode() == 1 && !strings.Contains(string(x.Stderr), "fatal") {
		return "-"
	}
	return "!"
}

func ask(s *table.Set, spec, key string) string {
	v, ok, err := s.Lookup(spec, key)
	switch {
	case err != nil:
		return "!"
	case !ok:
		return "-"
	}
	return v
}

const patterns = `# rules of all shapes
/^subject:.*viagra/ REJECT spam
/^x-(a|b)[0-9]+: (.*)$/ got $1 and ${2} for $$5
!/@/ no-at
if /@example\.com$/
/^user\+(.*)@/ ext $(1)
!/^b/ not-b
endif
/[[:space:]]tab[^"]*"/ bracket
/a{2,3}z/x basic
/foo.bar/m dotnl
|pipe/slash| pipe
/(x*)(y+)/ empty [$1] [$2]
/Case/i sensitive
/continued
 line/ joined
	text
/^(.)(.)(.)(.)(.)(.)(.)(.)(.)(.)$/ ten $10
`

// TestAgainstPostmap asks the real postmap(1) and our tables the same keys.
func TestAgainstPostmap(t *testing.T) {
	dir := postmapDir(t)
	writeOld(t, filepath.Join(dir, "re"), patterns)
	writeOld(t, filepath.Join(dir, "cidr"), "10.0.0.0/8 ten\n!192.0.2.0/24 outside\nif 192.0.2.0/25\n192.0.2.7 seven\nendif\n192.0.2.0/24 net\n2001:db8::/32 six\n")
	writeOld(t, filepath.Join(dir, "access"), "# c\nKey.Test  REJECT  two  words \n\"a b\"@x.test quoted\nuser@x.test\n  continued value\n# in between\n  and more\n<>\tDUNNO\ndup 1\ndup 2\nnovalue\n")
	if out, err := exec.Command("postmap", "-c", dir, "hash:"+dir+"/access").CombinedOutput(); err != nil {
		t.Fatalf("postmap: %v %s", err, out)
	}
	keys := []string{
		"Subject: buy VIAGRA", "X-A12: hello", "x-b7: ", "plain", "user+ext@example.com", "bob@example.com",
		"carol@example.com", "carol@example.org", " tab\"", "aaz", "a{2,3}z@", "foo\nbar@", "foo bar@", "pipe/slash@",
		"xxyy@", "yy@", "case@", "Case@", "continued line@", "continuedline@", "abcdefghi@", "0123456789", "@",
		"10.1.2.3", "192.0.2.7", "192.0.2.200", "198.51.100.1", "2001:db8::1", "2001:DB8:0::1", "host.name", "10.1.2",
		"key.test", "KEY.TEST", "\"a b\"@x.test", "user@x.test", "<>", "dup", "novalue", "absent",
	}
	specs := []string{
		"regexp:" + dir + "/re", "pcre:" + dir + "/re", "cidr:" + dir + "/cidr", "hash:" + dir + "/access",
		"texthash:" + dir + "/access", "static:OK", "static:{two words}",
		"inline:{key.test=a, {absent = b c}, Plain=x}", `inline:{ {"a b"@x.test = quoted}, {plain == y} {"aaz" = z} }`, `inline:{ {"plain = x} }`,
		"unionmap:{inline:{plain=1}, inline:{plain=2,dup=3}}", "pipemap:{inline:{plain=dup}, inline:{dup=end}}",
		"regexp:{{/^pl(.*)/ rest $1}, {/abs/ y}}", "pcre:{{/^pl(?=a)/ z}}", "cidr:{{10.0.0.0/8 a}, {::/0 b}}",
	}
	s := newSet(t, dir, clock.System{})
	for _, spec := range specs {
		answers := askPostfix(t, dir, spec, keys...)
		for _, key := range keys {
			if got, want := ask(s, spec, key), answers[key]; got != want {
				t.Errorf("%s %q: %q, Postfix says %q", strings.ReplaceAll(spec, dir, ""), key, got, want)
			}
		}
	}
}

// TestDuplicates: what postmap(1) warns of makes a texthash table useless to the
// daemons, and not one of which a database was made.
func TestDuplicates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access")
	writeOld(t, path, "a 1\nb 2\nA 3\n")
	s := table.NewSet(table.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	defer s.Close()
	_, _, err := s.Lookup("texthash:"+path, "b")
	if want := path + `:3: duplicate entry: "A"`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("texthash: %v, want %s", err, want)
	}
	if v, _, err := s.Lookup("hash:"+path, "a"); v != "1" || err != nil {
		t.Errorf("hash: %q, %v", v, err)
	}
}

// TestAliases asks a database made by the real postalias(1), and our reading of
// its source.
func TestAliases(t *testing.T) {
	dir := postmapDir(t)
	path := filepath.Join(dir, "aliases")
	writeOld(t, path, `root: admin
Postmaster:   root,  "|cmd x"
"quoted name" : x
list:
  a,
# not this
  b
foo:bar
bar :baz
empty:
dup: 1
dup: 2
:novalue
a b: c
x: /dev/null # y
"a:b": z
`)
	if out, err := exec.Command("postalias", "-c", dir, "hash:"+path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := table.NewSet(table.Options{Clock: clock.System{}, Log: slog.New(slog.DiscardHandler), Aliases: []string{"hash:" + path}})
	defer s.Close()
	keys := []string{"root", "ROOT", "postmaster", "quoted name", "list", "foo", "bar", "empty", "dup", "a b", "x", "a:b", "root:", "none"}
	answers := askPostfix(t, dir, "hash:"+path, keys...)
	for _, key := range keys {
		got := strings.Join(strings.Fields(ask(s, "proxy:hash:"+path, key)), " ") // postalias tidies lists
		if want := answers[key]; got != want {
			t.Errorf("%q: %q, Postfix says %q", key, got, want)
		}
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "bad"), "/ok/ x\n/open(/ REJECT\n")
	write(t, filepath.Join(dir, "badref"), "/(a)/ $2\n")
	write(t, filepath.Join(dir, "badcidr"), "10.0.0.1/8 x\n")
	write(t, filepath.Join(dir, "made.db"), "")
	s := newSet(t, dir, clock.System{})
	for spec, want := range map[string]string{
		"hash:gone":     "no such file",
		"hash:made":     "made.db was made from",
		"regexp:bad":    "bad:2: Unmatched ( or",
		"pcre:bad":      "bad:2: error in regex at offset 5: missing closing parenthesis",
		"regexp:badref": `badref:1: out of range replacement index "2"`,
		"cidr:badcidr":  `perhaps you should use "10.0.0.0/8" instead`,
		"mongodb:x":     "unsupported dictionary type: mongodb",
		"inline:{a}":    "missing '='",
		"inline:x":      "bad syntax",
		"unionmap:{}":   "bad syntax",
		"unix:x":        "passwd.byname",
		"pipemap:{a:b}": "unsupported dictionary type: a",
	} {
		err := s.Open(spec)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", spec, err, want)
		}
	}
}

func TestFailFails(t *testing.T) {
	s := newSet(t, t.TempDir(), clock.System{})
	for _, spec := range []string{"fail:x", "proxy:fail:x", "unionmap:{static:a,fail:x}", "pipemap:{static:a,fail:x}"} {
		if got := ask(s, spec, "k"); got != "!" {
			t.Errorf("%s: %q, want an error", spec, got)
		}
	}
	if got := ask(s, "pipemap:{inline:{a=b},fail:x}", "k"); got != "-" {
		t.Errorf("a pipe that ends early: %q, want nothing", got)
	}
	if got := ask(s, "proxy:static:p", "k"); got != "p" {
		t.Errorf("proxy: %q", got)
	}
}

func TestFileIsReadAgain(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t")
	write(t, path, "a 1\n")
	c := clock.NewManual(time.Unix(1000, 0))
	s := newSet(t, dir, c)
	if got := ask(s, "hash:t", "a"); got != "1" {
		t.Fatalf("got %q", got)
	}
	write(t, path, "a 22\n")
	c.Advance(2 * time.Second)
	if got := ask(s, "hash:t", "a"); got != "22" {
		t.Errorf("after a change: %q", got)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	c.Advance(2 * time.Second)
	if got := ask(s, "hash:t", "a"); got != "22" {
		t.Errorf("after the file went away: %q, want the former contents", got)
	}
	write(t, path, "a 333\n")
	c.Advance(2 * time.Second)
	if got := ask(s, "hash:t", "a"); got != "333" {
		t.Errorf("after it came back: %q", got)
	}
}

// TestBadChangeIsSaidOnce: the contents stay, and the log is not filled.
func TestBadChangeIsSaidOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "re")
	write(t, path, "/a/ 1\n")
	var log strings.Builder
	c := clock.NewManual(time.Unix(1000, 0))
	s := table.NewSet(table.Options{Clock: c, Log: slog.New(slog.NewTextHandler(&log, nil)), Dir: dir})
	defer s.Close()
	for i, content := range []string{"/a/ 1\n", "/a/ 22\n/b(/ 3\n", "/a/ 22\n/b(/ 3\n", "/a/ 4444\n"} {
		write(t, path, content)
		c.Advance(2 * time.Second)
		if got, want := ask(s, "regexp:re", "a"), []string{"1", "1", "1", "4444"}[i]; got != want {
			t.Errorf("step %d: %q, want %q", i, got, want)
		}
	}
	if n := strings.Count(log.String(), "the former contents stay"); n != 1 {
		t.Errorf("said %d times:\n%s", n, log.String())
	}
}

func TestSQLite(t *testing.T) {
	dir := postmapDir(t)
	db := filepath.Join(dir, "db")
	sqlite(t, db, `CREATE TABLE alias (address TEXT, goto TEXT, n INT);
INSERT INTO alias VALUES ('a@x.test','b@y.test',1),('a@x.test','c@y.test',2),('@x.test','catch@y.test',3),('o''k@x.test','quote',4),('e@x.test','',5),('e@x.test',NULL,6);`)
	cf := func(name, body string) string {
		writeOld(t, filepath.Join(dir, name), "dbpath = "+db+"\n"+body+"\n")
		return "sqlite:" + filepath.Join(dir, name)
	}
	s := newSet(t, dir, clock.System{})
	for i, q := range []string{
		`query = SELECT goto FROM alias WHERE address="%s"`,
		`query = SELECT goto FROM alias WHERE address LIKE '%%%u%%' ORDER BY n`,
		`query = SELECT '%d.%1'`, `query = SELECT '%2-%1-%u'`, `query = SELECT '%3'`, `query = SELECT '%S %U'`, `query = SELECT '%D'`,
		`query = SELECT n FROM alias WHERE address='%s'`,
		"query = SELECT goto FROM alias WHERE address='%s'\nresult_format = %S-%U",
		"query = SELECT goto FROM alias WHERE address='%s'\nresult_format = %d %D",
		"query = SELECT n FROM alias WHERE address='%s'\nresult_format = %d",
		"query = SELECT n FROM alias WHERE address='%s'\nresult_format = %u%%%1.%2",
		"query = SELECT 'x'\ndomain = x.test", "query = SELECT '%s'\ndomain =", "query = SELECT 'a' UNION SELECT 'b'\nexpansion_limit = 2",
		"query = SELECT ''", "query = SELECT NULL", "query = SELECT '%s' WHERE '%u' <> '%d'", "query = SELECT upper('%s')||\n  '$x'",
		`query = SELECT '%s;--'`, `query = SELECT 'it''s %u'`, "query = SELECT 1 WHERE 0",
	} {
		keys := []string{
			"a@x.test", "A@X.test", "@x.test", "x.test", "a", "a@", "a@b.c.d", "o'k@x.test", "e@x.test", "1", "'", "a'b", `"a b"@x.test`,
			`"a\"b"@x.test`, "a b@x.test", "a@b@x.test", ".test", "a@.x.test", "a@x.test.", "%s", "%u@x.test", "é@x.test", "É",
		}
		spec := cf(fmt.Sprintf("odd%d", i), q)
		answers := askPostfix(t, dir, spec, keys...)
		for _, key := range keys {
			if got, want := ask(s, spec, key), answers[key]; got != want && !bound(q, key) {
				t.Errorf("%s: %q: %q, Postfix says %q", q, key, got, want)
			}
		}
	}
	for _, c := range []struct{ spec, key string }{
		{cf("1", "query = SELECT goto FROM alias WHERE address='%s'"), "A@x.test"},
		{cf("1", "query = SELECT goto FROM alias WHERE address='%s'"), "none@x.test"},
		{cf("1", "query = SELECT goto FROM alias WHERE address='%s'"), "o'k@x.test"},
		{cf("1", "query = SELECT goto FROM alias WHERE address='%s'"), "e@x.test"},
		{cf("2", "query = SELECT goto FROM alias WHERE address='@%d'"), "any@x.test"},
		{cf("2", "query = SELECT goto FROM alias WHERE address='@%d'"), "x.test"},
		{cf("3", "query = SELECT goto FROM alias WHERE address='%u@%2.%1'\nresult_format = <%u|%d|%S>"), "a@x.test"},
		{cf("4", "query = SELECT goto FROM alias WHERE address='%s'\nexpansion_limit = 1"), "a@x.test"},
		{cf("5", "query = SELECT goto FROM alias WHERE address='%s'\ndomain = y.test, z.test"), "a@x.test"},
		{cf("6", "query = SELECT goto FROM alias WHERE address='%s'\ndomain = y.test, x.test"), "a@x.test"},
		{cf("7", "select_field = goto\ntable = alias\nwhere_field = address\nadditional_conditions = AND n < 2"), "a@x.test"},
		{cf("8", "query = SELECT goto, n FROM alias WHERE address LIKE 'a%%' AND address='%s'"), "a@x.test"},
		{cf("10", "query = SELECT goto FROM alias WHERE n=%s"), "1"},
		{cf("9", "query = SELECT '%u'"), "@x.test"},
		{cf("9", "query = SELECT '%u'"), "nodomain"},
	} {
		if got, want := ask(s, c.spec, c.key), askPostfix(t, dir, c.spec, c.key)[c.key]; got != want {
			b, _ := os.ReadFile(strings.TrimPrefix(c.spec, "sqlite:"))
			t.Errorf("%s%q: %q, Postfix says %q", b, c.key, got, want)
		}
	}
}

// bound tells where ours is better: Postfix puts the key into the text of the
// query and quotes it for apostrophes, so that between double quotes a key with
// either of them is another query.
func bound(query, key string) bool {
	return strings.Contains(query, `"%s"`) && strings.ContainsAny(key, `'"`)
}

func TestPartial(t *testing.T) {
	for spec, want := range map[string]bool{
		"hash:x": true, "x": true, "proxy:sqlite:x": true, "static:x": true, "regexp:x": false, "proxy:pcre:x": false, "cidr:x": false,
		"unionmap:{hash:a,static:b}": true, "unionmap:{hash:a,regexp:b}": true, "unionmap:{regexp:a,hash:b}": false, "pipemap:{hash:a,fail:b}": true, "fail:x": false, "randmap:{a}": false,
	} {
		if got := table.Partial(spec); got != want {
			t.Errorf("%s: %v", spec, got)
		}
	}
}

func sqlite(t *testing.T, path, script string) {
	t.Helper()
	cmd := exec.Command("sqlite3", path)
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("sqlite3: %v %s", err, out)
	}
}

func FuzzText(f *testing.F) {
	f.Add("a b\n c\n\"x y\" z\n#\n")
	f.Add(" top\nKEY: v\nkey: w\nbad\xff x\n")
	f.Fuzz(func(t *testing.T, content string) {
		tab, err := table.ParseText(content, func(int, string) {}, func(string) {})
		if err != nil {
			return
		}
		for k, v := range tab.All() {
			if got, ok, err := tab.Lookup(k); !ok || err != nil || got != v {
				t.Errorf("key %q of the table: %q %v %v, want %q", k, got, ok, err, v)
			}
		}
	})
}

func FuzzPatterns(f *testing.F) {
	f.Add("/a(b)/i got $1", "ab")
	f.Add("!/[^]x]/ no", "x")
	f.Add("|a\\|b|x y", "a|b")
	f.Fuzz(func(t *testing.T, rule, key string) {
		s := newSet(t, t.TempDir(), clock.System{})
		for _, typ := range []string{"regexp", "pcre", "cidr"} {
			_, _, _ = s.Lookup(fmt.Sprintf("%s:{{%s}}", typ, rule), key)
		}
	})
}
