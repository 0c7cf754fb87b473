package smtp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"strings"
	"testing"
	"time"
)

// issue makes a certificate that parent has signed.
func issue(t *testing.T, template, parent *x509.Certificate, key, parentKey *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What Postfix 3.7 logs of certificates it does not accept.
func TestVerify(t *testing.T) {
	key := func() *ecdsa.PrivateKey {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	hour := time.Hour
	now := time.Now()
	caKey, leafKey := key(), key()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{Organization: []string{"T"}, CommonName: "My CA"},
		NotBefore: now.Add(-9 * hour), NotAfter: now.Add(9 * hour), IsCA: true, BasicConstraintsValid: true,
	}
	ca := issue(t, root, root, caKey, caKey)
	trusted := x509.NewCertPool()
	trusted.AddCert(ca)
	leaf := func(change func(*x509.Certificate)) *x509.Certificate {
		c := &x509.Certificate{
			SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "mx.test"}, DNSNames: []string{"mx.test"},
			NotBefore: now.Add(-2 * hour), NotAfter: now.Add(2 * hour),
		}
		change(c)
		return issue(t, c, ca, leafKey, caKey)
	}
	for name, c := range map[string]struct {
		leaf  *x509.Certificate
		roots *x509.CertPool
		want  string // empty: accepted
	}{
		"good":         {leaf(func(*x509.Certificate) {}), trusted, ""},
		"common name":  {leaf(func(c *x509.Certificate) { c.DNSNames = nil }), trusted, ""},
		"other name":   {leaf(func(c *x509.Certificate) { c.DNSNames = []string{"other.test"} }), trusted, "server certificate verification failed for R: num=62:hostname mismatch"},
		"unknown CA":   {leaf(func(*x509.Certificate) {}), x509.NewCertPool(), "certificate verification failed for R: untrusted issuer /O=T/CN=My CA"},
		"self-signed":  {ca, x509.NewCertPool(), "certificate verification failed for R: self-signed certificate"},
		"expired":      {leaf(func(c *x509.Certificate) { c.NotAfter = now.Add(-hour) }), trusted, "server certificate verification failed for R: certificate has expired"},
		"early":        {leaf(func(c *x509.Certificate) { c.NotBefore = now.Add(hour) }), trusted, "server certificate verification failed for R: certificate not yet valid"},
		"for a client": {leaf(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), trusted, "certificate verification failed for R: not designated for use as a server certificate"},
	} {
		chain := []*x509.Certificate{c.leaf}
		a, _ := newAgent(t)
		a.TLSConfig.RootCAs = c.roots
		s := &session{d: &delivery{a: a}, host: host{name: "mx.test", addr: "R"}, tls: &tlsPolicy{level: TLSVerify, names: []string{"hostname"}}}
		if got := s.judge(chain); strings.ReplaceAll(got.distrust, "mx.test[R]", "R") != c.want || got.matched != (c.want == "") {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}
