package smtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"sekisho/internal/tlsinfo"
)

// negotiateTLS turns TLS on where it is offered and wanted.
func (s *session) negotiateTLS() bool {
	if s.features.startTLS && s.tls.level == TLSNone && s.d.a.NoteSTARTTLS {
		s.d.a.Log.Info("Host offered STARTTLS: [" + s.host.name + "]")
	}
	if s.features.startTLS && s.tls.level >= TLSMay {
		s.begin(s.d.a.StartTLSTimeout)
		r, err := s.command("STARTTLS")
		if err != nil {
			return s.lost(err, "receiving the STARTTLS response")
		}
		if r.class() == 2 {
			return s.startTLS() && s.hello()
		}
		if s.tls.level >= TLSEncrypt {
			s.checkCode(r.code)
			return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
				text: fmt.Sprintf("TLS is required, but host %s refused to start TLS: %s", s.name(), r.text)})
		}
	}
	if s.tls.level >= TLSEncrypt {
		return s.fail(trouble{dsn: "4.7.4",
			text: "TLS is required, but was not offered by host " + s.name()})
	}
	return true
}

// secured is a connection within TLS.
type secured struct {
	state   tls.ConnectionState
	matched bool // the certificate is the one that the policy wants
}

// startTLS does the handshake. What the server said before is forgotten (RFC
// 3207 section 4.2).
func (s *session) startTLS() bool {
	cfg := s.d.a.TLSConfig.Clone()
	cfg.ServerName = s.host.name
	cfg.InsecureSkipVerify = true // checked below, with Postfix's consequences
	var asked *tls.CertificateRequestInfo
	if len(cfg.Certificates) > 0 {
		cfg.GetClientCertificate = func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if i.SupportsCertificate(&cfg.Certificates[0]) != nil {
				return &tls.Certificate{}, nil
			}
			asked = i
			return &cfg.Certificates[0], nil
		}
	}
	s.begin(s.d.a.StartTLSTimeout)
	if !s.tls.reuse {
		s.dontCache()
	}
	conn := tls.Client(s.sock, cfg)
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.logHandshake(err)
		s.forbidden = true
		s.mayRetryPlain()
		if s.tls.level == TLSMay {
			s.dontCache()
		} else {
			s.throttle()
		}
		s.d.fail(s.relay(), s.d.left(), trouble{dsn: "4.7.5", text: "Cannot start TLS: handshake failure"})
		return false
	}
	s.use(conn)
	state := conn.ConnectionState()
	s.secured = &secured{state: state}
	name := ""
	if s.tls.level >= TLSVerify {
		name = s.host.name
	}
	untrusted := verify(state.PeerCertificates, cfg.RootCAs, name)
	if s.tls.level >= TLSVerify && untrusted != nil {
		s.d.a.Log.Info(distrust(state.PeerCertificates, untrusted, s.relay()))
	}
	if s.d.a.TLSLogLevel > 0 {
		s.logTLS(state, untrusted == nil, asked)
	}
	if s.tls.level >= TLSVerify && untrusted != nil {
		return s.fail(trouble{dsn: "4.7.5", text: "Server certificate not verified"})
	}
	s.secured.matched = s.tls.level >= TLSVerify
	return true
}

// mayRetryPlain decides after a failure of TLS whether this host is to be tried
// again without: only when TLS is no condition and the message has waited for a
// retry already.
func (s *session) mayRetryPlain() {
	a := s.d.a
	if s.tls.level == TLSMay && s.ctx.Err() == nil && !s.hasPassword() && a.Clock.Now().Sub(s.d.r.Envelope.Arrived) >= a.MinimalBackoff {
		s.retryPlain = true
		s.d.lastHost = false
	}
}

// logHandshake says why a handshake failed, as Postfix does.
func (s *session) logHandshake(err error) {
	var timeout net.Error
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		s.d.a.Log.Info(fmt.Sprintf("SSL_connect error to %s: lost connection", s.relay()))
	case errors.As(err, new(syscall.Errno)), errors.As(err, &timeout) && timeout.Timeout():
		s.d.a.Log.Info(fmt.Sprintf("SSL_connect error to %s: %s", s.relay(), reason(err)))
	default:
		s.d.a.Log.Info(fmt.Sprintf("SSL_connect error to %s: -1", s.relay()))
		s.d.a.Log.Warn(fmt.Sprintf("TLS library problem: %v", err))
	}
}

// wanted are the signature schemes that crypto/tls asks a server for, as far as
// servers use them: a server signs with the first that its key can do.
var wanted = []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256, tls.Ed25519, tls.PSSWithSHA384, tls.PSSWithSHA512}

func (s *session) logTLS(state tls.ConnectionState, trusted bool, asked *tls.CertificateRequestInfo) {
	word := "Untrusted"
	switch {
	case trusted && s.tls.level >= TLSVerify:
		word = "Verified"
	case trusted:
		word = "Trusted"
	}
	info := tlsinfo.Describe(state, state.PeerCertificates[0], wanted)
	if own := s.d.a.TLSConfig.Certificates; len(own) > 0 && own[0].Leaf != nil && asked != nil {
		info.SignedByClient(own[0].Leaf, asked.SignatureSchemes)
	}
	s.d.a.Log.Info(fmt.Sprintf("%s TLS connection established to %s: %s", word, s.relay(), info))
}
