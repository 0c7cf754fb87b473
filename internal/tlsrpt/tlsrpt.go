// Package tlsrpt tells other sites how TLS with them goes (RFC 8460): it finds
// out whether a domain wants reports, takes the result of each session, and
// passes it on to Postfix's collector (Socket) or sums a day up and sends the
// report itself (Collector).
//
// It makes no TLS sessions and judges none.
package tlsrpt

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"time"

	"sekisho/internal/dns"
)

// Kind is the kind of policy under which a session was made.
type Kind string

// The kinds of RFC 8460 section 4.4.
const (
	TLSA     Kind = "tlsa"
	STS      Kind = "sts"
	NoPolicy Kind = "no-policy-found"
)

// The failures of RFC 8460 section 4.3.
const (
	STARTTLSNotSupported = "starttls-not-supported"
	HostMismatch         = "certificate-host-mismatch"
	NotTrusted           = "certificate-not-trusted"
	Expired              = "certificate-expired"
	ValidationFailure    = "validation-failure"
	PolicyFetchError     = "sts-policy-fetch-error"
	PolicyInvalid        = "sts-policy-invalid"
	WebPKIInvalid        = "sts-webpki-invalid"
	TLSAInvalid          = "tlsa-invalid"
	DNSSECInvalid        = "dnssec-invalid"
	DANERequired         = "dane-required"
)

// Policy is what a session was to fulfil.
type Policy struct {
	Kind    Kind     `json:"policy-type"`
	Strings []string `json:"policy-string,omitempty"` // TLSA records, or the lines of the MTA-STS policy
	Domain  string   `json:"policy-domain"`
	MXHosts []string `json:"mx-host,omitempty"` // patterns of the MTA-STS policy
}

// Failure is why a session was not what the policy wants.
type Failure struct {
	Type        string `json:"result-type"`
	SendingIP   string `json:"sending-mta-ip,omitempty"`
	MXHost      string `json:"receiving-mx-hostname,omitempty"`
	MXHelo      string `json:"receiving-mx-helo,omitempty"`
	ReceivingIP string `json:"receiving-ip,omitempty"`
	Info        string `json:"additional-information,omitempty"`
	Reason      string `json:"failure-reason-code,omitempty"`
}

// Result is what came of one session.
type Result struct {
	Domain  string // that mail was for
	Record  string // its TLSRPT record
	Policy  Policy
	Failure *Failure // nil: a success
}

// Find returns the TLSRPT record of a domain; empty when it wants no reports.
// A warning is for the log.
func Find(ctx context.Context, query func(ctx context.Context, name, typ string) dns.Answer, domain string) (record, warning string) {
	a := query(ctx, "_smtp._tls."+domain, "TXT")
	switch a.Outcome {
	case dns.Success:
	case dns.NXDomain, dns.NoData:
		return "", ""
	default:
		return "", fmt.Sprintf("TLSRPT: policy lookup failed for %s: %s", domain, a.Reason)
	}
	for _, r := range a.Records {
		rest, ok := strings.CutPrefix(r.Data, "v=TLSRPTv1")
		if !ok {
			continue
		}
		if !strings.HasPrefix(strings.TrimLeft(rest, " \t"), ";") {
			warning = fmt.Sprintf("TLSRPT: ignoring malformed policy for %s: %q", domain, r.Data)
			continue
		}
		if record != "" {
			return "", "TLSRPT: Too many TLSRPT policies for " + domain
		}
		record = r.Data
	}
	return record, warning
}

// Destinations are the places that a record wants reports sent to (rua=).
func Destinations(record string) []string {
	for _, field := range strings.Split(record, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(field), "=")
		if strings.EqualFold(strings.TrimSpace(name), "rua") {
			return strings.FieldsFunc(value, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
		}
	}
	return nil
}

// Socket passes results on to a TLSRPT collector that listens on a datagram
// socket, in the protocol of libtlsrpt (smtp_tlsrpt_socket_name). It is safe for
// concurrent use.
type Socket struct {
	Path string
}

// codes are libtlsrpt's numbers.
var codes = map[string]int{
	STARTTLSNotSupported: 201, HostMismatch: 202, NotTrusted: 203, Expired: 204, ValidationFailure: 205,
	PolicyFetchError: 301, PolicyInvalid: 302, WebPKIInvalid: 303, TLSAInvalid: 304, DNSSECInvalid: 305, DANERequired: 306,
}

// datagram is what libtlsrpt sends, field by field.
type datagram struct {
	Version  string           `json:"dpv"`
	Domain   string           `json:"d"`
	Record   string           `json:"pr"`
	Policies []datagramPolicy `json:"policies"`
}

type datagramPolicy struct {
	Type     int               `json:"policy-type"`
	Domain   string            `json:"policy-domain,omitempty"`
	Strings  []string          `json:"policy-string,omitempty"`
	MXHosts  []string          `json:"mx-host,omitempty"`
	Failures []datagramFailure `json:"failure-details,omitempty"`
	Count    int               `json:"t"`
	Failed   int               `json:"f"`
}

type datagramFailure struct {
	Code        int    `json:"c"`
	SendingIP   string `json:"s,omitempty"`
	MXHost      string `json:"n,omitempty"`
	MXHelo      string `json:"h,omitempty"`
	ReceivingIP string `json:"r,omitempty"`
	Info        string `json:"a,omitempty"`
	Reason      string `json:"f,omitempty"`
}

// Report passes a result on. It does not wait for a collector that does not
// read.
func (s *Socket) Report(r Result) error {
	kinds := map[Kind]int{TLSA: 1, STS: 2, NoPolicy: 9}
	p := datagramPolicy{Type: kinds[r.Policy.Kind], Domain: r.Policy.Domain, Strings: r.Policy.Strings, MXHosts: r.Policy.MXHosts}
	if r.Policy.Kind == NoPolicy {
		p.Domain = ""
	}
	if f := r.Failure; f != nil {
		p.Failures = []datagramFailure{{codes[f.Type], f.SendingIP, f.MXHost, f.MXHelo, f.ReceivingIP, f.Info, f.Reason}}
		p.Count, p.Failed = 1, 1
	}
	text, err := json.Marshal(datagram{"1", r.Domain, r.Record, []datagramPolicy{p}})
	if err != nil {
		return fmt.Errorf("TLSRPT: %w", err)
	}
	conn, err := net.Dial("unixgram", s.Path)
	if err != nil {
		return fmt.Errorf("TLSRPT: %w", err)
	}
	defer conn.Close()
	if err := conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return fmt.Errorf("TLSRPT: %w", err)
	}
	if _, err := conn.Write(text); err != nil {
		return fmt.Errorf("TLSRPT: %w", err)
	}
	return nil
}
