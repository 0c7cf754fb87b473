package smtp

import (
	"bytes"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"strings"
	"time"
)

// verify checks a server's certificate, the first of chain; with name "" only
// who signed it. The common name counts where there are no other names, as with
// OpenSSL.
func verify(chain []*x509.Certificate, roots *x509.CertPool, name string) error {
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(o); err != nil || name == "" {
		return err
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 && strings.EqualFold(leaf.Subject.CommonName, name) {
		return nil
	}
	return leaf.VerifyHostname(name)
}

// distrust is the line that Postfix logs about a certificate that verify has
// refused (tls_verify.c).
func distrust(chain []*x509.Certificate, err error, relay string) string {
	leaf, last := chain[0], chain[len(chain)-1]
	var invalid x509.CertificateInvalidError
	switch {
	case errors.As(err, new(x509.HostnameError)):
		return "server certificate verification failed for " + relay + ": num=62:hostname mismatch"
	case errors.As(err, new(x509.UnknownAuthorityError)) && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return "certificate verification failed for " + relay + ": self-signed certificate"
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return "certificate verification failed for " + relay + ": untrusted issuer " + oneLine(last.Issuer)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(invalid.Cert.NotBefore):
		return "server certificate verification failed for " + relay + ": certificate not yet valid"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "server certificate verification failed for " + relay + ": certificate has expired"
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "certificate verification failed for " + relay + ": not designated for use as a server certificate"
	}
	return fmt.Sprintf("server certificate verification failed for %s: %v", relay, err)
}

// oneLine is a name as OpenSSL's X509_NAME_oneline writes it.
func oneLine(n pkix.Name) string {
	short := map[string]string{
		"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
		"2.5.4.5": "serialNumber", "1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.25": "DC",
	}
	var b strings.Builder
	for _, part := range n.Names {
		id := part.Type.String()
		if s, ok := short[id]; ok {
			id = s
		}
		fmt.Fprintf(&b, "/%s=%v", id, part.Value)
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, b.String())
}
