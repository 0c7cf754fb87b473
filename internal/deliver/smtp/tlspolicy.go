package smtp

import (
	"context"
	"crypto/x509"
	"fmt"
	"os"
	"strings"

	"sekisho/internal/dane"
	"sekisho/internal/mail"
	"sekisho/internal/tlsconf"
)

// TLSDefaults are the parameters of TLS that a policy table can replace for a
// destination.
type TLSDefaults struct {
	PolicyMaps []string // smtp_tls_policy_maps

	// Protocol lists, cipher grades and exclusions where TLS is an offer and where it
	// is a condition.
	Protocols, MandatoryProtocols string
	Ciphers, MandatoryCiphers     string
	Exclude, MandatoryExclude     []string
	VerifyMatch, SecureMatch      []string // names that a certificate must have
	Fingerprints                  []string // smtp_tls_fingerprint_cert_match
	FingerprintDigest             string
	TrustAnchors                  *x509.CertPool // smtp_tls_trust_anchor_file; nil: none
	ServerName                    string         // smtp_tls_servername
	DNSSEC                        bool           // the DNS can be relied upon (smtp_dns_support_level)
	InsecureMX                    TLSLevel       // smtp_tls_dane_insecure_mx_policy
	ForceTLSA                     bool           // smtp_tls_force_insecure_host_tlsa_lookup
	EnforceSTSPatterns            bool           // smtp_tls_enforce_sts_mx_patterns
	ReuseConnections              bool           // smtp_tls_connection_reuse
}

// tlsPolicy is how a host is to be spoken to.
type tlsPolicy struct {
	level      TLSLevel
	reuse      bool // the connection may be kept
	protocols  string
	ciphers    string
	exclude    []string
	names      []string // hostname, nexthop, dot-nexthop, or a name
	servername string
	anchors    *x509.CertPool // instead of smtp_tls_CAfile; nil: none
	digests    []string       // fingerprints that match
	tlsa       []dane.Record
	base       string // name that the TLSA records belong to
	testing    bool   // a policy of MTA-STS is only tested

	external external // where the policy comes from, if not from here
}

// external is what a policy service says about the origin of its answer
// (attributes of Postfix 3.10 for TLSRPT).
type external struct {
	kind       string // sts or no-policy-found; empty: the policy is ours
	domain     string
	strings    []string
	mxPatterns []string
	failure    string
}

// badPolicy: the configuration makes no sense for this host.
var badPolicy = trouble{dsn: "4.7.5", text: "client TLS configuration problem"}

// tlsPolicy returns the policy for a host (smtp_tls_policy.c). A trouble means
// that the host cannot be used.
func (d *delivery) tlsPolicy(ctx context.Context, h host, port int) (*tlsPolicy, trouble) {
	a := d.a
	p := &tlsPolicy{level: a.TLS, reuse: a.TLSDefaults.ReuseConnections}
	listed := false
	if d.tlsNotRequired {
		p.relax(a.WrapperMode)
	} else {
		var t trouble
		if listed, t = d.lookupPolicy(p); t.dsn != "" {
			return nil, t
		}
	}
	if p.level.byDANE() {
		if t := d.resolveDANE(ctx, p, h, port); t.dsn != "" {
			return nil, t
		}
	}
	if !listed && !d.tlsNotRequired {
		d.applySTS(ctx, p)
	}
	if t := d.complete(p); t.dsn != "" {
		return nil, t
	}
	return p, d.permitted(p, h)
}

// relax lowers a policy for a message that need not be secured
// (TLS-Required: no, RFC 8689 section 4.1).
func (p *tlsPolicy) relax(wrapper bool) {
	if wrapper {
		p.level = min(p.level, TLSEncrypt)
	} else {
		p.level = min(p.level, TLSMay)
	}
}

// lookupPolicy asks smtp_tls_policy_maps for the next hop as it is written, and
// where that is a domain, for its parents.
func (d *delivery) lookupPolicy(p *tlsPolicy) (listed bool, _ trouble) {
	name := d.site
	domains := mail.ValidHostname(mail.ASCIIDomain(name))
	for {
		value, found, t := d.policyEntry(name)
		if t.dsn != "" {
			return false, t
		}
		if found {
			where := fmt.Sprintf("%s, next-hop destination \"%s\"", params{lmtp: d.a.LMTP}.name("smtp_tls_policy_maps"), name)
			if err := p.parse(value); err != nil {
				d.a.Log.Warn(where + ": " + err.Error())
				return true, badPolicy
			}
			d.sts(p)
			return true, trouble{}
		}
		i := strings.IndexByte(name[min(1, len(name)):], '.')
		if !domains || i < 0 {
			return false, trouble{}
		}
		name = name[i+1:]
	}
}

func (d *delivery) policyEntry(name string) (value string, found bool, _ trouble) {
	for _, table := range d.a.TLSDefaults.PolicyMaps {
		value, found, err := d.a.World.Lookup(table, name)
		if err != nil {
			d.a.Log.Warn(fmt.Sprintf("%s, next-hop destination \"%s\": policy table lookup error", params{lmtp: d.a.LMTP}.name("smtp_tls_policy_maps"), name))
			return "", false, badPolicy
		}
		if found {
			return value, true, trouble{}
		}
	}
	return "", false, trouble{}
}

// sts makes a policy with the patterns of MTA-STS ask for the host's name: which
// hosts are allowed is decided by allowsHost.
func (d *delivery) sts(p *tlsPolicy) {
	if d.enforcesPatterns(p) {
		p.names = []string{"hostname"}
	}
}

func (d *delivery) enforcesPatterns(p *tlsPolicy) bool {
	return d.a.TLSDefaults.EnforceSTSPatterns && !p.testing && strings.EqualFold(p.external.kind, "sts") && len(p.names) > 0 && len(p.external.mxPatterns) > 0
}

// allowsHost reports whether the policy's patterns of MTA-STS have the name of a
// mail exchanger (RFC 8461 section 4.1).
func (d *delivery) allowsHost(p *tlsPolicy, name string) bool {
	if !d.enforcesPatterns(p) {
		return true
	}
	name = mail.ASCIIDomain(name)
	for _, pattern := range p.external.mxPatterns {
		if matchMX(pattern, name) {
			return true
		}
	}
	d.a.Log.Warn(fmt.Sprintf("MX name '%s' does not match STS MX pattern for '%s'", name, p.external.domain))
	return false
}

// matchMX reports whether a pattern of MTA-STS has a name: the name itself, or
// "*.domain" for one label below it.
func matchMX(pattern, name string) bool {
	if strings.EqualFold(pattern, name) {
		return true
	}
	parent, wild := strings.CutPrefix(pattern, "*.")
	label, rest, ok := strings.Cut(name, ".")
	return wild && parent != "" && ok && label != "" && strings.EqualFold(rest, parent)
}

// parse reads the value of a policy table: a level and attributes.
func (p *tlsPolicy) parse(value string) error {
	words := splitAttributes(value)
	if len(words) == 0 {
		return fmt.Errorf("invalid empty policy")
	}
	level, err := parseLevel(words[0])
	if err != nil {
		return fmt.Errorf("invalid security level \"%s\"", words[0])
	}
	p.level = level
	if level < TLSMay {
		return nil
	}
	seen := map[string]bool{}
	for _, w := range words[1:] {
		name, value, ok := strings.Cut(w, "=")
		name, value = strings.ToLower(strings.TrimSpace(name)), strings.TrimSpace(value)
		if !ok || name == "" {
			return fmt.Errorf("malformed attribute/value pair \"%s\": missing '=' after attribute name", w)
		}
		if err := p.attribute(name, value, seen[name]); err != nil {
			return err
		}
		seen[name] = true
	}
	if p.external.kind == "" && (seen["policy_ttl"] || seen["policy_domain"] || seen["policy_string"] || seen["mx_host_pattern"] || seen["policy_failure"]) {
		return fmt.Errorf("built-in policy has unexpected attribute policy_ttl, policy_domain, policy_string, mx_host_pattern or policy_failure")
	}
	return nil
}

// splitAttributes splits at commas and white space outside of braces, which
// protect a "{name = value}".
func splitAttributes(s string) (words []string) {
	depth, start := 0, -1
	flush := func(end int) {
		if start >= 0 {
			words = append(words, strings.TrimSpace(strings.TrimSuffix(strings.TrimPrefix(s[start:end], "{"), "}")))
		}
		start = -1
	}
	for i, c := range s {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if depth == 0 && strings.ContainsRune(", \t\r\n", c) {
			flush(i)
		} else if start < 0 {
			start = i
		}
	}
	flush(len(s))
	return words
}

// repeatable are the attributes that may stand more than once.
var repeatable = map[string]bool{"match": true, "tafile": true, "connection_reuse": true, "enable_rpk": true, "policy_string": true, "mx_host_pattern": true}

func (p *tlsPolicy) attribute(name, value string, again bool) error {
	if again && !repeatable[name] {
		return fmt.Errorf("attribute \"%s\" is specified multiple times", name)
	}
	if value == "" && (name == "ciphers" || name == "match" || name == "tafile") {
		return fmt.Errorf("attribute \"%s\" has empty value", name)
	}
	invalid := fmt.Errorf("attribute \"%s\" invalid at security level \"%s\"", name, p.level)
	switch name {
	case "ciphers":
		p.ciphers = value
	case "protocols":
		p.protocols = value
	case "exclude":
		p.exclude = words(value)
		if p.exclude == nil {
			p.exclude = []string{}
		}
	case "servername":
		if !mail.ValidHostname(value) {
			return fmt.Errorf("\"%s=%s\" specifies an invalid hostname", name, value)
		}
		p.servername = value
	case "match":
		switch p.level {
		case TLSFingerprint:
			p.digests = append(p.digests, strings.Split(value, "|")...)
		case TLSVerify, TLSSecure:
			p.names = append(p.names, strings.Split(value, ":")...)
		default:
			return invalid
		}
	case "tafile":
		if p.level != TLSVerify && p.level != TLSSecure {
			return invalid
		}
		return p.loadAnchors(value)
	case "connection_reuse":
		yes := strings.EqualFold(value, "yes")
		if !yes && !strings.EqualFold(value, "no") {
			return fmt.Errorf("attribute \"%s\" has bad value: \"%s\"", name, value)
		}
		p.reuse = yes
	case "enable_rpk": // crypto/tls has no raw public keys
		if !strings.EqualFold(value, "yes") && !strings.EqualFold(value, "no") {
			return fmt.Errorf("attribute \"%s\" has bad value: \"%s\"", name, value)
		}
	default:
		return p.externalAttribute(name, value)
	}
	return nil
}

func (p *tlsPolicy) externalAttribute(name, value string) error {
	unexpected := fmt.Errorf("attribute \"%s\" has an unexpected value: \"%s\"", name, value)
	switch name {
	case "policy_ttl":
		if value == "" || strings.Trim(value, "0123456789") != "" {
			return fmt.Errorf("attribute \"%s\" has a malformed value: \"%s\"", name, value)
		}
	case "policy_type":
		if value != "sts" && value != "no-policy-found" {
			return unexpected
		}
		p.external.kind = value
	case "policy_domain":
		if !mail.ValidHostname(value) {
			return fmt.Errorf("attribute \"%s\" has a malformed value: \"%s\"", name, value)
		}
		p.external.domain = value
	case "policy_string":
		p.external.strings = append(p.external.strings, value)
	case "mx_host_pattern":
		p.external.mxPatterns = append(p.external.mxPatterns, value)
	case "policy_failure":
		p.external.failure = value
	default:
		return fmt.Errorf("invalid attribute name: \"%s\"", name)
	}
	return nil
}

// loadAnchors adds the certificates of a file to those that may sign a server's.
func (p *tlsPolicy) loadAnchors(file string) error {
	if p.anchors == nil {
		p.anchors = x509.NewCertPool()
	}
	return addCertificates(p.anchors, file)
}

// addCertificates adds the certificates of a file to a pool.
func addCertificates(pool *x509.CertPool, file string) error {
	pem, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("%s: no certificate in it", file)
	}
	return nil
}

func words(s string) []string {
	return strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(", \t\r\n:", c) })
}

// complete gives a policy what the table left open.
func (d *delivery) complete(p *tlsPolicy) trouble {
	o := &d.a.TLSDefaults
	mandatory := p.level > TLSMay
	choose := func(v *string, offered, required string) {
		if *v == "" && mandatory {
			*v = required
		} else if *v == "" {
			*v = offered
		}
	}
	choose(&p.protocols, o.Protocols, o.MandatoryProtocols)
	choose(&p.ciphers, o.Ciphers, o.MandatoryCiphers)
	choose(&p.servername, o.ServerName, o.ServerName)
	if p.exclude == nil {
		p.exclude = o.Exclude
		if mandatory {
			p.exclude = append(p.exclude[:len(p.exclude):len(p.exclude)], o.MandatoryExclude...)
		}
	}
	switch p.level {
	case TLSFingerprint:
		if p.digests == nil {
			p.digests = o.Fingerprints
		}
		if len(p.digests) == 0 {
			d.a.Log.Warn(fmt.Sprintf("nexthop domain %s: configured at fingerprint security level, but with no fingerprints to match.", d.site))
			return badPolicy
		}
	case TLSVerify:
		if p.names == nil {
			p.names = o.VerifyMatch
		}
	case TLSSecure:
		if p.names == nil {
			p.names = o.SecureMatch
		}
	}
	if p.anchors == nil {
		p.anchors = o.TrustAnchors
	}
	return trouble{}
}

// limits returns the protocol versions and cipher suites of a policy.
func (p *tlsPolicy) limits() (lowest, highest uint16, suites []uint16, err error) {
	if lowest, highest, err = tlsconf.Protocols(p.protocols); err != nil {
		return 0, 0, nil, err
	}
	suites, err = tlsconf.Suites(p.ciphers, p.exclude)
	return lowest, highest, suites, err
}
