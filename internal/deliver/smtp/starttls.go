package smtp

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
)

// negotiateTLS turns TLS on where it is offered and wanted.
func (s *session) negotiateTLS() (ok, retryPlain bool) {
	if s.features.startTLS && s.level >= TLSMay {
		s.deadline(s.d.a.StartTLSTimeout)
		r, err := s.command("STARTTLS")
		if err != nil {
			return s.lost(err, "receiving the STARTTLS response"), false
		}
		if r.class() == 2 {
			return s.startTLS()
		}
		if s.level >= TLSEncrypt {
			return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
				text: fmt.Sprintf("TLS is required, but host %s refused to start TLS: %s", s.name(), r.text)}), false
		}
	}
	if s.level >= TLSEncrypt {
		return s.fail(trouble{dsn: "4.7.4",
			text: "TLS is required, but was not offered by host " + s.name()}), false
	}
	return true, false
}

// startTLS does the handshake and introduces itself again. What the server
// said before is forgotten (RFC 3207 section 4.2).
func (s *session) startTLS() (ok, retryPlain bool) {
	cfg := s.d.a.TLSConfig.Clone()
	cfg.ServerName = s.host.name
	cfg.InsecureSkipVerify = true // checked below, with Postfix's consequences
	conn := tls.Client(s.conn, cfg)
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.d.a.Log.Info(fmt.Sprintf("SSL_connect error to %s: %v", s.relay(), err))
		if s.level == TLSMay && s.ctx.Err() == nil {
			s.d.a.Log.Info(s.d.r.QueueID + ": Cannot start TLS: handshake failure")
			return false, true
		}
		s.d.fail(s.relay(), s.d.left(), trouble{dsn: "4.7.5", text: "Cannot start TLS: handshake failure"})
		return false, false
	}
	s.use(conn)
	s.encrypted = true
	state := conn.ConnectionState()
	trusted := verify(state, cfg.RootCAs, "") == nil
	if s.d.a.TLSLogLevel > 0 {
		s.logTLS(state, trusted)
	}
	if s.level >= TLSVerify && verify(state, cfg.RootCAs, s.host.name) != nil {
		text := "Server certificate not trusted"
		if trusted {
			text = "Server certificate not verified"
		}
		return s.fail(trouble{dsn: "4.7.5", text: text}), false
	}
	return s.hello(), false
}

// verify checks the server's certificate; name "" checks who signed it only.
func verify(state tls.ConnectionState, roots *x509.CertPool, name string) error {
	o := x509.VerifyOptions{Roots: roots, DNSName: name, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(o)
	return err
}

func (s *session) logTLS(state tls.ConnectionState, trusted bool) {
	word := "Untrusted"
	switch {
	case trusted && s.level >= TLSVerify:
		word = "Verified"
	case trusted:
		word = "Trusted"
	}
	s.d.a.Log.Info(fmt.Sprintf("%s TLS connection established to %s: %s with cipher %s", word, s.relay(),
		versionName(state.Version), tls.CipherSuiteName(state.CipherSuite)))
}

// versionName is a TLS version as OpenSSL spells it.
func versionName(v uint16) string {
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
