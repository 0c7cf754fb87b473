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
	{name: "local: mailbox", message: message{Sender: from, Recipients: []string{`Ann+Ext@example.com`}}},
	{name: "local: unknown user", message: message{Sender: from, Recipients: []string{`nosuch@example.com`, `nosuch+x@localhost`}}},
	{name: "local: alias of two", message: message{Sender: from, Recipients: []string{`two@example.com`}}},
	{name: "local: alias of two, tell of success", message: message{Sender: from, Recipients: []string{`two@example.com NOTIFY=SUCCESS`}}},
	{name: "local: alias to elsewhere and here", message: message{Sender: from, Recipients: []string{`out+ext@example.com`}}},
	{name: "local: alias to a command", message: message{Sender: "a$b`c@sender.test ENVID=x", Recipients: []string{`cmd+ext@example.com`}}, differs: []string{"EXTENSION=ext", "ENVID=x\nEXTENSION=ext"}},
	{name: "local: alias to a plain command", message: message{Sender: from, Recipients: []string{`cmdplain@example.com`}}},
	{name: "local: alias to exit 67", message: message{Sender: from, Recipients: []string{`exit67@example.com`}}},
	{name: "local: alias to exit 75", message: message{Sender: from, Recipients: []string{`exit75@example.com`}}},
	{name: "local: alias to a file", message: message{Sender: from, Recipients: []string{`file@example.com`}}},
	{name: "local: alias to /dev/null", message: message{Sender: from, Recipients: []string{`devnull@example.com`}}},
	{name: "local: alias to a Maildir", message: message{Sender: from, Recipients: []string{`maildir@example.com`}}},
	{name: "local: alias to a bad file", message: message{Sender: from, Recipients: []string{`badfile@example.com`}}},
	{name: "local: alias to a program", message: message{Sender: from, Recipients: []string{`exefile@example.com`}}},
	{name: "local: alias to ~/file", message: message{Sender: from, Recipients: []string{`home@example.com`}}},
	{name: "local: include", message: message{Sender: from, Recipients: []string{`include@example.com`}}},
	{name: "local: include with commands allowed", message: message{Sender: from, Recipients: []string{`include@lopen.test`}}},
	{name: "local: include of a user", message: message{Sender: from, Recipients: []string{`includeuser@lopen.test`}, Files: map[string]string{`list:/home/list/members`: "|/run/bin/show members\n/run/out/membersfile\n"}}},
	{name: "local: include writable by all", message: message{Sender: from, Recipients: []string{`includeuser@lopen.test`}, Files: map[string]string{`list,666:/home/list/members`: "ann\n"}}},
	{name: "local: include relative", message: message{Sender: from, Recipients: []string{`includerel@example.com`}}},
	{name: "local: include missing", message: message{Sender: from, Recipients: []string{`includemissing@example.com`}}},
	{name: "local: list with an owner", message: message{Sender: from + " ENVID=e1 RET=HDRS", Recipients: []string{`members@example.com NOTIFY=SUCCESS,FAILURE`}}},
	{name: "local: list with an owner that is expanded", message: message{Sender: from, Recipients: []string{`members@lowner.test`}}},
	{name: "local: alias that names itself", message: message{Sender: from, Recipients: []string{`self@example.com`}}},
	{name: "local: alias to \\\\user", message: message{Sender: from, Recipients: []string{`ann2@example.com`}}},
	{name: "local: alias to nobody and somebody", message: message{Sender: from, Recipients: []string{`bad@example.com`}}},
	{name: "local: alias to trouble and somebody", message: message{Sender: from, Recipients: []string{`mixed@example.com`}}},
	{name: "local: alias with an extension", message: message{Sender: from, Recipients: []string{`ext+more@example.com`}}},
	{name: "local: postmaster", message: message{Sender: from, Recipients: []string{`postmaster@example.com`}}},
	{name: "local: mailer-daemon", message: message{Sender: from, Recipients: []string{`mailer-daemon@example.com`}}},
	{name: "local: .forward", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "bea, far@sender.test\n# remark\n"}}},
	{name: "local: .forward, tell of success", message: message{Sender: from, Recipients: []string{`ann@example.com NOTIFY=SUCCESS`}, Files: map[string]string{`ann:/home/ann/.forward`: "far@sender.test\n"}}},
	{name: "local: .forward with the user", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "\\\\ann\n"}}},
	{name: "local: .forward with the user by address", message: message{Sender: from, Recipients: []string{`ann+x@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "ann@example.com, ~/file\n"}}},
	{name: "local: .forward to a command", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "\"|/run/bin/show forward; exit 0\"\n"}}},
	{name: "local: .forward by extension", message: message{Sender: from, Recipients: []string{`ann+ext@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "bea\n", `ann:/home/ann/.forward+ext`: "\"|/run/bin/show extended\"\n"}}},
	{name: "local: .forward with an extension unmatched", message: message{Sender: from, Recipients: []string{`ann+other@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "far@sender.test\n"}}},
	{name: "local: .forward of another", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`bea:/home/ann/.forward`: "bea\n"}}},
	{name: "local: .forward writable by all", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann,666:/home/ann/.forward`: "bea\n"}}},
	{name: "local: .forward empty", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: ""}}},
	{name: "local: .forward unreadable", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`root,600:/home/ann/.forward`: "bea\n"}}},
	{name: "local: .forward two that lead to each other", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Files: map[string]string{`ann:/home/ann/.forward`: "bea\n", `bea:/home/bea/.forward`: "ann\n"}}},
	{name: "local: .forward switched off", message: message{Sender: from, Recipients: []string{`ann@lnoforward.test`}, Files: map[string]string{`ann:/home/ann/.forward`: "bea\n"}}},
	{name: "local: .forward with include", message: message{Sender: from, Recipients: []string{`ann@lopen.test`}, Files: map[string]string{`ann:/home/ann/.forward`: ":include:/home/ann/inc\n", `ann:/home/ann/inc`: "|/run/bin/show fwinc\n"}}},
	{name: "local: loop", message: message{Sender: from, Recipients: []string{`ann@example.com`}, Body: "Delivered-To: Ann@example.com\n" + body}},
	{name: "local: loop of a list", message: message{Sender: from, Recipients: []string{`members@example.com`}, Body: "Delivered-To: members@example.com\n" + body}},
	{name: "local: mailbox_command", message: message{Sender: from, Recipients: []string{`ann+x-y@lcmd.test`}}},
	{name: "local: mailbox_command_maps", message: message{Sender: from, Recipients: []string{`ann@lcmdmap.test`, `bea@lcmdmap.test`, `eve@lcmdmap.test`}}},
	{name: "local: mail_spool_directory", message: message{Sender: from, Recipients: []string{`ann@lspool.test`}}},
	{name: "local: mailbox_transport", message: message{Sender: from, Recipients: []string{`ann@lpass.test`, `nosuch@lpass.test`}}},
	{name: "local: mailbox_transport_maps", message: message{Sender: from, Recipients: []string{`ann@lpassmap.test`, `nosuch@lpassmap.test`, `bea@lpassmap.test`}}},
	{name: "local: fallback_transport", message: message{Sender: from, Recipients: []string{`nosuch@lfall.test`, `eve@lfall.test`}}},
	{name: "local: luser_relay", message: message{Sender: from, Recipients: []string{`nosuch+x@luser.test`}}},
	{name: "local: luser_relay to a local user", message: message{Sender: from, Recipients: []string{`nosuch+x@luserlocal.test`}}},
	{name: "local: commands and files restricted", message: message{Sender: from, Recipients: []string{`cmd@lclosed.test`, `file@lclosed.test`}}},
	{name: "local: local_command_shell", message: message{Sender: from, Recipients: []string{`ann@lshell.test`}}},
	{name: "local: frozen_delivered_to = no", message: message{Sender: from, Recipients: []string{`two@lfrozen.test`, `out@lfrozen.test`}}},
	{name: "local: require_home_directory", message: message{Sender: from, Recipients: []string{`eve@lhome.test`}}},
	{name: "local: null sender", message: message{Sender: "", Recipients: []string{`cmd@example.com`}}},
	{name: "error", message: message{Sender: from, Recipients: []string{"a@error.test", "b@plainerror.test"}}},
	{name: "bounce: FULL", message: message{Sender: from + " RET=FULL ENVID=a+2Bb BODY=7BIT", Recipients: []string{"A@error.test ORCPT=rfc822;x+2By@z"}}},
	{name: "bounce: HDRS", message: message{Sender: from + " RET=HDRS BODY=8BITMIME", Recipients: []string{"a@error.test", "b@error.test NOTIFY=NEVER", "c@error.test NOTIFY=DELAY", "d@error.test NOTIFY=FAILURE"}}},
	{name: "bounce: SMTPUTF8", message: message{Sender: from + " SMTPUTF8", Recipients: []string{"jörg@error.test"}, Body: strings.Replace(body, "hello", "Grüße", 1)}, differs: []string{"Original-Recipient: rfc822;jörg", "Original-Recipient: utf-8;jörg"}},
	{name: "bounce: large message", message: message{Sender: from, Recipients: []string{"a@error.test"}, Body: body + strings.Repeat("0123456789012345678901234567890123456789\n", 1300)}},
	{name: "bounce: null sender", message: message{Sender: "", Recipients: []string{"a@error.test"}}},
	{name: "bounce: double-bounce", message: message{Sender: "double-bounce@mx.example.com", Recipients: []string{"a@error.test"}}},
	{name: "bounce: 8 bits", message: message{Sender: from, Recipients: []string{"a@error.test"}, Body: strings.Replace(body, "bye", "Grüße", 1)}},
	{name: "success: delivered", message: message{Sender: from, Recipients: []string{"ann@example.com NOTIFY=SUCCESS"}}},
	{name: "success: relayed", message: message{Sender: from, Recipients: []string{"a@exit.test", "0@exit.test NOTIFY=SUCCESS,FAILURE"}}},
	{name: "success: null sender", message: message{Sender: "", Recipients: []string{"ann@example.com NOTIFY=SUCCESS"}}},
	{name: "retry", message: message{Sender: from, Recipients: []string{"a@retry.test"}}},
	{name: "discard", message: message{Sender: from, Recipients: []string{"a@discard.test"}}},
}

// Postfix and Sekisho deliver the same, in the same words.
func TestEndings(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs root for namespaces of its own")
		}
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
				t.Errorf("postfix: %v; sekisho: %v", err1, err2)
				return
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
