package smtp

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"sekisho/internal/mail"
	"sekisho/internal/tlsinfo"
	"sekisho/internal/tlsrpt"
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
		s.report(tlsrpt.STARTTLSNotSupported, r.text)
		if s.d.requireTLS >= requireTLSMay {
			return s.unfit(trouble{dsn: "5.7.10", text: fmt.Sprintf("Sender requested REQUIRETLS, but host %s refused to start TLS: %s", s.name(), r.text)})
		}
		if s.needsTLS() {
			s.checkCode(r.code)
			return s.fail(trouble{dsn: r.dsn, mta: s.host.name, diag: r.text,
				text: fmt.Sprintf("TLS is required, but host %s refused to start TLS: %s", s.name(), r.text)})
		}
	}
	if s.needsTLS() || s.tls.testing {
		s.report(tlsrpt.STARTTLSNotSupported, "")
	}
	if s.d.requireTLS >= requireTLSMay {
		return s.unfit(trouble{dsn: "5.7.30", text: "Sender requested REQUIRETLS, but TLS service was not offered by host " + s.name()})
	}
	if s.needsTLS() {
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
	s.begin(s.d.a.StartTLSTimeout)
	if !s.tls.reuse {
		s.dontCache()
	}
	cfg, err := s.tlsConfig()
	if err != nil {
		s.d.a.Log.Warn(fmt.Sprintf("%s: %v: aborting TLS session", s.relay(), err))
		return s.noHandshake()
	}
	var shown *tls.CertificateRequestInfo
	cfg.GetClientCertificate = func(i *tls.CertificateRequestInfo) (*tls.Certificate, error) {
		for n := range s.d.a.TLSConfig.Certificates {
			if c := &s.d.a.TLSConfig.Certificates[n]; i.SupportsCertificate(c) == nil {
				shown = i
				return c, nil
			}
		}
		return &tls.Certificate{}, nil
	}
	conn := tls.Client(s.sock, cfg)
	if err := conn.HandshakeContext(s.ctx); err != nil {
		s.logHandshake(err)
		s.report(tlsrpt.ValidationFailure, err.Error())
		return s.noHandshake()
	}
	s.use(conn)
	state := conn.ConnectionState()
	j := s.judge(state.PeerCertificates)
	s.secured = &secured{state: state, matched: j.matched}
	if s.tls.level.mustMatch() && !j.matched {
		s.d.a.Log.Info(j.distrust)
	}
	if s.d.a.TLSLogLevel > 0 {
		s.logTLS(state, j, shown)
	}
	s.reportJudgement(state, j)
	if s.tls.level.mustMatch() && !j.matched {
		return s.unmatched(j)
	}
	return true
}

// unmatched settles all recipients that are left: the certificate is not the
// right one.
func (s *session) unmatched(j judgement) bool {
	if s.d.requireTLS == requireTLSHard {
		what := "trusted"
		if j.trusted {
			what = "matching"
		}
		return s.unfit(trouble{dsn: "5.7.10", text: fmt.Sprintf("Sender requested REQUIRETLS, but no %s server certificate was found. "+
			"The last attempted server was %s", what, s.name())})
	}
	return s.fail(trouble{dsn: "4.7.5", text: "Server certificate not verified"})
}

// reportJudgement reports what the certificates are worth; where a policy of
// MTA-STS is only tested, what they would be worth if it were in force.
func (s *session) reportJudgement(state tls.ConnectionState, j judgement) {
	if s.tls.testing {
		enforced := *s.tls
		enforced.level = TLSVerify
		j = (&session{d: s.d, host: s.host, port: s.port, tls: &enforced}).judge(state.PeerCertificates)
		if !j.matched {
			s.d.a.Log.Info(j.distrust + " (MTA-STS policy in testing mode)")
		}
		s.report(j.failure, "")
		return
	}
	if s.tls.level.mustMatch() {
		s.report(j.failure, "")
		return
	}
	s.report("", "")
}

// tlsConfig is what the policy wants of the handshake. The certificate is
// judged afterwards, with Postfix's consequences. A name is sent only where one
// is configured or TLSA records name it.
func (s *session) tlsConfig() (*tls.Config, error) {
	cfg := s.d.a.TLSConfig.Clone()
	cfg.InsecureSkipVerify, cfg.Certificates = true, nil
	switch s.tls.servername {
	case "hostname":
		cfg.ServerName = s.host.name
	case "nexthop":
		cfg.ServerName = s.d.domain
	default:
		cfg.ServerName = s.tls.servername
	}
	if s.tls.base != "" {
		cfg.ServerName = s.tls.base
	}
	cfg.ServerName = mail.ASCIIDomain(cfg.ServerName)
	var err error
	cfg.MinVersion, cfg.MaxVersion, cfg.CipherSuites, err = s.tls.limits()
	return cfg, err
}

// noHandshake settles all recipients that are left when TLS could not be
// started.
func (s *session) noHandshake() bool {
	s.forbidden = true
	s.mayRetryPlain()
	if s.tls.level == TLSMay {
		s.dontCache()
	} else {
		s.throttle()
	}
	t := trouble{dsn: "4.7.5", text: "Cannot start TLS: handshake failure"}
	s.d.fail(s.relay(), s.d.left(), t)
	if s.throttled {
		s.d.hostFailed(t)
	}
	return false
}

// mayRetryPlain decides after a failure of TLS whether this host is to be tried
// again without: only when TLS is no condition, nobody has to log in, and the
// message has waited for a retry already.
func (s *session) mayRetryPlain() {
	a := s.d.a
	if s.tls.level == TLSMay && s.d.requireTLS < requireTLSMay && s.ctx.Err() == nil && !s.hasPassword() && a.Clock.Now().Sub(s.d.r.Envelope.Arrived) >= a.MinimalBackoff {
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

// signatures are the schemes that crypto/tls asks a server for, as far as
// servers use them: a server signs with the first that its key can do.
func signatures() []tls.SignatureScheme {
	return []tls.SignatureScheme{tls.PSSWithSHA256, tls.ECDSAWithP256AndSHA256, tls.Ed25519, tls.PSSWithSHA384, tls.PSSWithSHA512}
}

func (s *session) logTLS(state tls.ConnectionState, j judgement, shown *tls.CertificateRequestInfo) {
	word := "Untrusted"
	switch {
	case j.matched && s.tls.level != tlsHalfDANE:
		word = "Verified"
	case j.trusted:
		word = "Trusted"
	}
	info := tlsinfo.Describe(state, state.PeerCertificates[0], signatures())
	if own := s.d.a.TLSConfig.Certificates; len(own) > 0 && own[0].Leaf != nil && shown != nil {
		info.SignedByClient(own[0].Leaf, shown.SignatureSchemes)
	}
	s.d.a.Log.Info(fmt.Sprintf("%s TLS connection established to %s: %s", word, s.relay(), info))
}
