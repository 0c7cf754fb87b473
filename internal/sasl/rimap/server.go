package rimap

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
)

// server is where the IMAP server is and how it is trusted.
type server struct {
	addr string // host:port
	tls  bool   // from the start
	conf *tls.Config
}

// parseServer reads HOST, HOST:PORT, HOST/PORT (as saslauthd's -O has it), with
// imap:// or imaps:// before it. Port 993 and the name imaps mean TLS from the
// start.
func parseServer(spec string) (server, error) {
	scheme, rest, given := strings.Cut(spec, "://")
	if !given {
		scheme, rest = "imap", spec
	}
	if scheme != "imap" && scheme != "imaps" {
		return server{}, fmt.Errorf("IMAP server %q: write HOST, HOST:PORT, or imaps://HOST:PORT", spec)
	}
	host, port := rest, scheme
	if h, p, err := net.SplitHostPort(rest); err == nil {
		host, port = h, p
	} else if h, p, ok := strings.Cut(rest, "/"); ok {
		host, port = h, p
	}
	host = strings.Trim(host, "[]")
	if host == "" || port == "" || strings.ContainsAny(host, "/ \t") || strings.Contains(host, ":") && net.ParseIP(host) == nil || strings.ContainsAny(port, ":/ \t") {
		return server{}, fmt.Errorf("IMAP server %q: write HOST, HOST:PORT, or imaps://HOST:PORT", spec)
	}
	// Not every system has a file of services.
	number, known := map[string]string{"imap": "143", "imaps": "993"}[port]
	if known {
		port = number
	}
	return server{
		addr: net.JoinHostPort(host, port),
		tls:  scheme == "imaps" || port == "993",
		conf: &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, InsecureSkipVerify: loopback(host)},
	}, nil
}

// loopback reports whether nobody can be between us and host. Such a server
// seldom has a certificate for the name localhost.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// trust demands a certificate signed by one of a file, whatever the host.
func (s *server) trust(file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate in PEM form", file)
	}
	s.conf.RootCAs, s.conf.InsecureSkipVerify = pool, false
	return nil
}
