package smtpd

import (
	"crypto/x509/pkix"
	"testing"
)

func TestNamesInCertificates(t *testing.T) {
	attribute := func(of []int, v any) pkix.AttributeTypeAndValue {
		return pkix.AttributeTypeAndValue{Type: of, Value: v}
	}
	for _, c := range []struct {
		names           pkix.RDNSequence
		subject, issuer string
	}{
		{nil, "", ""},
		{pkix.RDNSequence{{attribute(organization, "Example")}}, "", "Example"},
		{pkix.RDNSequence{{attribute(organization, "Example")}, {attribute(commonName, "first")}, {attribute(commonName, "last")}}, "first", "first"},
		{pkix.RDNSequence{{attribute(commonName, 7)}}, "", ""},
	} {
		var n pkix.Name
		n.FillFromRDNSequence(&c.names)
		if got := firstName(n, commonName); got != c.subject {
			t.Errorf("%v: subject %q, want %q", c.names, got, c.subject)
		}
		if got := firstName(n, commonName, organization); got != c.issuer {
			t.Errorf("%v: issuer %q, want %q", c.names, got, c.issuer)
		}
	}
}
