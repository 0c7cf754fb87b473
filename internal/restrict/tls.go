package restrict

import (
	"fmt"
	"strings"

	"sekisho/internal/evidence"
)

const classCcert = "Client certificate"

// The things by which check_ccert_access looks a certificate up.
const (
	byCertificate = "cert_fingerprint"
	byPublicKey   = "pubkey_fingerprint"
	byIssuer      = "issuer_cn"  // known, but of no use here
	bySubject     = "subject_cn" // likewise
)

// certificateSearch is the argument of check_ccert_access: a table, or
// "{ type:name, { search_order = ... } }".
type certificateSearch struct {
	table string
	order []string
}

func parseCertificateSearch(arg string) (certificateSearch, error) {
	s := certificateSearch{table: arg, order: []string{byCertificate, byPublicKey}}
	if !strings.HasPrefix(arg, "{") {
		return s, nil
	}
	words, err := braced(arg)
	if err != nil {
		return s, fmt.Errorf("malformed map specification: %w", err)
	}
	if len(words) == 0 {
		return s, fmt.Errorf("empty map specification: '%s'", arg)
	}
	s.table = words[0]
	if !strings.Contains(s.table, ":") {
		return s, fmt.Errorf("malformed map specification: '%s': expected maptype:mapname instead of '%s'", arg, s.table)
	}
	for _, w := range words[1:] {
		name, value, err := nameValue(w)
		if err != nil {
			return s, fmt.Errorf("malformed map attribute in '%s': '%w'", arg, err)
		}
		if !strings.EqualFold(name, "search_order") {
			return s, fmt.Errorf("unknown map attribute in '%s': '%s'", arg, name)
		}
		if s.order, err = searchOrder(arg, value); err != nil {
			return s, err
		}
	}
	return s, nil
}

func searchOrder(arg, value string) ([]string, error) {
	var order []string
	for _, w := range strings.FieldsFunc(value, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		switch by := strings.ToLower(w); by {
		case byCertificate, byPublicKey, byIssuer, bySubject:
			order = append(order, by)
		default:
			return nil, fmt.Errorf("unknown search type '%s' in '%s'", w, arg)
		}
	}
	return order, nil
}

// certificateAsked complains when a restriction needs client certificates and
// nobody is asked for one.
func (r *run) certificateAsked(restriction string) status {
	if !r.p.set.askCertificate {
		r.warnf(`%s is requested, but "smtpd_tls_ask_ccert = no"`, restriction)
	}
	return dunno
}

// oldDigest tells that fingerprints are computed with a digest nobody chose.
func (r *run) oldDigest(of string) {
	if r.p.set.oldDigest {
		r.logf("using backwards-compatible default setting smtpd_tls_fingerprint_digest=md5 to compute " + of + " fingerprints")
	}
}

// evalCcertAccess looks up the fingerprints of the client's certificate, which
// need not be one that anybody vouches for.
func evalCcertAccess(r *run, c call) status {
	if !r.f.CcertPresent {
		return r.certificateAsked("check_ccert_access")
	}
	for _, by := range c.it.search.order {
		print := ""
		switch by {
		case byCertificate:
			print = r.f.CcertFingerprint
			r.oldDigest("certificate")
		case byPublicKey:
			print = r.f.CcertPubkeyFingerprint
			r.oldDigest("public key")
		default:
			r.warnf("check_ccert_access: unexpected action '%s' in '%s'", by, c.it.arg)
			return r.serverError()
		}
		l := c.accessTable(r.f.CcertSubject, classCcert)
		l.table, l.partial = c.it.search.table, true
		if st := r.keyAccess(l, print, true); st != dunno {
			return st
		}
	}
	return dunno
}

func evalPermitTLSClientcerts(r *run, c call) status {
	return r.permitCertificate(c, "permit_tls_clientcerts")
}

func evalPermitTLSAllClientcerts(r *run, c call) status {
	if r.f.EncryptionProtocol != "" && r.f.CcertTrusted {
		return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
	}
	return r.permitCertificate(c, "permit_tls_all_clientcerts")
}

// permitCertificate permits the certificates of relay_clientcerts.
func (r *run) permitCertificate(c call, restriction string) status {
	switch {
	case r.f.EncryptionProtocol == "":
		return dunno
	case !r.f.CcertPresent:
		return r.certificateAsked(restriction)
	}
	r.oldDigest("certificate")
	for _, print := range []string{r.f.CcertPubkeyFingerprint, r.f.CcertFingerprint} {
		found, failed := r.relayCertificate(print)
		switch {
		case found:
			return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
		case failed:
			r.warnf("relay_clientcerts: lookup error for fingerprint '%s', pkey fingerprint %s",
				r.f.CcertPubkeyFingerprint, r.f.CcertFingerprint)
			return r.lookupFailure(c.name)
		}
	}
	return dunno
}

func (r *run) relayCertificate(print string) (found, failed bool) {
	if print == "" {
		return false, false
	}
	for _, table := range r.p.set.relayCertificates {
		a := r.Ask(evidence.Question{Kind: evidence.Table, Name: table, Arg: print})
		switch a.Status {
		case evidence.Found:
			return true, false
		case evidence.NotFound:
		default:
			r.warnf("%s lookup error for \"%s\"", table, print)
			return false, true
		}
	}
	return false, false
}
