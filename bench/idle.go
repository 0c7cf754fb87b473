package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// What a connection that waits costs.
const (
	idleMemory    = "memory of a connection, KiB"
	idleMemoryTLS = "memory of a connection with TLS, KiB"
)

// idleSteps are the measurements of connections that wait, in plaintext and after
// STARTTLS.
func idleSteps(p plan, res *results) (steps []step) {
	if !p.what["idle"] {
		return nil
	}
	for _, n := range p.idle {
		for _, encrypted := range []bool{false, true} {
			steps = append(steps, func(ctx context.Context, s subject) error {
				if most := s.most(); most > 0 && n > most {
					fmt.Fprintf(os.Stderr, "bench: %s is left out with %d connections, which it gives a process each\n", s.name(), n)
					return nil
				}
				end := toMaildir(s)
				if encrypted {
					file := filepath.Join(s.site().conf, "key.pem")
					if err := writeCertificate(file); err != nil {
						return err
					}
					end.settings = "smtpd_tls_security_level = may\nsmtpd_tls_chain_files = " + file + "\n"
				}
				return running(ctx, s, end, func(s subject) error { return idle(ctx, s, n, encrypted, res) })
			})
		}
	}
	return steps
}

// idle measures the memory of connections that said EHLO and wait.
func idle(ctx context.Context, s subject, connections int, encrypted bool, res *results) error {
	before, err := pss(s.root())
	if err != nil {
		return err
	}
	open, figure := s.site().client().open, idleMemory
	if encrypted {
		open, figure = s.site().client().openTLS, idleMemoryTLS
	}
	held, err := hold(ctx, s.name(), connections, open)
	defer held.close()
	if err != nil {
		return err
	}
	// What was needed only while they connected goes back meanwhile.
	if err := wait(ctx, 5*time.Second); err != nil {
		return err
	}
	after, err := pss(s.root())
	if err != nil {
		return err
	}
	res.add("idle", connections, figure, s.name(), float64(after-before)/1024/float64(connections))
	if !encrypted {
		res.add("idle", connections, "memory in all, MiB", s.name(), float64(after)/1024/1024)
	}
	return nil
}

// openTLS connects, turns TLS on and says EHLO again.
func (c *client) openTLS() (*session, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	if err := s.command(220, "STARTTLS"); err != nil {
		s.Close()
		return nil, err
	}
	// The certificate was made a moment ago for this measurement.
	s.Conn = tls.Client(s.Conn, &tls.Config{InsecureSkipVerify: true})
	s.r.Reset(s.Conn)
	if err := s.command(250, "EHLO client.elsewhere.test"); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// writeCertificate makes a key and its certificate.
func writeCertificate(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mx.bench.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	chain := append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})...)
	return os.WriteFile(file, chain, 0o644) // both servers' users read it
}
