package dovecot

import (
	"net"
	"path/filepath"
	"strings"
)

// address is where the service listens.
type address struct {
	network, addr string // as net.Dial takes them
	spec          string // as configured
}

// parseAddress reads smtpd_sasl_path: "inet:host:port", or the path of a socket,
// with or without "unix:", relative to dir.
func parseAddress(spec, dir string) address {
	if addr, ok := strings.CutPrefix(spec, "inet:"); ok {
		if !strings.Contains(addr, ":") {
			addr = net.JoinHostPort("localhost", addr)
		}
		return address{"tcp", addr, spec}
	}
	path := strings.TrimPrefix(spec, "unix:")
	if !filepath.IsAbs(path) {
		path = filepath.Join(dir, path)
	}
	return address{"unix", path, spec}
}
