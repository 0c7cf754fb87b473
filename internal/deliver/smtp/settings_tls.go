package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"path/filepath"
	"strings"

	"sekisho/internal/tlsconf"
)

// tlsLevel reads the level, or the older parameters that count without it.
// When nobody says anything, SMTP takes TLS where it is offered, as Postfix
// does by default since 3.11.
func tlsLevel(c params) (TLSLevel, error) {
	word := c.Str("smtp_tls_security_level")
	silent := !c.Set("smtp_tls_security_level") && !c.Set("smtp_use_tls") && !c.Set("smtp_enforce_tls")
	switch {
	case silent && !c.lmtp:
		return TLSMay, nil
	case word == "" && c.Bool("smtp_enforce_tls") && c.Bool("smtp_tls_enforce_peername"):
		return TLSVerify, nil
	case word == "" && c.Bool("smtp_enforce_tls"):
		return TLSEncrypt, nil
	case word == "" && c.Bool("smtp_use_tls"):
		return TLSMay, nil
	case word == "":
		return TLSNone, nil
	}
	level, err := parseLevel(word)
	if err != nil {
		return TLSNone, c.errorf("smtp_tls_security_level", "%w", err)
	}
	return level, nil
}

// tlsDefaults reads what a policy table can replace.
func (s *Settings) tlsDefaults(c params) error {
	d := &s.TLSDefaults
	*d = TLSDefaults{
		PolicyMaps:         c.Strings("smtp_tls_policy_maps"),
		Protocols:          c.Str("smtp_tls_protocols"),
		MandatoryProtocols: c.Str("smtp_tls_mandatory_protocols"),
		Ciphers:            c.Str("smtp_tls_ciphers"),
		MandatoryCiphers:   c.Str("smtp_tls_mandatory_ciphers"),
		Exclude:            words(c.Str("smtp_tls_exclude_ciphers")),
		MandatoryExclude:   words(c.Str("smtp_tls_mandatory_exclude_ciphers")),
		VerifyMatch:        words(c.Str("smtp_tls_verify_cert_match")),
		SecureMatch:        words(c.Str("smtp_tls_secure_cert_match")),
		Fingerprints:       c.Strings("smtp_tls_fingerprint_cert_match"),
		ServerName:         c.Str("smtp_tls_servername"),
		DNSSEC:             c.Str("smtp_dns_support_level") == "dnssec",
		ForceTLSA:          c.Bool("smtp_tls_force_insecure_host_tlsa_lookup"),
		EnforceSTSPatterns: c.Bool("smtp_tls_enforce_sts_mx_patterns"),
		ReuseConnections:   c.Bool("smtp_tls_connection_reuse"),
	}
	for _, name := range []string{"smtp_tls_protocols", "smtp_tls_mandatory_protocols"} {
		if _, _, err := tlsconf.Protocols(c.Str(name)); err != nil {
			return c.errorf(name, "%w", err)
		}
	}
	for _, name := range []string{"smtp_tls_ciphers", "smtp_tls_mandatory_ciphers"} {
		if _, err := tlsconf.Suites(c.Str(name), nil); err != nil {
			return c.errorf(name, "%w", err)
		}
	}
	var err error
	if d.InsecureMX, err = parseLevel(c.Str("smtp_tls_dane_insecure_mx_policy")); err != nil {
		return c.errorf("smtp_tls_dane_insecure_mx_policy", "%w", err)
	}
	var ok bool
	if s.Digest, ok = digests()[strings.ToLower(c.Str("smtp_tls_fingerprint_digest"))]; !ok {
		return c.errorf("smtp_tls_fingerprint_digest", "unknown digest %q; give sha256", c.Str("smtp_tls_fingerprint_digest"))
	}
	if files := c.Strings("smtp_tls_trust_anchor_file"); len(files) > 0 {
		d.TrustAnchors = x509.NewCertPool()
		for _, file := range files {
			if err := addCertificates(d.TrustAnchors, file); err != nil {
				return c.errorf("smtp_tls_trust_anchor_file", "%w", err)
			}
		}
	}
	return nil
}

// tlsConfig reads the CA certificates and our own certificates, if there are
// any.
func tlsConfig(c params) (*tls.Config, error) {
	roots, err := trusted(c)
	if err != nil {
		return nil, err
	}
	t := &tls.Config{RootCAs: roots}
	if files := c.Strings("smtp_tls_chain_files"); len(files) > 0 {
		if t.Certificates, err = tlsconf.Chains(files); err != nil {
			return nil, c.errorf("smtp_tls_chain_files", "%w", err)
		}
		return t, nil
	}
	for _, p := range [][2]string{
		{"smtp_tls_cert_file", "smtp_tls_key_file"},
		{"smtp_tls_eccert_file", "smtp_tls_eckey_file"},
		{"smtp_tls_dcert_file", "smtp_tls_dkey_file"},
	} {
		file := c.Str(p[0])
		if file == "" || file == "none" {
			continue
		}
		cert, err := tls.LoadX509KeyPair(file, c.Str(p[1]))
		if err != nil {
			return nil, c.errorf(p[0], "%w", err)
		}
		t.Certificates = append(t.Certificates, cert)
	}
	return t, nil
}

// trusted are the CAs that servers' certificates may come from: nobody, if none
// are named.
func trusted(c params) (*x509.CertPool, error) {
	roots := x509.NewCertPool()
	if c.Bool("tls_append_default_CA") {
		system, err := x509.SystemCertPool()
		if err != nil {
			return nil, c.errorf("tls_append_default_CA", "%w", err)
		}
		roots = system
	}
	if file := c.Str("smtp_tls_CAfile"); file != "" {
		if err := addCertificates(roots, file); err != nil {
			return nil, c.errorf("smtp_tls_CAfile", "%w", err)
		}
	}
	if dir := c.Str("smtp_tls_CApath"); dir != "" {
		files, err := filepath.Glob(filepath.Join(dir, "*.[0-9]")) // named by their hashes
		if err != nil {
			return nil, c.errorf("smtp_tls_CApath", "%w", err)
		}
		for _, file := range files {
			if err := addCertificates(roots, file); err != nil {
				return nil, c.errorf("smtp_tls_CApath", "%w", err)
			}
		}
	}
	return roots, nil
}
