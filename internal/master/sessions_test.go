package master

import (
	"runtime"
	"strings"
	"testing"
	"time"
)

// TestSilentSessionsNeedNoGoroutine has clients that say nothing for a while:
// they cost no goroutine, go on where they were, and end by their time or with
// the server.
func TestSilentSessionsNeedNoGoroutine(t *testing.T) {
	addr, hasty := freeAddr(t), freeAddr(t)
	r := start(t, mainCF+"smtpd_banner = one\nsmtpd_client_connection_count_limit = 0\n",
		smtpdAt(addr, hasty)+" -o smtpd_timeout=3s\n")
	before := runtime.NumGoroutine()
	const clients = 40
	var all []*client
	for range clients {
		c := dial(t, addr)
		c.want("220 one")
		all = append(all, c)
	}
	late := dial(t, hasty)
	late.want("220 one")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); runtime.NumGoroutine() > before+clients/4; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines for %d silent sessions, %d before", runtime.NumGoroutine(), clients, before)
		}
	}
	for _, c := range all {
		c.say("HELO client.test")
		c.want("250 mx.demo.test")
		c.say("NOOP")
		c.want("250 2.0.0 Ok")
	}
	late.want("421 4.4.2 mx.demo.test Error: timeout exceeded")
	late.want("")
	all[0].conn.Close() // a client that goes while it is silent
	r.expect("lost connection after NOOP")
	r.stop()
	for _, c := range all[1:] {
		if line := c.line(); !strings.HasPrefix(line, "421 4.3.2 ") {
			t.Fatalf("a session ended with %q", line)
		}
	}
}
