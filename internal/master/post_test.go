package master

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestLineWriter(t *testing.T) {
	var got []string
	w := &lineWriter{line: func(b []byte) error { got = append(got, string(b)); return nil }}
	for _, s := range []string{"a\nb", "c\n", "\n\nd\n", "e", "f"} {
		if n, err := io.WriteString(w, s); n != len(s) || err != nil {
			t.Fatalf("wrote %d of %q, %v", n, s, err)
		}
	}
	if err := w.flush(); err != nil {
		t.Fatal(err)
	}
	if s := strings.Join(got, "|"); s != "a|bc|||d|ef" {
		t.Errorf("lines %q", s)
	}
	full := errors.New("disk full")
	w = &lineWriter{line: func([]byte) error { return full }}
	if _, err := io.WriteString(w, "x\n"); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
}
