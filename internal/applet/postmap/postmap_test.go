package postmap_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/applet/postmap"
	"sekisho/internal/clock"
	"sekisho/internal/table"
)

type result struct {
	out, err string
	status   int
}

func ours(in string, args ...string) result {
	var out, errOut bytes.Buffer
	status := postmap.Run(&postmap.Env{In: strings.NewReader(in), Out: &out, Err: &errOut, Clock: clock.System{}}, args)
	return result{out.String(), errOut.String(), status}
}

func theirs(t *testing.T, in string, args ...string) result {
	t.Helper()
	cmd := exec.Command("postmap", args...)
	var out, errOut bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(in), &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{out.String(), errOut.String(), cmd.ProcessState.ExitCode()}
}

// needPostmap skips the test where there is no postmap(1); under CI it must be
// there.
func needPostmap(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("postmap"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("postmap(1) is missing; install postfix, postfix-pcre and postfix-sqlite")
	}
	t.Skip("postmap(1) is not installed")
}

// folder makes a configuration folder with copies of testdata, old enough for
// Postfix to trust them.
func folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files, err := filepath.Glob("testdata/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		writeOld(t, filepath.Join(dir, filepath.Base(f)), string(b))
	}
	writeOld(t, filepath.Join(dir, "main.cf"), "compatibility_level = 3.6\nmyhostname = mx.example.test\n")
	return dir
}

func writeOld(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

// keys are asked of every table.
const keys = `key.test
^two
word
WORD
uuu
KEY.TEST
"a b"@x.test
"a b"@X.test
"a b"c"d"@x.test
a\ b@x.test
"a\"b"@x.test
user@x.test
<>
dup
DUP
alias:
key
tail
last
open@x.test
novalue
zzkey
noval
x
X
inner
zz
a/b
/
|
a|b
bzz
c
e
ef
e f
k
val
l
m
n
p
q
r
s
t
v
cap
capx
capxyy
bcde
bce
qqr
qqqr
ababc
(lit)
a.dot
^caret
aw b
aaz
abc12
]q
Xq
yq
yQ
]Q
aéc
é
É
éé
\s
ws
ab
abbc
x$y
Received: from a by b
Received: from a by b from c by
*x
*y
aaaz
a{2}
pq
p
a+b
aab
(x)
a^b$c
dd
multi
10.0.0.0
10.0.0.1
10.1.2.3
10.2.2.3
10.3.2.3
10.4.0.4
192.0.2.1
::1
::2
::ffff:1.2.3.4
2001:db8::1
2001:DB8::1
1.2.3.04
::1%lo
host.example
 leading
trailing 
`

// TestAsPostmap asks the real postmap(1) and ours the same, and wants the same
// answers, warnings and exit status.
func TestAsPostmap(t *testing.T) {
	needPostmap(t)
	dir := folder(t)
	for _, spec := range databases(t, dir) {
		check(t, dir, keys, "-q", "-", spec)
	}
	for _, spec := range []string{
		"regexp:re", "regexp:basic", "pcre:pc", "cidr:ci", "texthash:ha",
		"static:OK", "static:two words", "static:{ two words }", "static:{}",
		"inline:{key.test=a, { absent = b c }, Plain=x, =y, k=v,{K=w}, user@x.test = }",
		"inline:{ {k = a, b} {m=n}\t{key.test=,} }", "inline:{k=}",
		"unionmap:{inline:{k=1}, inline:{k=2,m=3}}", "unionmap:{static:a,static:a}",
		"pipemap:{inline:{k=m}, inline:{m=end}}", "pipemap:{static:a,inline:{b=z}}", "pipemap:{inline:{b=z},fail:no}",
		"regexp:{{/^p(.*)/ rest $1}, {/abs/ y}}", "pcre:{{/^p(?=q)/ z}}", "cidr:{{10.0.0.0/8 a}, {::/0 b}}",
		"regexp:{{if /k/}, {/./ in $$1}, {endif}, {/x(/ y}, {/m/ {b b}}}", "pcre:{{/k/X z},{/^(.)(.)?$/ <$1$2>}}",
		"randmap:{a}", "randmap:{ { a b } }", "unix:passwd.byname", "unix:group.byname",
	} {
		spec = inDir(spec, dir)
		check(t, dir, keys, "-q", "-", spec)
	}
	check(t, dir, "k\nm\nkey.test\n", "-q", "-", "inline:{k=1}", "hash:"+dir+"/hash", "static:rest")
	check(t, dir, "", "-q", "root", "unix:passwd.byname")
	check(t, dir, "", "-q", "root", "unix:group.byname")
	check(t, dir, "", "-q", "root", "nis:mail.aliases")
	check(t, dir, "", "-q", "b\xffd", "static:x")
	check(t, dir, "a\nb\xffd\n", "-q", "-", "static:x")
	check(t, dir, "", "-q", "", "regexp:{{/^$/ x}}")
	check(t, dir, "", "-q", "a", "inline:{b=1}", "inline:{a=2}")
	check(t, dir, "z\n", "-q", "-", "inline:{b=1}")
	check(t, dir, "", "-s", "inline:{b=1}")
	check(t, dir, "", "-q", "a", "static:x\xff")
	check(t, dir, "a\n", "-q", "-", "static:x\xff")
}

// TestOpen compares what is said of tables that cannot be opened, and of types
// that both have, or neither.
func TestOpen(t *testing.T) {
	needPostmap(t)
	dir := folder(t)
	known, err := exec.Command("postconf", "-c", dir, "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for _, spec := range []string{
		"frob:x", "thash:x", "mongodb:/x", "internal:x", "socketmap:x", "socketmap:inet:x", "socketmap:frob:x:y", "socketmap:unix:/nowhere/s:m",
		"memcache:/nowhere/x.cf", "ldap:/nowhere/x.cf", "mysql:/nowhere/x.cf", "pgsql:/nowhere/x.cf", "sqlite:/nowhere/x.cf", "texthash:/nowhere/x",
		"regexp:/nowhere/x", "pcre:/nowhere/x", "cidr:/nowhere/x",
	} {
		if typ, _, _ := strings.Cut(spec, ":"); slices.Contains(table.Types(), typ) != slices.Contains(strings.Fields(string(known)), typ) {
			t.Errorf("%s: Postfix knows %s", spec, known)
		}
		wait.Go(func() { checkLoosely(t, dir, spec) })
	}
	wait.Wait()
}

// checkLoosely leaves out what ours adds in parentheses to what Postfix says.
func checkLoosely(t *testing.T, dir, spec string) {
	t.Helper()
	got, want := ours("", "-c", dir, "-q", "x", spec), theirs(t, "", "-c", dir, "-q", "x", spec)
	got.err, _, _ = strings.Cut(got.err, " (")
	if want.err = strings.TrimSuffix(want.err, "\n"); strings.TrimSuffix(got.err, "\n") != want.err || got.out != want.out || got.status != want.status {
		t.Errorf("%s: %+v\nPostfix: %+v", spec, got, want)
	}
}

func TestJSON(t *testing.T) {
	dir := folder(t)
	const list = `inline:{ {k = "a\b"}, {l = é} }`
	for _, tt := range []struct {
		in   string
		args []string
		want string
	}{
		{"", []string{"-j", "-q", "k", list}, `{"k": "\"a\\b\""}`},
		{"k\nnone\n", []string{"-jq", "-", list}, `{"k": "\"a\\b\""}`},
		{"", []string{"-js", "inline:{b=1,a=é}"}, "{\"a\": \"é\"}\n{\"b\": \"1\"}"},
		{"tab\there\x01\x7f\n", []string{"-jq", "-", "static:x"}, `{"tab\there\u0001\u007F": "x"}`},
	} {
		r := ours(tt.in, append([]string{"-c", dir}, tt.args...)...)
		if r.out != tt.want+"\n" {
			t.Errorf("%q: %q %q, want %q", tt.args, r.out, r.err, tt.want)
		}
	}
	if r := ours("", "-c", dir, "-j", list); r.status != 1 || r.err != "postmap: fatal: option -j requires -q or -s\n" {
		t.Errorf("-j alone: %+v", r)
	}
}

// databases makes a table of each indexed type that the real one has, all from
// the same text.
func databases(t *testing.T, dir string) (specs []string) {
	t.Helper()
	source, err := os.ReadFile("testdata/ha")
	if err != nil {
		t.Fatal(err)
	}
	known, err := exec.Command("postconf", "-c", dir, "-m").Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []string{"hash", "btree", "lmdb", "cdb"} {
		if !slices.Contains(strings.Fields(string(known)), typ) {
			t.Logf("the real postmap(1) has no %s tables", typ)
			continue
		}
		spec := typ + ":" + filepath.Join(dir, typ)
		writeOld(t, filepath.Join(dir, typ), string(source))
		theirs(t, "", "-c", dir, spec)
		specs = append(specs, spec)
	}
	return specs
}

// inDir puts the folder before the name of a table that is a file.
func inDir(spec, dir string) string {
	typ, name, _ := strings.Cut(spec, ":")
	if _, err := os.Stat(filepath.Join("testdata", name)); err == nil && !strings.ContainsAny(name, "{ ") {
		return typ + ":" + filepath.Join(dir, name)
	}
	return spec
}

func check(t *testing.T, dir, in string, args ...string) {
	t.Helper()
	got, want := ours(in, append([]string{"-c", dir}, args...)...), theirs(t, in, append([]string{"-c", dir}, args...)...)
	got, want = indexed(got), indexed(want)
	if got == want {
		return
	}
	line := strings.ReplaceAll(strings.Join(args, " "), dir+"/", "")
	t.Errorf("postmap %s:%s", line, strings.ReplaceAll(difference(got, want), dir, ""))
}

// indexed drops what only reading a source text says: Postfix says it when the
// database is made, we when the table is opened.
func indexed(r result) result {
	lines := strings.Split(r.err, "\n")
	lines = slices.DeleteFunc(lines, func(l string) bool {
		text, ok := strings.CutPrefix(l, "postmap: warning: /")
		return ok && (strings.Contains(text, ", line ") || strings.Contains(text, ": logical line"))
	})
	r.err = strings.Join(lines, "\n")
	return r
}

// difference shows the lines that only one of two results has.
func difference(got, want result) string {
	var b strings.Builder
	show := func(mark, a, other string) {
		have := strings.Split(other, "\n")
		for _, l := range strings.Split(a, "\n") {
			if !slices.Contains(have, l) {
				b.WriteString("\n\t" + mark + " " + l)
			}
		}
	}
	show("ours:   ", got.out, want.out)
	show("Postfix:", want.out, got.out)
	show("ours:   ", got.err, want.err)
	show("Postfix:", want.err, got.err)
	if got.status != want.status {
		b.WriteString("\n\tdifferent exit status")
	}
	if b.Len() == 0 {
		return "\n\tdifferent order:\n" + got.err + "---\n" + want.err
	}
	return b.String()
}

// TestMessages asks for the headers and bodies of a message.
func TestMessages(t *testing.T) {
	needPostmap(t)
	dir := folder(t)
	b, err := os.ReadFile("testdata/msg")
	if err != nil {
		t.Fatal(err)
	}
	for _, parts := range []string{"-h", "-b", "-hb", "-m", "-hm", "-bm", "-hbm"} {
		check(t, dir, string(b), parts, "-q", "-", "regexp:{{/^/ x}}")
		check(t, dir, "no header here\n\nbody\n", parts, "-q", "-", "pcre:{{/^/ x}}")
		check(t, dir, "A: b\n\xff\xfe: c\n\nb\xffdy\n", parts, "-q", "-", "pcre:{{/^/ x}}")
	}
}

// TestTexthash compares what reading a source text says.
func TestTexthash(t *testing.T) {
	needPostmap(t)
	dir := folder(t)
	args := []string{"-c", dir, "-q", "zzz", "texthash:" + dir + "/ha"}
	if got, want := ours("", args...), theirs(t, "", args...); got != want {
		t.Errorf("%s", difference(got, want))
	}
}

// TestRefusals compares how the two end when they cannot begin. The real one
// waits a second each time.
func TestRefusals(t *testing.T) {
	needPostmap(t)
	dir := folder(t)
	for _, args := range [][]string{
		{"-q", "k", "inline:{a}"}, {"-q", "k", "inline:{}"}, {"-q", "k", "inline:x"}, {"-q", "k", "inline:{k=v"},
		{"-q", "k", "static:"}, {"-q", "k", "static:{a"}, {"-q", "k", "unionmap:{}"}, {"-q", "k", "unionmap:{static:a,{static: b }}"},
		{"-q", "k", "unionmap:{a:b}"}, {"-q", "k", "randmap:{}"}, {"-q", "k", "regexp:{/k/ x}"}, {"-q", "k", "pcre:{{/k/A z}} "},
		{"-q", "k", "regexp:gone"}, {"-q", "k", "foo:bar"}, {"-s", "regexp:" + dir + "/re"}, {"-s", "static:x"},
		{"-q"}, {"-q", "k"}, {}, {"-z"}, {"-h", "-q", "x", "static:a"}, {"-q", "a", "-q", "b", "static:x"}, {"-s", "-q", "a", "static:x"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			t.Parallel()
			got, want := ours("", append([]string{"-c", dir}, args...)...), theirs(t, "", append([]string{"-c", dir}, args...)...)
			if got != want {
				t.Error(difference(got, want))
			}
		})
	}
}

func TestFailures(t *testing.T) {
	dir := folder(t)
	for spec, want := range map[string]string{
		"fail:x":                       "postmap: fatal: table fail:x: query error: fail:x fails every lookup\n",
		"unionmap:{static:a,fail:x}":   "postmap: fatal: table unionmap:{static:a,fail:x}: query error: fail:x fails every lookup\n",
		"sqlite:gone":                  "postmap: fatal: dbpath is not set\n",
		"hash:" + dir + "/nonexistent": "postmap: fatal: open " + dir + "/nonexistent: No such file or directory\n",
	} {
		got := ours("a\nb\n", "-c", dir, "-q", "-", spec)
		if (got != result{"", want, 1}) {
			t.Errorf("%s: %+v, want %q", spec, got, want)
		}
	}
	if got := ours("", "-c", dir, "hash:"+dir+"/ha"); got.status != 0 || !strings.Contains(got.err, "duplicate entry") {
		t.Errorf("making a table: %+v", got)
	}
	if got, want := ours("", "-c", dir, "-s", "hash:"+dir+"/ha").out, "key.test\tREJECT  two  words\n"; !strings.HasPrefix(got, want) {
		t.Errorf("-s: %q", got)
	}
}
