package policyd_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/evidence"
	"sekisho/internal/policyd"
	"sekisho/internal/restrict"
)

// service is a policy service that answers the n-th request of its life with
// replies[n], the last one for ever. What ends with "!" closes the connection
// behind it; "?" is no answer at all.
type service struct {
	replies []string
	mu      sync.Mutex
	got     []string // requests
	conns   int
}

func (s *service) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns++
		s.mu.Unlock()
		go s.session(c)
	}
}

func (s *service) session(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(c)
	for {
		var request strings.Builder
		for line := ""; line != "\n"; request.WriteString(line) {
			var err error
			if line, err = r.ReadString('\n'); err != nil {
				return
			}
		}
		s.mu.Lock()
		n := min(len(s.got), len(s.replies)-1)
		s.got = append(s.got, request.String())
		s.mu.Unlock()
		reply, hangup := strings.CutSuffix(s.replies[n], "!")
		if reply == "?" {
			io.Copy(io.Discard, r)
			return
		}
		io.WriteString(c, reply)
		if hangup {
			return
		}
	}
}

func (s *service) seen() (requests []string, conns int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.got...), s.conns
}

func (s *service) start(t *testing.T, network string) (transport, endpoint string) {
	t.Helper()
	addr := "127.0.0.1:0"
	if network == "unix" {
		addr = filepath.Join(t.TempDir(), "policy")
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go s.serve(l)
	if network == "unix" {
		return "unix", addr
	}
	return "inet", l.Addr().String()
}

// settings are those of a service whose failures are soon over.
func settings(transport, endpoint string) restrict.PolicyService {
	return restrict.PolicyService{
		Name: "s", Transport: transport, Endpoint: endpoint, Timeout: 10 * time.Second,
		MaxIdle: time.Minute, MaxTTL: time.Hour, TryLimit: 2, RetryDelay: time.Millisecond,
	}
}

func clients(t *testing.T, s restrict.PolicyService, o policyd.Options) *policyd.Clients {
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	c := policyd.New(map[string]restrict.PolicyService{"s": s}, o)
	t.Cleanup(func() { c.Close() })
	return c
}

const request = "request=smtpd_access_policy\n\n"

func TestAnswers(t *testing.T) {
	long := "action=" + strings.Repeat("x", 1<<20) + "\n\n"
	for _, tt := range []struct {
		name     string
		replies  []string
		action   string // empty: none
		warnings string // with S for the service
	}{
		{"plain", []string{"action=DUNNO\n\n"}, "DUNNO", ""},
		{"other attributes", []string{"a=b\nc\n=d\naction=REJECT no = way\naction=OK\nz=1\n\n"}, "REJECT no = way", ""},
		{"spaces and CR are kept", []string{"action= OK \r\n\n"}, " OK \r", ""},
		{"empty action", []string{"action=\n\n"}, "", ""},
		{"hung up once", []string{"!", "action=OK\n\n"}, "OK", ""},
		{"hung up", []string{"!"}, "", "problem talking to server S: Application error"},
		{"no action once", []string{"x=y\n\n", "action=OK\n\n"}, "OK", "missing attribute action in input from S"},
		{"no action", []string{"\n"}, "", "missing attribute action in input from S\n" +
			"missing attribute action in input from S\nproblem talking to server S: Application error"},
		{"no value", []string{"action\n\n", "action=OK\n\n"}, "OK", "missing value for string attribute action from S"},
		{"name cut off", []string{"acti!", "action=OK\n\n"}, "OK", "premature end-of-input on S while reading input attribute name"},
		{"value cut off", []string{"action=O!", "action=OK\n\n"}, "OK", "premature end-of-input on S while reading input attribute value"},
		{"no end", []string{"action=OK\n!", "action=DUNNO\n\n"}, "DUNNO", "premature end-of-input on S while reading input attribute name"},
		{"too long", []string{long, "action=OK\n\n"}, "OK", "reply longer than 1048576 bytes from S"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &service{replies: tt.replies}
			c := settings(s.start(t, "tcp"))
			a := clients(t, c, policyd.Options{}).Ask(context.Background(), "s", request)
			if found := a.Status == evidence.Found; found != (tt.action != "" || tt.name == "empty action") || a.Value != tt.action {
				t.Errorf("got %v %q (%s), want %q", a.Status, a.Value, a.Reason, tt.action)
			}
			if got, want := strings.Join(a.Warnings, "\n"), strings.ReplaceAll(tt.warnings, "S: ", c.Endpoint+": "); strings.ReplaceAll(got, c.Endpoint, "S") != strings.ReplaceAll(want, c.Endpoint, "S") {
				t.Errorf("warnings:\n%s\nwant:\n%s", got, want)
			}
			if got, _ := s.seen(); got[0] != request {
				t.Errorf("the service was sent %q", got[0])
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	dir := t.TempDir()
	c := clients(t, settings("unix", "private/policy"), policyd.Options{Dir: dir})
	a := c.Ask(context.Background(), "s", request)
	want := "connect to private/policy: No such file or directory\nconnect to private/policy: No such file or directory\n" +
		"problem talking to server private/policy: No such file or directory"
	if got := strings.Join(a.Warnings, "\n"); got != want || a.Status != evidence.Failed {
		t.Errorf("status %v, warnings:\n%s\nwant:\n%s", a.Status, got, want)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	a = clients(t, settings("inet", addr), policyd.Options{}).Ask(context.Background(), "s", request)
	want = strings.Repeat("connect to "+addr+": Connection refused\nproblem talking to server "+addr+": Connection refused\n", 2)
	if got := strings.Join(a.Warnings, "\n") + "\n"; got != want {
		t.Errorf("warnings:\n%s\nwant:\n%s", got, want)
	}
}

func TestSilence(t *testing.T) {
	s := &service{replies: []string{"?"}}
	set := settings(s.start(t, "unix"))
	set.Timeout, set.TryLimit = 50*time.Millisecond, 1
	a := clients(t, set, policyd.Options{}).Ask(context.Background(), "s", request)
	if want := "problem talking to server " + set.Endpoint + ": Connection timed out"; len(a.Warnings) != 1 || a.Warnings[0] != want {
		t.Errorf("warnings %q, want %q", a.Warnings, want)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	set.Timeout = time.Hour
	if a := clients(t, set, policyd.Options{}).Ask(ctx, "s", request); a.Status != evidence.Failed {
		t.Errorf("cancelled: %v %q", a.Status, a.Value)
	}
}

// TestReuse: connections are kept as long as they may be, and no longer.
func TestReuse(t *testing.T) {
	for _, tt := range []struct {
		name    string
		reply   string
		change  func(*restrict.PolicyService)
		between time.Duration
		conns   int // of 4 requests
	}{
		{"kept", "action=OK\n\n", func(*restrict.PolicyService) {}, 0, 1},
		{"closed by the service", "action=OK\n\n!", func(*restrict.PolicyService) {}, 0, 4},
		{"more than asked for", "action=OK\n\nmore", func(*restrict.PolicyService) {}, 0, 4},
		{"request limit", "action=OK\n\n", func(s *restrict.PolicyService) { s.RequestLimit = 2 }, 0, 2},
		{"idle", "action=OK\n\n", func(s *restrict.PolicyService) { s.MaxIdle = 10 * time.Second }, 10 * time.Second, 4},
		{"lifetime", "action=OK\n\n", func(s *restrict.PolicyService) { s.MaxTTL = 20 * time.Second }, 10 * time.Second, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &service{replies: []string{tt.reply}}
			set := settings(s.start(t, "tcp"))
			tt.change(&set)
			now := clock.NewManual(time.Unix(1_000_000_000, 0))
			c := clients(t, set, policyd.Options{Clock: now})
			for i := range 4 {
				if a := c.Ask(context.Background(), "s", request); a.Value != "OK" || len(a.Warnings) > 0 {
					t.Fatalf("request %d: %v %q %q", i, a.Status, a.Value, a.Warnings)
				}
				if strings.HasSuffix(tt.reply, "!") || strings.HasSuffix(tt.reply, "more") {
					c.Settle("s") // the end of the connection, or the surplus, has come
				}
				now.Advance(tt.between)
			}
			if _, conns := s.seen(); conns != tt.conns {
				t.Errorf("%d connections, want %d", conns, tt.conns)
			}
		})
	}
}

func TestLimit(t *testing.T) {
	s := &service{replies: []string{"action=OK\n\n"}}
	c := clients(t, settings(s.start(t, "unix")), policyd.Options{Limit: 2})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if a := c.Ask(context.Background(), "s", request); a.Value != "OK" {
				t.Errorf("%v %q %q", a.Status, a.Reason, a.Warnings)
			}
		})
	}
	all.Wait()
	if _, conns := s.seen(); conns > 2 {
		t.Errorf("%d connections, want at most 2", conns)
	}
	if a := c.Ask(context.Background(), "t", request); a.Status != evidence.Failed {
		t.Errorf("unknown service: %v", a.Status)
	}
}
