package saslauthd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"sekisho/internal/sasl/saslauthd"
)

// serve answers each request with what answer makes of it; nil hangs up.
func serve(t *testing.T, answer func(saslauthd.Request) []byte) *saslauthd.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mux")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if r, err := saslauthd.ReadRequest(conn, 1024); err == nil {
					_, _ = conn.Write(answer(r))
				}
			}()
		}
	}()
	return saslauthd.New(path)
}

func answer(s string) []byte { return saslauthd.AppendAnswer(nil, s) }

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		answer []byte
		ok     bool
		reason string
		err    string
	}{
		{answer("OK"), true, "", ""},
		{answer("OK remote"), true, "", ""},
		{answer("NO"), false, "", ""},
		{answer("NO \"authentication failed\"\x00"), false, `"authentication failed"`, ""},
		{answer("what"), false, "what", ""},
		{answer("O"), false, "", `bad response "O"`},
		{answer(""), false, "", `bad response ""`},
		{nil, false, "", "gives no answer: EOF"},
		{[]byte{0}, false, "", "gives no answer: unexpected EOF"},
		{[]byte{0, 9, 'O', 'K'}, false, "", "gives no answer: unexpected EOF"},
	} {
		var got saslauthd.Request
		c := serve(t, func(r saslauthd.Request) []byte { got = r; return tt.answer })
		ok, reason, err := c.Check(t.Context(), "bob", "se\x00cret", "smtp", "demo.test")
		if ok != tt.ok || reason != tt.reason || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%q: %v, %q, %v", tt.answer, ok, reason, err)
		}
		if want := (saslauthd.Request{Login: "bob", Password: "se\x00cret", Service: "smtp", Realm: "demo.test"}); got != want {
			t.Errorf("asked %+v", got)
		}
	}
}

// TestTooLong: what cannot be asked cannot be right.
func TestTooLong(t *testing.T) {
	c := serve(t, func(saslauthd.Request) []byte { return answer("OK") })
	if ok, _, err := c.Check(t.Context(), "bob", strings.Repeat("x", 65536), "smtp", ""); ok || err != nil {
		t.Errorf("64 KiB: %v, %v", ok, err)
	}
	if ok, _, err := c.Check(t.Context(), "bob", strings.Repeat("x", 1025), "smtp", ""); ok || err == nil {
		t.Errorf("more than the daemon takes: %v, %v", ok, err)
	}
}

func TestNoDaemon(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mux")
	c := saslauthd.New(path)
	_, _, err := c.Check(t.Context(), "bob", "x", "smtp", "")
	for _, err := range []error{err, c.Probe(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "is saslauthd running") {
			t.Errorf("missing socket: %v", err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	wait := make(chan struct{})
	defer close(wait)
	c := serve(t, func(saslauthd.Request) []byte { cancel(); <-wait; return nil })
	if _, _, err := c.Check(ctx, "bob", "x", "smtp", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestBurst: more logins than the daemon has room for wait, none fails.
func TestBurst(t *testing.T) {
	const n = 300
	c := serve(t, func(r saslauthd.Request) []byte { return answer("OK") })
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			if ok, _, err := c.Check(t.Context(), fmt.Sprint("user", i), "x", "smtp", ""); !ok {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func FuzzReadRequest(f *testing.F) {
	f.Add([]byte("\x00\x03bob\x00\x01x\x00\x04smtp\x00\x00"))
	f.Add([]byte("\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := saslauthd.ReadRequest(bytes.NewReader(b), 1024)
		if err != nil {
			return
		}
		again, err := r.Append(nil)
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Errorf("%q is read as %+v, which is %q, %v", b, r, again, err)
		}
	})
}
