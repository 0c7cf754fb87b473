package check_test

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

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
smtpd_recipient_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination, check_recipient_access hash:$config_directory/access
`
	masterCF = "smtp inet n - n - - smtpd\nvirtual unix - n n - - virtual\n"
	access   = "bob@demo.test REJECT\n"
	sasl     = "smtpd_sasl_auth_enable = yes\nsmtpd_sasl_type = sekisho\nsmtpd_tls_auth_only = yes\n"
)

// gateways is the default gateway of the machine under test.
var gateways = []netip.Addr{netip.MustParseAddr("10.1.0.1")}

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
	for _, f := range check.Directory(dir, clock.System{}, gateways) {
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
		{"idle -o", map[string]string{"master.cf": "=smtp inet n - n - - smtpd\n  -o readme_directory=/x\n"}, "SEK005 note master.cf:2 smtp readme_directory has no effect here"},
		{"different", map[string]string{"main.cf": "smtpd_forbid_unauth_pipelining = no\n"}, "SEK008 note main.cf:11  smtpd_forbid_unauth_pipelining is not quite Postfix's"},
		{"daemon", map[string]string{"master.cf": "uucp unix - n n - - spawn flags=F\n"}, "SEK006 note master.cf:3  service uucp is not served"},
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
		{"backup", map[string]string{"main.cf": "smtpd_relay_restrictions = permit_mynetworks, permit_mx_backup, reject_unauth_destination\n"}, "SEK208 note main.cf:11 smtp smtpd_relay_restrictions: permit_mx_backup goes away"},
		{"closed list", map[string]string{"main.cf": "smtpd_restriction_classes = lists\nlists = warn_if_reject reject_rhsbl_sender dsn.RFC-ignorant.org=127.0.0.2\nsmtpd_client_restrictions = reject_rbl_client bl.test, lists\n"},
			"SEK501 warning main.cf:12 smtp smtpd_client_restrictions: reject_rhsbl_sender dsn.RFC-ignorant.org=127.0.0.2 asks a list that is no more"},
		{"closed allow list", map[string]string{"main.cf": "smtpd_client_restrictions = permit_dnswl_client ahbl.org\n"}, "SEK501 warning main.cf:11 smtp smtpd_client_restrictions: permit_dnswl_client ahbl.org"},
		{"table that may not permit", map[string]string{"main.cf": "smtpd_client_restrictions = check_client_a_access static:DUNNO, check_sender_mx_access static:OK\n"}, "SEK405 error main.cf:11 smtp check_sender_mx_access static:OK: check_sender_mx_access may not say OK"},
		{"reverse name that may not permit", map[string]string{"main.cf": "smtpd_client_restrictions = check_reverse_client_hostname_access static:ok\n"}, "SEK405 error main.cf:11 smtp check_reverse"},
		{"wide networks", map[string]string{"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.0/8, 0.0.0.0/0", 1)}, "SEK301 error main.cf:9  mynetworks: 0.0.0.0/0 trusts a large part"},
		{"gateway", map[string]string{"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.0/8, 10.1.0.0/16", 1)}, "SEK303 warning main.cf:9 mynetworks: 10.1.0.0/16 contains the default gateway 10.1.0.1"},
		{"class networks", map[string]string{"main.cf": "=" + strings.Replace(mainCF, "mynetworks = 127.0.0.0/8", "mynetworks_style = class", 1)}, "SEK304 warning main.cf:9 mynetworks_style = class trusts"},
		{"two classes", map[string]string{"main.cf": "virtual_alias_domains = Demo.test\n"}, "SEK305 warning main.cf:5 demo.test stands in both virtual_alias_domains and virtual_mailbox_domains"},
		{"backscatter", map[string]string{"main.cf": "relay_domains = other.test\n"}, "SEK306 warning main.cf:11 relay_domains: mail for every recipient is accepted"},
		{"any local name", map[string]string{"main.cf": "mydestination = mx.demo.test\n"}, "SEK307 warning main.cf:8 local_recipient_maps is empty"},
		{"soft", map[string]string{"main.cf": "soft_bounce = yes\n"}, "SEK308 note main.cf:11 soft_bounce = yes"},
		{"wildcard domain", map[string]string{"main.cf": "virtual_alias_domains = *.lists.test\n"}, "SEK309 warning main.cf:11 virtual_alias_domains: *.lists.test matches nothing"},
		{"twice in a list", map[string]string{"main.cf": "smtpd_client_restrictions = reject_unknown_client_hostname, reject_unknown_client\n"}, "SEK102 note main.cf:11 smtp smtpd_client_restrictions: reject_unknown_client_hostname stands here a second time"},
		{"too early", map[string]string{"main.cf": "smtpd_delay_reject = no\nsmtpd_client_restrictions = reject_non_fqdn_recipient\n"}, "SEK103 warning main.cf:12 smtp smtpd_client_restrictions: reject_non_fqdn_recipient is evaluated before there is a recipient"},
		{"too early for ETRN", map[string]string{"main.cf": "smtpd_delay_reject = no\nsmtpd_helo_restrictions = check_etrn_access static:REJECT\n"}, "SEK103 warning main.cf:12 smtp smtpd_helo_restrictions: check_etrn_access static:REJECT is evaluated before there is an ETRN domain"},
		{"bare table", map[string]string{"main.cf": "smtpd_data_restrictions = inline:{a=OK}\n"}, "SEK104 error main.cf:11 smtp smtpd_data_restrictions: inline:{a=OK} stands without"},
		{"warning about nothing", map[string]string{"main.cf": "smtpd_client_restrictions = reject_unknown_client_hostname warn_if_reject\n"}, "SEK105 warning main.cf:11 smtp smtpd_client_restrictions: warn_if_reject has no effect"},
		{"warning about a permit", map[string]string{"main.cf": "smtpd_client_restrictions = warn_if_reject permit_mynetworks\n"}, "SEK105 warning main.cf:11 smtp smtpd_client_restrictions: warn_if_reject has no effect"},
		{"class in itself", map[string]string{"main.cf": "smtpd_restriction_classes = strict\nstrict = reject_non_fqdn_sender, strict\nsmtpd_sender_restrictions = strict\n"}, "SEK106 error main.cf:12 smtp restriction class strict contains itself"},
		{"class named like a restriction", map[string]string{"main.cf": "smtpd_restriction_classes = reject\nreject = permit\n"}, "SEK107 warning main.cf:11 restriction class reject has the name"},
		{"empty class", map[string]string{"main.cf": "smtpd_restriction_classes = strict\nstrict =\n"}, "SEK108 warning main.cf:11 restriction class strict is empty"},
		{"no HELO", map[string]string{"main.cf": "smtpd_helo_restrictions = reject_invalid_helo_hostname\n"}, "SEK109 note main.cf:11 smtp smtpd_helo_restrictions: reject_invalid_helo_hostname is skipped"},
		{"open relay by a service", map[string]string{"main.cf": "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_policy_service inet:127.0.0.1:1, reject_unauth_destination\n"},
			"SEK201 warning main.cf:12 smtp smtpd_recipient_restrictions: an OK from check_policy_service"},
		{"users cannot relay", map[string]string{"main.cf": sasl + "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"},
			"SEK205 warning main.cf:14 smtp smtpd_relay_restrictions: reject_unauth_destination also refuses users"},
		{"strangers on submission", map[string]string{"main.cf": sasl + "smtpd_recipient_restrictions = permit_sasl_authenticated, reject_unauth_destination\nsmtpd_relay_restrictions =\n", "master.cf": "=submission inet n - n - - smtpd\nvirtual unix - n n - - virtual\n"},
			"SEK206 note main.cf:14 submission a submission service takes mail for your own domains from strangers"},
		{"any certificate", map[string]string{"main.cf": "smtpd_tls_ask_ccert = yes\nsmtpd_relay_restrictions = permit_tls_all_clientcerts, reject_unauth_destination\n"},
			"SEK207 warning main.cf:12 smtp smtpd_relay_restrictions: permit_tls_all_clientcerts lets everybody relay"},
		{"unknown action", map[string]string{"access": "carol@demo.test REJEKT\n"}, "SEK401 error access:2 smtp carol@demo.test: unknown smtpd restriction: \"REJEKT\""},
		{"action without argument", map[string]string{"access": "carol@demo.test PREPEND nothing\n"}, "SEK401 error access:2 smtp carol@demo.test: PREPEND requires a header: text"},
		{"network key", map[string]string{"access": "192.0.2.0/24 REJECT\n"}, "SEK402 warning access:2 smtp 192.0.2.0/24 is never matched"},
		{"wildcard key", map[string]string{"access": "*@demo.test REJECT\n"}, "SEK402 warning access:2 smtp *@demo.test is never matched"},
		{"pattern without @", map[string]string{"main.cf": "smtpd_sender_restrictions = check_sender_access pcre:$config_directory/p\n", "p": "/^spam\\.test$/ REJECT\n"}, "SEK403 warning p:1 smtp /^spam\\.test$/ is never matched"},
		{"cidr of mail addresses", map[string]string{"main.cf": "smtpd_sender_restrictions = check_sender_access cidr:$config_directory/c\n", "c": "192.0.2.0/24 REJECT\n"}, "SEK404 warning main.cf:11 smtp smtpd_sender_restrictions: check_sender_access cidr:"},
		{"cidr of domains", map[string]string{"main.cf": "transport_maps = cidr:$config_directory/c\n", "c": "192.0.2.0/24 smtp:\n"}, "SEK404 warning main.cf:11 transport_maps: cidr:"},
		{"hash of headers", map[string]string{"main.cf": "header_checks = hash:$config_directory/c\n", "c": "Subject REJECT\n"}, "SEK404 warning main.cf:11 header_checks: hash:"},
		{"OK from DNS", map[string]string{"main.cf": "smtpd_sender_restrictions = check_reverse_client_hostname_access hash:$config_directory/m\n", "m": "mx.good.test OK\n"}, "SEK405 error m:1 smtp mx.good.test: check_reverse_client_hostname_access may not say OK"},
		{"open pattern", map[string]string{"main.cf": "smtpd_client_restrictions = check_client_access regexp:$config_directory/p\n", "p": "/good\\.test/ OK\n"}, "SEK406 warning p:1 smtp /good\\.test/ also lets longer names pass"},
		{"closed list", map[string]string{"main.cf": "smtpd_client_restrictions = reject_rbl_client dul.dnsbl.sorbs.net\n"}, "SEK501 warning main.cf:11 smtp smtpd_client_restrictions: reject_rbl_client dul.dnsbl.sorbs.net asks a list that is no more"},
		{"allow list", map[string]string{"main.cf": "smtpd_client_restrictions = reject_rbl_client list.dnswl.org\n"}, "SEK502 error main.cf:11 smtp smtpd_client_restrictions: reject_rbl_client list.dnswl.org refuses the clients"},
		{"addresses of a domain list", map[string]string{"main.cf": "smtpd_client_restrictions = reject_rbl_client dbl.spamhaus.org\n"}, "SEK502 error main.cf:11 smtp smtpd_client_restrictions: reject_rbl_client dbl.spamhaus.org asks a list of domains"},
		{"domains of an address list", map[string]string{"main.cf": "smtpd_sender_restrictions = reject_rhsbl_sender bl.spamcop.net\n"}, "SEK502 warning main.cf:11 smtp smtpd_sender_restrictions: reject_rhsbl_sender bl.spamcop.net asks a list of addresses"},
		{"error codes", map[string]string{"main.cf": "smtpd_client_restrictions = reject_rbl_client zen.spamhaus.org\n"}, "SEK503 note main.cf:11 smtp smtpd_client_restrictions: reject_rbl_client zen.spamhaus.org takes"},
		{"nobody's socket", map[string]string{"main.cf": "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service unix:/nonexistent/policy\n"}, "SEK601 warning main.cf:11 smtp smtpd_recipient_restrictions: check_policy_service unix:/nonexistent/policy: no socket"},
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
	fs := check.Directory("/nonexistent/postfix", clock.System{}, gateways)
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
		fs := check.Directory(folder(t, map[string]string{"main.cf": add}), clock.System{}, gateways)
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

// TestGood has configurations that look like those with findings, and have
// none.
func TestGood(t *testing.T) {
	for name, add := range map[string]map[string]string{
		"filtered list":       {"main.cf": "smtpd_client_restrictions = permit_mynetworks, reject_rbl_client zen.spamhaus.org=127.0.0.[2..11]\n"},
		"list of domains":     {"main.cf": "smtpd_sender_restrictions = reject_rhsbl_sender multi.surbl.org\n"},
		"allow list":          {"main.cf": "smtpd_client_restrictions = permit_dnswl_client list.dnswl.org\n"},
		"gateway excepted":    {"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.0/8, !10.1.0.1, 10.1.0.0/16", 1)},
		"gateway meant":       {"main.cf": "=" + strings.Replace(mainCF, "127.0.0.0/8", "127.0.0.0/8, 10.1.0.1", 1)},
		"relay with maps":     {"main.cf": "relay_domains = other.test\nrelay_recipient_maps = inline:{a@other.test=x}\n"},
		"anchored pattern":    {"main.cf": "smtpd_client_restrictions = check_client_access pcre:$config_directory/p\n", "p": "/^mx\\.good\\.test$/ OK\n/(^|\\.)other\\.test$/ OK\nif /x/\n/y/ DUNNO\nendif\n"},
		"address patterns":    {"main.cf": "smtpd_sender_restrictions = check_sender_access pcre:$config_directory/p\n", "p": "/@spam\\.test$/ REJECT\n/^[^@]+$/ REJECT\n/^.*spam$/ REJECT\n"},
		"actions":             {"access": "a@demo.test DEFER_IF_PERMIT later\nb@demo.test 550 no\nc@demo.test FILTER smtp:[127.0.0.1]\nd@demo.test reject_unknown_sender_domain, permit\ne@demo.test PREPEND X-A: b\n"},
		"classes":             {"main.cf": "smtpd_restriction_classes = strict\nstrict = reject_non_fqdn_sender\nsmtpd_sender_restrictions = strict\n", "access": "f@demo.test strict\n"},
		"a fallback in class": {"main.cf": "smtpd_restriction_classes = a, b\na = b\nb = reject_non_fqdn_sender\nsmtpd_sender_restrictions = a, b\n"},
		"early but there":     {"main.cf": "smtpd_delay_reject = no\nsmtpd_helo_required = yes\nsmtpd_sender_restrictions = reject_non_fqdn_sender, reject_invalid_helo_hostname\n"},
		"ETRN":                {"main.cf": "smtpd_delay_reject = no\nsmtpd_etrn_restrictions = check_etrn_access static:REJECT\n"},
		"submission": {"main.cf": sasl, "master.cf": "submission inet n - n - - smtpd\n  -o smtpd_recipient_restrictions=permit_sasl_authenticated,reject\n" +
			"  -o smtpd_relay_restrictions=\n  -o smtpd_client_restrictions=\n", "=": ""},
	} {
		t.Run(name, func(t *testing.T) {
			delete(add, "=")
			got := slices.DeleteFunc(findings(folder(t, add)), func(s string) bool {
				return strings.HasPrefix(s, "SEK002") || strings.HasPrefix(s, "SEK008") && strings.Contains(s, "smtpd_sasl_type")
			})
			if len(got) > 0 {
				t.Errorf("%q", got)
			}
		})
	}
}

func TestGateways(t *testing.T) {
	got := check.Gateways(fstest.MapFS{
		"route": {Data: []byte("Iface\tDestination\tGateway\tFlags\neth0\t00000000\t0100010A\t0003\neth0\t0000010A\t00000000\t0001\n")},
		"ipv6_route": {Data: []byte("00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400\n" +
			"00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff\n")},
	})
	if want := "[10.1.0.1 fe80::1]"; fmt.Sprint(got) != want {
		t.Errorf("%v, want %s", got, want)
	}
	if got := check.Gateways(fstest.MapFS{}); got != nil {
		t.Errorf("no tables: %v", got)
	}
}

// TestStock: the main.cf and master.cf that Debian installs give no warning.
func TestStock(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{"main.cf.debian": "main.cf", "master.cf.dist": "master.cf"} {
		text, err := os.ReadFile("/usr/share/postfix/" + from)
		if os.IsNotExist(err) && os.Getenv("CI") == "" {
			t.Skip("Debian's package postfix is not installed")
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range check.Directory(dir, clock.System{}, gateways) {
		if f.Severity != check.Note {
			t.Errorf("%+v", f)
		}
	}
}
