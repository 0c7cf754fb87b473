package smtpd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"io"
	"net"
	"time"

	"sekisho/internal/anvil"
	"sekisho/internal/mail"
	"sekisho/internal/tlsinfo"
	"sekisho/internal/wire"
)

// startTLS is STARTTLS (RFC 3207). What the client sent before the handshake
// is thrown away, and the session begins anew.
func (s *session) startTLS(words []token) (ok bool, err error) {
	switch {
	case len(words) != 1:
		return s.say(mail.Reply{Code: 501, Status: "5.5.4", Text: "Syntax: STARTTLS"})
	case s.tls != nil:
		return s.say(mail.Reply{Code: 554, Status: "5.5.1", Text: "Error: TLS already active"})
	case !s.set.tls.offer || s.discard&noStartTLS != 0:
		return s.say(mail.Reply{Code: 502, Status: "5.5.1", Text: "Error: command not implemented"})
	}
	if s.newTLSLimit() {
		s.warn("Refusing STARTTLS request from %s for service %s", s.facts.NameAddr(), s.srv.o.Service)
		return s.say(mail.Reply{Code: 454, Status: "4.7.0", Text: "Error: too many new TLS sessions from " + s.facts.NameAddr()})
	}
	if err := s.reply(mail.Reply{Code: 220, Status: "2.0.0", Text: "Ready to start TLS"}); err != nil {
		return false, err
	}
	if err := s.wire.Flush(); err != nil {
		return false, err
	}
	s.resetHelo()
	s.resetMail()
	return true, s.handshake()
}

// newTLSLimit reports whether the client has made too many TLS sessions.
func (s *session) newTLSLimit() bool {
	l := s.set.limits.newTLS
	return l > 0 && s.limited() && s.srv.o.Anvil.Rate(s.key(), anvil.NewTLSSessions) > l
}

// wrapTLS begins TLS where the port demands it.
func (s *session) wrapTLS() error {
	if s.newTLSLimit() {
		s.warn("Refusing TLS service request from %s for service %s", s.facts.NameAddr(), s.srv.o.Service)
		return errDone
	}
	return s.handshake()
}

// handshake turns TLS on. It does not come back with an encrypted session that
// the client is not to have.
func (s *session) handshake() error {
	info, conn, err := s.negotiate()
	if err != nil {
		s.logHandshake(err)
		return io.ErrUnexpectedEOF
	}
	s.conn = conn
	s.wire.Switch(conn)
	s.tls = info
	s.tlsFacts()
	if s.set.tls.loglevel > 0 {
		s.info("%s", info.summary(s.facts.NameAddr()))
	}
	if s.set.tls.requireCert && !info.trusted {
		return s.refuseCertificate(len(info.state.PeerCertificates) > 0)
	}
	if !info.state.DidResume {
		if rate, over := s.count(anvil.NewTLSSessions, s.set.limits.newTLS); over {
			s.warn("New TLS session rate limit exceeded: %d from %s for service %s", rate, s.facts.NameAddr(), s.srv.o.Service)
			s.reply(mail.Reply{Code: 421, Status: "4.7.0", Text: s.set.myhostname + " Error: too many new TLS sessions from " + s.facts.NameAddr()})
			return errDone
		}
	}
	s.resetAuth()
	return s.activateSASL()
}

// offered is what the handshake of one session found out.
type offered struct {
	leaf    *x509.Certificate
	schemes []tls.SignatureScheme
	asked   string // the name the client asked for, where there are certificates by name
	sni     string // the name by which the certificate was chosen
}

type offeredKey struct{}

// negotiate does the handshake over the session's connection.
func (s *session) negotiate() (*tlsInfo, net.Conn, error) {
	srv := s.srv.tls
	var o offered
	conn := tls.Server(s.conn, srv.config)
	if err := s.conn.SetDeadline(time.Now().Add(s.set.startTLSTimeout)); err != nil {
		return nil, nil, err
	}
	// The deadline bounds the handshake; a context that can end would cost a goroutine.
	if err := conn.HandshakeContext(context.WithValue(context.WithoutCancel(s.ctx), offeredKey{}, &o)); err != nil {
		return nil, nil, err
	}
	if err := s.conn.SetDeadline(time.Time{}); err != nil {
		return nil, nil, err
	}
	state := conn.ConnectionState()
	info := &tlsInfo{
		Session: tlsinfo.Describe(state, o.leaf, o.schemes),
		state:   state, leaf: o.leaf, asked: o.asked, sni: o.sni, trusted: srv.trusts(state.PeerCertificates),
	}
	if len(state.PeerCertificates) > 0 && !state.DidResume {
		info.SignedByClient(state.PeerCertificates[0], nil)
	}
	return info, conn, nil
}

// certificate is the GetCertificate of all sessions; what it finds out belongs
// to the session whose handshake's context it is called with.
func (t *tlsServer) certificate(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
	c, byName, err := t.choose(h)
	if err != nil {
		return nil, err
	}
	if o, ok := h.Context().Value(offeredKey{}).(*offered); ok {
		o.leaf, o.schemes = c.Leaf, h.SignatureSchemes
		if len(t.sni) > 0 {
			o.asked = h.ServerName
		}
		if byName {
			o.sni = h.ServerName
		}
	}
	return c, nil
}

// choose finds the certificate for a client: by the name it asks for, else the
// first that it can use.
func (t *tlsServer) choose(h *tls.ClientHelloInfo) (c *tls.Certificate, byName bool, err error) {
	if h.ServerName != "" && len(t.sni) > 0 {
		c, err := t.sniCertificate(h.ServerName)
		if err != nil || c != nil {
			return c, c != nil, err
		}
	}
	for i := range t.certs {
		if h.SupportsCertificate(&t.certs[i]) == nil {
			return &t.certs[i], false, nil
		}
	}
	if len(t.certs) > 0 {
		return &t.certs[0], false, nil
	}
	return nil, false, errNoCertificate
}

// trusts verifies a client's chain.
func (t *tlsServer) trusts(chain []*x509.Certificate) bool {
	if len(chain) == 0 {
		return false
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: t.roots, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	return err == nil
}

func (s *session) tlsFacts() {
	f, t := &s.facts, s.tls
	f.EncryptionProtocol, f.EncryptionCipher, f.EncryptionKeysize = t.Protocol, t.Cipher, t.Bits
	f.TLSSNI = t.asked
	if len(t.state.PeerCertificates) == 0 {
		return
	}
	c := t.state.PeerCertificates[0]
	f.CcertPresent, f.CcertTrusted = true, t.trusted
	f.CcertSubject, f.CcertIssuer = firstName(c.Subject, commonName), firstName(c.Issuer, commonName, organization)
	f.CcertFingerprint = s.srv.tls.fingerprint(c.Raw)
	f.CcertPubkeyFingerprint = s.srv.tls.fingerprint(c.RawSubjectPublicKeyInfo)
}

// Attribute types of names in certificates (X.520).
var (
	commonName   = asn1.ObjectIdentifier{2, 5, 4, 3}
	organization = asn1.ObjectIdentifier{2, 5, 4, 10}
)

// firstName is the first attribute that the name has of the first of the types
// that it has.
func firstName(n pkix.Name, types ...asn1.ObjectIdentifier) string {
	for _, t := range types {
		for _, a := range n.Names {
			if text, ok := a.Value.(string); ok && a.Type.Equal(t) {
				return text
			}
		}
	}
	return ""
}

// refuseCertificate ends a session whose client has no certificate to trust.
// It waits for the client's next command to answer it.
func (s *session) refuseCertificate(present bool) error {
	why := "No client certificate presented"
	if present {
		why = "Client certificate not trusted"
	}
	s.info("NOQUEUE: abort: TLS from %s: %s", s.facts.NameAddr(), why)
	if _, err := s.readLine(s.set.lineLimit); err != nil {
		return ended(err)
	}
	s.reply(mail.Reply{Code: 421, Status: "4.7.1", Text: s.set.myhostname + " Error: " + why})
	return errDone
}

// logHandshake tells why TLS could not be turned on.
func (s *session) logHandshake(err error) {
	switch {
	case wire.Timeout(err):
		s.info("SSL_accept error from %s: Connection timed out", s.facts.NameAddr())
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		s.info("SSL_accept error from %s: lost connection", s.facts.NameAddr())
	default:
		s.info("SSL_accept error from %s: -1", s.facts.NameAddr())
		s.warn("TLS library problem: %v", err)
	}
}
