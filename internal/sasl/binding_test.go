package sasl_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/xdg-go/scram"

	"sekisho/internal/sasl"
)

// certificate makes a self-signed one.
func certificate(t *testing.T, key crypto.Signer) (tls.Certificate, *x509.Certificate) {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Date(2126, 1, 1, 0, 0, 0, 0, time.UTC), DNSNames: []string{"mx.test"}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, leaf
}

func ecKey(t *testing.T, c elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(c, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// handshake returns both ends' view of one session.
func handshake(t *testing.T, cert tls.Certificate, version uint16) (server, client tls.ConnectionState) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	s := tls.Server(a, &tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version})
	c := tls.Client(b, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	done := make(chan error, 1)
	go func() { done <- s.Handshake() }()
	go func() { _, _ = c.Read(make([]byte, 1)) }() // takes session tickets
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return s.ConnectionState(), c.ConnectionState()
}

func TestChannelBinding(t *testing.T) {
	cert, leaf := certificate(t, ecKey(t, elliptic.P256()))
	e, _, _ := site(t, "bob@demo.test bob-demo")
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		server, client := handshake(t, cert, version)
		binding := sasl.ChannelBinding(server, leaf)
		for kind, bind := range map[string]func(*tls.ConnectionState) (scram.ChannelBinding, error){
			"tls-exporter":         scram.NewTLSExporterBinding,
			"tls-server-end-point": scram.NewTLSServerEndpointBinding,
		} {
			want, err := bind(&client)
			if err != nil {
				t.Fatal(err)
			}
			if data, ok := binding(kind); !ok || !bytes.Equal(data, want.Data) {
				t.Errorf("%s, version %x: %x, %v, the client has %x", kind, version, data, ok, want.Data)
			}
			got := scramDialog(t, e, sasl.Client{TLS: true, ChannelBinding: binding}, "SCRAM-SHA-256-PLUS",
				"bob@demo.test", "bob-demo", "", func(c *scram.Client) *scram.ClientConversation {
					return c.NewConversationWithChannelBinding(want)
				})
			if got != "OK:bob@demo.test" {
				t.Errorf("%s, version %x: %s", kind, version, got)
			}
		}
		data, ok := binding("tls-unique")
		if want := version == tls.VersionTLS12; ok != want || ok && !bytes.Equal(data, client.TLSUnique) {
			t.Errorf("tls-unique, version %x: %x, %v", version, data, ok)
		}
		if _, ok := binding("tls-new"); ok {
			t.Error("an unknown kind has data")
		}
	}
}

func TestEndPointHash(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		key  crypto.Signer
		hash func([]byte) []byte
	}{
		{ecKey(t, elliptic.P256()), func(b []byte) []byte { s := sha256.Sum256(b); return s[:] }},
		{ecKey(t, elliptic.P384()), func(b []byte) []byte { s := sha512.Sum384(b); return s[:] }},
		{ecKey(t, elliptic.P521()), func(b []byte) []byte { s := sha512.Sum512(b); return s[:] }},
		{ed, nil},
	} {
		_, leaf := certificate(t, tt.key)
		data, ok := sasl.ChannelBinding(tls.ConnectionState{}, leaf)("tls-server-end-point")
		if ok != (tt.hash != nil) || ok && !bytes.Equal(data, tt.hash(leaf.Raw)) {
			t.Errorf("%v: %x, %v", leaf.SignatureAlgorithm, data, ok)
		}
	}
	if _, ok := sasl.ChannelBinding(tls.ConnectionState{}, nil)("tls-server-end-point"); ok {
		t.Error("no certificate, but a binding")
	}
}
