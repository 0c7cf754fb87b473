package smtpd

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"strings"
)

// tlsInfo is what is known of a TLS session, under OpenSSL's names.
type tlsInfo struct {
	state     tls.ConnectionState
	leaf      *x509.Certificate // the certificate we have shown
	protocol  string
	cipher    string
	bits      int
	exchange  string // TLS 1.3: key exchange with its curve or size
	signature string // TLS 1.3: "RSA-PSS (2048 bits) server-digest SHA256"
	client    string // the same of the client's certificate
	sni       string
	trusted   bool // the client's certificate is
}

// describe collects what Postfix logs of a session. schemes are the client's
// signature schemes in its order.
func describe(state tls.ConnectionState, leaf *x509.Certificate, schemes []tls.SignatureScheme) *tlsInfo {
	t := &tlsInfo{state: state, leaf: leaf, protocol: protocolName(state.Version)}
	t.cipher, t.bits = cipherName(state.CipherSuite)
	if state.Version >= tls.VersionTLS13 {
		t.exchange = curveName(state.CurveID)
		if leaf != nil {
			t.signature = signatureName(leaf, schemes)
		}
		if len(state.PeerCertificates) > 0 && !state.DidResume {
			sig := signatureName(state.PeerCertificates[0], nil)
			t.client = strings.Replace(sig, "server-digest", "client-digest", 1)
		}
	}
	return t
}

func protocolName(v uint16) string {
	switch v {
	case tls.VersionTLS10:
		return "TLSv1"
	case tls.VersionTLS11:
		return "TLSv1.1"
	case tls.VersionTLS12:
		return "TLSv1.2"
	}
	return "TLSv1.3"
}

// cipherName returns a suite's name in OpenSSL and its key size in bits.
func cipherName(id uint16) (name string, bits int) {
	name = tls.CipherSuiteName(id)
	switch {
	case strings.Contains(name, "AES_256"), strings.Contains(name, "CHACHA20"):
		bits = 256
	case strings.Contains(name, "3DES"):
		bits = 112
	default:
		bits = 128
	}
	exchange, suite, ok := strings.Cut(strings.TrimPrefix(name, "TLS_"), "_WITH_")
	if !ok { // TLS 1.3: the standard's name
		return name, bits
	}
	suite = strings.NewReplacer("AES_", "AES", "CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305",
		"3DES_EDE_CBC", "DES-CBC3", "_CBC", "", "RC4_128", "RC4").Replace(suite)
	suite = strings.ReplaceAll(suite, "_", "-")
	if exchange == "RSA" {
		return suite, bits
	}
	return strings.ReplaceAll(exchange, "_", "-") + "-" + suite, bits
}

func curveName(id tls.CurveID) string {
	switch id {
	case tls.X25519:
		return "X25519"
	case tls.CurveP256:
		return "ECDHE (prime256v1)"
	case tls.CurveP384:
		return "ECDHE (secp384r1)"
	case tls.CurveP521:
		return "ECDHE (secp521r1)"
	}
	return id.String()
}

// signatureName names what the server has signed with: as the client's first
// scheme that the key can do.
func signatureName(leaf *x509.Certificate, schemes []tls.SignatureScheme) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-PSS (%d bits) server-digest %s", key.N.BitLen(),
			digest(schemes, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512))
	case *ecdsa.PublicKey:
		switch key.Curve {
		case elliptic.P384():
			return "ECDSA (secp384r1) server-digest SHA384"
		case elliptic.P521():
			return "ECDSA (secp521r1) server-digest SHA512"
		}
		return "ECDSA (prime256v1) server-digest SHA256"
	case ed25519.PublicKey:
		return "Ed25519"
	}
	return ""
}

func digest(schemes []tls.SignatureScheme, sha256, sha384, sha512 tls.SignatureScheme) string {
	for _, s := range schemes {
		switch s {
		case sha256:
			return "SHA256"
		case sha384:
			return "SHA384"
		case sha512:
			return "SHA512"
		}
	}
	return "SHA256"
}

// summary is the line Postfix logs with smtpd_tls_loglevel 1.
func (t *tlsInfo) summary(nameAddr string) string {
	trust, use := "Anonymous", "established"
	switch {
	case t.trusted:
		trust = "Trusted"
	case len(t.state.PeerCertificates) > 0:
		trust = "Untrusted"
	}
	if t.state.DidResume {
		use = "reused"
	}
	line := fmt.Sprintf("%s TLS connection %s from %s", trust, use, nameAddr)
	if t.sni != "" {
		line += " to " + t.sni
	}
	line += fmt.Sprintf(": %s with cipher %s (%d/%d bits)", t.protocol, t.cipher, t.bits, t.bits)
	if t.exchange != "" {
		line += " key-exchange " + t.exchange
	}
	if t.signature != "" {
		line += " server-signature " + t.signature
	}
	if t.client != "" {
		line += " client-signature " + t.client
	}
	return line
}

// received are the lines of the Received header.
func (t *tlsInfo) received(asked bool) []string {
	line := fmt.Sprintf("\t(using %s with cipher %s (%d/%d bits)", t.protocol, t.cipher, t.bits, t.bits)
	var out []string
	if t.exchange != "" {
		out = append(out, line)
		line = "\t key-exchange " + t.exchange
		if t.signature != "" {
			line += " server-signature " + t.signature
		}
	}
	if t.client != "" {
		out = append(out, line)
		line = "\t client-signature " + t.client
	}
	out = append(out, line+")")
	switch {
	case len(t.state.PeerCertificates) > 0:
		c, verdict := t.state.PeerCertificates[0], "not verified"
		if t.trusted {
			verdict = "verified OK"
		}
		return append(out, fmt.Sprintf("\t(Client CN \"%s\", Issuer \"%s\" (%s))",
			neuter(c.Subject.CommonName, `()\"`), neuter(c.Issuer.CommonName, `()\"`), verdict))
	case asked:
		return append(out, "\t(Client did not present a certificate)")
	}
	return append(out, "\t(No client certificate requested)")
}
