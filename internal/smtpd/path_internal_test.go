package smtpd

import (
	"net/netip"
	"strings"
	"testing"
)

func TestTokenize(t *testing.T) {
	for _, c := range []struct {
		in   string
		want string // words, broken ones with "!" before them
	}{
		{"MAIL FROM:<a@b> SIZE=1", "MAIL|FROM:|<a@b>|SIZE=1"},
		{"mail\tfrom: <a b@c>", "mail|from:|<a b@c>"},
		{"RCPT TO:<\"a > b\"@c>", "RCPT|TO:|<\"a > b\"@c>"},
		{"RCPT TO:<a@c", "RCPT|TO:|!<a@c"},
		{"RCPT TO:a\\<b", "RCPT|TO:|a\\<b"},
		{"RCPT TO:[1.2.3.4", "RCPT|TO:|[1.2.3.4"},
		{"RCPT TO :<a@b>", "RCPT|TO|:<a@b>"},
		{"RCPT TO:<<a>", "RCPT|TO:|!<<a>"},
		{"  NOOP  x ", "NOOP|x"},
		{"", ""},
	} {
		var got []string
		for _, w := range tokenize(c.in) {
			if w.broken {
				w.text = "!" + w.text
			}
			got = append(got, w.text)
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%q: got %s, want %s", c.in, s, c.want)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, c := range []struct {
		word          string
		loose, strict string // the address, or "-" for a refusal
	}{
		{"<a@b.test>", "a@b.test", "a@b.test"},
		{"<>", "", ""},
		{"a@b.test", "a@b.test", "-"},
		{"<A Name <a@b.test>>", "a@b.test", "-"},
		{"<a@b.test>junk", "-", "-"},
		{"<a b@c.test>", "-", "-"},
		{"<a@b>,<c@d>", "-", "-"},
		{"<@x.test,@y.test:a@b.test>", "a@b.test", "a@b.test"},
		{"<@b.test>", "@b.test", "-"},
		{`<"a b"@c.test>`, "a b@c.test", "a b@c.test"},
		{"<(comment)a@b.test>", "a@b.test", "-"},
		{"<a@[192.0.2.1]>", "a@[192.0.2.1]", "a@[192.0.2.1]"},
	} {
		for _, strict := range []bool{false, true} {
			want := c.loose
			if strict {
				want = c.strict
			}
			p := parsePath(c.word, true, strict)
			got := p.addr
			if !p.ok {
				got = "-"
			}
			if got != want {
				t.Errorf("%s, strict %v: got %q, want %q", c.word, strict, got, want)
			}
		}
	}
	if p := parsePath("<>", false, false); p.ok {
		t.Error("an empty recipient")
	}
}

// FuzzCommand: no command line makes trouble, strict accepts nothing that loose
// refuses, and words hold all that is not blank.
func FuzzCommand(f *testing.F) {
	f.Add("MAIL FROM:<\"a b\"@c.test> SIZE=1")
	f.Add("RCPT TO:<@a,@b:c@d>")
	f.Add(`RCPT TO:<a\>(b <c@[d]>`)
	f.Fuzz(func(t *testing.T, line string) {
		line = untilNUL(line)
		blank := func(r rune) rune {
			if r == ' ' || r >= '\t' && r <= '\r' {
				return -1
			}
			return r
		}
		words := tokenize(line)
		if got, want := strings.Map(blank, join(words)), strings.Map(blank, line); got != want {
			t.Errorf("%q: words hold %q", line, got)
		}
		for _, w := range words {
			loose, strict := parsePath(w.text, true, false), parsePath(w.text, true, true)
			if strict.ok && (!loose.ok || strict.addr != loose.addr) {
				t.Errorf("%q: strict %q, loose %q", w.text, strict.addr, loose.addr)
			}
		}
	})
}

func TestUnxtext(t *testing.T) {
	for _, c := range []struct {
		in, out string
		ok      bool
	}{{"abc", "abc", true}, {"a+2Bb", "a+b", true}, {"a+2b", "a+", true}, {"a+", "", false}, {"a+2", "", false}, {"a+zz", "", false}} {
		if out, ok := unxtext(c.in); out != c.out || ok != c.ok {
			t.Errorf("%q: %q, %v", c.in, out, ok)
		}
	}
}

func TestParseProxyHeader(t *testing.T) {
	both := protocols{v4: true, v6: true}
	v2 := "\r\n\r\n\x00\r\nQUIT\n"
	for _, c := range []struct {
		in     string
		use    protocols
		client string
		err    string
	}{
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", both, "192.0.2.1:1", ""},
		{"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", both, "[2001:db8::1]:1", ""},
		{"PROXY TCP6 2001:db8::1 ::1 1 2\r\n", protocols{v4: true}, "", "bad or missing protocol type"},
		{"PROXY UNKNOWN\r\n", both, "", "bad or missing protocol type"},
		{"PROXY TCP4 ::1 192.0.2.2 1 2\r\n", both, "", "bad or missing client address"},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", both, "", "bad or missing server port"},
		{"EHLO x\r\n", both, "", "short protocol header"},
		{"EHLO client.test\r\n", both, "", "unrecognized protocol header"},
		{"PROXY " + strings.Repeat("x", 200), both, "", "missing protocol header terminator"},
		{v2 + "\x21\x11\x00\x0c\xc0\x00\x02\x01\xc0\x00\x02\x02\x00\x01\x00\x02", both, "192.0.2.1:1", ""},
		{v2 + "\x20\x00\x00\x00", both, "local", ""},
	} {
		raw, err := readProxyHeader(strings.NewReader(c.in))
		var h proxyHeader
		if err == nil {
			h, err = parseProxyHeader(raw, c.use)
		}
		switch {
		case c.err != "" && (err == nil || err.Error() != c.err):
			t.Errorf("%q: got %v, want %s", c.in, err, c.err)
		case c.err == "" && err != nil:
			t.Errorf("%q: %v", c.in, err)
		case c.client == "local" && !h.local:
			t.Errorf("%q: not local", c.in)
		case c.err == "" && c.client != "local" && h.client != netip.MustParseAddrPort(c.client):
			t.Errorf("%q: client %v", c.in, h.client)
		}
	}
}
