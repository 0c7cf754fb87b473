package smtp

import "context"

// tlsPolicy is how a host is to be spoken to.
type tlsPolicy struct {
	level TLSLevel
	reuse bool // the connection may be kept (smtp_tls_connection_reuse)
}

// tlsPolicy returns the policy for a host.
func (d *delivery) tlsPolicy(_ context.Context, _ host, _ int) (*tlsPolicy, trouble) {
	return &tlsPolicy{level: d.a.TLS, reuse: d.a.ReuseTLS}, trouble{}
}
