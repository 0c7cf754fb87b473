package smtp

import (
	"fmt"
	"strings"
)

// TLSLevel is smtp_tls_security_level: what a connection must be.
type TLSLevel uint8

// The levels, the more demanding the later; from TLSFingerprint on a server must
// show the right certificate.
const (
	TLSNone        TLSLevel = iota // never
	TLSMay                         // when it is offered, without asking who that is
	TLSEncrypt                     // always, without asking who that is
	TLSFingerprint                 // always, with one of the certificates known by their fingerprints
	tlsHalfDANE                    // as TLSDANE, for a host whose MX record is not authentic
	TLSDANE                        // as the host's TLSA records want it; without any as TLSMay
	TLSDANEOnly                    // as the host's TLSA records want it, and never without
	TLSVerify                      // always, with a certificate for the host's name
	TLSSecure                      // always, with a certificate for the destination's name
)

var levelNames = [...]string{"none", "may", "encrypt", "fingerprint", "half-dane", "dane", "dane-only", "verify", "secure"}

// String returns the level as main.cf spells it.
func (l TLSLevel) String() string { return levelNames[l] }

// mustMatch reports whether the server must show the right certificate.
func (l TLSLevel) mustMatch() bool { return l > TLSEncrypt }

// byDANE reports whether TLSA records decide.
func (l TLSLevel) byDANE() bool { return l >= tlsHalfDANE && l <= TLSDANEOnly }

// parseLevel reads a level's name.
func parseLevel(word string) (TLSLevel, error) {
	for l, name := range levelNames {
		if strings.EqualFold(name, word) && TLSLevel(l) != tlsHalfDANE {
			return TLSLevel(l), nil
		}
	}
	return TLSNone, fmt.Errorf("invalid TLS level %q; use none, may, encrypt, fingerprint, dane, dane-only, verify or secure", word)
}
