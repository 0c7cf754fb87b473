package smtp

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"testing"

	"sekisho/internal/deliver"
	"sekisho/internal/zone"
)

// What smtp_tls_policy_maps may say, and what it may not.
func TestPolicyAttributes(t *testing.T) {
	for in, want := range map[string]string{
		"none":                                       "none",
		"MAY protocols=!TLSv1":                       "may protocols=!TLSv1",
		"encrypt ciphers=high":                       "encrypt ciphers=high",
		"secure match=nexthop:.a.test":               "secure names=[nexthop .a.test]",
		"secure, match=a match=b":                    "secure names=[a b]",
		"fingerprint match=AA:BB|CC":                 "fingerprint digests=[AA:BB CC]",
		"verify { match = a:b } servername=hostname": "verify names=[a b] servername=hostname",
		"may exclude=RC4:3DES":                       "may exclude=[RC4 3DES]",
		"encrypt connection_reuse=yes":               "encrypt reuse",
		"dane-only":                                  "dane-only",
		"secure match=x policy_type=sts policy_domain=d.test policy_ttl=5 { policy_string = version: STSv1 } mx_host_pattern=*.d.test": "secure names=[x] sts d.test [version: STSv1] [*.d.test]",
		"":                             "error invalid empty policy",
		"safe":                         "error invalid security level",
		"half-dane":                    "error invalid security level",
		"may match=x":                  `error attribute "match" invalid at security level "may"`,
		"secure match=":                `error attribute "match" has empty value`,
		"may ciphers=high ciphers=low": `error attribute "ciphers" is specified multiple times`,
		"may servername=-x":            `error "servername=-x" specifies an invalid hostname`,
		"may what=ever":                `error invalid attribute name: "what"`,
		"may word":                     `error malformed attribute/value pair "word"`,
		"may connection_reuse=perhaps": `error attribute "connection_reuse" has bad value`,
		"encrypt tafile=x":             `error attribute "tafile" invalid`,
		"secure tafile=/nonexistent":   "error open /nonexistent",
		"secure policy_domain=d.test":  "error built-in policy has unexpected attribute",
		"secure policy_type=mine":      "error attribute \"policy_type\" has an unexpected value",
	} {
		p := &tlsPolicy{}
		got := ""
		if err := p.parse(in); err != nil {
			got = "error " + err.Error()
		} else {
			got = p.level.String()
			for name, v := range map[string]any{"protocols": p.protocols, "ciphers": p.ciphers, "names": p.names, "digests": p.digests, "servername": p.servername, "exclude": p.exclude} {
				if s := fmt.Sprint(v); s != "" && s != "[]" {
					got += " " + name + "=" + s
				}
			}
			if p.reuse {
				got += " reuse"
			}
			if e := p.external; e.kind != "" {
				got += fmt.Sprintf(" %s %s %v %v", e.kind, e.domain, e.strings, e.mxPatterns)
			}
		}
		if in == "verify { match = a:b } servername=hostname" && got == "verify servername=hostname names=[a b]" {
			continue // two attributes, in either order
		}
		if got != want && !(strings.HasPrefix(want, "error") && strings.HasPrefix(got, want)) {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func TestMatchMX(t *testing.T) {
	for in, want := range map[string]bool{
		"mx.a.test mx.a.test": true, "*.a.test MX.a.test": true, "*.a.test x.mx.a.test": false, "*.a.test a.test": false, "a.test mx.a.test": false, "*. a.": false,
	} {
		pattern, name, _ := strings.Cut(in, " ")
		if got := matchMX(pattern, name); got != want {
			t.Errorf("%s: %v", in, got)
		}
	}
}

// secure returns an agent in a DNS that begins with the usual one, and a server
// with the given certificate.
func secure(t *testing.T, zoneLines string, cert tls.Certificate) (a *Agent, s *server, port string, log fmt.Stringer) {
	t.Helper()
	s = &server{replies: map[string]string{"EHLO": "250-srv.test\n250 STARTTLS", "EHLO 2": "250 srv.test"}, tls: &tls.Config{Certificates: []tls.Certificate{cert}}}
	s.tls.GetConfigForClient = func(h *tls.ClientHelloInfo) (*tls.Config, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.commands = append(s.commands, "SNI "+h.ServerName)
		return nil, nil
	}
	port = s.listen(t, "127.0.0.1", "0")
	a, buffer := newAgent(t)
	z, err := zone.Parse("zone", strings.NewReader(zoneText+strings.ReplaceAll(zoneLines, "PORT", port)))
	if err != nil {
		t.Fatal(err)
	}
	a.World.Query = z.Query
	a.TLSLogLevel = 1
	return a, s, port, buffer
}

// DANE: what the DNS says decides (RFC 7672).
func TestDANE(t *testing.T) {
	cert, _ := certificate(t, "mx.d.test")
	other, _ := certificate(t, "other.test")
	tlsa := func(usage, selector int, c *x509.Certificate) string {
		data := c.Raw
		if selector == 1 {
			data = c.RawSubjectPublicKeyInfo
		}
		return fmt.Sprintf("%d %d 1 %x", usage, selector, sha256.Sum256(data))
	}
	const signed = "d.test MX 10 mx.d.test\nd.test SECURE\nmx.d.test A 127.0.0.1\nmx.d.test SECURE\n"
	const record = "_PORT._tcp.mx.d.test SECURE\n_PORT._tcp.mx.d.test TLSA "
	ee, wrong := tlsa(3, 1, cert.Leaf), tlsa(3, 1, other.Leaf)
	for name, c := range map[string]struct {
		zone        string
		dane, only  string // what comes of it at level dane and dane-only: status, DSN, text
		word, names string // in the log at level dane; the name asked for
	}{
		"matches":         {signed + record + ee, "sent 2.0.0", "sent 2.0.0", "Verified", "mx.d.test"},
		"trust anchor":    {signed + record + tlsa(2, 0, cert.Leaf), "deferred 4.7.5 Server certificate not verified", "deferred 4.7.5 Server certificate not verified", "Untrusted", "mx.d.test"},
		"does not match":  {signed + record + wrong, "deferred 4.7.5 Server certificate not verified", "deferred 4.7.5 Server certificate not verified", "Untrusted", "mx.d.test"},
		"one of two":      {signed + record + wrong + "\n_PORT._tcp.mx.d.test TLSA " + ee, "sent 2.0.0", "sent 2.0.0", "Verified", "mx.d.test"},
		"none":            {signed, "sent 2.0.0", "deferred 4.7.5 no TLSA records found", "Untrusted", ""},
		"not authentic":   {signed + "_PORT._tcp.mx.d.test TLSA " + ee, "sent 2.0.0", "deferred 4.7.5 no TLSA records found", "Untrusted", ""},
		"unusable":        {signed + record + "1 1 1 " + strings.Repeat("00", 32), "sent 2.0.0", "deferred 4.7.5 TLSA records unusable", "Untrusted", ""},
		"nobody knows":    {signed + "_PORT._tcp.mx.d.test SERVFAIL", "deferred 4.7.5 TLSA lookup error for mx.d.test:PORT", "deferred 4.7.5 TLSA lookup error for mx.d.test:PORT", "", ""},
		"host insecure":   {"d.test MX 10 mx.d.test\nd.test SECURE\nmx.d.test A 127.0.0.1\n" + record + ee, "sent 2.0.0", "deferred 4.7.5 no TLSA records found", "Untrusted", ""},
		"MX insecure":     {"d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\nmx.d.test SECURE\n" + record + ee, "sent 2.0.0", "deferred 4.7.5 non DNSSEC destination", "Trusted", "mx.d.test"},
		"alias":           {"d.test MX 10 alias.d.test\nd.test SECURE\nalias.d.test CNAME mx.d.test\nalias.d.test SECURE\nmx.d.test A 127.0.0.1\nmx.d.test SECURE\n" + record + ee, "sent 2.0.0", "sent 2.0.0", "Verified", "mx.d.test"},
		"insecure target": {"d.test MX 10 alias.d.test\nd.test SECURE\nalias.d.test CNAME mx.d.test\nalias.d.test SECURE\nmx.d.test A 127.0.0.1\n_PORT._tcp.alias.d.test SECURE\n_PORT._tcp.alias.d.test TLSA " + ee, "sent 2.0.0", "sent 2.0.0", "Verified", "alias.d.test"},
	} {
		for _, level := range []TLSLevel{TLSDANE, TLSDANEOnly} {
			a, s, port, log := secure(t, c.zone, cert)
			a.TLS, a.TLSDefaults.DNSSEC, a.TLSDefaults.InsecureMX = level, true, TLSDANE
			r := a.Deliver(t.Context(), request("d.test:"+port, "x\n"))[0]
			got := r.Status.String() + " " + r.DSN
			if r.Status != deliver.Sent {
				got += " " + r.Text
			}
			want := map[TLSLevel]string{TLSDANE: c.dane, TLSDANEOnly: c.only}[level]
			if want = strings.ReplaceAll(want, "PORT", port); got != want {
				t.Errorf("%s, %s: %s, want %s\n%s", name, level, got, want, log)
			}
			if level == TLSDANE && c.word != "" && (!strings.Contains(log.String(), c.word+" TLS connection established") || !strings.Contains(s.said()+"|", "SNI "+c.names+"|")) {
				t.Errorf("%s: log %s, said %s", name, log, s.said())
			}
			if strings.HasPrefix(want, "deferred") && strings.Contains(s.said(), "MAIL") {
				t.Errorf("%s, %s: the server was told of the message: %s", name, level, s.said())
			}
		}
	}
}

// Without a resolver that can be relied upon there is no DANE.
func TestDANEWithoutDNSSEC(t *testing.T) {
	cert, _ := certificate(t, "mx.d.test")
	for level, want := range map[TLSLevel]string{TLSDANE: "2.0.0", TLSDANEOnly: "4.7.5"} {
		a, _, port, log := secure(t, "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n", cert)
		a.TLS = level
		if r := a.Deliver(t.Context(), request("d.test:"+port, "x\n"))[0]; r.DSN != want || !strings.Contains(log.String(), "configured with dnssec lookups disabled") {
			t.Errorf("%s: %+v, log %s", level, r, log)
		}
	}
}

// Policies by destination: levels, names and fingerprints that a certificate
// must have.
func TestPolicyMaps(t *testing.T) {
	cert, pool := certificate(t, "mx.d.test")
	print := func(b []byte) string { sum := sha256.Sum256(b); return hex.EncodeToString(sum[:]) }
	colons := func(s string) string {
		var parts []string
		for i := 0; i < len(s); i += 2 {
			parts = append(parts, s[i:i+2])
		}
		return strings.ToUpper(strings.Join(parts, ":"))
	}
	const zoneLines = "d.test MX 10 mx.d.test\nsub.d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n"
	const no = "4.7.5 Server certificate not verified"
	for name, c := range map[string]struct {
		key, value string
		to         string
		want, said string // DSN and text; the name asked for
	}{
		"none":                {"d.test:PORT", "none", "d.test", "2.0.0", ""},
		"encrypt":             {"d.test:PORT", "encrypt", "d.test", "2.0.0", "SNI |"},
		"parent":              {".d.test", "secure match=other.test", "sub.d.test", no, ""},
		"verify":              {"d.test:PORT", "verify", "d.test", "2.0.0", ""},
		"secure":              {"d.test:PORT", "secure", "d.test", "2.0.0", ""},
		"secure, other":       {"d.test:PORT", "secure match=nexthop", "d.test", no, ""},
		"secure, below":       {"d.test:PORT", "secure match=.d.test", "d.test", "2.0.0", ""},
		"fingerprint":         {"d.test:PORT", "fingerprint match=" + colons(print(cert.Leaf.Raw)), "d.test", "2.0.0", ""},
		"fingerprint of key":  {"d.test:PORT", "fingerprint match=00|" + print(cert.Leaf.RawSubjectPublicKeyInfo), "d.test", "2.0.0", ""},
		"other fingerprint":   {"d.test:PORT", "fingerprint match=" + print(nil), "d.test", no, ""},
		"no fingerprint":      {"d.test:PORT", "fingerprint", "d.test", "4.7.5 client TLS configuration problem", ""},
		"nonsense":            {"d.test:PORT", "secure what", "d.test", "4.7.5 client TLS configuration problem", ""},
		"broken table":        {"d.test:PORT", "", "d.test", "4.7.5 client TLS configuration problem", ""},
		"protocols":           {"d.test:PORT", "encrypt protocols=TLSv1.2", "d.test", "2.0.0", "SNI |"},
		"no such protocol":    {"d.test:PORT", "encrypt protocols=TLSv9", "d.test", "4.7.5 Cannot start TLS: handshake failure", ""},
		"servername":          {"d.test:PORT", "encrypt servername=hostname", "d.test", "2.0.0", "SNI mx.d.test|"},
		"servername, literal": {"d.test:PORT", "may servername=x.test", "d.test", "2.0.0", "SNI x.test|"},
		"MTA-STS":             {"d.test:PORT", "secure match=x.test policy_type=sts policy_domain=d.test mx_host_pattern=*.d.test", "d.test", "2.0.0", ""},
		"MTA-STS, other host": {"d.test:PORT", "secure match=x.test policy_type=sts policy_domain=d.test mx_host_pattern=*.e.test", "d.test", "4.3.0 server unavailable or unable to receive mail", ""},
		"MTA-STS, failure":    {"d.test:PORT", "secure match=hostname policy_type=no-policy-found policy_failure=sts-webpki-invalid", "d.test", no, ""},
	} {
		a, s, port, log := secure(t, zoneLines, cert)
		a.TLS, a.TLSConfig.RootCAs, a.TLSDefaults.PolicyMaps = TLSMay, pool, []string{"table"}
		a.World.Lookup = func(_, key string) (string, bool, error) {
			if c.value == "" {
				return "", false, errors.New("down")
			}
			return c.value, key == strings.ReplaceAll(c.key, "PORT", port), nil
		}
		to := c.to + ":" + port
		if strings.HasPrefix(c.key, ".") {
			to = c.to // a parent is looked up for a domain without port only
			a.Port, _ = portNumber(port)
		}
		r := a.Deliver(t.Context(), request(to, "x\n"))[0]
		got := r.DSN
		if r.Status != deliver.Sent {
			got += " " + r.Text
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s\n%s", name, got, c.want, log)
		}
		if !strings.Contains(s.said()+"|", c.said) {
			t.Errorf("%s: said %s", name, s.said())
		}
	}
}

// FuzzPolicy: whatever a table says is read without trouble.
func FuzzPolicy(f *testing.F) {
	for _, s := range []string{"secure match=a:b { policy_string = x } ", "may {", "encrypt }={", "{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := &tlsPolicy{}
		if p.parse(s) == nil && p.level == tlsHalfDANE {
			t.Errorf("%q", s)
		}
	})
}
