package mimestate

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

var limits = Options{HeaderLimit: 102400, BoundaryLimit: 2048, NestingLimit: 100}

// walk returns what a walk over lines finds: "p ", "m ", "n " and a header,
// "b " and a line of a body, "-" at the end of the message's headers, "! " and
// an error. A line that ends in '+' goes on.
func walk(o Options, lines []string) (found []string, e Errors) {
	w := New(o, Output{
		Header:     func(c Class, h string) { found = append(found, "pmn"[c:c+1]+" "+h) },
		HeadersEnd: func() { found = append(found, "-") },
		Body: func(l []byte, more bool, offset int64) {
			text := "b " + string(l)
			if more {
				text += "+"
			}
			found = append(found, text)
		},
		Error: func(e Errors, text string) { found = append(found, "! "+e.String()) },
	})
	for _, l := range lines {
		text, more := strings.CutSuffix(l, "+")
		w.Line([]byte(text), more)
	}
	return found, w.End()
}

func TestWalk(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"headers only", "A: 1|B: 2", "p A: 1|p B: 2|-"},
		{"folded", "A: 1| 2|\t3|B: 4||c", "p A: 1\n 2\n\t3|p B: 4|-|b |b c"},
		{"no headers", "text|A: 1", "-|b |b text|b A: 1"},
		{"empty", "", "-|b "},
		{"blank first", " a", "-|b |b  a"},
		{"garbage after headers", "A: 1|text||B: 2", "p A: 1|-|b |b text|b |b B: 2"},
		{"blank before colon", "A \t:  1", "p A:  1|-"},
		{"parts of a line", "A: 1+| 2+|3|B: 4||x+|y|z", "p A: 1 23|p B: 4|-|b |b x+|b y|b z"},
		{"unfinished", "A: 1||x+", "p A: 1|-|b |b x+|b "},
		{"multipart", "Content-Type: multipart/mixed; boundary=b||A: 0|--b|A: 1||A: 2|--b|A: 3||--b--|A: 4",
			"p Content-Type: multipart/mixed; boundary=b|-|b |b A: 0|b --b|m A: 1|b |b A: 2|b --b|m A: 3|b |b --b--|b A: 4"},
		{"message", "Content-Type: message/rfc822||A: 1|Content-Type: MESSAGE/RFC822||B: 1||C: 1",
			"p Content-Type: message/rfc822|-|b |n A: 1|n Content-Type: MESSAGE/RFC822|b |n B: 1|b |b C: 1"},
		{"digest", "Content-Type: multipart/digest; boundary=b||--b||A: 1|--b--",
			"p Content-Type: multipart/digest; boundary=b|-|b |b --b|b |n A: 1|b --b--"},
		{"two boundaries", `Content-Type: multipart/x; boundary=a; boundary="b c"||--a|A: 1||--b c|B: 1`,
			`p Content-Type: multipart/x; boundary=a; boundary="b c"|-|b |b --a|m A: 1|b |b --b c|b B: 1`},
		{"outer boundary ends inner", "Content-Type: multipart/x; boundary=o||--o|Content-Type: multipart/x; boundary=i||--i|A: 1||--o|B: 1||--i|C: 1",
			"p Content-Type: multipart/x; boundary=o|-|b |b --o|m Content-Type: multipart/x; boundary=i|b |b --i|m A: 1|b |b --o|m B: 1|b |b --i|b C: 1"},
		{"garbage in part", "Content-Type: multipart/x; boundary=b||--b|text|A: 1", "p Content-Type: multipart/x; boundary=b|-|b |b --b|b text|b A: 1"},
		{"comments", `Content-Type: (a (b) \) c) multipart / x ; boundary="q\"r"||--q"r|A: 1`,
			`p Content-Type: (a (b) \) c) multipart / x ; boundary="q\"r"|-|b |b --q"r|m A: 1`},
		{"boundary is a prefix", "Content-Type: multipart/x; boundary=b||--bc|A: 1", "p Content-Type: multipart/x; boundary=b|-|b |b --bc|m A: 1"},
		{"boundary in the middle of a line", "Content-Type: multipart/x; boundary=b||x+|--b|A: 1", "p Content-Type: multipart/x; boundary=b|-|b |b x+|b --b|b A: 1"},
	} {
		found, _ := walk(limits, strings.Split(c.in, "|"))
		if want := strings.Split(c.want, "|"); !slices.Equal(found, want) {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, found, want)
		}
	}
}

func TestPlain(t *testing.T) {
	o := limits
	o.Plain = true
	found, _ := walk(o, []string{"Content-Type: multipart/x; boundary=b", "", "--b", "A: 1"})
	if want := []string{"p Content-Type: multipart/x; boundary=b", "-", "b ", "b --b", "b A: 1"}; !slices.Equal(found, want) {
		t.Errorf("got %q, want %q", found, want)
	}
}

func TestErrorsAreReportedOnce(t *testing.T) {
	o := limits
	o.Report, o.NestingLimit = TooDeep|EightBitHeader|EightBitBody|BadEncoding, 0
	lines := []string{"A: \xff", "B: \xff", "Content-Transfer-Encoding: base64", "Content-Type: multipart/x; boundary=a; boundary=b; boundary=c; boundary=d", "", "\xff", "\xff"}
	found, e := walk(o, lines)
	if e != TooDeep|EightBitHeader|EightBitBody|BadEncoding {
		t.Errorf("errors %b", e)
	}
	count := 0
	for _, f := range found {
		if strings.HasPrefix(f, "! ") {
			count++
		}
	}
	if count != 4 {
		t.Errorf("%d reports in %q", count, found)
	}
	if e := TooDeep | EightBitBody; e.String() != "MIME nesting exceeds safety limit" {
		t.Errorf("most serious: %s", e)
	}
}

// FuzzWalk: whatever comes, the walk loses nothing: its output, put together,
// is its input but for what the package documentation says.
func FuzzWalk(f *testing.F) {
	for _, s := range []string{
		"A: 1\n 2\n\nb", "no header\nA: 1", "", " x", "A : 1\n\n", "A: 1\x00\n b\n\n\x00",
		"Content-Type: multipart/x; boundary=b\n\n--b\nA: 1\n\n--b--\n", "Content-Type: message/rfc822\n\nA:1\n\nx",
		"Content-Type: multipart/x; boundary=\"\n b\n\n--b\ngarbage", "Content-Type: multipart/x; boundary=\n\n--\nA: 1",
	} {
		f.Add([]byte(s), uint16(7))
		f.Add([]byte(s), uint16(1000))
	}
	f.Fuzz(func(t *testing.T, msg []byte, piece uint16) {
		var out bytes.Buffer
		head := -1 // where the message's headers end in out
		o := Options{HeaderLimit: 1 << 30, BoundaryLimit: 70, NestingLimit: 3, Report: TooDeep | EightBitHeader | EightBitBody | BadEncoding}
		w := New(o, Output{
			Header: func(c Class, h string) {
				if c > Nested || HeaderName([]byte(h)) == 0 {
					t.Errorf("class %d: header %q", c, h)
				}
				fmt.Fprintf(&out, "%s\n", h)
			},
			HeadersEnd: func() {
				if head >= 0 {
					t.Error("the headers ended twice")
				}
				head = out.Len()
			},
			Body: func(l []byte, more bool, offset int64) {
				out.Write(l)
				if !more {
					out.WriteByte('\n')
				}
			},
			Error: func(Errors, string) {},
		})
		for _, line := range bytes.Split(msg, []byte("\n")) {
			for n := int(piece) + 1; len(line) >= n; line = line[n:] {
				w.Line(line[:n], true)
			}
			w.Line(line, false)
		}
		w.End()
		if head < 0 {
			t.Fatal("the headers never ended")
		}
		if bytes.IndexByte(msg, 0) >= 0 || len(msg) > int(piece) {
			return // NUL bytes end headers; the first piece of a line may end within a name
		}
		in, got := colons(append(slices.Clone(msg), '\n')), colons(out.Bytes())
		n := len(colons(out.Bytes()[:head]))
		withBlank := slices.Concat(in[:min(n, len(in))], []byte("\n"), in[min(n, len(in)):])
		if !bytes.Equal(got, in) && !bytes.Equal(got, withBlank) {
			t.Errorf("in  %q\nout %q", msg, out.Bytes())
		}
	})
}

// colons takes out the white space before each line's first colon, which a
// header loses.
func colons(b []byte) []byte {
	lines := bytes.Split(b, []byte("\n"))
	for i, l := range lines {
		if name, value, ok := bytes.Cut(l, []byte(":")); ok {
			lines[i] = slices.Concat(bytes.TrimRight(name, " \t"), []byte(":"), value)
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

// With Downgrade, what is 8bit by its headers comes out as quoted-printable.
func TestDowngrade(t *testing.T) {
	var out strings.Builder
	w := New(Options{Downgrade: true, HeaderLimit: 1000, BoundaryLimit: 100, NestingLimit: 10}, Output{
		Header:     func(_ Class, h string) { out.WriteString(h + "\n") },
		HeadersEnd: func() {},
		Body: func(line []byte, more bool, _ int64) {
			out.Write(line)
			if !more {
				out.WriteString("\n")
			}
		},
		Error: func(Errors, string) {},
	})
	for line := range strings.Lines("Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 8bit\n\n--b\n" +
		"Content-Transfer-Encoding: binary\n\n\xe9=\tend \n" + strings.Repeat("x", 80) + "\n--b\n\n\xe9 stays\n--b--\n") {
		text := strings.TrimSuffix(line, "\n")
		if len(text) > 9 && !strings.HasPrefix(text, "Content") {
			w.Line([]byte(text[:9]), true)
			text = text[9:]
		}
		w.Line([]byte(text), false)
	}
	w.End()
	want := "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: 7bit\n\n--b\nContent-Transfer-Encoding: quoted-printable\n\n" +
		"=E9=3D\tend=20\n" + strings.Repeat("x", 73) + "=\nxxxxxxx\n--b\n\n\xe9 stays\n--b--\n"
	if got := out.String(); got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
