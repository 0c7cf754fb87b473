package smtpd

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"

	"sekisho/internal/tlsinfo"
)

// tlsInfo is what is known of a TLS session.
type tlsInfo struct {
	tlsinfo.Session
	state   tls.ConnectionState
	leaf    *x509.Certificate // the certificate we have shown
	asked   string            // server name that the client asked for
	sni     string
	trusted bool // the client's certificate is
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
	return line + ": " + t.String()
}

// received are the lines of the Received header.
func (t *tlsInfo) received(asked bool) []string {
	line := fmt.Sprintf("\t(using %s with cipher %s (%d/%d bits)", t.Protocol, t.Cipher, t.Bits, t.Bits)
	var out []string
	if t.Exchange != "" {
		out = append(out, line)
		line = "\t key-exchange " + t.Exchange
		if t.ServerSignature != "" {
			line += " server-signature " + t.ServerSignature
		}
	}
	if t.ClientSignature != "" {
		out = append(out, line)
		line = "\t client-signature " + t.ClientSignature
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
