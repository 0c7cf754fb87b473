package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekisho/internal/config"
)

// folder writes main.cf and master.cf.
func folder(t testing.TB, main, master string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func load(t testing.TB, main, master string) *config.Config {
	t.Helper()
	c, _, err := config.Load(folder(t, main, master))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLines(t *testing.T) {
	for _, c := range []struct{ name, main, want string }{
		{"plain", "relayhost = a", "a"},
		{"no blanks", "relayhost=a", "a"},
		{"trailing blanks", "relayhost =  a \t ", "a"},
		{"CR LF", "relayhost = a\r\n", "a"},
		{"empty", "relayhost =", ""},
		{"an equals sign in the value", "relayhost = a=b", "a=b"},
		{"continued", "relayhost = a\n  b\n\tc", "a  b\tc"},
		{"value on the next line", "relayhost =\n  a", "a"},
		{"comment within", "relayhost = a\n# no\n  # nor this\n  b", "a  b"},
		{"blank line within", "relayhost = a\n\n   \n  b", "a  b"},
		{"comment mark within a line", "relayhost = a # b", "a # b"},
		{"the last one counts", "relayhost = a\nrelayhost = b", "b"},
		{"top that continues nothing", "  x\n y\nrelayhost = a", "a"},
	} {
		if got := load(t, c.main, "").Str("relayhost"); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestExpand(t *testing.T) {
	c := load(t, "myhostname = h.test\nmydomain = test\nfull = F\nvoid =\nnested = $full/$deeper\ndeeper = ${full}\ncompatibility_level = 3.6\n", "")
	for _, x := range []struct{ in, want string }{
		{"$full", "F"}, {"${full}", "F"}, {"$(full)", "F"}, {"${ full }", "F"}, {"a$full.b", "aF.b"}, {"$full_x", ""},
		{"$$full", "$full"}, {"$$$full", "$F"}, {"$unknown", ""}, {"$nested", "F/F"},
		{"${full?yes}", "yes"}, {"${void?yes}", ""}, {"${void:no}", "no"}, {"${full:no}", ""}, {"${unknown:no}", "no"},
		{"${full?{ yes }:{no}}", "yes"}, {"${void?{yes}:{ no }}", "no"}, {"${full ? {yes} : {no}}", "yes"},
		{"${full?{$deeper}}", "F"}, {"${full?a b}", "a b"}, {"${void:$full}", "F"},
		{"${{a} == {a}?{y}:{n}}", "y"}, {"${{$full} != {F}?{y}:{n}}", "n"},
		{"${{9} < {10}?{y}:{n}}", "y"}, {"${{9x} < {10}?{y}:{n}}", "n"}, {"${{010} == {10}?{y}:{n}}", "y"},
		{"${{10} >= {10}?{y}:{n}}", "y"}, {"${{10} > {10}?{y}:{n}}", "n"}, {"${{a} <= {b}?{y}:{n}}", "y"},
		{"${{3.6} <level {3.10}?{y}:{n}}", "y"}, {"${{3.6} < {3.10}?{y}:{n}}", "n"}, {"${{3} ==level {3.0}?{y}:{n}}", "y"},
		{"${{$compatibility_level} >=level {2} ? {y} : {n}}", "y"},
		{"${{a} == {a}}", "true"}, {"${{a} == {b}}", ""}, {"${{a} == {b}?{y}}", ""},
	} {
		got, err := c.ExpandValue(x.in)
		if err != nil || got != x.want {
			t.Errorf("%s: %q %v, want %q", x.in, got, err, x.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	for in, want := range map[string]string{
		"$":                     "empty macro name",
		"a $ b":                 "empty macro name",
		"${}":                   "empty macro name",
		"${full":                "truncated macro reference",
		"$(full}":               "truncated macro reference",
		"${full/x}":             "attribute name syntax error",
		"${full?{a}b}":          `":" expected`,
		"${full?{a}:{b}c}":      "unexpected input",
		"${{a} = {b}?{1}:{2}}":  `"==" or "!="`,
		"${{a}{b}?{1}}":         `"==" or "!="`,
		"${{a} ==}":             `"{expression}" expected`,
		"${x?{a}:{b":            "truncated",
		"$loop":                 "unreasonable macro call nesting",
		"${{a} == {$loop}?{b}}": "unreasonable macro call nesting",
	} {
		_, err := load(t, "loop = $loop", "").ExpandValue(in)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want %q", in, err, want)
		}
	}
}

func TestErrorsHavePlaces(t *testing.T) {
	for _, c := range []struct{ main, master, want string }{
		{"a = b\nnovalue\n", "", "main.cf:2: missing '=' after attribute name: \"novalue\""},
		{"= b\n", "", "main.cf:1: missing attribute name: \"= b\""},
		{"a b = c\n", "", "main.cf:1: missing '=' after attribute name: \"a b = c\""},
		{"# c\n\nsmtpd_helo_required =\n  maybe\n", "", "main.cf:3: smtpd_helo_required: bad boolean value \"maybe\" (use yes or no)"},
		{"smtpd_hard_error_limit = many\n", "", "main.cf:1: smtpd_hard_error_limit: bad numerical value \"many\""},
		{"smtpd_hard_error_limit = 0\n", "", "main.cf:1: smtpd_hard_error_limit: invalid value 0 < 1"},
		{"smtpd_timeout = 5x\n", "", "main.cf:1: smtpd_timeout: bad time \"5x\""},
		{"smtpd_timeout = 0\n", "", "main.cf:1: smtpd_timeout: invalid value 0 < 1s"},
		{"myhostname =\n", "", "main.cf:1: myhostname: bad length 0 < 1"},
		{"myorigin = ${x\n", "", "main.cf:1: myorigin: truncated macro reference"},
		{"smtp_destination_recipient_limit = x\n", "", "main.cf:1: smtp_destination_recipient_limit: bad numerical value"},
		{"", "smtp inet n - n -\n", "master.cf:1: missing \"maxproc\" field"},
		{"", "\n# c\nsmtp tcp n - n - - smtpd\n", "master.cf:3: bad transport type: tcp"},
		{"", "smtp inet z - n - - smtpd\n", "master.cf:1: field \"private\": bad value: \"z\""},
		{"", "smtp inet - - n - - smtpd\n", "master.cf:1: inet service cannot be private"},
		{"", "smtp inet n - n x - smtpd\n", "master.cf:1: field \"wakeup\": bad value: \"x\""},
		{"", "smtp inet n - n 1? -1 smtpd\n", "master.cf:1: field \"maxproc\": bad value: \"-1\""},
		{"", "smtp inet n - n - - smtpd\n -o a\n", "master.cf:2: option -o: missing '=' after attribute name: \"a\""},
		{"", "smtp inet n - n - - smtpd\n -v\n -o\n", "master.cf:3: option -o needs name=value"},
		{"", "smtp inet n - n - - smtpd\n -o a=b\n -o smtpd_helo_required=x\n", "master.cf:3: smtpd_helo_required: bad boolean value"},
	} {
		_, _, err := config.Load(folder(t, c.main, c.master))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q %q: error %v, want %q", c.main, c.master, err, c.want)
		}
	}
}

func TestAllErrorsAtOnce(t *testing.T) {
	_, _, err := config.Load(folder(t, "soft_bounce = x\nsmtpd_timeout = y\n", ""))
	if err == nil || strings.Count(err.Error(), "main.cf:") != 2 {
		t.Errorf("want both errors: %v", err)
	}
}

func TestMissingFiles(t *testing.T) {
	if _, _, err := config.Load(t.TempDir()); err == nil || !strings.Contains(err.Error(), "main.cf") {
		t.Errorf("without main.cf: %v", err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.cf"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := config.Load(dir); err == nil || !strings.Contains(err.Error(), "master.cf") {
		t.Errorf("without master.cf: %v", err)
	}
}

func TestWarnings(t *testing.T) {
	_, warnings, err := config.Load(folder(t, "  top\nrelayhost = a\nrelayhost = b\n", "smtp inet n - n - - smtpd\nsmtp inet n - n - - other\n"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range warnings {
		got = append(got, w.Text)
	}
	for i, want := range []string{"logical line must not start with whitespace: \"  top\"", "overriding earlier entry: relayhost=a", "duplicate master.cf entry for service \"smtp\""} {
		if i >= len(got) || !strings.Contains(got[i], want) {
			t.Errorf("warning %d of %q: want %q", i, got, want)
		}
	}
}

func TestTypes(t *testing.T) {
	c := load(t, "soft_bounce = YES\nsmtpd_hard_error_limit = 7\nminimal_backoff_time = 5\nmaximal_queue_lifetime = 2\nsmtpd_timeout = 3m\nstress = yes\n", "")
	if !c.Bool("soft_bounce") || c.Bool("smtpd_helo_required") || !c.Bool("biff") {
		t.Error("booleans")
	}
	if c.Int("smtpd_hard_error_limit") != 7 || c.Int("smtpd_junk_command_limit") != 1 {
		t.Errorf("numbers: %d %d", c.Int("smtpd_hard_error_limit"), c.Int("smtpd_junk_command_limit"))
	}
	for name, want := range map[string]time.Duration{
		"minimal_backoff_time": 5 * time.Second, "maximal_queue_lifetime": 48 * time.Hour, "smtpd_timeout": 3 * time.Minute,
		"smtpd_starttls_timeout": 10 * time.Second, "bounce_queue_lifetime": 120 * time.Hour, "delay_warning_time": 0,
	} {
		if got := c.Duration(name); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

func TestCompatibility(t *testing.T) {
	for level, want := range map[string]string{
		"0":   "yes |$mydestination |no |subnet no",
		"1":   "no permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination|$mydestination |yes |subnet no",
		"2":   "no permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination||yes |host no",
		"3.6": "no permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination||yes |host yes",
	} {
		c := load(t, "mydestination = $$mydestination \ncompatibility_level = "+level, "")
		got := fmt.Sprintf("%s %s|%s|%s |%s %s", c.Str("append_dot_mydomain"), c.Str("smtpd_relay_restrictions"),
			c.Str("relay_domains")+map[bool]string{true: " "}[c.Str("relay_domains") != ""], c.Str("smtputf8_enable"),
			c.Str("mynetworks_style"), c.Str("smtpd_relay_before_recipient_restrictions"))
		if got != want {
			t.Errorf("level %s:\n%s, want\n%s", level, got, want)
		}
	}
}

func TestList(t *testing.T) {
	c := load(t, "a = one two\nsmtpd_recipient_restrictions = permit_mynetworks,\n  # c\n  $a\n\n  check_x { inline:{k=v, w=x} },reject\n", "")
	var got []string
	for _, it := range c.List("smtpd_recipient_restrictions") {
		got = append(got, fmt.Sprintf("%d:%s", it.Pos.Line, it.Text))
	}
	want := []string{"2:permit_mynetworks", "4:one", "4:two", "6:check_x", "6:{ inline:{k=v, w=x} }", "6:reject"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if got := c.Strings("smtpd_sender_restrictions"); len(got) != 0 {
		t.Errorf("empty list: %q", got)
	}
}

func TestMaster(t *testing.T) {
	c := load(t, "relayhost = main\n", `# comment
smtp      inet  n       -       n       -       -       smtpd
  -o syslog_name=postfix/$service_name
#  -o relayhost=no
  -o { smtpd_recipient_restrictions = permit_mynetworks, reject }
  -vo relayhost=one -orelayhost=two
[::1]:25 inet n - y - 10 smtpd
pipe unix - n n - - pipe flags=R argv=/bin/x -o a=b { c d }
smtp unix - - n 60? 0 smtp
`)
	var got []string
	for _, s := range c.Services {
		got = append(got, strings.Join(s.Fields, " "))
	}
	want := []string{
		"smtp inet n - n - - smtpd -o syslog_name=postfix/$service_name -o {smtpd_recipient_restrictions=permit_mynetworks, reject} -v -o relayhost=one -o relayhost=two",
		"[::1]:25 inet n - y - 10 smtpd",
		"pipe unix - n n - - pipe flags=R argv=/bin/x -o a=b {c d}",
		"smtp unix - - n 60? 0 smtp",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	v := c.Service(c.Services[0])
	if v.Str("relayhost") != "two" || c.Str("relayhost") != "main" || v.Str("syslog_name") != "postfix/smtp" {
		t.Errorf("the service's view: %q %q", v.Str("relayhost"), v.Str("syslog_name"))
	}
	if p := v.Pos("smtpd_recipient_restrictions"); p.Line != 5 || filepath.Base(p.File) != "master.cf" {
		t.Errorf("place of -o: %v", p)
	}
	if p := c.Services[2]; !slices.Equal(p.Args, []string{"flags=R", "argv=/bin/x", "-o", "a=b", "c d"}) || len(p.Overrides) != 0 {
		t.Errorf("arguments of pipe: %q %v", p.Args, p.Overrides)
	}
}

func TestUsage(t *testing.T) {
	c := load(t, `used = 1
relayhost = ${x?{$used}:{$missing}}
unused = $myhostname
smtpd_restriction_classes = cls, nocls
cls = permit
relay_destination_recipient_limit = 1
other_destination_recipient_limit = 1
virtual_alias_maps = proxy:mysql:tab
tab_hosts = h
tab_odd = h
default_rbl_reply = $rbl_code
`, "relay unix - - n - - smtp -o local=1 -o syslog_name=$local -o lost=2\n")
	u := c.Usage()
	if want := []string{"cls", "tab_hosts", "used"}; !slices.Equal(u.Names, want) {
		t.Errorf("names %q, want %q", u.Names, want)
	}
	texts := func(ws []config.Warning) (out []string) {
		for _, w := range ws {
			out = append(out, fmt.Sprintf("%s %d", w.Text, w.Pos.Line))
		}
		return out
	}
	want := []string{"unused parameter: lost=2 1", "unused parameter: unused=$myhostname 3", "unused parameter: other_destination_recipient_limit=1 7", "unused parameter: tab_odd=h 10"}
	if got := texts(u.Unused); !slices.Equal(got, want) {
		t.Errorf("unused %q, want %q", got, want)
	}
	if got, want := texts(u.Undefined), []string{"undefined parameter: nocls 0", "undefined parameter: x 0", "undefined parameter: missing 0"}; !slices.Equal(got, want) {
		t.Errorf("undefined %q, want %q", got, want)
	}
}

func TestNetworks(t *testing.T) {
	for main, want := range map[string]string{
		"mynetworks = 10.0.0.0/8, !10.1.0.0/16":                                            "10.0.0.0/8 !10.1.0.0/16",
		"inet_interfaces = 127.0.0.1\nmynetworks_style = host":                             "127.0.0.1/32",
		"inet_interfaces = 127.0.0.1\nmynetworks_style = subnet":                           "127.0.0.0/8",
		"inet_interfaces = loopback-only\ninet_protocols = ipv4\nmynetworks_style = class": "127.0.0.0/8",
	} {
		var got []string
		for _, it := range load(t, main, "").Networks() {
			got = append(got, it.Text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", main, got, want)
		}
	}
}

func TestNearest(t *testing.T) {
	names := []string{"permit_mynetworks", "reject_unauth_destination", "reject"}
	for word, want := range map[string]string{
		"permit_mynetwork": "permit_mynetworks", "reject_unauth_destinations": "reject_unauth_destination", "rejects": "reject", "something": "",
	} {
		if got := config.Nearest(word, names); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
}

func TestReadSettings(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.cf")
	if err := os.WriteFile(path, []byte("dbpath = /x\nquery = SELECT a\n  FROM b WHERE c='%s' AND d='$5'\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, err := config.ReadSettings(path)
	if err != nil || m["dbpath"] != "/x" || m["query"] != "SELECT a  FROM b WHERE c='%s' AND d='$5'" {
		t.Errorf("%q %v", m, err)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("a = b\n  c\n# d\nmyorigin = ${a?{x}:{y}}\n", "smtp inet n - n - - smtpd -o a=b -o { c = d }\n")
	f.Add("myorigin = ${{1} < {2}?{$a}}\nrelayhost = $$ $(b) ${c:d}\n", "x unix - - - - - pipe {a b} argv=c")
	f.Add(" top\nmyhostname = ${", "s inet n - n - - smtpd -o")
	f.Fuzz(func(t *testing.T, main, master string) {
		dir := folder(t, main, master)
		c, _, err := config.Load(dir)
		if err != nil {
			return
		}
		c.Usage()
		for _, n := range c.Names() {
			first := c.Str(n)
			if again := c.Str(n); first != again {
				t.Errorf("%s: %q, then %q", n, first, again)
			}
			for _, it := range c.List(n) {
				if lines := strings.Count(main, "\n") + 1; it.Pos.Line < 1 || it.Pos.Line > lines {
					t.Errorf("%s: %q stands in line %d of %d", n, it.Text, it.Pos.Line, lines)
				}
			}
		}
		for _, s := range c.Services {
			c.Service(s)
		}
	})
}
