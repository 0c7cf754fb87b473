package mtasts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/zone"
)

const good = "version: STSv1\r\nmode: enforce\r\nmx: mx.d.test\r\nmx: *.E.test.\r\nmax_age: 86400\r\n"

func TestParse(t *testing.T) {
	p, age, err := Parse(good)
	if err != nil || p.Mode != Enforce || strings.Join(p.MX, " ") != "mx.d.test *.e.test" || age != 24*time.Hour || len(p.Lines) != 5 {
		t.Errorf("%+v %v %v", p, age, err)
	}
	if _, age, err = Parse(strings.Replace(good, "86400", "999999999", 1)); err != nil || age != maxAge {
		t.Errorf("%v %v", age, err)
	}
	for what, text := range map[string]string{
		"version": strings.Replace(good, "STSv1", "STSv2", 1), "mode": strings.Replace(good, "enforce", "maybe", 1),
		"no mx": "version: STSv1\nmode: testing\nmax_age: 1", "age": strings.Replace(good, "86400", "-1", 1),
		"no age": "version: STSv1\nmode: none\n", "line": good + "what\n", "empty": "",
	} {
		if _, _, err := Parse(text); err == nil {
			t.Errorf("%s passes", what)
		}
	}
}

// site is a domain with a policy.
type site struct {
	cache   *Cache
	clock   *clock.Manual
	zone    string
	text    string
	err     error
	fetched int
	log     bytes.Buffer
	file    string
}

func newSite(t *testing.T, file string) *site {
	t.Helper()
	s := &site{clock: clock.NewManual(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)), zone: `_mta-sts.d.test TXT "v=STSv1; id=1;"`, text: good, file: file}
	s.open(t)
	return s
}

func (s *site) open(t *testing.T) {
	t.Helper()
	var err error
	s.cache, err = New(Options{
		Query: func(ctx context.Context, name, typ string) (a dns.Answer) {
			z, err := zone.Parse("zone", strings.NewReader(s.zone))
			if err != nil {
				t.Fatal(err)
			}
			return z.Query(ctx, name, typ)
		},
		Fetch: func(context.Context, string) (string, error) { s.fetched++; return s.text, s.err },
		File:  s.file, Clock: s.clock, Log: slog.New(slog.NewTextHandler(&s.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
}

// want asks for the policy and how often it was read so far.
func (s *site) want(t *testing.T, what string, mode Mode, fetched int) {
	t.Helper()
	p, found, _ := s.cache.Policy(t.Context(), "d.test")
	if got := map[bool]Mode{true: p.Mode}[found]; got != mode || s.fetched != fetched {
		t.Errorf("%s: %q, read %d times; want %q, %d", what, got, s.fetched, mode, fetched)
	}
}

// The life of a policy (RFC 8461 section 5.1).
func TestCache(t *testing.T) {
	s := newSite(t, filepath.Join(t.TempDir(), "sts.json"))
	s.want(t, "first", Enforce, 1)
	s.want(t, "known", Enforce, 1)
	s.zone = "d.test A 127.0.0.1"
	s.want(t, "no longer announced, but in force", Enforce, 1)
	s.zone = "_mta-sts.d.test SERVFAIL"
	s.want(t, "DNS gone", Enforce, 1)
	s.open(t)
	s.want(t, "after a restart", Enforce, 1)
	s.zone, s.text = `_mta-sts.d.test TXT "v=STSv1; id=2;"`, strings.Replace(good, "enforce", "testing", 1)
	s.want(t, "a new one", Testing, 2)
	s.zone, s.err = `_mta-sts.d.test TXT "v=STSv1; id=3;"`, errors.New("web down")
	s.want(t, "cannot be read", Testing, 3)
	s.want(t, "not tried again at once", Testing, 3)
	s.clock.Advance(6 * time.Minute)
	s.want(t, "tried again", Testing, 4)
	if !strings.Contains(s.log.String(), "web down") {
		t.Errorf("log %s", &s.log)
	}
	s.clock.Advance(25 * time.Hour)
	s.want(t, "expired", "", 5)
	if _, found, err := s.cache.Policy(t.Context(), "d.test"); found || err == nil || !strings.Contains(err.Error(), "web down") {
		t.Errorf("%v %v", found, err)
	}
	s.err, s.text = nil, "version: STSv1\nmode: none\nmax_age: 60\n"
	s.clock.Advance(6 * time.Minute)
	s.want(t, "withdrawn", "", 6)
	s.text = "nonsense"
	s.clock.Advance(6 * time.Minute)
	if _, _, err := s.cache.Policy(t.Context(), "d.test"); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestNoAnnouncement(t *testing.T) {
	for _, zone := range []string{"d.test A 127.0.0.1", `_mta-sts.d.test TXT "v=spf1 -all"`, "_mta-sts.d.test TXT \"v=STSv1; id=1;\"\n_mta-sts.d.test TXT \"v=STSv1; id=2;\"", `_mta-sts.d.test TXT "v=STSv1;"`} {
		s := newSite(t, filepath.Join(t.TempDir(), "sts.json"))
		s.zone = zone
		s.want(t, zone, "", 0)
	}
}

func TestDamagedFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sts.json")
	if err := os.WriteFile(file, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(Options{File: file}); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Error(err)
	}
}

// What comes from the web must be what RFC 8461 section 3.3 wants.
func TestFromWeb(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		switch r.Host {
		case "mta-sts.good.test":
			fmt.Fprint(w, good)
		case "mta-sts.html.test":
			w.Header().Set("Content-Type", "text/html")
		case "mta-sts.moved.test":
			http.Redirect(w, r, "https://mta-sts.good.test/.well-known/mta-sts.txt", http.StatusFound)
		case "mta-sts.large.test":
			fmt.Fprint(w, strings.Repeat("x", maxSize+1))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := server.Client()
	client.Transport = toServer{client.Transport, address.Host}
	fetch := FromWeb(client)
	if text, err := fetch(t.Context(), "good.test"); err != nil || text != good {
		t.Errorf("%q %v", text, err)
	}
	for _, domain := range []string{"html.test", "moved.test", "large.test", "nothing.test"} {
		if text, err := fetch(t.Context(), domain); err == nil {
			t.Errorf("%s: %q", domain, text)
		}
	}
}

// toServer sends all requests to one server.
type toServer struct {
	http.RoundTripper
	host string
}

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Host = r.URL.Host
	r.URL.Host = s.host
	return s.RoundTripper.RoundTrip(r)
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Fuzz(func(t *testing.T, text string) {
		p, age, err := Parse(text)
		if err == nil && (age < 0 || age > maxAge || p.Mode != None && len(p.MX) == 0) {
			t.Errorf("%+v %v", p, age)
		}
	})
}
