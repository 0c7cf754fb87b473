package smtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"sekisho/internal/clock"
	"sekisho/internal/deliver"
	"sekisho/internal/mtasts"
	"sekisho/internal/tlsrpt"
)

// What a sender's REQUIRETLS comes to, by policy and by what the host can (RFC
// 8689 section 4.2.1).
func TestRequireTLS(t *testing.T) {
	cert, pool := certificate(t, "mx.d.test")
	const zoneLines = "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n"
	const both, some, none = "250-srv.test\n250-DSN\n250 REQUIRETLS", "250-srv.test\n250 DSN", ""
	for name, c := range map[string]struct {
		policy string
		level  TLSLevel
		within string // the reply to EHLO within TLS; empty: there is none
		want   string // DSN and text
		said   string // after the sender's address
	}{
		"enforce":                {"enforce", TLSVerify, both, "2.0.0", "RET=FULL REQUIRETLS"},
		"enforce, not matching":  {"enforce", TLSEncrypt, both, "5.7.10 Sender requested REQUIRETLS, but my configured TLS security level 'encrypt' disables certificate matching. The last attempted server was mx.d.test", ""},
		"enforce, not supported": {"enforce", TLSVerify, some, "5.7.30 Sender requested REQUIRETLS, but no server was found that supports REQUIRETLS. The last attempted server was mx.d.test[127.0.0.1]", ""},
		"enforce, no TLS":        {"enforce", TLSVerify, none, "5.7.30 Sender requested REQUIRETLS, but TLS service was not offered by host mx.d.test[127.0.0.1]", ""},
		"may":                    {"opportunistic+starttls", TLSMay, some, "2.0.0", "RET=HDRS"},
		"may, no TLS":            {"opportunistic+starttls", TLSMay, none, "5.7.30 Sender requested REQUIRETLS, but TLS service was not offered by host mx.d.test[127.0.0.1]", ""},
		"may, none":              {"opportunistic+starttls", TLSNone, both, "5.7.10 Sender requested REQUIRETLS, but my configured TLS security level 'none' disables encryption. The last attempted server was mx.d.test", ""},
		"soft":                   {"opportunistic", TLSMay, both, "2.0.0", "RET=FULL REQUIRETLS"},
		"soft, no TLS":           {"opportunistic", TLSMay, none, "2.0.0", ""},
		"disabled":               {"disable", TLSMay, both, "2.0.0", "RET=FULL"},
		"by table":               {"table:x", TLSMay, some, "2.0.0", "RET=HDRS"},
		"nonsense":               {"perhaps", TLSMay, some, "4.7.10 REQUIRETLS policy configuration error. The last attempted server was mx.d.test", ""},
		"nothing says":           {"", TLSMay, both, "5.7.10 Sender requested REQUIRETLS, but my configured TLS security level 'may' disables certificate matching. The last attempted server was mx.d.test", ""},
	} {
		a, s, port, log := secure(t, zoneLines, cert)
		a.RequireTLS, a.RequireTLSPolicy = true, strings.Fields(c.policy)
		a.TLS, a.TLSConfig.RootCAs = c.level, pool
		a.World.Lookup = func(_, key string) (string, bool, error) { return "opportunistic", key == ".test", nil }
		s.set("EHLO 2", c.within)
		if c.within == none {
			s.set("EHLO", "250-srv.test\n250 REQUIRETLS") // outside of TLS it does not count
		}
		r := request("d.test:"+port, "x\n")
		r.Envelope.RequireTLS, r.Envelope.Ret = true, "FULL"
		result := a.Deliver(t.Context(), r)[0]
		got := result.DSN
		if result.Status != deliver.Sent {
			got += " " + result.Text
		}
		if got != c.want {
			t.Errorf("%s: %s\nwant %s\n%s", name, got, c.want, log)
		}
		if said := s.said() + "|"; c.want == "2.0.0" && !strings.Contains(said, strings.TrimSpace("MAIL FROM:<from@q.test> "+c.said)+"|") {
			t.Errorf("%s: said %s", name, said)
		}
	}
}

// "TLS-Required: no" lowers the level, but REQUIRETLS or nothing does not.
func TestTLSRequiredNo(t *testing.T) {
	cert, _ := certificate(t, "other.test")
	for header, want := range map[string]string{
		"TLS-Required: no\n": "2.0.0", "Subject: x\n y\nTLS-required:  No \n": "2.0.0", "TLS-Required: yes\n": "4.7.5", "Subject: x\n\nTLS-Required: no\n": "4.7.5", "": "4.7.5",
	} {
		a, _, port, _ := secure(t, "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n", cert)
		a.TLS, a.HeedTLSRequired = TLSVerify, true
		if r := a.Deliver(t.Context(), request("d.test:"+port, header+"\nx\n"))[0]; r.DSN != want {
			t.Errorf("%q: %+v", header, r)
		}
	}
}

// reports keeps what is reported.
type reports struct{ list []string }

func (r *reports) Report(x tlsrpt.Result) error {
	line := fmt.Sprintf("%s %s %s", x.Domain, x.Policy.Kind, x.Policy.Domain)
	if x.Failure != nil {
		line += fmt.Sprintf(" %s %s[%s] %s", x.Failure.Type, x.Failure.MXHost, x.Failure.ReceivingIP, x.Failure.MXHelo)
	}
	r.list = append(r.list, line)
	return nil
}

// Policies on the web, and what is reported of sessions under them.
func TestMTASTS(t *testing.T) {
	good, pool := certificate(t, "mx.d.test")
	other, otherPool := certificate(t, "other.test")
	policy := func(mode, mx string) string {
		return "version: STSv1\nmode: " + mode + "\nmx: " + mx + "\nmax_age: 86400\n"
	}
	for name, c := range map[string]struct {
		text  string // of the policy; empty: it cannot be read
		level TLSLevel
		cert  tls.Certificate
		plain bool // the host has no TLS
		want  string
		log   string // the word for trust
		rpt   string // "PORT" has no place in it
	}{
		"enforce":              {policy("enforce", "*.d.test"), TLSMay, good, false, "2.0.0", "Verified", "d.test sts d.test"},
		"enforce, wrong name":  {policy("enforce", "*.d.test"), TLSMay, other, false, "4.7.5 Server certificate not verified", "Untrusted", "d.test sts d.test certificate-host-mismatch mx.d.test[127.0.0.1] srv.test"},
		"enforce, no TLS":      {policy("enforce", "*.d.test"), TLSMay, good, true, "4.7.4 TLS is required, but was not offered by host mx.d.test[127.0.0.1]", "", "d.test sts d.test starttls-not-supported mx.d.test[127.0.0.1] srv.test"},
		"enforce, other host":  {policy("enforce", "mx.e.test"), TLSMay, good, false, "4.3.0 server unavailable or unable to receive mail", "", ""},
		"testing":              {policy("testing", "*.d.test"), TLSMay, good, false, "2.0.0", "Trusted", "d.test sts d.test"},
		"testing, wrong name":  {policy("testing", "*.d.test"), TLSMay, other, false, "2.0.0", "Trusted", "d.test sts d.test certificate-host-mismatch mx.d.test[127.0.0.1] srv.test"},
		"testing, no TLS":      {policy("testing", "*.d.test"), TLSMay, good, true, "2.0.0", "", "d.test sts d.test starttls-not-supported mx.d.test[127.0.0.1] srv.test"},
		"none":                 {policy("none", "*.d.test"), TLSMay, other, false, "2.0.0", "Untrusted", "d.test no-policy-found d.test"},
		"cannot be read":       {"", TLSMay, other, false, "2.0.0", "Untrusted", "d.test sts d.test sts-policy-fetch-error [] |d.test no-policy-found d.test"},
		"nonsense":             {"x", TLSMay, other, false, "2.0.0", "Untrusted", "d.test sts d.test sts-policy-invalid [] |d.test no-policy-found d.test"},
		"configured otherwise": {policy("enforce", "*.d.test"), TLSFingerprint, good, false, "4.7.5 Server certificate not verified", "Untrusted", "d.test no-policy-found d.test validation-failure mx.d.test[127.0.0.1] srv.test"},
	} {
		a, s, port, log := secure(t, "d.test MX 10 mx.d.test\nmx.d.test A 127.0.0.1\n_mta-sts.d.test TXT \"v=STSv1; id=1;\"\n_smtp._tls.d.test TXT \"v=TLSRPTv1; rua=mailto:r@d.test\"\n", c.cert)
		if c.plain {
			s.set("EHLO", "250 srv.test")
		}
		sts, err := mtasts.New(mtasts.Options{Query: a.World.Query, File: filepath.Join(t.TempDir(), "sts"), Clock: clock.System{}, Log: slog.New(slog.DiscardHandler),
			Fetch: func(context.Context, string) (string, error) {
				if c.text == "" {
					return "", errors.New("down")
				}
				return c.text, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		got := &reports{}
		a.STS, a.STSRoots, a.Reports, a.TLS, a.TLSDefaults.Fingerprints = sts, pool, got, c.level, []string{"00"}
		if c.cert.Leaf == other.Leaf {
			a.STSRoots = otherPool
		}
		r := a.Deliver(t.Context(), request("d.test:"+port, "x\n"))[0]
		result := r.DSN
		if r.Status != deliver.Sent {
			result += " " + r.Text
		}
		if result != c.want {
			t.Errorf("%s: %s, want %s\n%s", name, result, c.want, log)
		}
		if c.log != "" && !strings.Contains(log.String(), "\""+c.log+" TLS connection established") {
			t.Errorf("%s: log %s", name, log)
		}
		if reported := strings.Join(got.list, "|"); reported != c.rpt {
			t.Errorf("%s: reported %q, want %q", name, reported, c.rpt)
		}
	}
}
