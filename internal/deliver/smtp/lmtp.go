package smtp

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
)

// trySocket delivers to the LMTP server that listens on a socket of this
// machine. There is no other to try (smtp_connect.c).
func (d *delivery) trySocket(ctx context.Context, path string) {
	if len(d.a.Fallback) > 0 {
		d.a.Log.Warn(fmt.Sprintf("ignoring \"lmtp_fallback_relay = %s\" setting for non-TCP connections", strings.Join(d.a.Fallback, ", ")))
	}
	if len(d.socket(path)) >= len(syscall.RawSockaddrUnix{}.Path) {
		d.a.Log.Warn("unix-domain name too long: " + path)
		d.why = trouble{dsn: "4.3.5", text: "Server configuration error"}
	} else {
		d.site, d.domain = path, d.a.Myhostname
		d.requireTLS = d.requiresTLS(d.domain)
		d.policy(path)
		d.lastSite, d.lastHost = true, true
		d.tryLocal(ctx, host{name: d.a.Myhostname, addr: path})
	}
	for _, i := range d.left() {
		d.set(i, "none", d.why)
	}
}

// tryLocal delivers by a connection to the socket that was kept, or by a new
// one.
func (d *delivery) tryLocal(ctx context.Context, h host) {
	policy, refused := d.tlsPolicy(ctx, h, 0)
	if refused.dsn != "" {
		d.a.Log.Warn(fmt.Sprintf("TLS policy lookup error for %s/%s: %s", h.name, h.addr, refused.text))
		d.why = refused
		return
	}
	if policy.level == TLSMay {
		d.a.Log.Warn("smtp_connect_local: opportunistic TLS encryption is not appropriate for unix-domain destinations.")
		policy = &tlsPolicy{level: TLSNone}
	}
	s := &session{d: d, ctx: ctx, host: h, tls: policy}
	for d.load {
		kept := d.a.pool.byDest(d.destKey(), d.a.Clock.Now())
		if kept == nil {
			break
		}
		if d.reuse(ctx, kept) {
			kept.deliver(true)
			return
		}
	}
	s.run(true)
}

// socket is where a path of a next hop leads to. A service in a chroot sees
// nothing outside the queue directory.
func (d *delivery) socket(path string) string {
	if filepath.IsAbs(path) && !d.a.Chroot {
		return path
	}
	return filepath.Join(d.a.QueueDirectory, path)
}

// lhlo introduces us; there is no older form to fall back to.
func (s *session) lhlo() bool {
	s.features = features{pixDelay: s.features.pixDelay}
	r, err := s.command("LHLO " + s.d.a.HeloName)
	if err != nil {
		return s.lost(err, "performing the LHLO handshake")
	}
	if r.class() != 2 {
		return s.unwelcome(r)
	}
	return s.learn(r)
}
