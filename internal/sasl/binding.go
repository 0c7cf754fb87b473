package sasl

import (
	"crypto"
	_ "crypto/sha256" // the hashes of tls-server-end-point
	_ "crypto/sha512"
	"crypto/tls"
	"crypto/x509"
)

// ChannelBinding returns what Client.ChannelBinding needs of a TLS session:
// tls-exporter (RFC 9266), tls-server-end-point and, before TLS 1.3,
// tls-unique (RFC 5929). leaf is the certificate the server has shown.
func ChannelBinding(state tls.ConnectionState, leaf *x509.Certificate) func(kind string) ([]byte, bool) {
	return func(kind string) ([]byte, bool) {
		switch kind {
		case "tls-exporter":
			// Fails where the binding would not be safe: TLS 1.2 without
			// extended master secret.
			data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32)
			return data, err == nil
		case "tls-server-end-point":
			return endPoint(leaf)
		case "tls-unique":
			return state.TLSUnique, state.Version < tls.VersionTLS13 && len(state.TLSUnique) > 0
		}
		return nil, false
	}
}

// endPoint hashes a certificate by the hash of its signature, SHA-256 in place
// of weaker ones (RFC 5929 section 4.1). Signatures without one, such as
// Ed25519, have no such binding.
func endPoint(leaf *x509.Certificate) ([]byte, bool) {
	if leaf == nil {
		return nil, false
	}
	var h crypto.Hash
	switch leaf.SignatureAlgorithm {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.ECDSAWithSHA256, x509.DSAWithSHA256:
		h = crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		h = crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		h = crypto.SHA512
	default:
		return nil, false
	}
	sum := h.New()
	sum.Write(leaf.Raw)
	return sum.Sum(nil), true
}
