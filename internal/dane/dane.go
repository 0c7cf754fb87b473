// Package dane judges a server's certificate by TLSA records: DANE-TA(2) and
// DANE-EE(3), with all selectors and matching types. RFC 6698, RFC 7671, RFC
// 7672.
//
// It asks no DNS and decides nothing about what follows. PKIX-TA(0) and
// PKIX-EE(1) are unusable for mail (RFC 7672 section 3.1.3).
package dane

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Certificate usages that mail has a use for.
const (
	TrustAnchor = 2
	EndEntity   = 3
)

// Selectors and matching types.
const (
	FullCertificate = 0
	PublicKey       = 1

	Exact  = 0
	SHA256 = 1
	SHA512 = 2
)

// Record is one TLSA record.
type Record struct {
	Usage, Selector, Matching uint8
	Data                      []byte
}

// String returns the record as it stands in a zone file.
func (r Record) String() string {
	return fmt.Sprintf("%d %d %d %s", r.Usage, r.Selector, r.Matching, hex.EncodeToString(r.Data))
}

// Parse reads the wire form of a record's data (RFC 6698 section 2.1).
func Parse(data []byte) (Record, error) {
	if len(data) < 4 {
		return Record{}, errors.New("a TLSA record that is too short")
	}
	return Record{data[0], data[1], data[2], data[3:]}, nil
}

// Usable reports whether mail may rely on the record.
func (r Record) Usable() bool {
	if r.Usage != TrustAnchor && r.Usage != EndEntity || r.Selector > PublicKey {
		return false
	}
	switch r.Matching {
	case Exact:
		if r.Selector == FullCertificate {
			_, err := x509.ParseCertificate(r.Data)
			return err == nil
		}
		_, err := x509.ParsePKIXPublicKey(r.Data)
		return err == nil
	case SHA256:
		return len(r.Data) == sha256.Size
	case SHA512:
		return len(r.Data) == sha512.Size
	}
	return false
}

// Matches reports whether the record is about a certificate, whatever its usage.
func (r Record) Matches(c *x509.Certificate) bool {
	what := c.Raw
	if r.Selector == PublicKey {
		what = c.RawSubjectPublicKeyInfo
	}
	switch r.Matching {
	case Exact:
		return bytes.Equal(what, r.Data)
	case SHA256:
		sum := sha256.Sum256(what)
		return bytes.Equal(sum[:], r.Data)
	case SHA512:
		sum := sha512.Sum512(what)
		return bytes.Equal(sum[:], r.Data)
	}
	return false
}

// ErrNoMatch: none of the records is about the certificates.
var ErrNoMatch = errors.New("no matching DANE TLSA records")

// Verify checks a server's chain, its own certificate first. With DANE-EE names
// and validity do not count (RFC 7672 section 3.1.1); with DANE-TA the chain
// must lead to the trust anchor at the time now, and names must accept the
// server's certificate.
func Verify(chain []*x509.Certificate, records []Record, names func(*x509.Certificate) error, now time.Time) (Record, error) {
	for _, r := range records {
		if r.Usage == EndEntity && r.Matches(chain[0]) {
			return r, nil
		}
	}
	failure := ErrNoMatch
	for _, r := range records {
		if r.Usage != TrustAnchor {
			continue
		}
		switch err := verifyAnchor(chain, r, now); {
		case err == nil:
			if err := names(chain[0]); err != nil {
				return Record{}, err
			}
			return r, nil
		case !errors.Is(err, ErrNoMatch):
			failure = err
		}
	}
	return Record{}, failure
}

// verifyAnchor checks that the chain leads to the trust anchor of a record.
func verifyAnchor(chain []*x509.Certificate, r Record, now time.Time) error {
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range chain[1:] {
		if r.Matches(c) {
			roots.AddCert(c)
			found = true
		}
		intermediates.AddCert(c)
	}
	if r.Matching == Exact && r.Selector == FullCertificate { // the chain may leave out what the DNS has
		if c, err := x509.ParseCertificate(r.Data); err == nil {
			roots.AddCert(c)
			found = true
		}
	}
	if !found && r.Matching == Exact && r.Selector == PublicKey {
		return verifyKey(chain, r, now)
	}
	if !found {
		return ErrNoMatch
	}
	_, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	return err
}

// verifyKey checks a chain whose last certificate is signed by a bare key of the
// DNS.
func verifyKey(chain []*x509.Certificate, r Record, now time.Time) error {
	key, err := x509.ParsePKIXPublicKey(r.Data)
	if err != nil {
		return ErrNoMatch
	}
	last := chain[len(chain)-1]
	issuer := &x509.Certificate{PublicKey: key} // CheckSignature looks at nothing else
	if issuer.CheckSignature(last.SignatureAlgorithm, last.RawTBSCertificate, last.Signature) != nil {
		return ErrNoMatch
	}
	roots, intermediates := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(last)
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err = chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: intermediates, CurrentTime: now})
	return err
}
