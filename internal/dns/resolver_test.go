package dns_test

import (
	"bytes"
	"context"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/mail"
	"sekisho/internal/zone"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// world is a resolver and the server it asks.
type world struct {
	*dns.Resolver
	clock *clock.Manual
	log   *syncBuffer
	asked *atomic.Int64
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func parse(t *testing.T, text string) *zone.Zone {
	t.Helper()
	z, err := zone.Parse("test.zone", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return z
}

// newWorld serves text and returns a resolver that asks there.
func newWorld(t *testing.T, text, hosts string) *world {
	t.Helper()
	z := parse(t, text)
	w := &world{clock: clock.NewManual(start), log: &syncBuffer{}, asked: new(atomic.Int64)}
	srv, err := dns.Serve("127.0.0.1:0", func(name, typ string) dns.Reply {
		if name != "" {
			w.asked.Add(1)
		}
		return z.Reply(name, typ)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	w.Resolver = newResolver(t, w, hosts, srv.Addr())
	return w
}

func newResolver(t *testing.T, w *world, hosts string, servers ...string) *dns.Resolver {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(path, []byte(hosts), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := dns.New(dns.Options{
		Servers:   servers,
		HostsFile: path,
		Timeout:   100 * time.Millisecond,
		Clock:     w.clock,
		Log:       slog.New(slog.NewTextHandler(w.log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// queryZone and its expectations were compared with dns_lookup of Postfix
// 3.7.11's library on glibc 2.36.
const queryZone = `
good.test A 127.0.1.1
nodata.test EXISTS
refused.test REFUSED
servfail.test SERVFAIL
drop.test DROP
mx1.test MX 10 127.0.0.77
mx2.test MX 0 .
mx3.test MX 10 foo/bar.test
mx3.test MX 20 ok.test
mx4.test MX 10 foo/bar.test
mx5.test MX 10 *.wild.test
mx6.test MX 10 12345
cnmx.test CNAME mx2.test
cn2nx.test CNAME gone.test
loop.test CNAME loop2.test
loop2.test CNAME loop.test
cndrop.test CNAME drop.test
foo.test CNAME bar/baz.test
chain1.test CNAME chain2.test
chain2.test CNAME chain3.test
chain3.test CNAME chain4.test
chain4.test A 127.0.0.4
ns.test NS NS1.ns.test
txt.test TXT "hello \"w\" 100%; (x)"
six.test AAAA ::1
`

func TestQuery(t *testing.T) {
	const notFound = "Host or domain name not found. Name service error for name="
	const malformed = ": Malformed or unexpected name server reply"
	tests := []struct {
		name, typ string
		outcome   dns.Outcome
		reason    string
		data      []string
		warnings  []string
	}{
		{"good.test", "A", dns.Success, "", []string{"127.0.1.1"}, nil},
		{"GOOD.Test", "A", dns.Success, "", []string{"127.0.1.1"}, nil},
		{"six.test", "AAAA", dns.Success, "", []string{"::1"}, nil},
		{"ns.test", "NS", dns.Success, "", []string{"NS1.ns.test"}, nil},
		{"txt.test", "TXT", dns.Success, "", []string{`hello \"w\" 100%; (x)`}, nil},
		{"nx.test", "A", dns.NXDomain, notFound + "nx.test type=A: Host not found", nil, nil},
		{"nodata.test", "A", dns.NoData, notFound + "nodata.test type=A: Host found but no data record of requested type", nil, nil},
		{"refused.test", "A", dns.Refused, notFound + "refused.test type=A: Host not found, try again", nil, nil},
		{"servfail.test", "A", dns.ServFail, notFound + "servfail.test type=A: Host not found, try again", nil, nil},
		{"drop.test", "A", dns.Timeout, notFound + "drop.test type=A: Host not found, try again", nil, nil},
		{"cndrop.test", "A", dns.Timeout, notFound + "drop.test type=A: Host not found, try again", nil, nil},
		{"mx1.test", "MX", dns.Success, "", []string{"127.0.0.77"}, []string{
			"numeric domain name in resource data of MX record for mx1.test: 127.0.0.77"}},
		{"mx2.test", "MX", dns.Success, "", []string{""}, nil},
		{"cnmx.test", "MX", dns.Success, "", []string{""}, nil},
		{"mx3.test", "MX", dns.Success, "", []string{"ok.test"}, []string{
			"valid_hostname: invalid character 47(decimal): foo/bar.test",
			"malformed domain name in resource data of MX record for mx3.test: foo/bar.test"}},
		{"mx4.test", "MX", dns.Malformed, "Name service error for name=mx4.test type=MX" + malformed, nil, []string{
			"valid_hostname: invalid character 47(decimal): foo/bar.test",
			"malformed domain name in resource data of MX record for mx4.test: foo/bar.test"}},
		{"mx5.test", "MX", dns.Success, "", []string{"*.wild.test"}, nil},
		{"mx6.test", "MX", dns.Malformed, "Name service error for name=mx6.test type=MX" + malformed, nil, []string{
			"valid_hostname: numeric hostname: 12345",
			"malformed domain name in resource data of MX record for mx6.test: 12345"}},
		{"foo.test", "A", dns.Malformed, "Name service error for name=foo.test type=A" + malformed, nil, []string{
			"valid_hostname: invalid character 47(decimal): bar/baz.test",
			"malformed domain name in resource data of CNAME record for foo.test: bar/baz.test"}},
		{"cn2nx.test", "A", dns.NXDomain, notFound + "gone.test type=A: Host not found", nil, nil},
		{"loop.test", "A", dns.NXDomain, "Name server loop for loop.test", nil, []string{"dns_lookup: Name server loop for loop.test"}},
		{"chain1.test", "A", dns.Success, "", []string{"127.0.0.4"}, nil},
		{"foo/bar.test", "A", dns.NXDomain, "Name service error for foo/bar.test: invalid host or domain name", nil, nil},
		{"1.2.3.4", "A", dns.NXDomain, "Name service error for 1.2.3.4: invalid host or domain name", nil, nil},
		{"", "A", dns.NXDomain, "Name service error for : invalid host or domain name", nil, nil},
		{"good.test.", "A", dns.NXDomain, "Name service error for good.test.: invalid host or domain name", nil, nil},
		{"*.x.test", "A", dns.NXDomain, notFound + "*.x.test type=A: Host not found", nil, nil},
	}
	z := parse(t, queryZone)
	w := newWorld(t, queryZone, "")
	worlds := map[string]func(context.Context, string, string) dns.Answer{"network": w.Query, "scripted": z.Query}
	for kind, query := range worlds {
		for _, tt := range tests {
			t.Run(kind+"/"+tt.name+" "+tt.typ, func(t *testing.T) {
				a := query(t.Context(), tt.name, tt.typ)
				var data []string
				for _, r := range a.Records {
					data = append(data, r.Data)
				}
				if a.Outcome != tt.outcome || a.Reason != tt.reason {
					t.Errorf("got %d %q, want %d %q", a.Outcome, a.Reason, tt.outcome, tt.reason)
				}
				if !reflect.DeepEqual(data, tt.data) {
					t.Errorf("records %q, want %q", data, tt.data)
				}
				if !reflect.DeepEqual(a.Warnings, tt.warnings) {
					t.Errorf("warnings %q, want %q", a.Warnings, tt.warnings)
				}
			})
		}
	}
	if got := w.log.String(); got != "" {
		t.Errorf("a server that answers other questions was reported: %s", got)
	}
}

// peerZone and its expectations were compared with getnameinfo(3) and
// getaddrinfo(3) of glibc 2.36 and Postfix 3.7.11.
const peerZone = `
1.1.0.127.in-addr.arpa PTR Good.test
good.test A 127.0.1.1
2.1.0.127.in-addr.arpa PTR foo_bar.test
foo_bar.test A 127.0.1.2
3.1.0.127.in-addr.arpa PTR -foo.test
4.1.0.127.in-addr.arpa PTR foo/bar.test
5.1.0.127.in-addr.arpa PTR 127.0.1.5
6.1.0.127.in-addr.arpa PTR 300.1.1.1
7.1.0.127.in-addr.arpa PTR 12345
8.1.0.127.in-addr.arpa PTR two1.test
8.1.0.127.in-addr.arpa PTR two2.test
two1.test A 127.0.1.8
9.1.0.127.in-addr.arpa CNAME 9.sub.test
9.sub.test PTR viacname.test
viacname.test A 127.0.1.9
10.1.0.127.in-addr.arpa PTR cnamed.test
cnamed.test CNAME target.test
target.test A 127.0.1.10
11.1.0.127.in-addr.arpa PTR foo-.test
13.1.0.127.in-addr.arpa PTR nodata.test
nodata.test EXISTS
14.1.0.127.in-addr.arpa PTR refused.test
refused.test REFUSED
15.1.0.127.in-addr.arpa REFUSED
17.1.0.127.in-addr.arpa EXISTS
18.1.0.127.in-addr.arpa PTR multi.test
multi.test A 127.0.1.17
multi.test A 127.0.1.18
20.1.0.127.in-addr.arpa PTR drop.test
drop.test DROP
21.1.0.127.in-addr.arpa PTR .
22.1.0.127.in-addr.arpa PTR six.test
six.test AAAA ::1
24.1.0.127.in-addr.arpa PTR ü.test
25.1.0.127.in-addr.arpa PTR other.test
other.test A 127.0.0.99
26.1.0.127.in-addr.arpa SERVFAIL
27.1.0.127.in-addr.arpa DROP
28.1.0.127.in-addr.arpa PTR gone.test
1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa PTR v6.test
v6.test AAAA 2001:db8::1
`

func TestClientName(t *testing.T) {
	const ok, temp, perm, forged = mail.NameOK, mail.NameTemp, mail.NamePerm, mail.NameForged
	const u = "unknown"
	tests := []struct {
		addr string
		want dns.ClientName
	}{
		{"127.0.0.1", dns.ClientName{Name: "localhost", Status: ok, Reverse: "localhost", ReverseStatus: ok}},
		{"::1", dns.ClientName{Name: "ip6-localhost", Status: ok, Reverse: "ip6-localhost", ReverseStatus: ok}},
		{"127.0.1.1", dns.ClientName{Name: "Good.test", Status: ok, Reverse: "Good.test", ReverseStatus: ok}},
		{"::ffff:127.0.1.1", dns.ClientName{Name: "Good.test", Status: ok, Reverse: "Good.test", ReverseStatus: ok}},
		{"127.0.1.2", dns.ClientName{Name: "foo_bar.test", Status: ok, Reverse: "foo_bar.test", ReverseStatus: ok}},
		{"127.0.1.3", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
		{"127.0.1.4", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
		{"127.0.1.5", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm, Warnings: []string{"numeric hostname: 127.0.1.5"}}},
		{"127.0.1.6", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm, Warnings: []string{"valid_hostname: numeric hostname: 300.1.1.1"}}},
		{"127.0.1.7", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm, Warnings: []string{"valid_hostname: numeric hostname: 12345"}}},
		{"127.0.1.8", dns.ClientName{Name: "two1.test", Status: ok, Reverse: "two1.test", ReverseStatus: ok}},
		{"127.0.1.9", dns.ClientName{Name: "viacname.test", Status: ok, Reverse: "viacname.test", ReverseStatus: ok}},
		{"127.0.1.10", dns.ClientName{Name: "cnamed.test", Status: ok, Reverse: "cnamed.test", ReverseStatus: ok}},
		{"127.0.1.11", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm, Warnings: []string{"valid_hostname: misplaced hyphen: foo-.test"}}},
		{"127.0.1.12", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
		{"127.0.1.13", dns.ClientName{Name: u, Status: forged, Reverse: "nodata.test", ReverseStatus: ok, Warnings: []string{
			"hostname nodata.test does not resolve to address 127.0.1.13: No address associated with hostname"}}},
		{"127.0.1.14", dns.ClientName{Name: u, Status: temp, Reverse: "refused.test", ReverseStatus: ok, Warnings: []string{
			"hostname refused.test does not resolve to address 127.0.1.14: Temporary failure in name resolution"}}},
		{"127.0.1.15", dns.ClientName{Name: u, Status: temp, Reverse: u, ReverseStatus: temp}},
		{"127.0.1.17", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
		{"127.0.1.18", dns.ClientName{Name: "multi.test", Status: ok, Reverse: "multi.test", ReverseStatus: ok}},
		{"127.0.1.20", dns.ClientName{Name: u, Status: temp, Reverse: "drop.test", ReverseStatus: ok, Warnings: []string{
			"hostname drop.test does not resolve to address 127.0.1.20: Temporary failure in name resolution"}}},
		{"127.0.1.21", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm, Warnings: []string{"valid_hostname: misplaced delimiter: ."}}},
		{"127.0.1.22", dns.ClientName{Name: u, Status: forged, Reverse: "six.test", ReverseStatus: ok, Warnings: []string{
			"hostname six.test does not resolve to address 127.0.1.22: No address associated with hostname"}}},
		{"127.0.1.24", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
		{"127.0.1.25", dns.ClientName{Name: u, Status: forged, Reverse: "other.test", ReverseStatus: ok, Warnings: []string{
			"hostname other.test does not resolve to address 127.0.1.25"}}},
		{"127.0.1.26", dns.ClientName{Name: u, Status: temp, Reverse: u, ReverseStatus: temp}},
		{"127.0.1.27", dns.ClientName{Name: u, Status: temp, Reverse: u, ReverseStatus: temp}},
		{"127.0.1.28", dns.ClientName{Name: u, Status: forged, Reverse: "gone.test", ReverseStatus: ok, Warnings: []string{
			"hostname gone.test does not resolve to address 127.0.1.28: Name or service not known"}}},
		{"2001:db8::1", dns.ClientName{Name: "v6.test", Status: ok, Reverse: "v6.test", ReverseStatus: ok}},
		{"2001:db8::2", dns.ClientName{Name: u, Status: perm, Reverse: u, ReverseStatus: perm}},
	}
	w := newWorld(t, peerZone, "127.0.0.1 localhost\n::1 ip6-localhost localhost # six\n")
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			got := w.ClientName(t.Context(), netip.MustParseAddr(tt.addr))
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got  %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestHost(t *testing.T) {
	w := newWorld(t, `
both.test A 192.0.2.1
both.test AAAA 2001:db8::1
four.test A 192.0.2.2
bad.test SERVFAIL
text.test TXT x
`, "192.0.2.9 fixed.test alias.test\n")
	for _, tt := range []struct {
		name    string
		outcome dns.Outcome
		data    string
		reason  string
	}{
		{"both.test", dns.Success, "192.0.2.1 2001:db8::1", ""},
		{"four.test", dns.Success, "192.0.2.2", ""},
		{"alias.test", dns.Success, "192.0.2.9", ""},
		{"192.0.2.77", dns.Success, "192.0.2.77", ""},
		{"2001:db8::77", dns.Success, "2001:db8::77", ""},
		{"bad.test", dns.ServFail, "", "Temporary failure in name resolution"},
		{"none.test", dns.NXDomain, "", "Name or service not known"},
		{"text.test", dns.NoData, "", "No address associated with hostname"},
	} {
		a := w.Host(t.Context(), tt.name)
		var data []string
		for _, r := range a.Records {
			data = append(data, r.Data)
		}
		if a.Outcome != tt.outcome || strings.Join(data, " ") != tt.data || a.Reason != tt.reason {
			t.Errorf("%s: got %d %q %q, want %d %q %q", tt.name, a.Outcome, data, a.Reason, tt.outcome, tt.data, tt.reason)
		}
	}
}

func TestCacheKeepsToTheTTL(t *testing.T) {
	w := newWorld(t, "a.test A 192.0.2.1\nbad.test SERVFAIL\n", "")
	ask := func(name string, wantAsked int64) dns.Answer {
		t.Helper()
		a := w.Query(t.Context(), name, "A")
		if n := w.asked.Load(); n != wantAsked {
			t.Errorf("%s: %d questions reached the server, want %d", name, n, wantAsked)
		}
		return a
	}
	ask("a.test", 1)
	w.clock.Advance(299 * time.Second)
	if a := ask("A.test", 1); a.TTL != time.Second || !a.Asked.Equal(start) {
		t.Errorf("TTL %v asked %v, want 1s left and the time of the first question", a.TTL, a.Asked)
	}
	w.clock.Advance(time.Second)
	ask("a.test", 2)

	ask("nx.test", 3) // negative answers for the SOA's minimum, 60 s
	w.clock.Advance(59 * time.Second)
	ask("nx.test", 3)
	w.clock.Advance(time.Second)
	ask("nx.test", 4)

	ask("bad.test", 5) // failures for a moment
	ask("bad.test", 5)
	w.clock.Advance(5 * time.Second)
	ask("bad.test", 6)
}

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	release := make(chan struct{})
	var asked atomic.Int64
	srv, err := dns.Serve("127.0.0.1:0", func(name, typ string) dns.Reply {
		asked.Add(1)
		<-release
		return dns.Reply{Outcome: dns.NXDomain, NegativeTTL: time.Minute}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	w := &world{clock: clock.NewManual(start), log: &syncBuffer{}}
	r, err := dns.New(dns.Options{Servers: []string{srv.Addr()}, Clock: w.clock, Log: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if a := r.Query(context.Background(), "x.test", "A"); a.Outcome != dns.NXDomain {
				t.Errorf("outcome %d", a.Outcome)
			}
		})
	}
	close(release)
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestLongAnswersComeByTCP(t *testing.T) {
	text := strings.Repeat("0123456789", 300)
	w := newWorld(t, "big.test TXT "+text+"\n", "")
	a := w.Query(t.Context(), "big.test", "TXT")
	if a.Outcome != dns.Success || a.Records[0].Data != text || a.Records[0].Text() != text[:255] {
		t.Errorf("got %+v", a)
	}
}

// TestSilenceIsWaitedForTwice: two attempts, so that with the default of 5 s a
// silent list costs 10 s, as it costs Postfix.
func TestSilenceIsWaitedForTwice(t *testing.T) {
	w := newWorld(t, "drop.test DROP\n", "")
	began := time.Now()
	a := w.Query(t.Context(), "drop.test", "A")
	took := time.Since(began)
	if n := w.asked.Load(); a.Outcome != dns.Timeout || n != 2 || took < 200*time.Millisecond {
		t.Errorf("outcome %d after %d questions and %v, want a time-out after two of 100 ms", a.Outcome, n, took)
	}
}

func TestContextEndsTheWait(t *testing.T) {
	w := newWorld(t, "drop.test DROP\n", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if a := w.Query(ctx, "drop.test", "A"); a.Outcome != dns.Timeout {
		t.Errorf("outcome %d", a.Outcome)
	}
}

// TestServersTakeTurns has one server that is not there, one that fails, one
// that knows.
func TestServersTakeTurns(t *testing.T) {
	serve := func(text string) *dns.Server {
		srv, err := parse(t, text).Serve("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { srv.Close() })
		return srv
	}
	failing, knowing := serve("a.test SERVFAIL\nall.test SERVFAIL\n"), serve("a.test A 192.0.2.1\nall.test REFUSED\n")
	ln, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := ln.LocalAddr().String()
	ln.Close()

	w := &world{clock: clock.NewManual(start), log: &syncBuffer{}}
	r := newResolver(t, w, "", gone, failing.Addr(), knowing.Addr())
	if a := r.Query(t.Context(), "a.test", "A"); a.Outcome != dns.Success {
		t.Errorf("outcome %d", a.Outcome)
	}
	if a := r.Query(t.Context(), "all.test", "A"); a.Outcome != dns.Refused {
		t.Errorf("outcome %d, want the last server's refusal", a.Outcome)
	}
}

func TestSilenceIsLoggedOncePerChange(t *testing.T) {
	w := &world{clock: clock.NewManual(start), log: &syncBuffer{}}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := pc.LocalAddr().String()
	pc.Close()
	r := newResolver(t, w, "", addr)
	for _, name := range []string{"a.test", "b.test", "c.test"} {
		if a := r.Query(t.Context(), name, "A"); a.Outcome != dns.Timeout {
			t.Errorf("%s: outcome %d", name, a.Outcome)
		}
		w.wait(t, "does not answer")
	}
	srv, err := parse(t, "a.test A 192.0.2.1\n").Serve(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	w.clock.Advance(time.Minute)
	for _, name := range []string{"a.test", "b.test"} {
		r.Query(t.Context(), name, "A")
	}
	got := w.log.String()
	if strings.Count(got, "level=WARN") != 1 || strings.Count(got, addr+" answers again") != 1 {
		t.Errorf("log:\n%s", got)
	}
	if !strings.Contains(got, "DNS server "+addr+" does not answer: ") {
		t.Errorf("log:\n%s", got)
	}
}

// wait polls the log until it holds text.
func (w *world) wait(t *testing.T, text string) {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for !strings.Contains(w.log.String(), text) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in the log: %s", text, w.log.String())
		}
	}
}

func TestNewReportsBadConfiguration(t *testing.T) {
	for _, bad := range []string{"localhost:53", "127.0.0.1:x", "", "::1:53:"} {
		if _, err := dns.New(dns.Options{Servers: []string{bad}}); err == nil || !strings.Contains(err.Error(), `"`+bad+`"`) {
			t.Errorf("%q: err = %v", bad, err)
		}
	}
	missing := filepath.Join(t.TempDir(), "resolv.conf")
	if _, err := dns.New(dns.Options{ResolvConf: missing}); err == nil || !strings.Contains(err.Error(), missing) {
		t.Errorf("err = %v", err)
	}
}

// BenchmarkQuery asks for names that are not in the cache, many at a time.
func BenchmarkQuery(b *testing.B) {
	srv, err := dns.Serve("127.0.0.1:0", func(name, typ string) dns.Reply {
		return dns.Reply{Outcome: dns.NXDomain}
	})
	if err != nil {
		b.Fatal(err)
	}
	defer srv.Close()
	r, err := dns.New(dns.Options{Servers: []string{srv.Addr()}, Clock: clock.System{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	var n atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := "n" + strconv.FormatInt(n.Add(1), 10) + ".test"
			if a := r.Query(context.Background(), name, "A"); a.Outcome != dns.NXDomain {
				b.Errorf("%s: outcome %d", name, a.Outcome)
			}
		}
	})
}
