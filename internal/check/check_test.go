package check_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sekisho/internal/check"
	"sekisho/internal/clock"
)

const (
	mainCF = `compatibility_level = 3.6
myhostname = mx.demo.test
mydestination =
inet_interfaces = 127.0.0.1
virtual_mailbox_domains = demo.test
virtual_mailbox_maps = inline:{alice@demo.test=demo.test/alice/}
alias_maps =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_recipient_access hash:$config_directory/access
`
	masterCF = "smtp inet n - n - - smtpd\nvirtual unix - n n - - virtual\n"
	access   = "bob@demo.test REJECT\n"
)

// folder writes a configuration that has no findings, with lines added to its
// files.
func folder(t *testing.T, add map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"main.cf": mainCF, "master.cf": masterCF, "access": access}
	for name, text := range add {
		if strings.HasPrefix(text, "=") {
			files[name] = text[1:]
			continue
		}
		files[name] += text
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// findings returns "CODE severity FILE:LINE what" of each.
func findings(dir string) []string {
	var out []string
	for _, f := range check.Directory(dir, clock.System{}) {
		pos := strings.TrimPrefix(f.Pos.String(), dir+"/")
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s", f.Code, f.Severity, pos, f.Service, f.What)))
	}
	return out
}

// Verification behind the relay lists is what it is for.
func TestProbesBehindRelayControl(t *testing.T) {
	for _, lists := range []string{
		"smtpd_recipient_restrictions = reject_unverified_recipient\n", // behind the relay list's default
		"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient\n",
		"smtpd_sender_restrictions = reject_unverified_sender\n",
	} {
		for _, f := range findings(folder(t, map[string]string{"main.cf": lists})) {
			if strings.HasPrefix(f, "SEK204") {
				t.Errorf("%s: %s", lists, f)
			}
		}
	}
}

func TestNothingToSay(t *testing.T) {
	if got := findings(folder(t, nil)); len(got) > 0 {
		t.Errorf("a good configuration: %q", got)
	}
}

// TestFindings adds what is wrong to a good configuration: exactly the finding
// for it must come.
func TestFindings(t *testing.T) {
	for _, c := range []struct {
		name string
		add  map[string]string
		want string // beginning of the finding
	}{
		{"syntax", map[string]string{"main.cf": "nonsense\n"}, "SEK001 error main.cf:11  missing '=' after attribute name: \"nonsense\""},
		{"type", map[string]string{"main.cf": "soft_bounce = maybe\n"}, "SEK001 error main.cf:11  soft_bounce: bad boolean value \"maybe\""},
		{"range", map[string]string{"main.cf": "smtpd_hard_error_limit = 0\n"}, "SEK001 error main.cf:11  smtpd_hard_error_limit: invalid value 0 < 1"},
		{"master.cf", map[string]string{"master.cf": "x y z\n"}, "SEK001 error master.cf:3  missing \"unpriv\" field"},
		{"twice", map[string]string{"main.cf": "mydestination =\n"}, "SEK002 warning main.cf:11  overriding earlier entry: mydestination="},
		{"top", map[string]string{"main.cf": "=  x\n" + mainCF}, "SEK002 warning main.cf  logical line must not start with whitespace: \"  x\""},
		{"unused", map[string]string{"main.cf": "smtpd_helo_require = yes\n"}, "SEK003 warning main.cf:11  unused parameter: smtpd_helo_require=yes"},
		{"undefined", map[string]string{"main.cf": "relayhost = $gateway\n"}, "SEK004 warning main.cf  undefined parameter: gateway"},
		{"idle", map[string]string{"main.cf": "multi_instance_enable = no\n"}, "SEK005 warning main.cf:11  multi_instance_enable has no effect here"},
		{"idle -o", map[string]string{"master.cf": "=smtp inet n - n - - smtpd\n  -o readme_directory=/x\n"}, "SEK005 warning master.cf:2 smtp readme_directory has no effect here"},
		{"different", map[string]string{"main.cf": "smtpd_forbid_unauth_pipelining = no\n"}, "SEK008 note main.cf:11  smtpd_forbid_unauth_pipelining is not quite Postfix's"},
		{"daemon", map[string]string{"master.cf": "uucp unix - n n - - pipe flags=F\n"}, "SEK006 note master.cf:3  service uucp is not served"},
		{"no server", map[string]string{"master.cf": "=virtual unix - n n - - virtual\n"}, "SEK007 error master.cf  no smtpd service"},
		{"restriction", map[string]string{"main.cf": "smtpd_client_restrictions =\n  permit_mynetwork\n"}, "SEK010 error main.cf:12  smtpd_client_restrictions: unknown smtpd restriction: \"permit_mynetwork\""},
		{"networks", map[string]string{"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.1/8", 1)}, "SEK010 error main.cf:9  mynetworks: non-null host address bits"},
		{"missing table", map[string]string{"main.cf": "smtpd_sender_restrictions = check_sender_access hash:$config_directory/gone\n"}, "SEK011 error main.cf:11  table hash:"},
		{"table type", map[string]string{"main.cf": "header_checks = rexexp:$config_directory/access\n"}, "SEK011 error main.cf:11  header_checks: table rexexp:"},
		{"pattern", map[string]string{"main.cf": "header_checks = regexp:$config_directory/h\n", "h": "/a/ REJECT\n/b(/ REJECT\n"}, "SEK011 error h:2  header_checks: table regexp:"},
		{"network in a table", map[string]string{"main.cf": "smtpd_client_restrictions = check_client_access cidr:$config_directory/c\n", "c": "10.0.0.1/8 REJECT\n"}, "SEK011 error c:1  table cidr:"},
		{"certificate", map[string]string{"main.cf": "smtpd_tls_cert_file = /nonexistent/cert.pem\n"}, "SEK012 error main.cf:11 smtp smtpd_tls_cert_file: open /nonexistent/cert.pem: no such file or directory"},
		{"table line", map[string]string{"access": "bob@demo.test OK\n"}, "SEK013 warning access:2  duplicate entry: \"bob@demo.test\""},
		{"never reached", map[string]string{"main.cf": "smtpd_client_restrictions = permit, reject_unknown_client_hostname\n"}, "SEK101 warning main.cf:11 smtp smtpd_client_restrictions: reject_unknown_client_hostname is never reached"},
		{"open relay by table", map[string]string{"main.cf": "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_recipient_access hash:$config_directory/access, reject_unauth_destination\n", "master.cf": ""},
			"SEK201 warning main.cf:12 smtp smtpd_recipient_restrictions: an OK from check_recipient_access"},
		{"users on block lists", map[string]string{"main.cf": "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = sekisho\nsmtpd_tls_auth_only = yes\nsmtpd_client_restrictions = reject_rbl_client bl.test\n"}, "SEK202 warning main.cf:14 smtp smtpd_client_restrictions: reject_rbl_client bl.test also refuses users"},
		{"ownership", map[string]string{"main.cf": "smtpd_sender_login_maps = inline:{a@demo.test=a}\nsmtpd_sender_restrictions = permit_sasl_authenticated, reject_sender_login_mismatch\n"}, "SEK203 warning main.cf:12 smtp smtpd_sender_restrictions: reject_sender_login_mismatch never sees"},
		{"probes for strangers", map[string]string{"main.cf": "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unverified_recipient, reject_unauth_destination\n"},
			"SEK204 warning main.cf:12 smtp smtpd_recipient_restrictions: reject_unverified_recipient sends probes to any server"},
		{"probes in another list", map[string]string{"main.cf": "smtpd_client_restrictions = warn_if_reject reject, reject_unverified_recipient\n"},
			"SEK204 warning main.cf:11 smtp smtpd_client_restrictions: reject_unverified_recipient sends probes to any server"},
		{"no file for the outcomes of probes", map[string]string{"main.cf": "address_verify_map = memcache:/etc/postfix/mc.cf\n"}, "SEK014 warning main.cf:11  address_verify_map: the cache of address verification cannot be"},
		{"backup", map[string]string{"main.cf": "smtpd_relay_restrictions = permit_mynetworks, permit_mx_backup, reject_unauth_destination\n"}, "SEK110 note main.cf:11 smtp smtpd_relay_restrictions: permit_mx_backup goes away"},
		{"closed list", map[string]string{"main.cf": "smtpd_restriction_classes = lists\nlists = warn_if_reject reject_rhsbl_sender dsn.RFC-ignorant.org=127.0.0.2\nsmtpd_client_restrictions = reject_rbl_client zen.spamhaus.org, lists\n"},
			"SEK111 warning main.cf:12 smtp smtpd_client_restrictions: reject_rhsbl_sender dsn.RFC-ignorant.org=127.0.0.2 asks a list that has ended"},
		{"closed allow list", map[string]string{"main.cf": "smtpd_client_restrictions = permit_dnswl_client ahbl.org\n"}, "SEK111 warning main.cf:11 smtp smtpd_client_restrictions: permit_dnswl_client ahbl.org"},
		{"table that may not permit", map[string]string{"main.cf": "smtpd_client_restrictions = check_client_a_access static:DUNNO, check_sender_mx_access static:OK\n"}, "SEK112 warning main.cf:11 smtp smtpd_client_restrictions: check_sender_mx_access static:OK answers 451"},
		{"reverse name that may not permit", map[string]string{"main.cf": "smtpd_client_restrictions = check_reverse_client_hostname_access static:ok\n"}, "SEK112 warning main.cf:11"},
		{"wide networks", map[string]string{"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.0/8, 0.0.0.0/0", 1)}, "SEK301 error main.cf:9  mynetworks: 0.0.0.0/0 trusts a large part"},
		{"clear passwords", map[string]string{"main.cf": "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = sekisho\n"}, "SEK302 note main.cf:11 smtp passwords may cross the network unencrypted"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := findings(folder(t, c.add))
			got = slices.DeleteFunc(got, func(s string) bool {
				return strings.HasPrefix(s, "SEK002") && strings.Contains(s, "overriding") && !strings.HasPrefix(c.want, "SEK002") ||
					strings.HasPrefix(s, "SEK008") && (strings.Contains(s, "smtpd_sasl_type") || strings.Contains(s, "address_verify_map"))
			})
			if len(got) != 1 || !strings.HasPrefix(strings.Join(strings.Fields(got[0]), " "), strings.Join(strings.Fields(c.want), " ")) {
				t.Errorf("got %q\nwant %q", got, c.want)
			}
		})
	}
}

func TestMissingFolder(t *testing.T) {
	fs := check.Directory("/nonexistent/postfix", clock.System{})
	if len(fs) != 1 || fs[0].Code != "SEK001" || fs[0].Pos.File != "/nonexistent/postfix/main.cf" || fs[0].Mend == "" {
		t.Errorf("%+v", fs)
	}
}

// TestSharedList: what two services have in common is said once, and is
// neither's own.
func TestSharedList(t *testing.T) {
	got := findings(folder(t, map[string]string{
		"main.cf": "smtpd_client_restrictions = permit, reject\n", "master.cf": "submission inet n - n - - smtpd\n",
	}))
	if len(got) != 1 || !strings.HasPrefix(got[0], "SEK101 warning main.cf:11  smtpd_client_restrictions: reject") {
		t.Errorf("%q", got)
	}
}

func TestSuggestion(t *testing.T) {
	for add, want := range map[string]string{
		"smtpd_helo_require = yes\n":                        "did you mean smtpd_helo_required?",
		"smtpd_client_restrictions = permit_mynetwork\n":    "did you mean permit_mynetworks?",
		"header_checks = rexexp:$config_directory/access\n": "did you mean regexp:",
	} {
		fs := check.Directory(folder(t, map[string]string{"main.cf": add}), clock.System{})
		if len(fs) != 1 || !strings.HasPrefix(fs[0].Mend, want) {
			t.Errorf("%s: %+v, want %q", add, fs, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for want, fs := range [][]check.Finding{
		{{Severity: check.Note}}, {{Severity: check.Warning}, {Severity: check.Note}}, {{Severity: check.Warning}, {Severity: check.Error}},
	} {
		if got := check.ExitStatus(fs); got != want {
			t.Errorf("%v: %d, want %d", fs, got, want)
		}
	}
	if got := check.Summary([]check.Finding{{Severity: check.Error}, {Severity: check.Note}, {Severity: check.Error}}); got != "2 errors, 1 note" {
		t.Errorf("summary %q", got)
	}
}
