//go:build linux

package endings

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sekisho/conformance/sandbox"
	"sekisho/internal/testsite"
)

const body = "From: s@sender.test\nTo: someone\nDate: Wed, 25 Nov 2026 10:00:00 +0000\nMessage-Id: <m@sender.test>\nSubject: hello\n\nFrom here\n.dot\nbye\n"

const from = "s@sender.test"

// cases are the messages, by what they are to show.
var cases = []struct {
	name string
	message
	// differs is what Postfix does otherwise, from its side to ours.
	differs []string
}{
	{name: "pipe: macros", message: message{Sender: from + " ENVID=e1", Recipients: []string{"Joe+Ext@Show.test", "b@show.test"}}},
	{name: "pipe: flags", message: message{Sender: "", Recipients: []string{`"A_b@c+Ext"@One.test`}}},
	{name: "pipe: flag D with two recipients", message: message{Sender: from, Recipients: []string{"a@wide.test", "b@wide.test"}}},
	{name: "pipe: loop", message: message{Sender: from, Recipients: []string{"a@wide.test"}, Body: "Delivered-To: A@wide.test\n" + body}},
	{name: "pipe: too large", message: message{Sender: from, Recipients: []string{"a@small.test"}, Body: body + strings.Repeat("x\n", 300)}},
	{name: "pipe: sysexits", message: message{Sender: from, Recipients: []string{"0+fine@exit.test"}}},
	{name: "pipe: EX_USAGE", message: message{Sender: from, Recipients: []string{"64@exit.test"}}},
	{name: "pipe: EX_NOUSER", message: message{Sender: from, Recipients: []string{"67+nobody@exit.test"}}},
	{name: "pipe: status filter", message: message{Sender: from, Recipients: []string{"68@exit.test"}}},
	{name: "pipe: EX_TEMPFAIL", message: message{Sender: from, Recipients: []string{"75+busy@exit.test"}}},
	{name: "pipe: EX_CONFIG", message: message{Sender: from, Recipients: []string{"78@exit.test"}}},
	{name: "pipe: status 1", message: message{Sender: from, Recipients: []string{"1@exit.test"}}},
	{name: "pipe: status 79", message: message{Sender: from, Recipients: []string{"79+what@exit.test"}}},
	{name: "pipe: signal", message: message{Sender: from, Recipients: []string{"kill@exit.test"}}},
	{name: "pipe: status code in output", message: message{Sender: from, Recipients: []string{"dsn@exit.test"}}},
	{name: "pipe: permanent code in output", message: message{Sender: from, Recipients: []string{"dsn5@exit.test"}}},
	{name: "pipe: success code in output", message: message{Sender: from, Recipients: []string{"dsn2@exit.test"}}, differs: []string{`postfix/pipe: warning: bounce_append: ignoring dsn code "2.7.9"` + "\n", ""}},
	{name: "pipe: unprintable output", message: message{Sender: from, Recipients: []string{"bin@exit.test"}}},
	{name: "pipe: time limit", message: message{Sender: from, Recipients: []string{"a@slow.test"}}},
	{name: "pipe: no such program", message: message{Sender: from, Recipients: []string{"a@nothere.test"}}},
	{name: "pipe: directory of another", message: message{Sender: from, Recipients: []string{"a@nodir.test"}}},
	{name: "pipe: program that reads nothing", message: message{Sender: from, Recipients: []string{"a@deaf.test"}, Body: body + strings.Repeat("0123456789\n", 20000)}},
	{name: "pipe: script without #!", message: message{Sender: from, Recipients: []string{"a@script.test"}}},
	{name: "pipe: unknown macro", message: message{Sender: from, Recipients: []string{"a@badmacro.test"}}},
	{name: "error", message: message{Sender: from, Recipients: []string{"a@error.test", "b@plainerror.test"}}},
	{name: "retry", message: message{Sender: from, Recipients: []string{"a@retry.test"}}},
	{name: "discard", message: message{Sender: from, Recipients: []string{"a@discard.test"}}},
}

// Postfix and Sekisho deliver the same, in the same words.
func TestEndings(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for namespaces of its own")
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	binary, err := testsite.Build(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	postfix, sekisho := start(t, rolePostfix), start(t, roleSekisho, binaryVariable+"="+binary)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.Body == "" {
				c.Body = body
			}
			var want, got string
			var err1, err2 error
			var both sync.WaitGroup
			both.Go(func() { err1 = postfix.Call(c.message, &want) })
			both.Go(func() { err2 = sekisho.Call(c.message, &got) })
			both.Wait()
			if err1 != nil || err2 != nil {
				t.Fatalf("postfix: %v; sekisho: %v", err1, err2)
			}
			if want = strings.NewReplacer(c.differs...).Replace(want); want != got {
				t.Errorf("- Postfix, + Sekisho:\n%s", cmp.Diff(strings.Split(want, "\n"), strings.Split(got, "\n")))
			} else if testing.Verbose() {
				t.Log(want)
			}
		})
	}
}

func start(t *testing.T, role string, env ...string) *sandbox.Worker {
	w, err := sandbox.Start(role, env...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close() })
	return w
}
