package restrict_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/dns"
	"sekisho/internal/evidence"
	"sekisho/internal/restrict"
)

// askingLists has one restriction of every kind that asks the DNS.
const askingLists = `
smtpd_client_restrictions = permit_mynetworks,
  reject_rbl_client rbl.test, reject_rbl_client other.test=127.0.0.2, reject_rhsbl_client rhsbl.test, reject_rhsbl_reverse_client rhsbl.test,
  permit_rhswl_client nowhere.test, check_client_a_access inline:{x=x}, check_client_mx_access inline:{x=x}, check_reverse_client_hostname_ns_access inline:{x=x}
smtpd_helo_restrictions = permit_mynetworks,
  reject_unknown_helo_hostname, reject_rhsbl_helo rhsbl.test, check_helo_a_access inline:{x=x}, check_helo_mx_access inline:{x=x}
smtpd_sender_restrictions = permit_mynetworks,
  reject_unknown_sender_domain, reject_rhsbl_sender other.test, check_sender_a_access inline:{x=x},
  check_sender_mx_access inline:{x=x}, check_sender_ns_access inline:{x=x}
smtpd_recipient_restrictions = permit_mynetworks,
  permit_dnswl_client wl.test, permit_mx_backup, reject_unknown_recipient_domain, reject_rhsbl_recipient rhsbl.test,
  check_recipient_a_access inline:{x=x}, check_recipient_mx_access inline:{x=x}, check_recipient_ns_access inline:{x=x}
smtpd_dns_reply_filter = inline:{x=IGNORE}
`

// slowDNS answers from the bench's zone, each question after a time, and counts.
type slowDNS struct {
	w     *bench
	takes func(name, typ string) time.Duration

	mu    sync.Mutex
	asked map[string]int
	sum   time.Duration
}

func (d *slowDNS) query(ctx context.Context, name, typ string) dns.Answer {
	takes := d.takes(name, typ)
	d.mu.Lock()
	d.asked[typ+" "+name]++
	d.sum += takes
	d.mu.Unlock()
	time.Sleep(takes) // by the clock of synctest, which does not wait
	return d.w.zone.Query(ctx, name, typ)
}

// decideSlowly decides about a session with such a DNS and returns how long it
// took.
func decideSlowly(t *testing.T, w *bench, d *slowDNS, facts ...string) (out restrict.Outcome, took time.Duration) {
	t.Helper()
	f := stranger("RCPT")
	for i := 0; i < len(facts); i += 2 {
		setFact(t, &f, facts[i], facts[i+1])
	}
	d.w, d.asked = w, make(map[string]int)
	synctest.Test(t, func(t *testing.T) {
		world := &evidence.World{
			Query: d.query, Host: dns.NewSystem(d.query, "").Host, Lookup: w.site.Tables.Lookup, Clock: clock.System{},
		}
		start := time.Now()
		out = w.program().Decide(restrict.StageRcpt, &f, evidence.NewSession(t.Context(), world), restrict.Carry{})
		took = time.Since(start)
		time.Sleep(time.Hour) // until nothing is under way
	})
	return out, took
}

func always(d time.Duration) func(string, string) time.Duration {
	return func(string, string) time.Duration { return d }
}

// TestTrustedAskNothing: a client that its own network permits causes no
// question to anybody that comes after.
func TestTrustedAskNothing(t *testing.T) {
	w := newBench(t)
	w.configure(t, askingLists)
	d := &slowDNS{takes: always(time.Second)}
	if out, took := decideSlowly(t, w, d, "client", "127.0.0.1", "from", "s@two.test"); len(d.asked) > 0 || took > 0 || !out.Reply.IsZero() {
		t.Errorf("asked %v, took %v, answered %s", d.asked, took, out.Reply)
	}
}

// TestStrangerWaitsForTheSlowest: an honest stranger waits for the slowest
// answer and what it leads to, not for the sum of all.
func TestStrangerWaitsForTheSlowest(t *testing.T) {
	honest := []string{"name", "good.test", "reverse", "good.test", "helo", "good.test", "from", "s@two.test", "to", "x@mailbox.test"}
	for _, tt := range []struct {
		name  string
		lists string
		takes func(name, typ string) time.Duration
		facts []string
		want  time.Duration
	}{
		{"lists alone", "smtpd_client_restrictions = reject_rbl_client one.test, reject_rbl_client rbl.test, reject_rbl_client three.test\n" +
			"smtpd_sender_restrictions = reject_unknown_sender_domain", always(time.Second), honest, time.Second},
		{"one slow list", "smtpd_client_restrictions = reject_rbl_client one.test, reject_rbl_client rbl.test, reject_rbl_client three.test",
			func(name, typ string) time.Duration {
				if name == "1.100.51.198.rbl.test" {
					return 5 * time.Second
				}
				return 100 * time.Millisecond
			}, honest, 5 * time.Second},
		{"all kinds", askingLists, always(time.Second), append(honest, "to", "x@two.test"), 2 * time.Second},
		{"a chain beside lists", "smtpd_sender_restrictions = check_sender_ns_access inline:{x=x}, reject_rbl_client rbl.test, check_sender_mx_access inline:{x=x}",
			always(time.Second), []string{"from", "s@a.b.two.test"}, 4 * time.Second},
		{"a chain beside a slow list", "smtpd_sender_restrictions = reject_rbl_client rbl.test, check_sender_ns_access inline:{x=x}, check_helo_mx_access inline:{x=x}, permit_mx_backup",
			func(name, typ string) time.Duration {
				if name == "1.100.51.198.rbl.test" {
					return 10 * time.Second
				}
				return 2 * time.Second
			}, []string{"from", "s@a.b.two.test", "helo", "good.test", "to", "x@unclear.test"}, 10 * time.Second},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newBench(t)
			w.configure(t, tt.lists)
			d := &slowDNS{takes: tt.takes}
			out, took := decideSlowly(t, w, d, tt.facts...)
			t.Logf("%d questions of %v in all, %v waited: %s", len(d.asked), d.sum, took, out.Reply)
			if took != tt.want {
				t.Errorf("waited %v, want %v", took, tt.want)
			}
			for q, n := range d.asked {
				if n > 2 { // once as a DNS question, once for the system's resolver
					t.Errorf("asked %d times for %s", n, q)
				}
			}
		})
	}
}

// TestListedIsAnsweredAtOnce: who is refused does not wait for what was asked
// for nothing.
func TestListedIsAnsweredAtOnce(t *testing.T) {
	w := newBench(t)
	w.configure(t, "smtpd_client_restrictions = reject_rbl_client rbl.test, reject_rbl_client slow.test, check_client_mx_access inline:{x=x}")
	d := &slowDNS{takes: func(name, typ string) time.Duration {
		if name == "2.2.0.192.slow.test" {
			return time.Minute
		}
		return time.Second
	}}
	f := []string{"client", "192.0.2.2"}
	out, took := decideSlowly(t, w, d, f...)
	if out.Reply.Code != 554 || took != 2*time.Second { // the address, then the explanation
		t.Errorf("%s after %v", out.Reply, took)
	}
}
