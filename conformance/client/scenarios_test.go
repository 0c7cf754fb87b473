package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"
)

// newCertificate makes a key and a certificate by itself.
func newCertificate(t *testing.T, name string) (*ecdsa.PrivateKey, *x509.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return key, parsed
}

// config is how servers of scenarios with TLS do it.
func tlsConfig(key *ecdsa.PrivateKey, cert *x509.Certificate) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}, CurvePreferences: []tls.CurveID{tls.X25519},
		SessionTicketsDisabled: true} // who closes with a ticket unread resets the connection, and with it a QUIT on its way
}

// writeKey writes a chain file for smtpd_tls_chain_files.
func writeKey(t *testing.T, path string) {
	t.Helper()
	key, cert := newCertificate(t, "mx.example.com")
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

const (
	full      = "250-srv.test\n250-PIPELINING\n250-SIZE 1000000\n250-8BITMIME\n250-DSN\n250-XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT DOMAIN\n250 SMTPUTF8"
	pipelined = "250-srv.test\n250 PIPELINING"
	eightBits = "body 8bit \xc3\xa9\n"
	multipart = "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=bb\nContent-Transfer-Encoding: 8bit\n"
)

// scenarios are all there are. cert is that of the servers, and CA the file it is
// in.
func scenarios(cert *x509.Certificate, ca string) []*scenario {
	list := []*scenario{
		{name: "plain"},
		{name: "full", script: script{"EHLO": full}, sender: "f@q.test BODY=8BITMIME ENVID=a+2Bb RET=HDRS",
			to: []string{"u NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;o@s.test", "v", "w NOTIFY=NEVER"}},
		{name: "helo", script: script{"EHLO": "502 no"}},
		{name: "noesmtp", script: script{"banner": "220 srv.test SMTP"}, settings: "smtp_always_send_ehlo=no"},
		{name: "downgrade", sender: "f@q.test BODY=8BITMIME", header: "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n",
			body: eightBits + "trailing blank \n" + "= equals " + long(100) + "\n.\ntab\t\n\x01\n"},
		{name: "downmulti", sender: "f@q.test BODY=8BITMIME", header: multipart,
			body: "preamble\n--bb\nContent-Type: text/plain\nContent-Transfer-Encoding: 8BIT\n\n" + eightBits + "--bb\nContent-Type: text/plain\n\nseven\n--bb\nContent-Type: message/rfc822\nContent-Transfer-Encoding: 8bit\n\nSubject: in\nContent-Transfer-Encoding: 8bit\n\n" + eightBits + "--bb--\nepilogue\n"},
		{name: "downseven", header: "Content-Transfer-Encoding: 7bit\n", body: eightBits},
		{name: "keepeight", settings: "disable_mime_output_conversion=yes", header: "Content-Transfer-Encoding: 8bit\n", body: eightBits},
		{name: "xforward", script: script{"EHLO": full}, settings: "smtp_send_xforward_command=yes"},
		{name: "longlines", body: long(3000) + "\n" + long(998) + "\n" + long(999) + "\n"},
		{name: "checks", settings: "smtp_header_checks=regexp:{{/^X-In/ IGNORE}, {/^X-Re/ REPLACE X-New: b}, {/^X-Pre/ PREPEND X-Before: a}, {/^X-Info/ INFO look}, {/^X-Warn/ WARN}, {/^X-Strip/ STRIP gone}, {/^X-Bad/ REPLACE nonsense}, {/^X-Odd/ REJECT no}}\nsmtp_body_checks=regexp:{{/^secret/ IGNORE}, {/^old/ REPLACE new}, {/^pre/ PREPEND before}}",
			header: "X-In: 1\nX-Re: 2\nX-Pre: 3\n\tfolded\nX-Info: 4\nX-Warn: 5\nX-Strip: 6\nX-Bad: 7\nX-Odd: 8\n", body: "secret\nold\npre\nrest\n"},
		{name: "mimechecks", settings: "smtp_mime_header_checks=regexp:{{/^Content-Disposition/ IGNORE}}\nsmtp_nested_header_checks=regexp:{{/^Subject: in/ REPLACE Subject: out}}",
			header: multipart, body: "--bb\nContent-Type: message/rfc822\nContent-Disposition: inline\n\nSubject: in\n\nx\n--bb--\n"},
		{name: "generic", settings: "smtp_generic_maps=regexp:{{/^f@q.test$$/ outside@example.com}, {/^u@generic.test$$/ other@example.com}}", header: "To: U <u@generic.test>, v@generic.test\nReply-To: f@q.test\n"},
		{name: "nokeywords", script: script{"EHLO": full}, settings: "smtp_discard_ehlo_keywords=pipelining, size, dsn"},
		{name: "replyfilter", script: script{"RCPT 2": "550 5.1.1 nobody"}, settings: "smtp_reply_filter=regexp:{{/^550(.*)/ 450$$1}}"},
		{name: "statusfilter", script: script{"RCPT 2": "550 5.1.1 nobody"}, settings: "smtp_delivery_status_filter=regexp:{{/^5(.*)nobody(.*)/ 4$${1}somebody$${2}}, {/^2(.*)/ 2$${1} indeed}}"},
		{name: "pix", script: script{"banner": "220 ***********20******"}},
		{name: "sizelimit", script: script{"EHLO": "250-srv.test\n250 SIZE 50"}},
		{name: "starttls", tls: true, script: script{"EHLO 1": "250-srv.test\n250 STARTTLS"}, settings: "smtp_tls_security_level=may\nsmtp_tls_loglevel=1"},
		{name: "tlsneeded", settings: "smtp_tls_security_level=encrypt"},
		{name: "tlsrefused", script: script{"EHLO 1": "250-srv.test\n250 STARTTLS", "STARTTLS": "454 4.7.0 not now"}, settings: "smtp_tls_security_level=encrypt"},
		{name: "tlsnote", script: script{"EHLO": "250-srv.test\n250 STARTTLS"}, settings: "smtp_tls_note_starttls_offer=yes"},
		{name: "wrapper", settings: "smtp_tls_wrappermode=yes\nsmtp_tls_security_level=may"},
		{name: "cached", times: 3, settings: "smtp_connection_cache_destinations=127.0.0.1"},
		{name: "cachelimit", times: 4, settings: "smtp_connection_cache_destinations=127.0.0.1\nsmtp_connection_reuse_count_limit=2"},
		{name: "cachefail", times: 2, script: script{"RCPT 2/1": "550 5.1.1 nobody", ".": "450 4.0.0 later"}, settings: "smtp_connection_cache_destinations=127.0.0.1"},
		{name: "cacherset", times: 2, script: script{"RSET": "500 no"}, settings: "smtp_connection_cache_destinations=127.0.0.1"},
		{name: "longreply", script: script{"RCPT 2": "550 5.1.1 " + long(5000)}},
		{name: "longbanner", script: script{"banner": "220-" + long(3000) + "\n220 srv.test ESMTP"}},
		{name: "manylines", script: script{"RCPT 2": strings.Repeat("550-5.1.1 "+long(100)+"\n", 40) + "550 5.1.1 end"}},
		{name: "nulbyte", script: script{"RCPT 2": "550 5.1.1 a\x00b", ".": "250 2.0.0 a\x00b"}},
		{name: "oddbytes", script: script{"RCPT 2": "550 5.1.1 a\x01c\xe9d\xc3\xa9e\x7f\tf", ".": "250 2.0.0 \xff ok"}},
		{name: "lmtp", lmtp: true, script: script{". 2": "550 5.2.2 full"}, to: []string{"a", "b", "c"}},
		{name: "lmtppipe", lmtp: true, script: script{"LHLO": pipelined, "RCPT 2": "450 4.2.1 busy", ". 2": "450 later"}, to: []string{"a", "b", "c"}},
	}
	list = append(list, logins()...)
	list = append(list, secured(cert, ca)...)
	list = append(list, random()...)
	return append(list, faults()...)
}

// secured are servers with TLS and what is wanted of them.
func secured(cert *x509.Certificate, ca string) []*scenario {
	const offer = "250-srv.test\n250 STARTTLS"
	print := func(b []byte) string {
		sum := sha256.Sum256(b)
		return strings.ToUpper(hex.EncodeToString(sum[:]))
	}
	var list []*scenario
	for name, settings := range map[string]string{
		"may":       "smtp_tls_security_level=may",
		"encrypt":   "smtp_tls_security_level=encrypt",
		"trusted":   "smtp_tls_security_level=encrypt\nsmtp_tls_CAfile=" + ca,
		"verify":    "smtp_tls_security_level=verify\nsmtp_tls_CAfile=" + ca,
		"match":     "smtp_tls_security_level=verify\nsmtp_tls_verify_cert_match=srv.test\nsmtp_tls_CAfile=" + ca,
		"dotmatch":  "smtp_tls_security_level=secure\nsmtp_tls_secure_cert_match=.test\nsmtp_tls_CAfile=" + ca,
		"nomatch":   "smtp_tls_security_level=secure\nsmtp_tls_secure_cert_match=.srv.test:test\nsmtp_tls_CAfile=" + ca,
		"untrusted": "smtp_tls_security_level=verify\nsmtp_tls_verify_cert_match=srv.test",
		"anchor":    "smtp_tls_security_level=verify\nsmtp_tls_verify_cert_match=srv.test\nsmtp_tls_trust_anchor_file=" + ca,
		"print":     "smtp_tls_security_level=fingerprint\nsmtp_tls_fingerprint_cert_match=" + print(cert.Raw),
		"printkey":  "smtp_tls_security_level=fingerprint\nsmtp_tls_fingerprint_cert_match=" + print(cert.RawSubjectPublicKeyInfo),
		"noprint":   "smtp_tls_security_level=fingerprint\nsmtp_tls_fingerprint_cert_match=" + print(nil),
		"policy":    "smtp_tls_policy_maps=static:{encrypt protocols=TLSv1.2 ciphers=high}",
		"policybad": "smtp_tls_policy_maps=static:{encrypt what=ever}",
		"nodane":    "smtp_tls_security_level=dane",
		"danonly":   "smtp_tls_security_level=dane-only",
		"version":   "smtp_tls_security_level=may\nsmtp_tls_protocols=TLSv1.2",
	} {
		list = append(list, &scenario{name: "tls" + name, tls: true, script: script{"EHLO 1": offer, "EHLO 2": full}, settings: settings + "\nsmtp_tls_loglevel=1"})
	}
	return list
}

// logins are servers that want to know who we are.
func logins() []*scenario {
	const on = "smtp_sasl_auth_enable=yes\nsmtp_sasl_password_maps=inline:{{127.0.0.1=user:pass}}\nsmtp_sasl_security_options=noanonymous\n"
	auth := func(mechanisms string) string { return "250-srv.test\n250 AUTH " + mechanisms }
	return []*scenario{
		{name: "authplain", script: script{"EHLO": auth("PLAIN LOGIN"), "AUTH": "235 2.7.0 welcome"}, settings: on},
		{name: "authlogin", script: script{"EHLO": auth("LOGIN"), "AUTH": "334 VXNlcm5hbWU6", "DXNLCG==": "334 UGFzc3dvcmQ6", "CGFZCW==": "235 2.7.0 welcome"}, settings: on},
		{name: "authcram", script: script{"EHLO": auth("CRAM-MD5 PLAIN"), "AUTH": "334 PDEuMkBzcnYudGVzdD4=", "DXNLCIA4YTUZNWUZMWM2YJI3OWI3MZBIM2Q5ZTG1YZU4MGYYNQ==": "235 ok"}, settings: on},
		{name: "authtwice", script: script{"EHLO": "250-srv.test\n250-AUTH=PLAIN\n250 AUTH PLAIN", "AUTH": "235 2.7.0 welcome"}, settings: on},
		{name: "authno", script: script{"EHLO": auth("PLAIN"), "AUTH": "535 5.7.8 wrong"}, settings: on},
		{name: "authhard", script: script{"EHLO": auth("PLAIN"), "AUTH": "535 5.7.8 wrong"}, settings: on + "smtp_sasl_auth_soft_bounce=no"},
		{name: "authsoft", script: script{"EHLO": auth("PLAIN"), "AUTH": "454 4.7.0 later"}, settings: on},
		{name: "authlost", script: script{"EHLO": auth("PLAIN"), "AUTH": "^"}, settings: on},
		{name: "authsecure", script: script{"EHLO": auth("PLAIN LOGIN")}, settings: on + "smtp_sasl_security_options=noanonymous, noplaintext"},
		{name: "authnone", script: script{"EHLO": "250-srv.test\n250 AUTH"}, settings: on},
		{name: "authfilter", script: script{"EHLO": auth("PLAIN LOGIN"), "AUTH": "334 VXNlcm5hbWU6", "DXNLCG==": "334 UGFzc3dvcmQ6", "CGFZCW==": "235 ok"},
			settings: on + "smtp_sasl_mechanism_filter=!plain, static:all"},
		{name: "authfiltered", script: script{"EHLO": auth("PLAIN LOGIN")}, settings: on + "smtp_sasl_mechanism_filter=gssapi"},
		{name: "authunknown", script: script{"EHLO": auth("PLAIN")}, settings: strings.ReplaceAll(on, "{127.0.0.1=", "{other=")},
		{name: "authnotoffered", settings: on},
		{name: "authsender", script: script{"EHLO": auth("PLAIN"), "AUTH": "235 ok"},
			settings: strings.ReplaceAll(on, "{127.0.0.1=", "{f@q.test=f:sent}, {127.0.0.1=") + "smtp_sender_dependent_authentication=yes"},
		{name: "authdummy", script: script{"EHLO": auth("PLAIN"), "AUTH": "235 ok"}, settings: on + "smtp_send_dummy_mail_auth=yes"},
		{name: "authgarbage", script: script{"EHLO": auth("LOGIN"), "AUTH": "334 %%%"}, settings: on},
		{name: "authloop", script: script{"EHLO": auth("LOGIN"), "AUTH": "334 YQ==", "DXNLCG==": "334 YQ==", "CGFZCW==": "334 YQ=="}, settings: on},
		{name: "authcached", times: 3, script: script{"EHLO": auth("PLAIN"), "AUTH": "235 ok"}, settings: on + "smtp_connection_cache_destinations=127.0.0.1"},
		{name: "authtls", tls: true, script: script{"EHLO 1": "250-srv.test\n250-STARTTLS\n250 AUTH LOGIN", "EHLO 2": auth("PLAIN"), "AUTH": "235 ok"},
			settings: "smtp_tls_security_level=encrypt\n" + on + "smtp_sasl_security_options=noplaintext\nsmtp_sasl_tls_security_options=noanonymous"},
		{name: "authnomap", script: script{"EHLO": auth("PLAIN")}, settings: strings.ReplaceAll(on, "inline:{{127.0.0.1=user:pass}}", "fail:x"), noLog: true}, // Postfix has a line for the table, too
	}
}

func long(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = 'a' + byte(i%26)
	}
	return string(b)
}

// faults are servers that refuse, close or fall silent at each step.
func faults() []*scenario {
	var list []*scenario
	for _, at := range []string{"banner", "EHLO", "MAIL", "RCPT", "RCPT 2", "DATA", "."} {
		for what, answer := range map[string]string{"four": "421 4.3.2 not now", "soft": "450 4.2.1 busy", "hard": "554 5.7.1 no", "close": "^",
			"partly": "250-half^", "odd": "999 what", "garbage": "what is this\n250 2.0.0 fine", "three": "354 go"} {
			for kind, ehlo := range map[string]string{"": "250 srv.test", "p": pipelined} {
				if kind == "" && (what == "odd" || what == "three" || what == "partly") {
					continue // as with pipelining, and each takes a process of Postfix's
				}
				s := &scenario{name: kind + what + at, script: script{"EHLO": ehlo, at: answer}}
				s.name = clean(s.name)
				list = append(list, s)
			}
		}
	}
	return list
}

func clean(name string) string {
	var b []byte
	for _, c := range []byte(name) {
		switch {
		case c == '.':
			b = append(b, "dot"...)
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		case c != ' ':
			b = append(b, c)
		}
	}
	return string(b)
}
