package dane

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"testing"
	"time"
)

var now = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// issue makes a certificate for name, by issuer or by itself.
func issue(t *testing.T, name string, ca bool, issuer *x509.Certificate, issuerKey *ecdsa.PrivateKey, end time.Time) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: now.Add(-time.Hour), NotAfter: end, IsCA: ca, BasicConstraintsValid: true}
	if issuer == nil {
		issuer, issuerKey = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, issuer, &key.PublicKey, issuerKey)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return parsed, key
}

// record makes a record about a certificate.
func record(usage, selector, matching uint8, c *x509.Certificate) Record {
	data := c.Raw
	if selector == PublicKey {
		data = c.RawSubjectPublicKeyInfo
	}
	switch matching {
	case SHA256:
		sum := sha256.Sum256(data)
		data = sum[:]
	case SHA512:
		sum := sha512.Sum512(data)
		data = sum[:]
	}
	return Record{usage, selector, matching, data}
}

func TestVerify(t *testing.T) {
	later, past := now.Add(time.Hour), now.Add(-time.Minute)
	root, rootKey := issue(t, "root", true, nil, nil, later)
	middle, middleKey := issue(t, "middle", true, root, rootKey, later)
	leaf, _ := issue(t, "mx.test", false, middle, middleKey, later)
	old, _ := issue(t, "mx.test", false, middle, middleKey, past)
	other, _ := issue(t, "mx.test", true, nil, nil, later)
	whole, short := []*x509.Certificate{leaf, middle, root}, []*x509.Certificate{leaf, middle}
	type rs = []Record
	for name, c := range map[string]struct {
		chain   []*x509.Certificate
		records rs
		host    string
		ok      bool
	}{
		"EE":                         {whole, rs{record(3, 1, 1, leaf)}, "mx.test", true},
		"EE, full, SHA-512":          {whole, rs{record(3, 0, 2, leaf)}, "mx.test", true},
		"EE, exact":                  {whole, rs{record(3, 0, 0, leaf)}, "mx.test", true},
		"EE, another name":           {whole, rs{record(3, 1, 1, leaf)}, "else.test", true},
		"EE, expired":                {[]*x509.Certificate{old, middle}, rs{record(3, 1, 1, old)}, "mx.test", true},
		"EE, other":                  {whole, rs{record(3, 1, 1, other)}, "mx.test", false},
		"EE, of the issuer":          {whole, rs{record(3, 1, 1, middle)}, "mx.test", false},
		"second of two":              {whole, rs{record(3, 1, 1, other), record(3, 1, 1, leaf)}, "mx.test", true},
		"TA, root":                   {whole, rs{record(2, 0, 1, root)}, "mx.test", true},
		"TA, intermediate, by key":   {whole, rs{record(2, 1, 2, middle)}, "mx.test", true},
		"TA, another name":           {whole, rs{record(2, 0, 1, root)}, "else.test", false},
		"TA, expired":                {[]*x509.Certificate{old, middle, root}, rs{record(2, 0, 1, root)}, "mx.test", false},
		"TA, not in the chain":       {short, rs{record(2, 0, 1, root)}, "mx.test", false},
		"TA, exact, not in chain":    {short, rs{record(2, 0, 0, root)}, "mx.test", true},
		"TA, bare key, not in chain": {short, rs{record(2, 1, 0, root)}, "mx.test", true},
		"TA, other bare key":         {short, rs{record(2, 1, 0, other)}, "mx.test", false},
		"TA of the leaf":             {whole, rs{record(2, 1, 1, leaf)}, "mx.test", false},
		"TA or EE":                   {whole, rs{record(2, 1, 1, other), record(3, 1, 1, leaf)}, "mx.test", true},
		"chain put together wrong":   {[]*x509.Certificate{other, middle, root}, rs{record(2, 0, 1, root)}, "mx.test", false},
	} {
		names := func(l *x509.Certificate) error { return l.VerifyHostname(c.host) }
		if r, err := Verify(c.chain, c.records, names, now); (err == nil) != c.ok {
			t.Errorf("%s: %s, %v", name, r, err)
		}
	}
	if _, err := Verify(whole, rs{record(3, 1, 1, other)}, nil, now); !errors.Is(err, ErrNoMatch) {
		t.Error(err)
	}
}

func TestUsable(t *testing.T) {
	c, _ := issue(t, "mx.test", true, nil, nil, now.Add(time.Hour))
	for _, r := range []Record{record(2, 0, 0, c), record(2, 1, 0, c), record(3, 1, 1, c), record(3, 0, 2, c)} {
		if !r.Usable() {
			t.Errorf("%s is not usable", r)
		}
	}
	for _, r := range []Record{record(0, 0, 1, c), record(1, 1, 1, c), record(4, 1, 1, c), {3, 2, 1, make([]byte, 32)}, {3, 1, 3, make([]byte, 32)},
		{3, 1, 1, make([]byte, 31)}, {3, 1, 2, make([]byte, 32)}, {2, 0, 0, []byte("no certificate")}, {2, 1, 0, []byte("no key")}} {
		if r.Usable() {
			t.Errorf("%s is usable", r)
		}
	}
}

// FuzzParse: whatever the DNS says is read without trouble, and what is usable
// can be matched.
func FuzzParse(f *testing.F) {
	f.Add([]byte{3, 1, 1, 0xab})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Parse(data)
		if err != nil {
			return
		}
		if r.Usable() && r.Matches(&x509.Certificate{Raw: []byte("x"), RawSubjectPublicKeyInfo: []byte("y")}) {
			t.Errorf("%s matches nonsense", r)
		}
	})
}
