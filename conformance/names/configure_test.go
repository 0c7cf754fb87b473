//go:build linux

package names

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Ports: that of the last service, by which one sees that the server has
// started, and those of the configurations.
const (
	plainPort = 10000
	firstPort = 10001
)

// mainCf is what the engine's world needs to be a server's.
const mainCf = `
maillog_file = /var/log/mail.log
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_error_sleep_time = 0
smtpd_client_connection_rate_limit = 0
smtpd_client_connection_count_limit = 0
smtpd_client_event_limit_exceptions = static:all
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
local_header_rewrite_clients =
smtpd_forbid_unauth_pipelining = no
smtpd_forbid_bare_newline_exclusions =
fast_flush_domains =
max_use = 1
smtpd_tls_chain_files = /etc/postfix/tls/server.key, /etc/postfix/tls/server.pem
smtpd_tls_CAfile = /etc/postfix/tls/ca.pem
address_verify_map =
address_verify_poll_count = 20
address_verify_poll_delay = 1s
address_verify_transport_maps = regexp:{ {/^refused@/ error:5.1.1 no such user} {/^deferred@/ retry:4.4.1 try later} {/./ discard:} }
`

// sekishoCf is what Sekisho needs besides.
const sekishoCf = `smtpd_sasl_type = sekisho
sekisho_auth_failure_delay = 0s
sekisho_directory = sqlite:/run/directory.db
sekisho_spool_directory = /run/spool
virtual_mailbox_base = /run/mail
virtual_uid_maps = static:1000
virtual_gid_maps = static:1000`

const masterCf = `rewrite unix - - n - - trivial-rewrite
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
proxymap unix - - n - - proxymap
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
local unix - n n - - local
virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
tlsmgr unix - - n 1000? 1 tlsmgr
scache unix - - n - 1 scache
`

// resolverParameter is a setting that the address resolver reads, not smtpd.
var resolverParameter = regexp.MustCompile(`^(relay_domains|mydestination|virtual_\w+_domains|transport_maps) =`)

// anyRelay lets everybody relay: the restriction lists that keep Postfix from
// starting without a word about that are not what is tested.
const anyRelay = "smtpd_relay_restrictions = check_client_access static:OK, reject"

// configure gives each configuration a service, and returns the whole site with
// its sessions.
func configure(t *testing.T, trials []*trial) peerRequest {
	world, err := os.ReadFile(engine + "/world/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	zone, err := os.ReadFile(engine + "/world/zone.txt")
	if err != nil {
		t.Fatal(err)
	}
	var master strings.Builder
	master.WriteString(masterCf)
	r := peerRequest{Zone: string(zone), Policies: make(map[string]string)}
	ports := make(map[string]int)
	for _, tr := range trials {
		if !tr.plays {
			r.Sessions = append(r.Sessions, session{})
			continue
		}
		key := strings.Join(append(append([]string{}, tr.config...), tr.answers...), "\n")
		if ports[key] == 0 {
			ports[key] = firstPort + len(ports)
			master.WriteString(service(ports[key], tr.config))
			for _, a := range tr.answers {
				if service, action, ok := strings.Cut(a, " -> "); ok {
					r.Policies[strings.TrimPrefix(own(service, ports[key]), "unix:")] = action
				}
			}
		}
		r.Sessions = append(r.Sessions, tr.session(t, ports[key]))
	}
	fmt.Fprintf(&master, "127.0.0.1:%d inet n - n - 1 smtpd\n", plainPort)
	r.Files = map[string]string{"main.cf": strings.ReplaceAll(string(world), "smtpd_relay_restrictions =\n", anyRelay+"\n") + mainCf, "master.cf": master.String()}
	for _, path := range tlsFiles(t) {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		r.Files["tls/"+filepath.Base(path)] = string(text)
	}
	return r
}

func tlsFiles(t *testing.T) []string {
	paths, err := filepath.Glob("../site/tls/*")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no certificates: %v", err)
	}
	return paths
}

// own gives a configuration its own policy service.
func own(text string, port int) string {
	return strings.ReplaceAll(text, "private/policy", fmt.Sprintf("private/policy-%d", port))
}

// service is the lines of master.cf for one configuration.
func service(port int, config []string) string {
	var b strings.Builder
	settings := append([]string{fmt.Sprintf("syslog_name = postfix/%d", port)}, config...)
	resolver := fmt.Sprintf("rewrite-%d", port)
	for _, c := range config {
		if resolverParameter.MatchString(c) {
			fmt.Fprintf(&b, "%s unix - - n - - trivial-rewrite\n -o { %s }\n", resolver, c)
			settings = append(settings, "rewrite_service_name = "+resolver)
		}
		if strings.HasPrefix(c, "smtpd_tls_ask_ccert") || strings.Contains(c, "plaintext") || strings.Contains(c, "clientcerts") {
			settings = append(settings, "smtpd_tls_security_level = may")
		}
	}
	fmt.Fprintf(&b, "127.0.0.1:%d inet n - n - 1 smtpd\n", port)
	for _, s := range settings {
		fmt.Fprintf(&b, " -o { %s }\n", own(s, port))
	}
	return b.String()
}

// session turns facts into what a client does.
func (tr *trial) session(t *testing.T, port int) session {
	s := session{Port: port}
	x := map[string]string{"NAME": "host.test", "ADDR": "198.51.100.1", "REVERSE_NAME": "host.test"}
	helo, from, to, params, count := "host.test", "s@a.test", "x@mailbox.test", "", 0
	etrn := "etrn.test"
	for _, line := range tr.facts {
		word, value, _ := strings.Cut(line, " ")
		switch word {
		case "":
		case "client":
			if strings.Contains(value, ":") {
				value = "IPV6:" + value
			}
			x["ADDR"] = value
		case "name":
			x["NAME"] = hostFact(value)
		case "reverse":
			x["REVERSE_NAME"] = hostFact(value)
		case "login":
			x["LOGIN"] = value
		case "helo":
			helo = value
		case "from":
			from = value
		case "to":
			to = value
		case "count":
			fmt.Sscan(value, &count)
		case "utf8":
			params = " SMTPUTF8"
		case "etrn":
			etrn = value
		case "tls":
			s.TLS = true
		case "certificate":
			s.Certificate = certificateFiles(t, value)
		case "trusted": // it is the certificate that is
		case "pipelining":
			s.Pipelining = true
		default:
			t.Fatalf("%s: a session has no %q; say why it is alone", tr.pos, word)
		}
	}
	s.XClient = "XCLIENT"
	for _, name := range []string{"NAME", "ADDR", "REVERSE_NAME", "LOGIN"} {
		if v := x[name]; v != "" {
			s.XClient += " " + name + "=" + v
		}
	}
	s.Helo = helo
	mail := "MAIL FROM:<" + from + ">" + params
	others := []string{"x@alias.test", "ext@mailbox.test", "x@relay.test"}
	switch stage := tr.stage[0]; stage {
	case "EHLO":
	case "MAIL":
		s.Commands = []string{mail}
	case "ETRN":
		s.Commands = []string{"ETRN " + etrn}
	case "RCPT":
		s.Commands = []string{mail}
		for _, o := range others[:count] {
			s.Commands = append(s.Commands, "RCPT TO:<"+o+">")
		}
		s.Commands = append(s.Commands, "RCPT TO:<"+to+">")
	case "DATA", "END-OF-MESSAGE":
		s.Commands = []string{mail}
		if to == "several" {
			to = others[1]
		}
		for _, o := range others[:max(count-1, 0)] {
			s.Commands = append(s.Commands, "RCPT TO:<"+o+">")
		}
		s.Commands = append(s.Commands, "RCPT TO:<"+to+">", "DATA")
		if stage == "END-OF-MESSAGE" {
			s.Commands = append(s.Commands, "Subject: x\r\n\r\ntext\r\n.")
		}
	default:
		t.Fatalf("%s: no session ends at %s", tr.pos, stage)
	}
	return s
}

// hostFact is XCLIENT's word for a host's name.
func hostFact(value string) string {
	switch value {
	case "none":
		return "[UNAVAILABLE]"
	case "temporary":
		return "[TEMPUNAVAIL]"
	}
	return value
}
