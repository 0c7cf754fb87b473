package tlsinfo

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"testing"
)

// As Postfix 3.7 with OpenSSL 3.0 logs them.
func TestString(t *testing.T) {
	rsa2048 := &x509.Certificate{PublicKey: &rsa.PublicKey{N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537}}
	p256 := &x509.Certificate{PublicKey: &ecdsa.PublicKey{Curve: elliptic.P256()}}
	p384 := &x509.Certificate{PublicKey: &ecdsa.PublicKey{Curve: elliptic.P384()}}
	ed := &x509.Certificate{PublicKey: ed25519.PublicKey{}}
	pss512 := []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA512, tls.PSSWithSHA256}
	for _, c := range []struct {
		version, suite uint16
		curve          tls.CurveID
		server, client *x509.Certificate
		want           string
	}{
		{tls.VersionTLS13, tls.TLS_AES_256_GCM_SHA384, tls.X25519, rsa2048, nil, "TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 bits) key-exchange X25519 server-signature RSA-PSS (2048 bits) server-digest SHA512"},
		{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, tls.CurveP256, p384, rsa2048, "TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits) key-exchange ECDHE (prime256v1) server-signature ECDSA (secp384r1) server-digest SHA384 client-signature RSA-PSS (2048 bits) client-digest SHA512"},
		{tls.VersionTLS13, tls.TLS_CHACHA20_POLY1305_SHA256, tls.CurveP521, ed, p256, "TLSv1.3 with cipher TLS_CHACHA20_POLY1305_SHA256 (256/256 bits) key-exchange ECDHE (secp521r1) server-signature Ed25519 client-signature ECDSA (prime256v1) client-digest SHA256"},
		{tls.VersionTLS13, tls.TLS_AES_128_GCM_SHA256, tls.X25519, nil, nil, "TLSv1.3 with cipher TLS_AES_128_GCM_SHA256 (128/128 bits) key-exchange X25519"},
		{tls.VersionTLS12, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, tls.X25519, rsa2048, rsa2048, "TLSv1.2 with cipher ECDHE-RSA-AES256-GCM-SHA384 (256/256 bits)"},
		{tls.VersionTLS12, tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.X25519, p256, nil, "TLSv1.2 with cipher ECDHE-ECDSA-CHACHA20-POLY1305 (256/256 bits)"},
		{tls.VersionTLS11, tls.TLS_RSA_WITH_AES_128_CBC_SHA, 0, rsa2048, nil, "TLSv1.1 with cipher AES128-SHA (128/128 bits)"},
		{tls.VersionTLS10, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA, 0, rsa2048, nil, "TLSv1 with cipher DES-CBC3-SHA (112/112 bits)"},
	} {
		s := Describe(tls.ConnectionState{Version: c.version, CipherSuite: c.suite, CurveID: c.curve}, c.server, pss512)
		if c.client != nil {
			s.SignedByClient(c.client, pss512)
		}
		if got := s.String(); got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
}
