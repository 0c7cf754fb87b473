package dns

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"sekisho/internal/clock"
)

func TestResolvConf(t *testing.T) {
	conf := filepath.Join(t.TempDir(), "resolv.conf")
	text := "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch inner.test corp.test.\noptions timeout:3 attempts:4 ndots:2\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := New(Options{ResolvConf: conf, Clock: clock.NewManual(time.Time{}), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if len(r.servers) != 2 || r.servers[0].addr != "192.0.2.53:53" || r.servers[1].addr != "[2001:db8::53]:53" {
		t.Errorf("servers %+v", r.servers)
	}
	if r.timeout != 3*time.Second || r.attempts != 4 {
		t.Errorf("timeout %v attempts %d", r.timeout, r.attempts)
	}
	for name, want := range map[string][]string{
		"host":    {"host.inner.test", "host.corp.test", "host"},
		"a.b.c":   {"a.b.c", "a.b.c.inner.test", "a.b.c.corp.test"},
		"a.test.": {"a.test"},
	} {
		if got := r.candidates(name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestSearchListAnswers(t *testing.T) {
	answers := map[string]Outcome{"host.inner.test": NoData, "host.corp.test": NXDomain, "host": NXDomain, "up.corp.test": Success}
	s := NewSystem(func(_ context.Context, name, typ string) Answer {
		if o := answers[name]; o != 0 {
			return Answer{Outcome: o}
		}
		return Answer{Outcome: NXDomain}
	}, "")
	s.search = []string{"inner.test", "corp.test"}
	if a := s.addresses(t.Context(), "host", "A"); a.Outcome != NoData {
		t.Errorf("one candidate exists without addresses: outcome %d, want NoData", a.Outcome)
	}
	if a := s.addresses(t.Context(), "up", "A"); a.Outcome != Success {
		t.Errorf("the second candidate answers: outcome %d", a.Outcome)
	}
}

func TestHostsFileIsReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	h := hostsFile{path: path}
	if got := h.byName("a.test"); got != nil {
		t.Errorf("no file: %v", got)
	}
	for i, text := range []string{"192.0.2.1 a.test\n", "192.0.2.2 b.test a.test\n192.0.2.3 c.test A.TEST\n# 192.0.2.4 a.test\njunk\n"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := h.byName("A.test"); len(got) != i+1 {
			t.Errorf("after writing %q: %v", text, got)
		}
	}
	if got := h.byAddr(h.byName("a.test")[0]); got != "b.test" {
		t.Errorf("canonical name %q, want the line's first", got)
	}
}

func TestComplaint(t *testing.T) {
	long := ""
	for range 30 {
		long += "abcdefgh."
	}
	for name, want := range map[string]string{
		"a.b-c.d_e": "",
		"":          "valid_hostname: empty hostname",
		".a":        "valid_hostname: misplaced delimiter: .a",
		"a..b":      "valid_hostname: misplaced delimiter: a..b",
		"a.":        "valid_hostname: misplaced delimiter: a.",
		"a.-b":      "valid_hostname: misplaced hyphen: a.-b",
		"a-.b":      "valid_hostname: misplaced hyphen: a-.b",
		"a b":       "valid_hostname: invalid character 32(decimal): a b",
		"*.a":       "valid_hostname: invalid character 42(decimal): *.a",
		"1.2":       "valid_hostname: numeric hostname: 1.2",
		long + "a":  "valid_hostname: bad length 271 for " + long[:100] + "...",
		"a234567890123456789012345678901234567890123456789012345678901234": "valid_hostname: hostname label too long: " +
			"a234567890123456789012345678901234567890123456789012345678901234",
	} {
		if got := complaint(name, false); got != want {
			t.Errorf("%q: %q, want %q", name, got, want)
		}
	}
	if got := complaint("a.*.b", true); got != "valid_hostname: '*' can be the first label only: a.*.b" {
		t.Errorf("got %q", got)
	}
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	now := time.Unix(0, 0)
	for i := range cacheSize * 2 {
		c.put(cacheKey{name: string(rune('a'+i%26)) + time.Duration(i).String()}, Answer{Outcome: Success, TTL: time.Hour}, now)
	}
	if len(c.entries) > cacheSize {
		t.Errorf("%d entries", len(c.entries))
	}
}
