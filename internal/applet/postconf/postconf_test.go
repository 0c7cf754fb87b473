package postconf_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sekisho/internal/applet/postconf"
	"sekisho/internal/config"
)

// result is what a command printed and how it ended. Warnings come in no
// particular order from the real one.
type result struct {
	out, err string
	status   int
}

func ours(args ...string) result {
	var out, errOut bytes.Buffer
	status := postconf.Run(&postconf.Env{Out: &out, Err: &errOut}, args)
	return result{out.String(), sorted(errOut.String()), status}
}

func real(t *testing.T, args ...string) result {
	t.Helper()
	cmd := exec.Command("postconf", args...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return result{out.String(), sorted(errOut.String()), cmd.ProcessState.ExitCode()}
}

func sorted(s string) string {
	lines := strings.Split(s, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// needPostconf skips the test where there is no postconf(1); under CI it must
// be there.
func needPostconf(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("postconf"); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("postconf(1) is missing; install postfix")
	}
	t.Skip("postconf(1) is not installed")
}

// aged copies a configuration folder; Postfix waits for files younger than two
// seconds.
func aged(t *testing.T, from string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"main.cf", "master.cf"} {
		b, err := os.ReadFile(filepath.Join(from, name))
		if err != nil {
			t.Fatal(err)
		}
		writeOld(t, filepath.Join(dir, name), string(b))
	}
	return dir
}

func writeOld(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
}

// TestAsPostconf runs the real postconf(1) and ours with the same words.
func TestAsPostconf(t *testing.T) {
	needPostconf(t)
	refused := []string{"-M smtp/inet/x", "-Mn", "-Md", "-nd", "-hH", "-do a=b", "-o bad", "-C foo"}
	for _, name := range []string{"plain", "odd", "memo"} {
		dir := aged(t, filepath.Join("testdata", name))
		for _, line := range append(refused, []string{
			"-n", "-nx", "-nf", "-nxf", "-nh", "-nH", "-M", "-Mf", "-Mx", "-F", "-Fx", "-P", "-Px", "-PH", "-Ph", "-p -n",
			"-nC user", "-nC builtin", "-nC service", "-C service", "-C all relayhost",
			"relayhost", "mydestination nonexistent b mine", "-x mynetworks virtual_alias_domains mail_spool_directory smtpd_banner",
			"-d mydestination mine", "-dx myorigin smtputf8_enable relay_domains", "-h relayhost myhostname", "-H relayhost",
			"-o relayhost=zz relayhost", "-n -o relayhost=zz -o new=1", "-x -o myhostname=other.test smtpd_banner mydomain",
			"-x smtpd_relay_restrictions relay_domains mynetworks_style append_dot_mydomain respectful_logging",
			"-M smtp", "-M smtp/inet", "-M */inet nope", "-P smtp/inet/syslog_name", "-P */*/syslog_name", "-F */inet/command",
			"relayhost -h", "-C service -d", "-dC builtin relayhost",
		}...) {
			args := append([]string{"-c", dir}, strings.Fields(line)...)
			got, want := ours(args...), real(t, args...)
			got.err, want.err = withoutDatabases(got.err), withoutDatabases(want.err)
			if got != want {
				t.Errorf("%s: postconf %s:%s", name, line, difference(got, want))
			}
		}
		refused = nil // the real one waits a second each time
	}
}

// withoutDatabases drops the warnings about files of SQL tables: ours looks for
// them when the table is opened.
func withoutDatabases(s string) string {
	lines := strings.Split(s, "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, `open "sqlite" configuration`) }), "\n")
}

// difference shows the lines that only one of two results has.
func difference(got, want result) string {
	var b strings.Builder
	show := func(mark, a, other string) {
		have := strings.Split(other, "\n")
		for _, l := range strings.Split(a, "\n") {
			if !slices.Contains(have, l) {
				b.WriteString("\n\t" + mark + " " + l)
			}
		}
	}
	show("ours:   ", got.out, want.out)
	show("Postfix:", want.out, got.out)
	show("ours:   ", got.err, want.err)
	show("Postfix:", want.err, got.err)
	if got.status != want.status {
		b.WriteString("\n\tdifferent exit status")
	}
	if b.Len() == 0 {
		return "\n\tdifferent order\n" + got.out + "---\n" + want.out
	}
	return b.String()
}

// notPostfix are the defaults that depend on the machine or the process, and
// those that are a later Postfix's.
var notPostfix = []string{
	"mydomain", "myhostname", "mynetworks", "process_id", "process_name",
	"smtpd_forbid_bare_newline", "smtpd_forbid_unauth_pipelining",
}

// TestDefaults compares all parameters with those of the real postconf(1).
func TestDefaults(t *testing.T) {
	needPostconf(t)
	dir := t.TempDir()
	writeOld(t, filepath.Join(dir, "main.cf"), "")
	writeOld(t, filepath.Join(dir, "master.cf"), "")
	for _, level := range []string{"0", "1", "2", "3.6"} {
		args := []string{"-c", dir, "-x", "-o", "compatibility_level=" + level, "-o", "myhostname=h.example.test", "-o", "mynetworks=127.0.0.1"}
		compareDefaults(t, args)
	}
	compareDefaults(t, []string{"-c", dir, "-d"})
}

func compareDefaults(t *testing.T, args []string) {
	t.Helper()
	got, want := settings(ours(args...).out), settings(real(t, args...).out)
	later := map[string]bool{
		"smtpd_client_ipv4_prefix_length": true, "smtpd_client_ipv6_prefix_length": true,
		"smtpd_hide_client_session": true, "smtpd_reject_filter_maps": true,
		"smtp_tlsrpt_enable": true, "smtp_tlsrpt_socket_name": true, "smtp_tls_enforce_sts_mx_patterns": true,
		"tls_required_enable": true, "requiretls_enable": true, "smtp_requiretls_policy": true, "lmtp_requiretls_policy": true,
	}
	for _, p := range config.Parameters() {
		later[p.Name] = later[p.Name] || p.State == config.Ours
	}
	for name, v := range want {
		if !slices.Contains(notPostfix, name) && got[name] != v {
			t.Errorf("%v: %s = %q, Postfix says %q", args[2:], name, got[name], v)
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !later[name] {
			t.Errorf("%s is no parameter of Postfix 3.7", name)
		}
	}
}

func settings(out string) map[string]string {
	m := make(map[string]string)
	for l := range strings.Lines(out) {
		name, value, _ := strings.Cut(l, " =")
		m[name] = strings.TrimSpace(value)
	}
	return m
}

func TestTroubles(t *testing.T) {
	dir := t.TempDir()
	writeOld(t, filepath.Join(dir, "main.cf"), "a b = c\n")
	for _, c := range []struct{ args, want string }{
		{"-c /nonexistent", "postconf: fatal: open /nonexistent/main.cf: No such file or directory\n"},
		{"-c " + dir + " -n", "postconf: fatal: " + dir + "/main.cf, line 1: missing '=' after attribute name: \"a b = c\"\n"},
		{"-z", "postconf: invalid option -- 'z'\n"},
	} {
		got := ours(strings.Fields(c.args)...)
		if got.status != 1 || !strings.Contains(got.err+"\n", strings.TrimSuffix(c.want, "\n")) || got.out != "" {
			t.Errorf("%s: %+v", c.args, got)
		}
	}
}
