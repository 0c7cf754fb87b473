package penalty_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"sekisho/internal/clock"
	"sekisho/internal/directory"
	"sekisho/internal/directory/password"
	"sekisho/internal/sasl"
	"sekisho/internal/sasl/penalty"
)

var settings = penalty.Settings{Delay: time.Second, Max: 15 * time.Second, Forget: time.Minute}

// start is a moment.
var start = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// oracle is a backend to which "good" is the password of everybody, by
// "USER PASSWORD" as initial response.
type oracle struct{}

func (oracle) Mechanisms(bool) ([]sasl.Mechanism, error) {
	return []sasl.Mechanism{{Name: "PLAIN"}}, nil
}

func (oracle) Start(_ context.Context, _ sasl.Client, _, initial string, _ bool) (sasl.Exchange, sasl.Step) {
	user, pass, ok := strings.Cut(initial, " ")
	switch {
	case !ok:
		return nil, sasl.Step{Kind: sasl.Failed, Reason: "malformed"}
	case pass == "down":
		return nil, sasl.Step{Kind: sasl.TempFailed, User: user, UserKnown: true}
	case pass == "good":
		return nil, sasl.Step{Kind: sasl.Done, User: user, UserKnown: true}
	}
	return nil, sasl.Step{Kind: sasl.Failed, User: user, UserKnown: true}
}

// stopwatch is a clock that does not wait: it adds up how long it should have.
type stopwatch struct {
	*clock.Manual
	slept time.Duration
}

func (w *stopwatch) Sleep(_ context.Context, d time.Duration) error {
	w.slept += d
	return nil
}

func TestDelays(t *testing.T) {
	type login struct {
		after         time.Duration // since the login before
		address, send string
		want          time.Duration
	}
	repeat := func(n int, l login) []login {
		var all []login
		for i := range n {
			l.want = min(time.Second<<i, settings.Max)
			all = append(all, l)
		}
		return all
	}
	tests := map[string][]login{
		"the first success is at once": {{0, "192.0.2.1", "a good", 0}},
		"failures cost more and more, but not without end": append(repeat(20, login{0, "192.0.2.1", "a bad", 0}),
			login{0, "192.0.2.1", "a good", 15 * time.Second}),
		"unknown users and malformed responses cost the same": {
			{0, "192.0.2.1", "none bad", 1 * time.Second},
			{0, "192.0.2.1", "garbage", 2 * time.Second},
			{0, "192.0.2.1", "b bad", 4 * time.Second},
		},
		"a success waits as long as failures before it make it": {
			{0, "192.0.2.1", "a bad", 1 * time.Second},
			{0, "192.0.2.1", "a bad", 2 * time.Second},
			{0, "192.0.2.1", "a good", 2 * time.Second},
		},
		"a network shares failures": {
			{0, "192.0.2.1", "a bad", 1 * time.Second},
			{0, "192.0.2.200", "b bad", 2 * time.Second},
			{0, "::ffff:192.0.2.7", "c bad", 4 * time.Second},
			{0, "192.0.3.1", "d bad", 1 * time.Second},
			{0, "2001:db8::1", "e bad", 1 * time.Second},
			{0, "2001:db8::f:2", "f bad", 2 * time.Second},
			{0, "2001:db8:0:1::1", "g bad", 1 * time.Second},
			{0, "", "h bad", 1 * time.Second},
			{0, "unknown", "i bad", 2 * time.Second},
		},
		"an account has the failures of all networks, however it is written": {
			{0, "192.0.2.1", "a@demo.test bad", 1 * time.Second},
			{0, "198.51.100.1", "A@Demo.Test bad", 2 * time.Second},
			{0, "203.0.113.1", "a@demo.test\t bad", 4 * time.Second},
			{0, "203.0.113.250", "a@demo.test good", 4 * time.Second},
		},
		"from where an account is used its owner does not pay for others": append(append([]login{
			{0, "192.0.2.1", "a good", 0}},
			repeat(6, login{0, "198.51.100.1", "a bad", 0})...),
			login{0, "192.0.2.99", "a good", 0},
			login{0, "203.0.113.1", "a good", 15 * time.Second}),
		"not even for neighbours who guess at other accounts": {
			{0, "192.0.2.1", "a good", 0},
			{0, "192.0.2.2", "b bad", 1 * time.Second},
			{0, "192.0.2.3", "c bad", 2 * time.Second},
			{0, "192.0.2.1", "a good", 0},
		},
		"but for neighbours who guess at his": {
			{0, "192.0.2.1", "a good", 0},
			{0, "192.0.2.2", "a bad", 1 * time.Second},
			{0, "192.0.2.2", "a bad", 2 * time.Second},
			{0, "192.0.2.1", "a good", 2 * time.Second},
			{0, "192.0.2.1", "a good", 0},
		},
		"one's own account helps with no other": {
			{0, "192.0.2.1", "a bad", 1 * time.Second},
			{0, "192.0.2.1", "own good", 1 * time.Second},
			{0, "192.0.2.1", "own good", 0},
			{0, "192.0.2.1", "a bad", 2 * time.Second},
		},
		"failures are forgotten one by one": {
			{0, "192.0.2.1", "a bad", 1 * time.Second},
			{0, "192.0.2.1", "a bad", 2 * time.Second},
			{0, "192.0.2.1", "a bad", 4 * time.Second},
			{time.Second, "192.0.2.1", "a bad", 8 * time.Second},
			{59 * time.Second, "192.0.2.1", "e good", 4 * time.Second},
			{time.Minute, "192.0.2.1", "b good", 2 * time.Second},
			{time.Minute, "192.0.2.1", "c good", 1 * time.Second},
			{time.Minute, "192.0.2.1", "d good", 0},
			{0, "192.0.2.1", "a bad", 1 * time.Second},
		},
		"the usual network is one for 30 days": {
			{0, "192.0.2.1", "a good", 0},
			{29 * 24 * time.Hour, "198.51.100.1", "a bad", 1 * time.Second},
			{0, "192.0.2.1", "a good", 0},
			{30 * 24 * time.Hour, "198.51.100.1", "a bad", 1 * time.Second},
			{0, "192.0.2.1", "a good", 1 * time.Second},
		},
		"what is no fault of the client costs nothing": {
			{0, "192.0.2.1", "a down", 0},
			{0, "192.0.2.1", "a bad", 1 * time.Second},
		},
	}
	for name, logins := range tests {
		t.Run(name, func(t *testing.T) {
			w := &stopwatch{Manual: clock.NewManual(start)}
			b := penalty.Guard(oracle{}, penalty.NewLedger(w), settings)
			for i, l := range logins {
				w.Advance(l.after)
				w.slept = 0
				b.Start(t.Context(), sasl.Client{Address: l.address}, "PLAIN", l.send, true)
				if w.slept != l.want {
					t.Errorf("login %d, %q from %s: waited %v, want %v", i, l.send, l.address, w.slept, l.want)
				}
			}
		})
	}
}

func TestNoDelayIsNoGuard(t *testing.T) {
	b := penalty.Guard(oracle{}, penalty.NewLedger(clock.NewManual(start)), penalty.Settings{Max: time.Second, Forget: time.Minute})
	if b != sasl.Backend(oracle{}) {
		t.Errorf("got %T", b)
	}
}

// TestListenersShareALedger has two guards as two services have, or a service
// before and after a reload.
func TestListenersShareALedger(t *testing.T) {
	w := &stopwatch{Manual: clock.NewManual(start)}
	l := penalty.NewLedger(w)
	for i, want := range []time.Duration{1, 2, 4, 8} {
		w.slept = 0
		penalty.Guard(oracle{}, l, settings).Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "PLAIN", fmt.Sprint("user", i, " bad"), true)
		if w.slept != want*time.Second {
			t.Errorf("failure %d waited %v", i, w.slept)
		}
	}
}

// TestGuessesAtOnce: many connections find the same delays as one, and while
// some wait others are served.
func TestGuessesAtOnce(t *testing.T) {
	c := clock.NewManual(start)
	b := penalty.Guard(oracle{}, penalty.NewLedger(c), settings)
	var wg sync.WaitGroup
	const guesses = 8
	for range guesses {
		wg.Go(func() { b.Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "PLAIN", "a bad", true) })
	}
	for c.Sleepers() < guesses {
		runtime.Gosched()
	}
	if _, step := b.Start(t.Context(), sasl.Client{Address: "198.51.100.1"}, "PLAIN", "b good", true); step.Kind != sasl.Done {
		t.Errorf("a login meanwhile: %+v", step)
	}
	for _, tt := range []struct {
		advance time.Duration
		left    int
	}{{1, 7}, {1, 6}, {2, 5}, {4, 4}, {6, 4}, {1, 0}} {
		c.Advance(tt.advance * time.Second)
		if n := c.Sleepers(); n != tt.left {
			t.Errorf("%v later %d wait, want %d", c.Now().Sub(start), n, tt.left)
		}
	}
	wg.Wait()
}

// TestTheEndOfASessionEndsTheWait: and a success that nobody waited for makes
// no network the usual one.
func TestTheEndOfASessionEndsTheWait(t *testing.T) {
	c := clock.NewManual(start)
	b := penalty.Guard(oracle{}, penalty.NewLedger(c), settings)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.Start(gone, sasl.Client{Address: "192.0.2.1"}, "PLAIN", "a bad", true)
	b.Start(gone, sasl.Client{Address: "192.0.2.1"}, "PLAIN", "a good", true)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "PLAIN", "a good", true)
	}()
	for c.Sleepers() < 1 {
		select {
		case <-done:
			t.Fatal("the network was taken for the usual one")
		default:
			runtime.Gosched()
		}
	}
	c.Advance(time.Second)
	<-done
}

// embedded is the real backend with one account, guarded.
func embedded(t *testing.T) (sasl.Backend, *stopwatch) {
	t.Helper()
	w := &stopwatch{Manual: clock.NewManual(start)}
	d, err := directory.Create(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "accounts.db"), w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	if err := d.AddDomain(t.Context(), directory.Domain{Name: "demo.test", Active: true}, ""); err != nil {
		t.Fatal(err)
	}
	stored, err := password.Hash("SCRAM-SHA-256", "bob-demo")
	if err != nil {
		t.Fatal(err)
	}
	if err := d.AddMailbox(t.Context(), directory.Mailbox{Username: "bob@demo.test", Active: true}, stored); err != nil {
		t.Fatal(err)
	}
	e, err := sasl.NewEmbedded(d, "mx.demo.test", w)
	if err != nil {
		t.Fatal(err)
	}
	return penalty.Guard(e, penalty.NewLedger(w), settings), w
}

func b64(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }

// TestLOGIN has an exchange of several steps, with a real backend behind it.
func TestLOGIN(t *testing.T) {
	b, w := embedded(t)
	for i, tt := range []struct {
		user, pass string
		kind       sasl.StepKind
		want       time.Duration
	}{
		{"bob@demo.test", "wrong", sasl.Failed, 1 * time.Second},
		{"none@demo.test", "wrong", sasl.Failed, 2 * time.Second},
		{"bob@demo.test", "bob-demo", sasl.Done, 2 * time.Second},
		{"Bob@demo.test", "bob-demo", sasl.Done, 0},
	} {
		w.slept = 0
		x, step := b.Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "LOGIN", "", false)
		if step.Kind != sasl.Challenge {
			t.Fatalf("start: %+v", step)
		}
		if step = x.Next(t.Context(), b64(tt.user)); step.Kind != sasl.Challenge {
			t.Fatalf("user: %+v", step)
		}
		if w.slept != 0 {
			t.Errorf("login %d: waited %v before there was a password", i, w.slept)
		}
		if step = x.Next(t.Context(), b64(tt.pass)); step.Kind != tt.kind || w.slept != tt.want {
			t.Errorf("login %d: %+v after %v, want %v", i, step, w.slept, tt.want)
		}
	}
}

// TestSCRAM: the message that proves the server tells the client that its own
// proof was right, so it waits as a success does.
func TestSCRAM(t *testing.T) {
	b, w := embedded(t)
	b.Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "PLAIN", b64("\x00bob@demo.test\x00wrong"), true)
	w.slept = 0

	client, err := scram.SHA256.NewClient("bob@demo.test", "bob-demo", "")
	if err != nil {
		t.Fatal(err)
	}
	conv := client.NewConversation()
	answer := func(challenge string) string {
		raw, err := base64.StdEncoding.DecodeString(challenge)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := conv.Step(string(raw))
		if err != nil {
			t.Fatal(err)
		}
		return b64(reply)
	}
	x, step := b.Start(t.Context(), sasl.Client{Address: "192.0.2.1"}, "SCRAM-SHA-256", answer(""), true)
	if w.slept != 0 {
		t.Errorf("waited %v before there was a proof", w.slept)
	}
	step = x.Next(t.Context(), answer(step.Challenge))
	if step.Kind != sasl.Challenge || w.slept != time.Second {
		t.Errorf("the server's proof: %+v after %v, want 1s", step, w.slept)
	}
	step = x.Next(t.Context(), answer(step.Challenge))
	if step.Kind != sasl.Done || w.slept != time.Second {
		t.Errorf("the end: %+v after %v, want 1s", step, w.slept)
	}
}
