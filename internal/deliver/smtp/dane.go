package smtp

import (
	"context"
	"fmt"
	"strings"

	"sekisho/internal/dane"
	"sekisho/internal/dns"
)

// resolveDANE asks for a host's TLSA records and adapts the policy to what there
// is (dane_init; RFC 7672 section 2.2). A trouble means that the host cannot be
// used.
func (d *delivery) resolveDANE(ctx context.Context, p *tlsPolicy, h host, port int) trouble {
	a := d.a
	warn := func(format string, args ...any) { a.Log.Warn(d.site + ": " + fmt.Sprintf(format, args...)) }
	switch {
	case port == 0:
		warn("the \"dane\" security level is invalid for delivery via unix-domain sockets")
		return badPolicy
	case !a.LookupDNS || !a.TLSDefaults.DNSSEC:
		warn("%s configured with dnssec lookups disabled", p.level)
		return p.without(TLSMay, badPolicy)
	case !a.LMTP && a.IgnoreMXError:
		warn("%s configured with MX lookup errors ignored", p.level)
		return p.without(TLSMay, badPolicy)
	}
	insecure := d.mx != nil && !d.mx.secure
	if insecure && (p.level == TLSDANEOnly || a.TLSDefaults.InsecureMX <= TLSMay) {
		return p.without(TLSMay, trouble{dsn: "4.7.5", text: "non DNSSEC destination"})
	}
	found, err := d.tlsa(ctx, p, h, port)
	switch {
	case err != nil:
		a.Log.Warn("DANE TLSA lookup problem: " + err.Error())
		return trouble{dsn: "4.7.5", text: fmt.Sprintf("TLSA lookup error for %s:%d", h.name, port)}
	case !found:
		return p.without(TLSMay, trouble{dsn: "4.7.5", text: "no TLSA records found"})
	case len(p.tlsa) == 0:
		return p.without(TLSEncrypt, trouble{dsn: "4.7.5", text: "TLSA records unusable"})
	case insecure && a.TLSDefaults.InsecureMX == TLSEncrypt:
		return p.without(TLSEncrypt, trouble{dsn: "4.7.5", text: "Verification not possible, MX RRset is insecure"})
	case insecure:
		p.level = tlsHalfDANE
	}
	p.names = []string{p.base}
	if d.mx != nil {
		if !strings.EqualFold(d.mx.real, d.mx.domain) {
			p.names = append(p.names, d.mx.real)
		}
		p.names = append(p.names, d.mx.domain)
	}
	return trouble{}
}

// without does without TLSA records: by a lower level, or at dane-only not at
// all.
func (p *tlsPolicy) without(level TLSLevel, otherwise trouble) trouble {
	p.tlsa, p.base = nil, ""
	if p.level != TLSDANE {
		return otherwise
	}
	p.level = level
	return trouble{}
}

// tlsa finds the TLSA records of a host: those of the name that its alias leads
// to, or its own (RFC 7672 section 2.2.2). An error means that nobody knows.
func (d *delivery) tlsa(ctx context.Context, p *tlsPolicy, h host, port int) (found bool, err error) {
	alias := h.real != "" && !strings.EqualFold(h.real, h.name)
	valid := h.secure || d.a.TLSDefaults.ForceTLSA
	if !valid && alias {
		answer := d.a.World.Query(ctx, h.name, "CNAME")
		if answer.Outcome != dns.Success {
			return false, fmt.Errorf("DNSSEC status lookup error for %s: %s", h.name, answer.Reason)
		}
		valid = answer.AD
	}
	if !valid {
		return false, nil
	}
	names := []string{h.name}
	if h.secure && alias {
		names = []string{h.real, h.name}
	}
	for _, name := range names {
		if found, err = d.tlsaOf(ctx, p, name, port); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func (d *delivery) tlsaOf(ctx context.Context, p *tlsPolicy, name string, port int) (found bool, err error) {
	answer := d.a.World.Query(ctx, fmt.Sprintf("_%d._tcp.%s", port, name), "TLSA")
	switch answer.Outcome {
	case dns.Success:
	case dns.NXDomain, dns.NoData:
		return false, nil
	default:
		return false, fmt.Errorf("%s", answer.Reason)
	}
	if !answer.AD {
		return false, nil
	}
	p.base = name
	for _, r := range answer.Records {
		record, err := dane.Parse([]byte(r.Data))
		if err != nil || !record.Usable() {
			d.a.Log.Warn(fmt.Sprintf("unusable TLSA RR: _%d._tcp.%s: %s", port, name, record))
			continue
		}
		p.tlsa = append(p.tlsa, record)
	}
	return true, nil
}
