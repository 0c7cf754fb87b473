package ldap

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// host is one server.
type host struct {
	url     string // for log lines
	scheme  string
	name    string
	network string
	address string
}

// parseHost reads one word of server_host.
func parseHost(word string, s Server) (host, error) {
	scheme, rest, isURL := strings.Cut(word, "://")
	if !isURL {
		scheme, rest = "ldap", word
		if !strings.Contains(word, ":") {
			rest = fmt.Sprintf("%s:%d", word, s.Port)
		}
	}
	scheme = strings.ToLower(scheme)
	h := host{url: scheme + "://" + rest, scheme: scheme, network: "tcp"}
	where, _, _ := strings.Cut(rest, "/")
	port := "389"
	switch scheme {
	case "ldapi":
		path, err := url.PathUnescape(where)
		h.network, h.address, h.name = "unix", path, "localhost"
		if path == "" {
			h.address = "/var/run/slapd/ldapi"
		}
		return h, err
	case "ldaps":
		port = "636"
	case "ldap":
	default:
		return h, fmt.Errorf("%q: unknown scheme (use ldap://, ldaps:// or ldapi://)", word)
	}
	name, p, err := net.SplitHostPort(where)
	if err != nil {
		name, p = strings.Trim(where, "[]"), port
	}
	if name == "" {
		name = "localhost"
	}
	if _, err := strconv.ParseUint(p, 10, 16); err != nil {
		return h, fmt.Errorf("%q: %q is no port", word, p)
	}
	h.name, h.address = name, net.JoinHostPort(name, p)
	return h, nil
}

// reach makes the connection, with TLS for ldaps.
func (d *Directory) reach(h host) (net.Conn, error) {
	dialer := net.Dialer{Timeout: d.server.Timeout}
	if h.scheme != "ldaps" {
		return dialer.DialContext(d.ctx, h.network, h.address)
	}
	cfg, err := d.tls(h)
	if err != nil {
		return nil, err
	}
	t := tls.Dialer{NetDialer: &dialer, Config: cfg}
	return t.DialContext(d.ctx, h.network, h.address)
}

func (d *Directory) tls(h host) (*tls.Config, error) {
	cfg := &tls.Config{ServerName: h.name, InsecureSkipVerify: !d.server.RequireCert} // as the operator says: tls_require_cert
	if d.server.Cert != "" {
		pair, err := tls.LoadX509KeyPair(d.server.Cert, d.server.Key)
		if err != nil {
			return nil, fmt.Errorf("tls_cert, tls_key: %w", err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	files, err := d.authorities()
	if err != nil || len(files) == 0 {
		return cfg, err
	}
	cfg.RootCAs = x509.NewCertPool()
	for _, f := range files {
		pem, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		if !cfg.RootCAs.AppendCertsFromPEM(pem) && f == d.server.CAFile {
			return nil, fmt.Errorf("tls_ca_cert_file %s: no certificate in it", f)
		}
	}
	return cfg, nil
}

func (d *Directory) authorities() ([]string, error) {
	var files []string
	if d.server.CAFile != "" {
		files = append(files, d.server.CAFile)
	}
	if d.server.CADir == "" {
		return files, nil
	}
	more, err := filepath.Glob(filepath.Join(d.server.CADir, "*"))
	return append(files, more...), err
}

// What libldap calls the failures that are not the server's.
const (
	codeDown    = -1
	codeTimeout = -5
	codeFilter  = -7
)

func timedOut(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() || strings.Contains(err.Error(), "timed out")
}

// numbered is a result code and its name, as Postfix logs them; between stands
// what is between, and what it opens is closed.
func numbered(err error, between string) string {
	code, text := codeOf(err)
	s := strconv.Itoa(code) + between + text
	if strings.HasSuffix(between, "(") {
		s += ")"
	}
	return s
}

func codeOf(err error) (int, string) {
	var e *ldap.Error
	switch {
	case timedOut(err):
		return codeTimeout, "Timed out"
	case !errors.As(err, &e) || e.ResultCode == ldap.ErrorNetwork:
		return codeDown, "Can't contact LDAP server"
	case e.ResultCode == ldap.ErrorFilterCompile:
		return codeFilter, "Bad search filter"
	}
	if text, ok := names[e.ResultCode]; ok {
		return int(e.ResultCode), text
	}
	return int(e.ResultCode), sentence(ldap.LDAPResultCodeMap[e.ResultCode])
}

// names are those that OpenLDAP gives to results, as far as they are not the
// library's.
var names = map[uint16]string{
	ldap.LDAPResultStrongAuthRequired:       "Strong(er) authentication required",
	ldap.LDAPResultAdminLimitExceeded:       "Administrative limit exceeded",
	ldap.LDAPResultInvalidDNSyntax:          "Invalid DN syntax",
	ldap.LDAPResultInsufficientAccessRights: "Insufficient access",
	ldap.LDAPResultBusy:                     "Server is busy",
	ldap.LDAPResultUnavailable:              "Server is unavailable",
	ldap.LDAPResultUnwillingToPerform:       "Server is unwilling to perform",
	ldap.LDAPResultOther:                    "Other (e.g., implementation specific) error",
}

// sentence writes all words but the first small, and leaves abbreviations.
func sentence(s string) string {
	words := strings.Fields(s)
	for i, w := range words {
		if i > 0 && strings.ToUpper(w) != w {
			words[i] = strings.ToLower(w)
		}
	}
	return strings.Join(words, " ")
}
