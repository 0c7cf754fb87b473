package smtp

import (
	"context"
	"errors"
	"net"
	"strings"

	"sekisho/internal/mtasts"
	"sekisho/internal/tlsrpt"
)

// Reporter takes the results of TLS sessions, for reports to the other side.
type Reporter interface {
	// Report takes a result. An error is for the log only. Report is called
	// concurrently.
	Report(tlsrpt.Result) error
}

// beginReports finds out whether a destination wants reports
// (smtp_tlsrpt_create_wrapper).
func (d *delivery) beginReports(ctx context.Context, domain string) {
	d.reportTo = ""
	if d.a.Reports == nil || d.a.LMTP || d.tlsNotRequired || d.a.TLS == TLSNone || net.ParseIP(domain) != nil {
		return
	}
	record, warning := tlsrpt.Find(ctx, d.a.World.Query, domain)
	if warning != "" {
		d.a.Log.Warn(warning)
	}
	d.reportTo = record
}

// report tells what came of TLS with this host; failure is empty for a success.
// A session reports once.
func (s *session) report(failure, info string) {
	if s.d.reportTo == "" || s.reported {
		return
	}
	s.reported = true
	r := tlsrpt.Result{Domain: s.d.domain, Record: s.d.reportTo, Policy: s.tls.reported(s.d.domain)}
	if failure != "" {
		r.Failure = &tlsrpt.Failure{Type: failure, MXHost: s.host.name, MXHelo: s.greeted, ReceivingIP: s.host.addr, Info: info}
		if addr, _, err := net.SplitHostPort(s.sock.LocalAddr().String()); err == nil {
			r.Failure.SendingIP = addr
		}
	}
	s.d.send(r)
}

func (d *delivery) send(r tlsrpt.Result) {
	if err := d.a.Reports.Report(r); err != nil {
		d.a.Log.Warn(err.Error())
	}
}

// reported is the policy as reports know it.
func (p *tlsPolicy) reported(domain string) tlsrpt.Policy {
	switch {
	case p.level.byDANE():
		out := tlsrpt.Policy{Kind: tlsrpt.TLSA, Domain: p.base}
		for _, r := range p.tlsa {
			out.Strings = append(out.Strings, strings.ToUpper(r.String()))
		}
		return out
	case p.external.kind == "sts":
		return tlsrpt.Policy{Kind: tlsrpt.STS, Domain: p.external.domain, Strings: p.external.strings, MXHosts: p.external.mxPatterns}
	}
	return tlsrpt.Policy{Kind: tlsrpt.NoPolicy, Domain: domain}
}

// applySTS adds the destination's policy on the web, if it has one (RFC 8461).
// TLSA records and what the configuration says come before it.
func (d *delivery) applySTS(ctx context.Context, p *tlsPolicy) {
	a := d.a
	if a.STS == nil || a.LMTP || p.level != TLSMay && p.level != TLSEncrypt && p.level != TLSDANE || strings.HasPrefix(d.site, "[") || len(p.tlsa) > 0 {
		return
	}
	policy, found, err := a.STS.Policy(ctx, strings.ToLower(d.domain))
	if err != nil {
		a.Log.Warn("MTA-STS: " + d.domain + ": " + err.Error())
		failure := tlsrpt.PolicyFetchError
		if errors.Is(err, mtasts.ErrInvalid) {
			failure = tlsrpt.PolicyInvalid
		}
		if d.reportTo != "" {
			d.send(tlsrpt.Result{Domain: d.domain, Record: d.reportTo, Policy: tlsrpt.Policy{Kind: tlsrpt.STS, Domain: d.domain},
				Failure: &tlsrpt.Failure{Type: failure, Info: err.Error()}})
		}
	}
	if !found {
		return
	}
	p.external = external{kind: "sts", domain: d.domain, strings: policy.Lines, mxPatterns: policy.MX}
	p.servername, p.names, p.anchors = "hostname", []string{"hostname"}, a.STSRoots
	if policy.Mode == mtasts.Enforce {
		p.level = TLSVerify
	} else {
		p.testing = true
	}
}
