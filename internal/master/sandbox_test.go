package master

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/config"
	"sekisho/internal/maillog"
	"sekisho/internal/sandbox"
)

// loadConfig writes a configuration into dir and loads it.
func loadConfig(t *testing.T, dir, mainCF, masterCF string) *config.Config {
	t.Helper()
	write(t, filepath.Join(dir, "main.cf"), mainCF)
	write(t, filepath.Join(dir, "master.cf"), masterCF)
	cfg, _, err := config.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestPrograms(t *testing.T) {
	const masterCF = "smtp inet n - n - - smtpd\nlocal unix - n n - - local\nvirtual unix - n n - - virtual\n" +
		"scan unix - n n - - pipe user=nobody argv=/bin/cat\n"
	for _, c := range []struct{ mainCF, want string }{
		{"mydestination =\n", ""},
		{"mydestination = example.test\n", "local_transport leads to service local"},
		{"mydestination = example.test\nlocal_transport = virtual\n", ""},
		{"mydestination =\nvirtual_transport = scan:\nvirtual_mailbox_domains = example.test\n", "virtual_transport leads to service scan"},
		{"mydestination =\nvirtual_transport = scan:\nvirtual_mailbox_domains =\n", ""},
		{"mydestination =\ncontent_filter = scan:dummy\n", "content_filter leads to service scan"},
		{"mydestination =\ntransport_maps = hash:/x\n", "transport_maps can lead to service scan"},
	} {
		got := programs(loadConfig(t, t.TempDir(), c.mainCF, masterCF))
		if !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%q: %q, want %q", c.mainCF, got, c.want)
		}
	}
}

func TestReach(t *testing.T) {
	dir, tables, keys, archive := t.TempDir(), t.TempDir(), t.TempDir(), t.TempDir()
	write(t, filepath.Join(tables, "domains"), "x y\n")
	write(t, filepath.Join(archive, "key.pem"), "")
	write(t, filepath.Join(archive, "data.db"), "")
	write(t, filepath.Join(dir, "accounts"), "dbpath = "+archive+"/data.db\n")
	if err := os.Symlink(filepath.Join(archive, "key.pem"), filepath.Join(keys, "key.pem")); err != nil {
		t.Fatal(err)
	}
	p := reach(loadConfig(t, dir, "virtual_alias_maps = hash:"+tables+"/domains, sqlite:"+dir+"/accounts\n"+
		"virtual_mailbox_base = /srv/mail\nmaillog_file = /var/log/mail/sekisho.log\nhtml_directory = /usr/share/doc\n",
		"smtp inet n - n - - smtpd -o smtpd_tls_chain_files="+keys+"/key.pem\n"))
	for _, path := range []string{dir, tables, keys, archive, "/etc/resolv.conf"} {
		if !slices.Contains(p.Read, path) {
			t.Errorf("does not read %s: %q", path, p.Read)
		}
	}
	for _, path := range []string{"/srv/mail", "/var/log/mail", "/dev/null"} {
		if !slices.Contains(p.Write, path) {
			t.Errorf("does not write %s: %q", path, p.Write)
		}
	}
	for _, path := range append(p.Read, p.Write...) {
		if slices.Contains([]string{"/", "/etc", "/usr", "/var", "/var/log", "/usr/share/doc", "/home", "/root"}, path) {
			t.Errorf("reaches all of %s", path)
		}
	}
}

// TestShutIn has a sandbox that is none; the real one is in e2e.
func TestShutIn(t *testing.T) {
	for _, c := range []struct {
		setting, log, failure string
		fails                 error
	}{
		{"auto", "sandbox: as asked", "", nil},
		{"yes", "sandbox: as asked", "", nil},
		{"no", "no sandbox: sekisho_sandbox = no", "", nil},
		{"maybe", "", "main.cf:1: sekisho_sandbox: unknown value \"maybe\"; give auto, yes or no", nil},
		{"yes", "", "main.cf:1: sekisho_sandbox: no room", errors.New("no room")},
	} {
		cfg := loadConfig(t, t.TempDir(), "sekisho_sandbox = "+c.setting+"\nmydestination =\n", smtpdAt("127.0.0.1:1"))
		log := make(lineLog, 10)
		s := &server{dir: cfg.Dir, Options: Options{Log: logTo(log), ShutIn: func(p sandbox.Paths) (string, error) {
			if !slices.Contains(p.Read, cfg.Dir) {
				t.Errorf("cannot read %s", cfg.Dir)
			}
			return "sandbox: as asked", c.fails
		}}}
		err := s.shutIn(cfg)
		if c.failure != "" {
			if err == nil || !strings.HasSuffix(err.Error(), c.failure) {
				t.Errorf("%s: %v, want %s", c.setting, err, c.failure)
			}
			continue
		}
		if line := <-log; err != nil || !strings.Contains(line, c.log) {
			t.Errorf("%s: %v, %q", c.setting, err, line)
		}
		if s.within == nil {
			continue
		}
		if err := s.beyond(); err != nil {
			t.Errorf("%s: nothing has changed: %v", c.setting, err)
		}
		loadConfig(t, cfg.Dir, "virtual_mailbox_base = /nowhere\n", "")
		if err := s.beyond(); err == nil || !strings.Contains(err.Error(), "does not reach /nowhere; start") {
			t.Errorf("%s: %v", c.setting, err)
		}
	}
}

func logTo(l lineLog) *slog.Logger {
	return slog.New(maillog.NewHandler(l, "mx", clock.System{}))
}
