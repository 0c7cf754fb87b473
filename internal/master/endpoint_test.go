package master

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/config"
)

// load reads a configuration from its two files.
func load(t *testing.T, mainCF, masterCF string) *config.Config {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), mainCF)
	write(t, filepath.Join(dir, "master.cf"), masterCF)
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestEndpoints(t *testing.T) {
	for _, tt := range []struct{ main, service, want string }{
		{"", "smtp", "tcp4 0.0.0.0:25 false, tcp6 [::]:25 true"},
		{"inet_protocols = ipv4", "submission", "tcp4 0.0.0.0:587 false"},
		{"inet_protocols = ipv6", "smtps", "tcp6 [::]:465 true"},
		{"inet_interfaces = loopback-only", "2525", "tcp4 127.0.0.1:2525 false, tcp6 [::1]:2525 true"},
		{"inet_interfaces = 127.0.0.2, [::1], 127.0.0.2", "25", "tcp4 127.0.0.2:25 false, tcp6 [::1]:25 false"},
		{"inet_interfaces = 127.0.0.1", "127.0.0.9:2525", "tcp4 127.0.0.9:2525 false"},
		{"", "[::1]:submissions", "tcp6 [::1]:465 false"},
		{"", "all:2525", "tcp4 0.0.0.0:2525 false, tcp6 [::]:2525 true"},
		{"inet_protocols = ipv4", "[::1]:25", "no address to listen at"},
		{"", "no-such-service", "no port of that name"},
		{"inet_interfaces = no-such-host.invalid", "25", "main.cf:1: inet_interfaces: host no-such-host.invalid has no address"},
	} {
		cfg := load(t, tt.main+"\n", tt.service+" inet n - n - - smtpd\n")
		es, err := endpoints(cfg, cfg.Services[0])
		var got []string
		for _, e := range es {
			got = append(got, fmt.Sprint(e.network, " ", e.addr, " ", e.optional))
		}
		if err != nil {
			got = []string{err.Error()}
		}
		if s := strings.Join(got, ", "); s != tt.want && (err == nil || !strings.Contains(s, tt.want)) {
			t.Errorf("%s, service %s: %s, want %s", tt.main, tt.service, s, tt.want)
		}
	}
}

func TestSlots(t *testing.T) {
	cfg := load(t, "", "25 inet n - n - - smtpd\n26 inet n - n - 0 smtpd\n27 inet n - n - 3 smtpd\n")
	for i, want := range []int{0, 0, 3} {
		if got := cap(slots(cfg.Services[i])); got != want {
			t.Errorf("service %s: %d slots, want %d", cfg.Services[i].Name, got, want)
		}
	}
}

func TestStrangers(t *testing.T) {
	cfg := load(t, "", `smtp inet n - n - 1 postscreen
smtpd pass - - n - - smtpd
tube unix - - n - - smtpd
cleanup unix n - n - 0 cleanup
scan unix - n n - - pipe
  user=nobody argv=/bin/true
filter unix - n n - 10 spawn
qmqp inet n - n - - /usr/lib/postfix/sbin/qmqpd
`)
	got := strings.Join(strangers(cfg), "\n")
	file := filepath.Join(cfg.Dir, "master.cf")
	want := file + ":1: service smtp: Sekisho has no postscreen; clients go straight to the smtpd service of type pass\n" +
		file + ":3: service tube (unix) is not served: smtpd is for inet services only\n" +
		file + ":7: service filter is not served: Sekisho has no spawn\n" +
		file + ":8: service qmqp is not served: Sekisho has no qmqpd"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
