package tlsrpt

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sekisho/internal/clock"
	"sekisho/internal/zone"
)

func TestFind(t *testing.T) {
	for lines, want := range map[string]struct{ record, warning string }{
		"_smtp._tls.d.test TXT \"v=TLSRPTv1; rua=mailto:r@d.test\"": {"v=TLSRPTv1; rua=mailto:r@d.test", ""},
		"d.test A 127.0.0.1":                         {"", ""},
		"_smtp._tls.d.test TXT \"v=TLSRPTv1 rua=x\"": {"", "malformed"},
		"_smtp._tls.d.test TXT \"v=TLSRPTv1;a\"\n_smtp._tls.d.test TXT \"v=TLSRPTv1;b\"": {"", "Too many"},
		"_smtp._tls.d.test SERVFAIL": {"", "lookup failed"},
	} {
		z, err := zone.Parse("zone", strings.NewReader(lines))
		if err != nil {
			t.Fatal(err)
		}
		record, warning := Find(t.Context(), z.Query, "d.test")
		if record != want.record || !strings.Contains(warning, want.warning) || want.warning == "" && warning != "" {
			t.Errorf("%s: %q, %q", lines, record, warning)
		}
	}
}

func TestDestinations(t *testing.T) {
	got := Destinations("v=TLSRPTv1; rua=mailto:a@d.test, https://d.test/x")
	if d := cmp.Diff([]string{"mailto:a@d.test", "https://d.test/x"}, got); d != "" {
		t.Error(d)
	}
}

// What libtlsrpt sends for the same calls.
func TestSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Socket{path}
	for _, c := range []struct {
		r    Result
		want string
	}{
		{Result{"d.test", "v=TLSRPTv1;", Policy{Kind: NoPolicy, Domain: "d.test"}, nil},
			`{"dpv":"1","d":"d.test","pr":"v=TLSRPTv1;","policies":[{"policy-type":9,"t":0,"f":0}]}`},
		{Result{"d.test", "v=TLSRPTv1;", Policy{TLSA, []string{"3 1 1 AB"}, "mx.d.test", nil}, &Failure{Type: Expired, SendingIP: "1.2.3.4", MXHost: "mx.d.test", MXHelo: "helo", ReceivingIP: "5.6.7.8"}},
			`{"dpv":"1","d":"d.test","pr":"v=TLSRPTv1;","policies":[{"policy-type":1,"policy-domain":"mx.d.test","policy-string":["3 1 1 AB"],` +
				`"failure-details":[{"c":204,"s":"1.2.3.4","n":"mx.d.test","h":"helo","r":"5.6.7.8"}],"t":1,"f":1}]}`},
	} {
		if err := s.Report(c.r); err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 4096)
		n, _, err := l.ReadFrom(buffer)
		if err != nil || string(buffer[:n]) != c.want {
			t.Errorf("%s %v, want %s", buffer[:n], err, c.want)
		}
	}
	l.Close()
	if err := s.Report(Result{}); err == nil {
		t.Error("nobody listens, and that is no error")
	}
}

// A day's sessions become one report for each domain and destination, which is
// sent once, also after a restart and when the first attempt fails.
func TestCollector(t *testing.T) {
	c := clock.NewManual(time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC))
	var mailed []Report
	var posted []string
	fail := true
	o := Options{
		Organization: "q.test", Contact: "postmaster@q.test", File: filepath.Join(t.TempDir(), "results.json"), Spread: time.Hour, Clock: c,
		Log:  slog.New(slog.DiscardHandler),
		Mail: func(_ context.Context, to string, r Report) error { mailed = append(mailed, r); return nil },
		Post: func(_ context.Context, url string, r Report) error {
			if fail {
				return errors.New("down")
			}
			posted = append(posted, url)
			return nil
		},
	}
	collector, err := NewCollector(o)
	if err != nil {
		t.Fatal(err)
	}
	record := "v=TLSRPTv1; rua=mailto:r@d.test,https://d.test/tls"
	sts := Policy{STS, []string{"version: STSv1", "mode: testing"}, "d.test", []string{"*.d.test"}}
	for range 3 {
		collector.Report(Result{"d.test", record, sts, nil})
		collector.Report(Result{"d.test", record, sts, &Failure{Type: HostMismatch, MXHost: "mx.d.test"}})
	}
	collector.Report(Result{"d.test", record, sts, &Failure{Type: Expired, MXHost: "mx.d.test"}})
	collector.Report(Result{"d.test", record, Policy{Kind: NoPolicy, Domain: "d.test"}, nil})
	step := func(d time.Duration) {
		c.Advance(d)
		collector.save()
		collector.send(t.Context())
	}
	step(12*time.Hour + 30*time.Minute)
	if len(mailed) != 0 {
		t.Fatal("sent before its time")
	}
	if collector, err = NewCollector(o); err != nil { // a restart
		t.Fatal(err)
	}
	step(time.Hour)
	if len(mailed) != 1 || len(posted) != 0 {
		t.Fatalf("mailed %d, posted %d", len(mailed), len(posted))
	}
	fail = false
	step(time.Hour)
	step(time.Hour)
	if len(mailed) != 1 || len(posted) != 1 || posted[0] != "https://d.test/tls" {
		t.Fatalf("mailed %d, posted %v", len(mailed), posted)
	}
	z, err := gzip.NewReader(bytes.NewReader(mailed[0].Body))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"organization-name":"q.test","date-range":{"start-datetime":"2026-11-01T00:00:00Z","end-datetime":"2026-11-01T23:59:59Z"},` +
		`"contact-info":"postmaster@q.test","report-id":"` + mailed[0].ID + `","policies":[` +
		`{"policy":{"policy-type":"sts","policy-string":["version: STSv1","mode: testing"],"policy-domain":"d.test","mx-host":["*.d.test"]},` +
		`"summary":{"total-successful-session-count":3,"total-failure-session-count":4},"failure-details":[` +
		`{"result-type":"certificate-host-mismatch","receiving-mx-hostname":"mx.d.test","failed-session-count":3},` +
		`{"result-type":"certificate-expired","receiving-mx-hostname":"mx.d.test","failed-session-count":1}]},` +
		`{"policy":{"policy-type":"no-policy-found","policy-domain":"d.test"},"summary":{"total-successful-session-count":1,"total-failure-session-count":0}}]}`
	if string(text) != want || !json.Valid(text) {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	step(4 * 24 * time.Hour)
	if len(collector.days) != 0 {
		t.Errorf("not forgotten: %v", collector.days)
	}
}

func TestLetter(t *testing.T) {
	r := Report{ID: "1", Domain: "d.test", Organization: "q.test", Contact: "postmaster@q.test", Begin: time.Unix(0, 0).UTC(), End: time.Unix(86399, 0).UTC(), Body: bytes.Repeat([]byte("x"), 100)}
	m, err := netmail.ReadMessage(strings.NewReader(Letter("r@d.test", r, "id@q.test", "Mon, 2 Nov 2026 00:00:00 +0000")))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"Subject": "Report Domain: d.test Submitter: q.test Report-ID: <1>", "Tls-Report-Domain": "d.test", "Tls-Required": "No"} {
		if got := m.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	body, err := io.ReadAll(m.Body)
	if err != nil || !strings.Contains(string(body), `filename="q.test!d.test!0!86399!1.json.gz"`) {
		t.Errorf("%s %v", body, err)
	}
}

func TestUpload(t *testing.T) {
	status := http.StatusCreated
	var kind string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		kind = r.Header.Get("Content-Type")
		w.WriteHeader(status)
	}))
	defer server.Close()
	post := Upload(server.Client())
	if err := post(t.Context(), server.URL, Report{}); err != nil || kind != "application/tlsrpt+gzip" {
		t.Errorf("%v %q", err, kind)
	}
	status = http.StatusServiceUnavailable
	if err := post(t.Context(), server.URL, Report{}); err == nil {
		t.Error("503 is no error")
	}
}
