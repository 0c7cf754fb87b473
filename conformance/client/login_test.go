package client

import (
	"log/slog"
	"os/exec"
	"strings"
	"testing"

	"sekisho/internal/deliver"
)

// postfixLogins are the ways to log in to Postfix's own SMTP server.
func postfixLogins() []*scenario {
	var list []*scenario
	for _, mechanism := range []string{"plain", "login", "cram-md5", "scram-sha-1", "scram-sha-256"} {
		for _, password := range []string{"pass", "wrong"} {
			for _, level := range []string{"none", "encrypt"} {
				list = append(list, &scenario{name: "login." + mechanism + "." + password + "." + level, direct: true, to: []string{"u"},
					settings: "smtp_sasl_auth_enable=yes\nsmtp_sasl_security_options=noanonymous\nsmtp_tls_security_level=" + level +
						"\nsmtp_sasl_mechanism_filter=" + mechanism + "\nsmtp_sasl_password_maps=inline:{{127.0.0.1=user@mx.example.com:" + password + "}}"})
			}
		}
	}
	return list
}

// login delivers to Postfix's own SMTP server, which wants to know who we are,
// by each mechanism of Cyrus SASL, in the clear and with TLS.
func login(t *testing.T, p *postfix, list []*scenario) {
	add := exec.Command("saslpasswd2", "-c", "-p", "-f", p.dir+"/sasldb", "-u", "mx.example.com", "user")
	add.Stdin = strings.NewReader("pass")
	if out, err := add.CombinedOutput(); err != nil {
		t.Fatalf("saslpasswd2: %v %s; apt-get install sasl2-bin", err, out)
	}
	if out, err := exec.Command("chown", "postfix", p.dir+"/sasldb").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	for _, s := range list {
		if !s.direct {
			continue
		}
		s.server = &server{port: p.auth}
		got := s.agent(t, p.dir, slog.DiscardHandler).Deliver(t.Context(), s.request())[0]
		switch {
		case strings.Contains(s.name, ".pass.") && got.Status != deliver.Sent:
			t.Errorf("%s: %+v", s.name, got)
		case strings.Contains(s.name, ".wrong.") && (got.Status != deliver.Deferred ||
			!strings.Contains(got.Text, "SASL authentication failed; server 127.0.0.1[127.0.0.1] said: 535 5.7.8 Error: authentication failed")):
			t.Errorf("%s: %+v", s.name, got)
		}
	}
}
