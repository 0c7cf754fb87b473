package smtp

import (
	"bufio"
	"fmt"
	"net"
	"strings"

	"sekisho/internal/mail"
	"sekisho/internal/mimestate"
)

// requireTLS is what a sender's wish for REQUIRETLS means for a destination
// (RFC 8689; smtp_requiretls_policy).
type requireTLS uint8

const (
	requireTLSOff  requireTLS = iota // it was not uttered, or is not heeded
	requireTLSSoft                   // pass it on where that is possible
	requireTLSMay                    // and use no server without TLS
	requireTLSHard                   // as RFC 8689 wants it
	requireTLSBad                    // the policy makes no sense
)

var requireTLSNames = map[string]requireTLS{
	"disable": requireTLSOff, "opportunistic": requireTLSSoft, "opportunistic+starttls": requireTLSMay, "enforce": requireTLSHard, "error": requireTLSBad,
}

// requiresTLS finds out what the sender's wish means for a destination.
func (d *delivery) requiresTLS(domain string) requireTLS {
	if !d.a.RequireTLS || !d.r.Envelope.RequireTLS {
		return requireTLSOff
	}
	domain = mail.ASCIIDomain(domain)
	for _, item := range d.a.RequireTLSPolicy {
		if !strings.Contains(item, ":") {
			return d.requireTLSAction(params{lmtp: d.a.LMTP}.name("smtp_requiretls_policy"), item)
		}
		for name := domain; name != ""; {
			value, found, err := d.a.World.Lookup(item, name)
			switch {
			case err != nil:
				d.a.Log.Warn(fmt.Sprintf("smtp_requiretls_policy: %s: table lookup error -- ignoring the remainder of this policy", item))
				return requireTLSBad
			case found:
				return d.requireTLSAction(item, value)
			}
			i := strings.IndexByte(name[1:], '.')
			if i < 0 || net.ParseIP(name) != nil || !exactTable(item) {
				break
			}
			name = name[i+1:]
		}
	}
	return requireTLSHard
}

// exactTable reports whether a table knows whole strings: then parent domains
// are looked up, too.
func exactTable(table string) bool {
	kind, _, _ := strings.Cut(table, ":")
	switch kind {
	case "regexp", "pcre", "cidr", "tcp", "socketmap", "static":
		return false
	}
	return true
}

func (d *delivery) requireTLSAction(origin, word string) requireTLS {
	action, ok := requireTLSNames[strings.ToLower(word)]
	if !ok {
		d.a.Log.Warn(fmt.Sprintf("%s: unknown policy action: '%s' -- ignoring the remainder of this policy", origin, word))
		return requireTLSBad
	}
	return action
}

// permitted holds a policy against the sender's wish
// (smtp_get_effective_tls_level).
func (d *delivery) permitted(p *tlsPolicy, h host) trouble {
	violation := func(what string) trouble {
		return trouble{dsn: "5.7.10", text: fmt.Sprintf("Sender requested REQUIRETLS, but my configured TLS security level '%s' "+
			"disables %s. The last attempted server was %s", p.level, what, h.name)}
	}
	switch {
	case d.requireTLS == requireTLSBad:
		return trouble{dsn: "4.7.10", text: "REQUIRETLS policy configuration error. The last attempted server was " + h.name}
	case d.requireTLS == requireTLSHard && !p.level.mustMatch():
		return violation("certificate matching")
	case d.requireTLS == requireTLSMay && p.level == TLSNone:
		return violation("encryption")
	}
	return trouble{}
}

// needsTLS reports whether the session must use TLS.
func (s *session) needsTLS() bool {
	return s.tls.level >= TLSEncrypt || s.d.requireTLS >= requireTLSMay
}

// unfit settles all recipients that are left: this host will not do, and if no
// other does, that is final.
func (s *session) unfit(t trouble) bool {
	s.dontCache()
	s.d.why = t
	if !s.d.lastHost {
		s.d.a.Log.Info(s.d.r.QueueID + ": " + t.text)
		return false
	}
	for _, i := range s.d.left() {
		s.d.set(i, s.relay(), t)
	}
	return false
}

// checkRequireTLS makes sure that the host will heed the sender's wish.
func (s *session) checkRequireTLS() bool {
	switch {
	case s.d.requireTLS == requireTLSOff || s.features.requireTLS:
		return true
	case s.d.requireTLS == requireTLSHard:
		return s.unfit(trouble{dsn: "5.7.30", text: "Sender requested REQUIRETLS, but no server was found that supports REQUIRETLS. " +
			"The last attempted server was " + s.name()})
	case s.secured != nil:
		s.d.a.Log.Info(fmt.Sprintf("%s: Sender requested REQUIRETLS, but REQUIRETLS support was not offered by host %s", s.d.r.QueueID, s.name()))
	}
	return true
}

// ret is what a notification is to return of the message: not its content where
// it would travel without the protection that the sender wants (RFC 8689
// section 5).
func (s *session) ret() string {
	if s.d.requireTLS > requireTLSOff && !s.features.requireTLS {
		return "HDRS"
	}
	return s.d.r.Envelope.Ret
}

// saysNotRequired reports whether the message has the header "TLS-Required: no".
// A message that cannot be read will fail when it is sent.
func (d *delivery) saysNotRequired() bool {
	a := d.a
	if !a.HeedTLSRequired || a.TLS <= TLSMay && len(a.TLSDefaults.PolicyMaps) == 0 && a.STS == nil {
		return false // nothing to lower
	}
	content, err := d.r.Content()
	if err != nil {
		return false
	}
	defer content.Close()
	for r := bufio.NewReader(content); ; {
		line, err := r.ReadSlice('\n')
		n := mimestate.HeaderName(line)
		if n > 0 && strings.EqualFold(string(line[:n]), "TLS-Required") {
			_, value, _ := strings.Cut(string(line[n:]), ":")
			return strings.EqualFold(strings.TrimSpace(value), "no")
		}
		if err != nil && err != bufio.ErrBufferFull || n == 0 && (len(line) == 0 || line[0] != ' ' && line[0] != '\t') {
			return false
		}
	}
}
