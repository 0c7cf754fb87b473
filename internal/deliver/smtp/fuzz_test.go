package smtp

import (
	"bufio"
	"bytes"
	"strings"
	"testing"
)

// FuzzReply reads what a server may send: never a line break or a control
// character comes out, and never more than is kept.
func FuzzReply(f *testing.F) {
	for _, s := range []string{"250 ok\r\n", "250-a\r\n250 2.0.0 b\r\n", "what?\n250\n", "55", "550 5.1.1 \xff\x00\r\n", "2-3 x\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		same := func(line string) (string, error) { return line, nil }
		r, err := (&replyReader{r: bufio.NewReader(bytes.NewReader(in)), filter: same, warn: func(_, _ string) {}}).read()
		if err != nil {
			return
		}
		if strings.ContainsFunc(r.text, func(c rune) bool { return c < ' ' || c == 127 }) || len(r.text) > 4*maxLine {
			t.Errorf("%q", r.text)
		}
		if r.code < 0 || r.code > 999 || len(r.dsn) < 5 {
			t.Errorf("code %d, status %q", r.code, r.dsn)
		}
	})
}

// FuzzContent sends any content: the server's end of data is ours, and no line
// is longer than allowed.
func FuzzContent(f *testing.F) {
	f.Add([]byte("a\n.\nb\n"), 10)
	f.Add([]byte(".\r\n.\n"), 3)
	f.Fuzz(func(t *testing.T, in []byte, limit int) {
		if limit < 2 || limit > 5000 {
			return
		}
		var out bytes.Buffer
		l := &lineWriter{w: bufio.NewWriter(&out), limit: limit, broken: func() {}}
		for _, piece := range bytes.SplitAfter(in, []byte("\n")) {
			if err := l.write(piece); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.close(); err != nil {
			t.Fatal(err)
		}
		l.w.Flush()
		for _, line := range strings.Split(out.String(), "\r\n") {
			if line == "." || len(line) > limit+1 {
				t.Errorf("line %q of %q", line, in)
			}
		}
		if out.Len() > 0 && !bytes.HasSuffix(out.Bytes(), []byte("\r\n")) {
			t.Errorf("no line end after %q", in)
		}
	})
}
