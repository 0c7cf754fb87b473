package qmgr

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
)

// bench is a scheduler whose deliveries end when the test says so.
type bench struct {
	*scheduler
	t     *testing.T
	clock *clock.Manual
	mu    sync.Mutex
	began []*batch // and not ended
	came  chan struct{}
	flush int64
	log   []string // flows in the order in which they began
}

func newBench(t *testing.T, l Limits, room int) *bench {
	b := &bench{t: t, clock: clock.NewManual(start), came: make(chan struct{}, 1<<16)}
	b.scheduler = &scheduler{
		clock: b.clock, deadly: 5 * time.Minute, flushes: func() int64 { return b.flush },
		limits: func(string) Limits { return l }, room: func(string) int { return room },
		deliver: func(x *batch) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.began = append(b.began, x)
			b.log = append(b.log, x.flow)
			b.came <- struct{}{}
		},
	}
	b.start(t.Context())
	return b
}

func (b *bench) put(flow, dest string, n int) {
	for range n {
		if v, _ := b.submit(&batch{transport: "t", queue: dest, flow: flow}); v != queued {
			b.t.Fatalf("%s to %s is not queued: %d", flow, dest, v)
		}
	}
}

// running waits until that many deliveries run.
func (b *bench) running(n int) {
	b.t.Helper()
	late := time.After(10 * time.Second)
	for {
		b.mu.Lock()
		got := len(b.began)
		b.mu.Unlock()
		if got == n {
			return
		}
		if got > n {
			b.t.Fatalf("%d deliveries run, want %d", got, n)
		}
		select {
		case <-b.came:
		case <-late:
			b.t.Fatalf("%d deliveries run, want %d", got, n)
		}
	}
}

// end ends the oldest delivery, and returns what is orphaned.
func (b *bench) end(down string) []*batch {
	b.mu.Lock()
	x := b.began[0]
	b.began = b.began[1:]
	b.mu.Unlock()
	var r *deliver.Result
	if down != "" {
		r = &deliver.Result{DSN: "4.4.1", Text: down}
	}
	orphans, _ := b.done(x, r)
	return orphans
}

func ordinary() Limits {
	return Limits{Concurrency: 20, Initial: 5, Positive: Feedback{Base: 1}, Negative: Feedback{Base: 1}, FailedCohorts: 1}
}

// The concurrency begins at the initial one, grows by one with each success up
// to the limit, and falls with each failure.
func TestConcurrencyAdapts(t *testing.T) {
	b := newBench(t, ordinary(), 0)
	b.put("s", "d", 200)
	b.running(5)
	for n := 6; n <= 20; n++ {
		b.end("")
		b.running(n)
	}
	b.end("")
	b.running(20)
	for range 3 { // the window shrinks to 18, 17 and 16
		if orphans := b.end("down"); orphans != nil {
			t.Fatal("dead too early")
		}
	}
	b.running(17)
	b.end("") // 17 again
	b.running(17)
	b.end("")
	b.running(18)
}

// Feedback that depends on the concurrency is slower.
func TestFeedback(t *testing.T) {
	for text, want := range map[string][]int{ // window after each success, from 4
		"1":                        {5, 6, 7, 8},
		"1 / concurrency":          {4, 4, 4, 5, 5, 5, 5, 5, 6},
		"1/sqrt_concurrency":       {4, 5, 5, 6, 6, 6, 7},
		"1/4":                      {4, 4, 4, 5},
		"0.5":                      {4, 5, 5, 6},
		"0":                        {4, 4, 4, 4, 4, 4},
		"0.5 / sqrt_concurrency\t": {4, 4, 4, 5},
	} {
		f, err := parseFeedback(text)
		if err != nil {
			t.Fatal(err)
		}
		d := &destination{window: 4, busy: 100, lane: &lane{limits: Limits{Concurrency: 0, Initial: 4, Positive: f}}}
		var got []int
		for range want {
			d.worked()
			got = append(got, d.window)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	for _, text := range []string{"", "x", "2", "-1", "1/x", "1/", "1/0", "/concurrency", "NaN"} {
		if _, err := parseFeedback(text); err == nil {
			t.Errorf("%q is feedback", text)
		}
	}
}

// After a round of failures a destination is dead for a while: nothing is tried,
// and what waits is put off.
func TestDeadDestination(t *testing.T) {
	for name, revive := range map[string]func(b *bench){
		"time":    func(b *bench) { b.clock.Advance(1) },
		"a flush": func(b *bench) { b.flush++ },
	} {
		b := newBench(t, ordinary(), 0)
		b.put("s", "d", 50)
		b.running(5)
		b.put("s", "other", 1)
		b.running(6)
		// One failure of five, of three and of two is more than a round.
		n := 0
		var orphans []*batch
		for len(orphans) == 0 {
			n++
			orphans = b.end("no route")
		}
		if n != 3 || len(orphans) != 45 {
			t.Errorf("dead after %d failures with %d put off, want 3 and 45", n, len(orphans))
		}
		v, why := b.submit(&batch{transport: "t", queue: "d"})
		if v != suspend || why.DSN != "4.4.1" || why.Text != "no route" {
			t.Errorf("submitted to a dead destination: %v %+v", v, why)
		}
		b.clock.Advance(5*time.Minute - 1)
		if v, _ := b.submit(&batch{transport: "t", queue: "d"}); v != suspend {
			t.Error(name + ": back too early")
		}
		revive(b)
		b.put("s", "d", 50)
		b.running(3 + 3) // two of d's first deliveries and other's still run
	}
}

// A success forgives the failures before it.
func TestSuccessForgivesFailures(t *testing.T) {
	d := &destination{window: 5, busy: 5, lane: &lane{limits: ordinary()}}
	for range 40 {
		d.failed(deliver.Result{}, start, 0)
		if d.dead || d.window < 1 {
			t.Fatalf("dead %v, window %d", d.dead, d.window)
		}
		d.worked()
	}
	for range 2 { // of two
		d.failed(deliver.Result{}, start, 0)
	}
	if !d.dead {
		t.Error("not dead")
	}
	d.worked() // a delivery that had begun before ends well
	if d.dead || d.window != 5 {
		t.Errorf("dead %v, window %d", d.dead, d.window)
	}
}

// Somebody with one message is served after one of each of the others', however
// many they have: at one destination, and where the transport is the bottleneck.
func TestFairness(t *testing.T) {
	for name, dest := range map[string]func(i int) string{
		"one destination":   func(int) string { return "d" },
		"many destinations": func(i int) string { return fmt.Sprint("d", i) },
	} {
		l := ordinary()
		l.Concurrency, l.Initial = 2, 2
		room := 0
		if name == "many destinations" {
			room = 2
		}
		b := newBench(t, l, room)
		for i := range 1000 {
			b.put("list", dest(i), 1)
		}
		b.running(2)
		for range 100 {
			b.end("")
			b.running(2)
		}
		b.put("alice", dest(1000), 1)
		b.put("bob", dest(1001), 1)
		before := len(b.log)
		for range 6 {
			b.end("")
			b.running(2)
		}
		got := strings.Join(b.log[before:], " ")
		if strings.Count(got, "alice") != 1 || strings.Count(got, "bob") != 1 {
			t.Errorf("%s: %s", name, got)
		}
		// And the large one goes on when small ones keep coming.
		before = len(b.log)
		for i := range 100 {
			b.put(fmt.Sprint("small", i), dest(2000+i), 1)
			b.end("")
			b.running(2)
		}
		if n := strings.Count(strings.Join(b.log[before:], " "), "list"); n < 10 {
			t.Errorf("%s: the large one got %d of 100 turns", name, n)
		}
	}
}

// A slow destination does not keep others from being served.
func TestSlowDestination(t *testing.T) {
	l := ordinary()
	b := newBench(t, l, 100)
	b.put("s", "slow", 1000)
	b.running(5)
	for i := range 50 {
		b.put("s", fmt.Sprint("fast", i), 1)
	}
	b.running(55)
}

func TestProcesses(t *testing.T) {
	b := newBench(t, ordinary(), 3)
	b.put("s", "d", 10)
	b.running(3)
	b.end("")
	b.running(3)
}

// With a rate delay deliveries to a destination, or by a transport, have pauses
// between them.
func TestRateDelay(t *testing.T) {
	l := ordinary()
	l.RateDelay, l.Concurrency, l.Initial = 10*time.Second, 1, 1
	b := newBench(t, l, 0)
	b.put("s", "d", 3)
	b.running(1)
	b.put("s", "e", 1)
	b.running(2)
	b.end("")
	b.pause(1, 9*time.Second)
	b.running(1)
	b.clock.Advance(time.Second)
	b.running(2)

	l = ordinary()
	l.TransportRateDelay = 10 * time.Second
	b = newBench(t, l, 1)
	b.put("s", "d", 2)
	b.put("s", "e", 2)
	b.running(1)
	b.end("")
	b.pause(1, 9*time.Second)
	b.running(0)
	b.clock.Advance(time.Second)
	b.running(1)
}

// pause advances the clock when that many sleep.
func (b *bench) pause(sleepers int, d time.Duration) {
	b.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for b.clock.Sleepers() < sleepers {
		if time.Now().After(deadline) {
			b.t.Fatal("nobody waits for the clock")
		}
		runtime.Gosched()
	}
	b.clock.Advance(d)
}

// Nothing stays behind when all is done.
func TestSchedulerForgets(t *testing.T) {
	b := newBench(t, ordinary(), 0)
	for i := range 3000 {
		b.put(fmt.Sprint("s", i), fmt.Sprint("d", i%10), 1)
		b.running(1)
		b.end("")
	}
	if l := b.lanes["t"]; len(l.dests) != 0 || len(l.sharing.last) != 0 {
		t.Errorf("%d destinations and %d flows are remembered", len(l.dests), len(l.sharing.last))
	}
	b.put("s", "d", 1)
	for i := range 3000 { // while something goes on
		b.put(fmt.Sprint("s", i), "e", 1)
		b.running(2)
		b.mu.Lock()
		b.began[0], b.began[1] = b.began[1], b.began[0]
		b.mu.Unlock()
		b.end("")
	}
	if n := len(b.lanes["t"].sharing.last); n > 1500 {
		t.Errorf("%d flows are remembered", n)
	}
}

// After stop nothing begins any more, and what waited is handed back.
func TestSchedulerStops(t *testing.T) {
	b := newBench(t, ordinary(), 0)
	b.put("s", "d", 12)
	b.running(5)
	if left := b.stop(); len(left) != 7 {
		t.Errorf("%d are handed back", len(left))
	}
	if v, _ := b.submit(&batch{transport: "t", queue: "d"}); v != dropped {
		t.Error("taken after stop")
	}
	b.end("")
	b.running(4)
}
