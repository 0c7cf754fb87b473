package smtp

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"

	"sekisho/internal/dane"
	"sekisho/internal/mail"
	"sekisho/internal/tlsrpt"
)

// judgement is what a server's certificates are worth under a policy.
type judgement struct {
	trusted  bool   // somebody we trust has signed them
	matched  bool   // they are what the policy wants
	distrust string // why they are not, as Postfix's log says it (tls_verify.c)
	failure  string // the same in the words of TLSRPT (RFC 8460 section 4.3)
}

// judge checks a server's certificates, its own first.
func (s *session) judge(chain []*x509.Certificate) judgement {
	p := s.tls
	names := func(leaf *x509.Certificate) error { return s.matchNames(leaf) }
	now := s.d.a.Clock.Now()
	switch {
	case p.level == TLSFingerprint:
		if s.d.a.fingerprinted(chain[0], p.digests) {
			return judgement{trusted: true, matched: true}
		}
		return s.distrust(chain, dane.ErrNoMatch)
	case p.level.byDANE():
		if _, err := dane.Verify(chain, p.tlsa, names, now); err != nil {
			return s.distrust(chain, err)
		}
		return judgement{trusted: true, matched: true}
	}
	roots := s.d.a.TLSConfig.RootCAs
	if p.anchors != nil {
		roots = p.anchors
	}
	o := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: now}
	if roots == nil {
		o.Roots = x509.NewCertPool()
	}
	for _, c := range chain[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := chain[0].Verify(o); err != nil {
		return s.distrust(chain, err)
	}
	if p.external.failure != "" && p.level.mustMatch() {
		return judgement{trusted: true, failure: p.external.failure,
			distrust: fmt.Sprintf("certificate verification failed for %s: external policy failure (%s)", s.relay(), p.external.failure)}
	}
	if !p.level.mustMatch() {
		return judgement{trusted: true}
	}
	if err := names(chain[0]); err != nil {
		return s.distrust(chain, err)
	}
	return judgement{trusted: true, matched: true}
}

// matchNames checks that a certificate has one of the names that the policy
// wants.
func (s *session) matchNames(leaf *x509.Certificate) error {
	last := ""
	for _, name := range s.tls.names {
		subdomains := false
		switch strings.ToLower(name) {
		case "hostname":
			name = s.host.name
		case "nexthop":
			name = s.d.domain
		case "dot-nexthop":
			name, subdomains = s.d.domain, true
		default:
			name, subdomains = strings.CutPrefix(name, ".")
		}
		if name != "" && hasName(leaf, mail.ASCIIDomain(name), subdomains) {
			return nil
		}
		last = name
	}
	return x509.HostnameError{Certificate: leaf, Host: last}
}

// hasName reports whether a certificate has a name, or one below it. The common
// name counts where there are no other names, and an asterisk stands for one
// label, as with OpenSSL.
func hasName(leaf *x509.Certificate, name string, subdomains bool) bool {
	if ip := net.ParseIP(name); ip != nil {
		for _, own := range leaf.IPAddresses {
			if own.Equal(ip) {
				return true
			}
		}
		return false
	}
	own := leaf.DNSNames
	if len(own) == 0 {
		own = []string{leaf.Subject.CommonName}
	}
	for _, o := range own {
		o = strings.ToLower(strings.TrimSuffix(o, "."))
		switch low := strings.ToLower(name); {
		case subdomains && strings.HasSuffix(o, "."+low), !subdomains && o == low:
			return true
		case !subdomains && strings.HasPrefix(o, "*."):
			if _, parent, ok := strings.Cut(low, "."); ok && strings.Contains(parent, ".") && parent == o[2:] {
				return true
			}
		}
	}
	return false
}

// fingerprinted reports whether one of the digests, in hexadecimal with or
// without colons, is that of a certificate or its public key.
func (a *Agent) fingerprinted(leaf *x509.Certificate, digests []string) bool {
	for _, what := range [][]byte{leaf.Raw, leaf.RawSubjectPublicKeyInfo} {
		h := a.Digest.New()
		h.Write(what)
		sum := hex.EncodeToString(h.Sum(nil))
		for _, d := range digests {
			if strings.EqualFold(strings.ReplaceAll(d, ":", ""), sum) {
				return true
			}
		}
	}
	return false
}

// digests are the algorithms of smtp_tls_fingerprint_digest.
func digests() map[string]crypto.Hash {
	return map[string]crypto.Hash{"md5": crypto.MD5, "sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
}

// distrust says why certificates are not what they should be.
func (s *session) distrust(chain []*x509.Certificate, err error) judgement {
	leaf, last := chain[0], chain[len(chain)-1]
	server, any := "server certificate verification failed for "+s.relay()+": ", "certificate verification failed for "+s.relay()+": "
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	switch {
	case errors.Is(err, dane.ErrNoMatch):
		return judgement{distrust: server + "num=65:" + err.Error(), failure: tlsrpt.ValidationFailure}
	case errors.As(err, &name) && net.ParseIP(name.Host) != nil:
		return judgement{distrust: server + "num=64:IP address mismatch", failure: tlsrpt.HostMismatch}
	case errors.As(err, &name):
		return judgement{distrust: server + "num=62:hostname mismatch", failure: tlsrpt.HostMismatch}
	case errors.As(err, new(x509.UnknownAuthorityError)) && bytes.Equal(leaf.RawIssuer, leaf.RawSubject):
		return judgement{distrust: any + "self-signed certificate", failure: tlsrpt.NotTrusted}
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return judgement{distrust: any + "untrusted issuer " + oneLine(last.Issuer), failure: tlsrpt.NotTrusted}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && s.d.a.Clock.Now().Before(invalid.Cert.NotBefore):
		return judgement{distrust: server + "certificate not yet valid", failure: tlsrpt.Expired}
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return judgement{distrust: server + "certificate has expired", failure: tlsrpt.Expired}
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return judgement{distrust: any + "not designated for use as a server certificate", failure: tlsrpt.NotTrusted}
	}
	return judgement{distrust: server + err.Error(), failure: tlsrpt.ValidationFailure}
}

// oneLine is a name as OpenSSL's X509_NAME_oneline writes it.
func oneLine(n pkix.Name) string {
	short := map[string]string{
		"2.5.4.3": "CN", "2.5.4.6": "C", "2.5.4.7": "L", "2.5.4.8": "ST", "2.5.4.10": "O", "2.5.4.11": "OU",
		"2.5.4.5": "serialNumber", "1.2.840.113549.1.9.1": "emailAddress", "0.9.2342.19200300.100.1.25": "DC",
	}
	var b strings.Builder
	for _, part := range n.Names {
		id := part.Type.String()
		if s, ok := short[id]; ok {
			id = s
		}
		fmt.Fprintf(&b, "/%s=%v", id, part.Value)
	}
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, b.String())
}
