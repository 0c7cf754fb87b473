package cleanup

import (
	"strings"
	"testing"

	"sekisho/internal/mail"
)

// TestLocalByCertificate: whose headers are completed because of a certificate.
func TestLocalByCertificate(t *testing.T) {
	const (
		all   = "permit_tls_all_clientcerts"
		known = "permit_tls_clientcerts"
		ask   = "smtpd_tls_ask_ccert = yes\n"
	)
	secure := mail.Facts{EncryptionProtocol: "TLSv1.3"}
	with := func(cert, key string, trusted bool) mail.Facts {
		f := secure
		f.CcertPresent, f.CcertFingerprint, f.CcertPubkeyFingerprint, f.CcertTrusted = true, cert, key, trusted
		return f
	}
	for _, c := range []struct {
		words, main string
		facts       mail.Facts
		local       bool
		log         string
	}{
		{known, ask, mail.Facts{}, false, ""},
		{known, "", mail.Facts{}, false, ""},
		{known, "", secure, false, "warning: " + known + ` is requested, but "smtpd_tls_ask_ccert = no"`},
		{known, ask, secure, false, ""},
		{known, ask, with("AB", "01", false), true, ""},
		{known, ask, with("AC", "CD", false), true, ""},
		{known, ask, with("AC", "01", true), false, ""},
		{all, "", secure, false, "warning: " + all + ` is requested, but "smtpd_tls_ask_ccert = no"`},
		{all, ask, with("AC", "01", true), true, ""},
		{all, ask, with("AC", "01", false), false, ""},
		{all, ask, with("AB", "01", false), true, ""},
	} {
		s := newSite(t, "local_header_rewrite_clients = "+c.words+"\nrelay_clientcerts = prints\n"+c.main,
			map[string]map[string]string{"prints": {"ab": "x", "cd": "x"}})
		m := s.begin(stranger, "s@sender.test", "a@example.com")
		c.facts.ClientAddress = stranger
		m.facts = &c.facts
		if got := m.clientIsLocal(); got != c.local {
			t.Errorf("%s, %q: local is %v for %+v", c.words, c.main, got, c.facts)
		}
		if log := strings.Join(s.logged(), "|"); log != c.log {
			t.Errorf("%s, %q: log %q, want %q", c.words, c.main, log, c.log)
		}
		m.Abort()
	}
}
