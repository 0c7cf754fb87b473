package pipe

import (
	"bytes"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/deliver"
	"sekisho/internal/mail"
	"sekisho/internal/rewrite"
)

func newAgent(t *testing.T, log io.Writer, args ...string) *Agent {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "recipient_delimiter = +\nmail_owner = daemon\nsetgid_group = mail\n", "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	resolver, err := rewrite.Compile(cfg, rewrite.World{Partial: func(string) bool { return true }})
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{Name: "x", Args: args, Config: cfg, Resolver: resolver, Clock: clock.System{}, Log: slog.New(slog.NewTextHandler(log, nil))})
}

// What pipe(8) does not accept leaves the mail in the queue, and the log says why.
func TestMistakes(t *testing.T) {
	for args, want := range map[string]string{
		"argv=/bin/true":                        "missing user= command-line attribute",
		"user=nobody":                           "missing argv= command-line attribute",
		"user=root argv=/bin/true":              "root privileges",
		"user=nobody:root argv=/bin/true":       "privileged group id 0",
		"user=daemon argv=/bin/true":            "mail system owner daemon",
		"user=nobody:daemon argv=/bin/true":     "mail system owner daemon group id",
		"user=nobody:mail argv=/bin/true":       "mail system mail group id",
		"user=nosuchuser argv=/bin/true":        "unknown username: nosuchuser",
		"user=nobody:nosuchgrp argv=/bin/true":  "unknown group: nosuchgrp",
		"flags=RZ user=nobody argv=/bin/true":   "unknown flag: Z",
		"size=big user=nobody argv=/bin/true":   "bad size= value: big",
		"colour=red user=nobody argv=/bin/true": "unknown attribute name: colour=red",
	} {
		var log bytes.Buffer
		a := newAgent(t, &log, strings.Fields(args)...)
		r := &deliver.Request{Envelope: &mail.Envelope{}, Recipients: []mail.Recipient{{Address: "a@b"}}}
		if res := a.Deliver(t.Context(), r)[0]; res.Status != deliver.Deferred || res.Text != "unknown mail transport error" {
			t.Errorf("%s: %+v", args, res)
		}
		if !strings.Contains(log.String(), want) {
			t.Errorf("%s: log %s, want %s", args, &log, want)
		}
	}
}

func TestArguments(t *testing.T) {
	a := newAgent(t, io.Discard)
	r := &deliver.Request{
		QueueID: "QID", Nexthop: "Next.Hop", Size: 12,
		Envelope: &mail.Envelope{Sender: "S d@x", EnvID: "e", Client: mail.Client{Name: "c.test", Address: "192.0.2.1", Port: "25", Helo: "h", Protocol: "ESMTP", SASLMethod: "plain", SASLUsername: "u"}},
		Recipients: []mail.Recipient{
			{Address: "Ann+Ext@Host.Test", Original: "orig@x"}, {Address: "bea@host.test"},
		},
	}
	for arg, want := range map[string][]string{
		"plain $$x":                     {"plain $x"},
		"$queue_id.${size}.$(envid)":    {"QID.12.e"},
		"$client_hostname:$client_port": {"c.test:25"},
		"$sasl_method $sasl_sender":     {"plain "},
		"$nexthop":                      {"next.hop"},
		"$sender":                       {`"S d"@x`},
		"$recipient":                    {"Ann+Ext@host.test", "bea@host.test"},
		"u=$user e=$extension":          {"u=Ann e=Ext", "u=bea e="},
		"$mailbox at ${domain}":         {"Ann+Ext at host.test", "bea at host.test"},
		"${extension?+$extension}":      {"+Ext", ""},
		"$original_recipient":           {"orig@x", ""},
	} {
		got, err := a.expand(&settings{argv: []string{arg}, quote: true, foldHost: true}, r)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q %v, want %q", arg, got, err, want)
		}
	}
	for _, arg := range []string{"$nonsense", "${recipient", "$"} {
		if got, err := a.expand(&settings{argv: []string{arg}}, r); err == nil {
			t.Errorf("%s: %q, want an error", arg, got)
		}
	}
}

func TestUnescape(t *testing.T) {
	for s, want := range map[string]string{`\r\n`: "\r\n", `a\\b`: `a\b`, `\101\0x\7`: "A\x00x\a", `\q\`: "q", `\1234`: "S4"} {
		if got := unescape(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}
