package tlsconf

import (
	"crypto/tls"
	"slices"
	"testing"
)

func TestProtocols(t *testing.T) {
	const v10, v11, v12, v13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	for list, want := range map[string][2]uint16{
		"": {v10, v13}, ">=TLSv1": {v10, v13}, "!SSLv2, !SSLv3": {v10, v13}, "!SSLv2,!SSLv3,!TLSv1,!TLSv1.1": {v12, v13},
		">=TLSv1.2 <=TLSv1.2": {v12, v12}, "TLSv1.2": {v12, v12}, "TLSv1.1:TLSv1.2": {v11, v12}, ">=tlsv1.3": {v13, v13},
	} {
		if lowest, highest, err := Protocols(list); err != nil || lowest != want[0] || highest != want[1] {
			t.Errorf("%q: %x %x, %v", list, lowest, highest, err)
		}
	}
	for _, list := range []string{"TLSv9", "!!TLSv1", "<TLSv1", "!TLSv1, !TLSv1.1, !TLSv1.2, !TLSv1.3", "SSLv3"} {
		if _, _, err := Protocols(list); err == nil {
			t.Errorf("%q passes", list)
		}
	}
}

func TestSuites(t *testing.T) {
	const (
		des3    = tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA
		rsa     = tls.TLS_RSA_WITH_AES_128_CBC_SHA
		ecdsa   = tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
		chacha  = tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
		rsa256  = tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
		rc4     = tls.TLS_RSA_WITH_RC4_128_SHA
		tls13   = tls.TLS_AES_128_GCM_SHA256
		nothing = 0
	)
	for _, c := range []struct {
		grade      string
		exclusions []string
		in, out    []uint16
	}{
		{"medium", nil, []uint16{des3, rsa, ecdsa, chacha, rsa256}, []uint16{rc4, tls13}},
		{"HIGH", nil, []uint16{rsa, ecdsa, chacha, rsa256}, []uint16{des3, rc4}},
		{"medium", []string{"3DES", "RC4", "aNULL"}, []uint16{rsa, ecdsa}, []uint16{des3}},
		{"medium", []string{"kRSA"}, []uint16{ecdsa, chacha}, []uint16{des3, rsa}},
		{"medium", []string{"aRSA+AES256"}, []uint16{ecdsa, chacha, rsa}, []uint16{rsa256}},
		{"medium", []string{"ECDHE-ECDSA-AES128-GCM-SHA256", "SHA1"}, []uint16{chacha}, []uint16{ecdsa, rsa, des3}},
	} {
		got, err := Suites(c.grade, c.exclusions)
		if err != nil {
			t.Error(err)
		}
		for _, id := range c.in {
			if !slices.Contains(got, id) {
				t.Errorf("%s %v lacks %s", c.grade, c.exclusions, tls.CipherSuiteName(id))
			}
		}
		for _, id := range c.out {
			if slices.Contains(got, id) {
				t.Errorf("%s %v has %s", c.grade, c.exclusions, tls.CipherSuiteName(id))
			}
		}
	}
	if got, err := Suites("medium", []string{"kRSA", "ECDHE"}); err != nil || got == nil || len(got) != nothing {
		t.Errorf("nothing left: %v %v", got, err)
	}
	if _, err := Suites("best", nil); err == nil {
		t.Error("an unknown grade passes")
	}
}
