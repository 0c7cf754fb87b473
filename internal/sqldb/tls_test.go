package sqldb_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sekisho/internal/clock"
	"sekisho/internal/sqldb"
	"sekisho/internal/sqltest"
)

// certificate writes a certificate that is its own authority, and its key.
func certificate(t *testing.T, dir, name string, addresses ...net.IP) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: addresses,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, name+".pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		write(t, dir, name+".key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})))
}

func TestTLS(t *testing.T) {
	s := sqltest.MariaDB(t)
	cert, key := certificate(t, s.Dir, "named", net.IPv4(127, 0, 0, 1))
	common, commonKey := certificate(t, s.Dir, "127.0.0.1")
	other, otherKey := certificate(t, s.Dir, "other")
	check := func(lines, want string) {
		t.Helper()
		cipher, err := cipher(t, s.SettingsFor("inet:"+s.Addr)+lines)
		switch {
		case want == "" && err != nil, want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v, want %q", lines, err, want)
		case err == nil && (cipher != "") != (lines != ""):
			t.Errorf("%q: cipher %q", lines, cipher)
		}
	}
	check("", "")
	check("tls_CAfile = "+cert, "TLS requested but server does not support TLS")
	s.Stop()
	s.Start("--ssl-cert="+cert, "--ssl-key="+key, "--ssl-ca="+other)
	check("", "")
	check("tls_CAfile = "+cert, "")
	check("tls_CAfile = "+cert+"\ntls_verify_cert = yes", "")
	check("tls_CAfile = "+other, "certificate signed by unknown authority")
	check("tls_verify_cert = yes", "certificate signed by unknown authority")
	s.Admin("ALTER USER " + sqltest.User + "@127.0.0.1 REQUIRE X509")
	check("tls_CAfile = "+cert, "Access denied")
	check("tls_CAfile = "+cert+"\ntls_cert_file = "+other+"\ntls_key_file = "+otherKey, "")
	s.Admin("ALTER USER " + sqltest.User + "@127.0.0.1 REQUIRE NONE")
	s.Stop()
	s.Start("--ssl-cert="+common, "--ssl-key="+commonKey)
	check("tls_CAfile = "+common+"\ntls_verify_cert = yes", "")
	s.Stop()
	s.Start("--ssl-cert="+other, "--ssl-key="+otherKey)
	check("tls_CAfile = "+other, "")
	check("tls_CAfile = "+other+"\ntls_verify_cert = yes", "cannot validate certificate for 127.0.0.1")
}

// cipher connects and returns what the server says of the encryption.
func cipher(t *testing.T, lines string) (string, error) {
	t.Helper()
	var cipher string
	err := open(t, sqldb.MySQL, lines, clock.System{}).Do(t.Context(), func(ctx context.Context, h *sqldb.Host) error {
		rows, err := h.Query(ctx, "SHOW STATUS LIKE 'Ssl_cipher'")
		if err == nil {
			cipher = rows[0][1].String
		}
		return err
	})
	return cipher, err
}

// TestURI reaches PostgreSQL by URIs, which may have user, password and
// database, or leave them to the file.
func TestURI(t *testing.T) {
	s := sqltest.PostgreSQL(t)
	passwd := write(t, t.TempDir(), "pgpass", strings.Replace(s.Addr, "127.0.0.1", "*", 1)+":*:*:"+strings.ReplaceAll(sqltest.Password, `\`, `\\`)+"\n")
	if err := os.Chmod(passwd, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, lines := range []string{
		s.SettingsFor("postgresql://" + s.Addr),
		s.SettingsFor("postgresql://" + s.Addr + "/" + sqltest.Database + "?sslmode=disable&connect_timeout=9"),
		"hosts = postgresql://" + sqltest.User + ":se'cr%5Cet@" + s.Addr + "/" + sqltest.Database,
		"hosts = postgresql://" + sqltest.User + "@" + s.Addr + "/" + sqltest.Database + "?passfile=" + passwd,
		s.SettingsFor("unix:" + s.Socket), s.SettingsFor(s.Addr), s.SettingsFor("inet:" + s.Addr),
	} {
		err := open(t, sqldb.PostgreSQL, lines, clock.System{}).Do(t.Context(), func(ctx context.Context, h *sqldb.Host) error {
			rows, err := h.Query(ctx, "SELECT current_user, current_database(), true, NULL, 1.50")
			if err == nil && (rows[0][0].String != sqltest.User || rows[0][1].String != sqltest.Database || rows[0][2].String != "t" ||
				rows[0][3].Valid || rows[0][4].String != "1.50") {
				t.Errorf("%s: %v", lines, rows)
			}
			return err
		})
		if err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
	testBusy(t, s)
	settings, err := sqldb.Read(sqldb.PostgreSQL, params("hosts = postgresql://x?sslmode=perhaps"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sqldb.Open(settings, clock.System{}); err == nil || !strings.Contains(err.Error(), "sslmode") {
		t.Errorf("a URI that makes no sense: %v", err)
	}
}

// testBusy has a statement that takes too long, and a server that lets nobody
// else in: neither keeps others from what they ask.
func testBusy(t *testing.T, s *sqltest.Server) {
	servers := open(t, sqldb.PostgreSQL, s.Settings(), clock.NewManual(time.Unix(1e9, 0)))
	ask := func(statement string) error {
		return servers.Do(t.Context(), func(ctx context.Context, h *sqldb.Host) error {
			_, err := h.Query(ctx, statement)
			return err
		})
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ask("SELECT pg_sleep(60)"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a slow statement: %v", err)
		}
	})
	if err := ask("SELECT 1"); err != nil {
		t.Errorf("beside a slow statement: %v", err)
	}
	wg.Wait()
	if err := ask("SELECT 1"); err != nil {
		t.Errorf("after a slow statement: %v", err)
	}
	s.Admin("ALTER ROLE " + sqltest.User + " CONNECTION LIMIT 1")
	err := servers.Do(t.Context(), func(ctx context.Context, h *sqldb.Host) error {
		conn, err := h.DB.Conn(ctx)
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := ask("SELECT 1"); err == nil || !strings.Contains(err.Error(), "too many connections") {
			t.Errorf("a second connection: %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if err := ask("SELECT 1"); err != nil {
		t.Errorf("after a refused connection: %v", err)
	}
}
