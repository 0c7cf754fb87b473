// Package tlsinfo names what a TLS session uses as OpenSSL and Postfix's log
// name it: protocol, cipher, key exchange, signatures. It neither makes sessions
// nor judges certificates. RFC 8446, tls_misc(3) of Postfix.
package tlsinfo

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

// Session is what a TLS session uses. The last three are known of TLS 1.3 only.
type Session struct {
	Protocol        string // "TLSv1.3"
	Cipher          string // as OpenSSL spells it
	Bits            int    // of the cipher's key
	Exchange        string // "X25519", "ECDHE (prime256v1)"
	ServerSignature string // "RSA-PSS (2048 bits) server-digest SHA256"
	ClientSignature string // empty: the client has not signed
}

// Describe names what a session uses. server is the server's certificate, nil
// if there is none, and schemes are the client's signature schemes, the most
// wanted first: the server signs with the first that its key can do.
func Describe(state tls.ConnectionState, server *x509.Certificate, schemes []tls.SignatureScheme) Session {
	s := Session{Protocol: protocolName(state.Version)}
	s.Cipher, s.Bits = CipherName(state.CipherSuite)
	if state.Version >= tls.VersionTLS13 {
		s.Exchange = curveName(state.CurveID)
		if server != nil {
			s.ServerSignature = signatureName(server, schemes, "server")
		}
	}
	return s
}

// SignedByClient adds that the client has shown a certificate; schemes are
// those the server has asked for.
func (s *Session) SignedByClient(client *x509.Certificate, schemes []tls.SignatureScheme) {
	if s.Exchange != "" {
		s.ClientSignature = signatureName(client, schemes, "client")
	}
}

// String is the session as Postfix logs it, behind "TLS connection established
// to host: ".
func (s Session) String() string {
	line := fmt.Sprintf("%s with cipher %s (%d/%d bits)", s.Protocol, s.Cipher, s.Bits, s.Bits)
	for _, part := range [][2]string{
		{" key-exchange ", s.Exchange}, {" server-signature ", s.ServerSignature}, {" client-signature ", s.ClientSignature},
	} {
		if part[1] != "" {
			line += part[0] + part[1]
		}
	}
	return line
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

// CipherName returns a suite's name in OpenSSL and its key size in bits.
func CipherName(id uint16) (name string, bits int) {
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

// signatureName names what side, "server" or "client", has signed with: the
// first of schemes that its key can do.
func signatureName(leaf *x509.Certificate, schemes []tls.SignatureScheme, side string) string {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA-PSS (%d bits) %s-digest %s", key.N.BitLen(), side,
			digest(schemes, tls.PSSWithSHA256, tls.PSSWithSHA384, tls.PSSWithSHA512))
	case *ecdsa.PublicKey:
		curve, digest := "prime256v1", "SHA256"
		switch key.Curve {
		case elliptic.P384():
			curve, digest = "secp384r1", "SHA384"
		case elliptic.P521():
			curve, digest = "secp521r1", "SHA512"
		}
		return fmt.Sprintf("ECDSA (%s) %s-digest %s", curve, side, digest)
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
