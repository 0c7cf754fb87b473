//go:build linux

package random

import (
	"math/rand"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"sekisho/conformance/sandbox"
)

// peerCase is one session with one sender and some recipients.
type peerCase struct {
	Name, Addr, Reverse string // XCLIENT's
	Login               string
	Helo                string
	UTF8                bool   // MAIL with SMTPUTF8
	Sender              string // as in MAIL FROM:<...>
	Recipients          []string
	Last                []string // commands after that; DATA brings a message
}

func (c peerCase) lines() []string {
	x := "XCLIENT NAME=" + c.Name + " ADDR=" + c.Addr + " REVERSE_NAME=" + c.Reverse
	if c.Login != "" {
		x += " LOGIN=" + c.Login
	}
	out := []string{x}
	if c.Helo != "" {
		out = append(out, "EHLO "+c.Helo)
	}
	mail := "MAIL FROM:<" + c.Sender + ">"
	if c.UTF8 {
		mail += " SMTPUTF8"
	}
	out = append(out, mail)
	for _, r := range c.Recipients {
		out = append(out, "RCPT TO:<"+r+">")
	}
	return append(out, c.Last...)
}

// TestEngine compares the decisions of package restrict with those of the
// Postfix installed here: replies and log lines.
func TestEngine(t *testing.T) {
	g, variants, sessions := setUp(t)
	files := g.files(variants)
	ours := newOurs(t, files)
	theirs := start(t, rolePostfix, files)
	for v := range variants {
		if ours.refusesToStart(v) {
			continue
		}
		for range sessions {
			pc := g.session()
			replies, notes := ours.play(ours.site.Services[v], pc)
			ours.compare(t, v, pc, append(replies, notes...), play(t, theirs, v, pc))
		}
	}
}

// setUp reads how much to play from the environment; the defaults are a sample.
func setUp(t *testing.T) (g generator, variants, sessions int) {
	t.Helper()
	if testing.Short() {
		t.Skip("plays to a real Postfix")
	}
	if _, err := exec.LookPath("postfix"); err != nil || os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root and postfix")
		}
		t.Skip("needs root and postfix")
	}
	seed := number("RANDOM_SEED", 1)
	t.Logf("RANDOM_SEED=%d", seed)
	return generator{rand.New(rand.NewSource(int64(seed)))}, number("RANDOM_VARIANTS", 15), number("RANDOM_SESSIONS", 30)
}

func start(t *testing.T, role string, files map[string]string, env ...string) *sandbox.Worker {
	t.Helper()
	w, err := sandbox.Start(role, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	var none peerReply
	if err := w.Call(peerRequest{Files: files, Zone: peerZone}, &none); err != nil {
		t.Fatal(err)
	}
	return w
}

// play has a session with a worker's server and returns what was said and
// logged.
func play(t *testing.T, w *sandbox.Worker, v int, pc peerCase) []string {
	t.Helper()
	var r peerReply
	if err := w.Call(peerRequest{Port: firstPort + v, Case: pc}, &r); err != nil {
		t.Fatal(err)
	}
	for i := range r.Replies {
		r.Replies[i] = queuedAs.ReplaceAllString(r.Replies[i], "queued as QID")
	}
	return append(r.Replies, theirLog(r.Log)...)
}

func number(env string, def int) int {
	if n, err := strconv.Atoi(os.Getenv(env)); err == nil {
		return n
	}
	return def
}
