package smtpd

import (
	"crypto"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sekisho/internal/config"
	"sekisho/internal/tlsconf"
)

// tlsSettings are the parameters of TLS.
type tlsSettings struct {
	offer, mandatory, wrapper, authOnly bool
	askCert, requireCert                bool
	receivedHeader                      bool
	loglevel                            int
	minVersion, maxVersion              uint16
	digest                              string // smtpd_tls_fingerprint_digest
}

func (r *settingsReader) tls() tlsSettings {
	t := tlsSettings{
		wrapper:        r.cfg.Bool("smtpd_tls_wrappermode"),
		authOnly:       r.cfg.Bool("smtpd_tls_auth_only"),
		requireCert:    r.cfg.Bool("smtpd_tls_req_ccert"),
		receivedHeader: r.cfg.Bool("smtpd_tls_received_header"),
		loglevel:       r.cfg.Int("smtpd_tls_loglevel"),
		digest:         strings.ToLower(r.cfg.Str("smtpd_tls_fingerprint_digest")),
	}
	switch level := strings.ToLower(r.cfg.Str("smtpd_tls_security_level")); level {
	case "":
		t.mandatory = r.cfg.Bool("smtpd_enforce_tls")
		t.offer = r.cfg.Bool("smtpd_use_tls") || t.mandatory
	case "none":
	case "may":
		t.offer = true
	case "encrypt", "fingerprint", "verify", "secure": // a server knows no higher level
		t.offer, t.mandatory = true, true
	default:
		r.fail("smtpd_tls_security_level", "invalid TLS level %q; give none, may or encrypt", level)
	}
	if t.wrapper {
		t.offer, t.mandatory = true, true
	}
	t.authOnly = t.authOnly || t.mandatory
	t.requireCert = t.requireCert && t.mandatory
	t.askCert = r.cfg.Bool("smtpd_tls_ask_ccert") || t.requireCert
	param := "smtpd_tls_protocols"
	if t.mandatory {
		param = "smtpd_tls_mandatory_protocols"
	}
	t.minVersion, t.maxVersion = r.protocols(param)
	return t
}

// protocols reads a protocol list.
func (r *settingsReader) protocols(param string) (lowest, highest uint16) {
	lowest, highest, err := tlsconf.Protocols(r.cfg.Str(param))
	if err != nil {
		r.fail(param, "%v", err)
	}
	return lowest, highest
}

// tlsServer is the TLS side of a Server.
type tlsServer struct {
	config *tls.Config
	certs  []tls.Certificate
	roots  *x509.CertPool
	lookup func(table, key string) (string, bool, error)
	sni    []string // tables of tls_server_sni_maps
	digest crypto.Hash
}

// errNoCertificate: nothing is configured, so that TLS cannot be offered.
var errNoCertificate = errors.New("no server certificate is configured; set smtpd_tls_chain_files, or smtpd_tls_cert_file and smtpd_tls_key_file")

func newTLSServer(cfg *config.Config, set *tlsSettings, lookup func(table, key string) (string, bool, error)) (*tlsServer, error) {
	t := &tlsServer{lookup: lookup, sni: cfg.Strings("tls_server_sni_maps"), roots: x509.NewCertPool()}
	var err error
	if t.certs, err = loadCertificates(cfg); err != nil {
		return nil, err
	}
	if len(t.certs) == 0 && len(t.sni) == 0 {
		return nil, errNoCertificate
	}
	if err := t.loadRoots(cfg); err != nil {
		return nil, err
	}
	hashes := map[string]crypto.Hash{"md5": crypto.MD5, "sha1": crypto.SHA1, "sha256": crypto.SHA256, "sha384": crypto.SHA384, "sha512": crypto.SHA512}
	if t.digest = hashes[set.digest]; t.digest == 0 {
		return nil, fmt.Errorf("%s: smtpd_tls_fingerprint_digest: unknown digest %q; give sha256", cfg.Pos("smtpd_tls_fingerprint_digest"), set.digest)
	}
	t.config = &tls.Config{
		GetCertificate: t.certificate, MinVersion: set.minVersion, MaxVersion: set.maxVersion,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256, tls.CurveP521, tls.CurveP384},
	}
	if !set.mandatory { // any encryption is better than none
		t.config.CipherSuites = suites()
	}
	if set.askCert {
		t.config.ClientAuth = tls.RequestClientCert
	}
	return t, nil
}

// suites are all suites that are secure, then those with RSA key exchange that
// only lack forward secrecy.
func suites() []uint16 {
	var out []uint16
	for _, s := range tls.CipherSuites() {
		out = append(out, s.ID)
	}
	return append(out, tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
		tls.TLS_RSA_WITH_AES_128_CBC_SHA256, tls.TLS_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_AES_256_CBC_SHA)
}

// loadCertificates reads the chains of smtpd_tls_chain_files or, without them,
// of the cert and key files.
func loadCertificates(cfg *config.Config) ([]tls.Certificate, error) {
	if files := cfg.Strings("smtpd_tls_chain_files"); len(files) > 0 {
		certs, err := tlsconf.Chains(files)
		if err != nil {
			return nil, fmt.Errorf("%s: smtpd_tls_chain_files: %w", cfg.Pos("smtpd_tls_chain_files"), err)
		}
		return certs, nil
	}
	var out []tls.Certificate
	for _, p := range [][2]string{
		{"smtpd_tls_cert_file", "smtpd_tls_key_file"},
		{"smtpd_tls_eccert_file", "smtpd_tls_eckey_file"},
		{"smtpd_tls_dcert_file", "smtpd_tls_dkey_file"},
	} {
		cert, key := cfg.Str(p[0]), cfg.Str(p[1])
		if cert == "" || cert == "none" {
			continue
		}
		c, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: cannot use certificate %s with key %s: %w", cfg.Pos(p[0]), p[0], cert, key, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// loadRoots reads the CAs that client certificates may come from.
func (t *tlsServer) loadRoots(cfg *config.Config) error {
	var files []string
	if f := cfg.Str("smtpd_tls_CAfile"); f != "" {
		files = append(files, f)
	}
	if dir := cfg.Str("smtpd_tls_CApath"); dir != "" {
		found, err := filepath.Glob(filepath.Join(dir, "*.[0-9]"))
		if err != nil {
			return fmt.Errorf("%s: smtpd_tls_CApath: %w", cfg.Pos("smtpd_tls_CApath"), err)
		}
		files = append(files, found...)
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			return fmt.Errorf("%s: smtpd_tls_CAfile: %w", cfg.Pos("smtpd_tls_CAfile"), err)
		}
		t.roots.AppendCertsFromPEM(b)
	}
	if cfg.Bool("tls_append_default_CA") {
		if sys, err := x509.SystemCertPool(); err == nil && len(files) == 0 {
			t.roots = sys
		}
	}
	return nil
}

// sniCertificate finds the chain of a server name: the name itself, then its
// parent domains with a leading dot. A value is a list of files, or the base64
// of their contents.
func (t *tlsServer) sniCertificate(name string) (*tls.Certificate, error) {
	name = strings.ToLower(strings.TrimSuffix(name, "."))
	for key := name; key != ""; key = parentKey(key) {
		for _, table := range t.sni {
			v, found, err := t.lookup(table, key)
			if err != nil {
				return nil, fmt.Errorf("%s: lookup of %q: %w", table, key, err)
			}
			if !found {
				continue
			}
			c, err := sniValue(v)
			if err != nil {
				return nil, fmt.Errorf("%s: entry %q: %w", table, key, err)
			}
			return c, nil
		}
	}
	return nil, nil
}

// parentKey is ".parent" for "x.parent" and for ".x.parent", "" at the end.
func parentKey(key string) string {
	if i := strings.IndexByte(key[1:], '.'); i >= 0 {
		return key[1+i:]
	}
	return ""
}

func sniValue(v string) (*tls.Certificate, error) {
	var certs []tls.Certificate
	var err error
	if strings.HasPrefix(v, "/") {
		certs, err = tlsconf.Chains(strings.FieldsFunc(v, func(c rune) bool { return strings.ContainsRune(", \t", c) }))
	} else {
		var raw []byte
		if raw, err = base64.StdEncoding.DecodeString(v); err == nil {
			certs, err = tlsconf.ParseChains(raw)
		}
	}
	if err != nil {
		return nil, err
	}
	return &certs[0], nil
}

// fingerprint is the digest of data as Postfix writes it: AB:CD:...
func (t *tlsServer) fingerprint(data []byte) string {
	var sum []byte
	switch t.digest {
	case crypto.MD5:
		b := md5.Sum(data)
		sum = b[:]
	case crypto.SHA1:
		b := sha1.Sum(data)
		sum = b[:]
	case crypto.SHA384:
		b := sha512.Sum384(data)
		sum = b[:]
	case crypto.SHA512:
		b := sha512.Sum512(data)
		sum = b[:]
	default:
		b := sha256.Sum256(data)
		sum = b[:]
	}
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":")
}
