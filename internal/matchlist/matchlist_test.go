package matchlist_test

import (
	"fmt"
	"strings"
	"testing"

	"sekisho/internal/config"
	"sekisho/internal/evidence"
	"sekisho/internal/matchlist"
)

// tables answers table questions from "table key" lines; "fail:" tables fail.
func tables(entries ...string) evidence.Source {
	return evidence.SourceFunc(func(q evidence.Question) evidence.Answer {
		if strings.HasPrefix(q.Name, "fail:") {
			return evidence.Answer{Status: evidence.Failed, Permanent: q.Name == "fail:good"}
		}
		for _, e := range entries {
			if e == q.Name+" "+q.Arg {
				return evidence.Answer{Status: evidence.Found, Value: "x"}
			}
		}
		return evidence.Answer{Status: evidence.NotFound}
	})
}

func parse(t *testing.T, list string, parent bool) *matchlist.List {
	t.Helper()
	var items []config.Item
	for _, w := range strings.Fields(list) {
		items = append(items, config.Item{Text: w})
	}
	l, err := matchlist.Parse("mynetworks", items, matchlist.Options{
		Parent:  parent,
		Partial: func(table string) bool { return !strings.HasPrefix(table, "regexp:") },
		ReadFile: func(name string) ([]byte, error) {
			if name == "/nets" {
				return []byte("# ours\n192.0.2.0/24, !198.51.100.7\n"), nil
			}
			return nil, fmt.Errorf("no such file")
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestMatchHost(t *testing.T) {
	for _, c := range []struct {
		list, name, addr string
		parent           bool
		want             string
	}{
		{"192.0.2.0/24", "x.test", "192.0.2.7", false, "yes"},
		{"192.0.2.0/24", "x.test", "192.0.3.7", false, "no"},
		{"192.0.2.0/24", "x.test", "::ffff:192.0.2.7", false, "yes"},
		{"192.0.2.7", "x.test", "192.0.2.7", false, "yes"},
		{"!192.0.2.7 192.0.2.0/24", "x.test", "192.0.2.7", false, "no"},
		{"!192.0.2.7 192.0.2.0/24", "x.test", "192.0.2.8", false, "yes"},
		{"[2001:db8::]/32", "x.test", "2001:db8::1", false, "yes"},
		{"[::1]", "x.test", "::1", false, "yes"},
		{"X.test", "x.TEST", "192.0.2.7", false, "yes"},
		{".test", "x.test", "192.0.2.7", false, "yes"},
		{"test", "x.test", "192.0.2.7", false, "no"},
		{"test", "x.test", "192.0.2.7", true, "yes"},
		{"test", "xtest", "192.0.2.7", true, "no"},
		{"/nets", "x.test", "192.0.2.7", false, "yes"},
		{"!/nets 0.0.0.0/0", "x.test", "192.0.2.7", false, "no"},
		{"hash:/t", "x.test", "192.0.2.7", false, "no"},
		{"hash:/name", "X.test", "192.0.2.7", false, "yes"},
		{"hash:/parent", "a.sub.test", "192.0.2.7", true, "yes"},
		{"hash:/parent", "a.sub.test", "192.0.2.7", false, "no"},
		{"hash:/dot", "a.sub.test", "192.0.2.7", false, "yes"},
		{"regexp:/parent", "a.sub.test", "192.0.2.7", true, "no"},
		{"hash:/addr", "x.test", "192.0.2.7", false, "yes"},
		{"fail:x 0.0.0.0/0", "x.test", "192.0.2.7", false, "failed mynetworks: fail:x: table lookup problem"},
		{"fail:good", "x.test", "192.0.2.7", false, "broken mynetworks: fail:good: table lookup problem"},
		{"192.0.2/24", "x.test", "2001:db8::1", false, "no"},
		{"[2001:db8::1]/32", "x.test", "192.0.2.7", false, "no"},
		{"192.0.2/24", "x.test", "192.0.2.7", false, `failed mynetworks: bad network value in "192.0.2/24"`},
		{"fail:x", "", "unknown", false, "no"},
		{"0.0.0.0/0 fail:x", "x.test", "192.0.2.7", false, "yes"},
		{"1.2.3.4/24", "x.test", "192.0.2.7", false,
			`failed mynetworks: non-null host address bits in "1.2.3.4/24", perhaps you should use "1.2.3.0/24" instead`},
		{"192.0.2.0/24", "x.test", "unknown", false, "no"},
	} {
		src := tables("hash:/name x.test", "hash:/parent sub.test", "regexp:/parent sub.test", "hash:/dot .sub.test", "hash:/addr 192.0.2.7")
		if got := show(parse(t, c.list, c.parent).MatchHost(src, c.name, c.addr)); got != c.want {
			t.Errorf("%q (parent %v) against %s[%s]: %s, want %s", c.list, c.parent, c.name, c.addr, got, c.want)
		}
	}
}

func TestMatchString(t *testing.T) {
	src := tables("hash:/d example.com")
	for list, want := range map[string]string{
		"example.COM": "yes", ".example.com": "no", "hash:/d": "yes", "!example.com hash:/d": "no", "": "no",
	} {
		if got := show(parse(t, list, true).MatchString(src, "Example.com")); got != want {
			t.Errorf("%q: %s, want %s", list, got, want)
		}
	}
}

func TestOctets(t *testing.T) {
	for _, tt := range []struct {
		list, name    string
		names, octets bool
	}{
		{"BÜCHER.test", "bücher.test", true, false},
		{"bücher.TEST", "bücher.test", true, true},
		{"fail:x", "b\xff.test", false, true}, // a failure counts as a match here
	} {
		for _, octets := range []bool{false, true} {
			l, err := matchlist.Parse("mydestination", []config.Item{{Text: tt.list}}, matchlist.Options{
				Octets: octets, Partial: func(string) bool { return true },
			})
			if err != nil {
				t.Fatal(err)
			}
			want := map[bool]bool{false: tt.names, true: tt.octets}[octets]
			if r := l.MatchString(tables(), tt.name); (r.Match || r.Failed) != want {
				t.Errorf("%s, octets %v: %q gives %+v", tt.list, octets, tt.name, r)
			}
		}
	}
}

func TestFileThatIsMissing(t *testing.T) {
	_, err := matchlist.Parse("mydestination", []config.Item{{Text: "/gone", Pos: config.Pos{File: "main.cf", Line: 7}}},
		matchlist.Options{ReadFile: func(string) ([]byte, error) { return nil, fmt.Errorf("gone") }})
	if err == nil || !strings.HasPrefix(err.Error(), "main.cf:7: mydestination: ") {
		t.Errorf("error %v does not say where", err)
	}
}

func TestNothingBehindNot(t *testing.T) {
	_, err := matchlist.Parse("mynetworks", []config.Item{{Text: "!!", Pos: config.Pos{File: "main.cf", Line: 7}}}, matchlist.Options{})
	if err == nil || err.Error() != "main.cf:7: mynetworks: no pattern after '!'" {
		t.Errorf("error %v", err)
	}
}

// TestFileLines: a file's logical lines may be long, and its words in braces.
func TestFileLines(t *testing.T) {
	l, err := matchlist.Parse("mynetworks", []config.Item{{Text: "!/f"}}, matchlist.Options{
		Partial: func(string) bool { return true },
		ReadFile: func(string) ([]byte, error) {
			return []byte("# c\na.test,\n# c\n  inline:{ b=c, d=e } !c.test\n"), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.Tables(); len(got) != 1 || got[0].Text != "inline:{ b=c, d=e }" || got[0].Pos.Line != 2 {
		t.Errorf("tables %v", got)
	}
	for name, want := range map[string]string{"a.test": "no", "c.test": "yes", "b": "no"} {
		if got := show(l.MatchString(tables("inline:{ b=c, d=e } b"), name)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func show(r matchlist.Result) string {
	switch {
	case r.Broken:
		return "broken " + strings.Join(r.Warnings, "; ")
	case r.Failed:
		return "failed " + strings.Join(r.Warnings, "; ")
	case r.Match:
		return "yes"
	}
	return "no"
}
