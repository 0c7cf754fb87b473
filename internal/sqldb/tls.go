package sqldb

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// TLS are the TLS parameters of mysql_table(5). When one is set, connections
// without TLS are refused. PostgreSQL's are part of the host's URI.
type TLS struct {
	CertFile string
	KeyFile  string
	CAFile   string
	CAPath   string
	Verify   bool // the certificate must bear the host's name
	Require  bool // TLS without a look at the certificate, when nothing else is set
}

func readTLS(get func(string) string) (TLS, error) {
	t := TLS{
		CertFile: get("tls_cert_file"), KeyFile: get("tls_key_file"),
		CAFile: get("tls_CAfile"), CAPath: get("tls_CApath"),
	}
	switch v := strings.ToLower(get("tls_verify_cert")); v {
	case "yes":
		t.Verify = true
	case "", "no":
	default:
		return t, fmt.Errorf("tls_verify_cert = %s is neither yes nor no", v)
	}
	if get("tls_ciphers") != "" {
		return t, errors.New("tls_ciphers cannot be chosen here: remove it, and only secure ones are used")
	}
	return t, nil
}

// config returns nil for no TLS.
func (t TLS) config(host string) (*tls.Config, error) {
	if t == (TLS{}) {
		return nil, nil
	}
	// The name is checked apart: without tls_verify_cert it need not fit, and
	// certificates that MySQL makes for itself have it as common name only.
	c := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12, ServerName: host}
	if t.CertFile != "" {
		pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls_cert_file: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	if roots != nil || t.Verify {
		c.VerifyConnection = func(cs tls.ConnectionState) error { return t.verify(cs, roots, host) }
	}
	return c, nil
}

// roots are the authorities to trust; nil when none are named.
func (t TLS) roots() (*x509.CertPool, error) {
	files := []string{t.CAFile}
	if t.CAFile == "" {
		if t.CAPath == "" {
			return nil, nil
		}
		var err error
		if files, err = filepath.Glob(filepath.Join(t.CAPath, "*")); err != nil {
			return nil, fmt.Errorf("tls_CApath: %w", err)
		}
	}
	pool, found := x509.NewCertPool(), false
	for _, f := range files {
		pem, err := os.ReadFile(f)
		if err != nil {
			return nil, fmt.Errorf("tls_CAfile: %w", err)
		}
		found = pool.AppendCertsFromPEM(pem) || found
	}
	if !found {
		return nil, fmt.Errorf("no certificate in %s%s", t.CAFile, t.CAPath)
	}
	return pool, nil
}

func (t TLS) verify(cs tls.ConnectionState, roots *x509.CertPool, host string) error {
	leaf := cs.PeerCertificates[0]
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range cs.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := leaf.Verify(o); err != nil {
		return err
	}
	if !t.Verify {
		return nil
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 && strings.EqualFold(leaf.Subject.CommonName, host) {
		return nil
	}
	return leaf.VerifyHostname(host)
}
