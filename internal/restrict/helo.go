package restrict

import (
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// heloLiteral handles "[...]" for the HELO tests: a well-formed literal
// passes, any other is refused.
func (r *run) heloLiteral(c call) (st status, literal bool) {
	h := r.f.HeloName
	if !strings.HasPrefix(h, "[") {
		return dunno, false
	}
	if isLiteral(h) {
		return dunno, true
	}
	return r.reject(ClassPolicy, r.p.set.invalidHostnameCode, "5.5.2",
		refusal(h, classHelo, "invalid ip address")), true
}

// isLiteral reports whether s is an address literal with valid contents.
func isLiteral(s string) bool {
	if len(s) < 3 || s[0] != '[' || s[len(s)-1] != ']' {
		return false
	}
	_, ok := mail.ValidMailHostAddr(s[1 : len(s)-1])
	return ok
}

func evalInvalidHelo(r *run, c call) status {
	if r.f.HeloName == "" {
		return dunno
	}
	if st, literal := r.heloLiteral(c); literal {
		return st
	}
	if name := trimDot(r.f.HeloName); mail.ValidHostname(name) || mail.ValidHostAddr(name) {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.invalidHostnameCode, "5.5.2", refusal(r.f.HeloName, classHelo, "Invalid name"))
}

func evalNonFQDNHelo(r *run, c call) status {
	if r.f.HeloName == "" {
		return dunno
	}
	if st, literal := r.heloLiteral(c); literal {
		return st
	}
	if r.isFQDN(trimDot(r.f.HeloName)) {
		return dunno
	}
	return r.reject(ClassPolicy, r.p.set.nonFQDNCode, "5.5.2",
		refusal(r.f.HeloName, classHelo, "need fully-qualified hostname"))
}

// isFQDN reports whether a name is valid and has a dot. A bare IP address is
// no name. A name that is not ASCII is valid only with SMTPUTF8.
func (r *run) isFQDN(name string) bool {
	ascii := name
	if r.f.SMTPUTF8 {
		ascii = mail.ASCIIDomain(name)
	}
	return mail.ValidHostname(ascii) && strings.Contains(name, ".")
}

func evalUnknownHelo(r *run, c call) status {
	if r.f.HeloName == "" {
		return dunno
	}
	if st, literal := r.heloLiteral(c); literal {
		return st
	}
	worst := evidence.NotFound
	for _, typ := range [...]string{"A", "AAAA", "MX"} {
		st := r.queryDNS(r.f.HeloName, typ).Status
		if st == evidence.Found {
			return dunno
		}
		worst = worse(worst, st)
	}
	switch {
	case worst == filtered:
		r.warnf("%s: address or MX lookup error: DNS reply filter drops all results", r.f.HeloName)
		return dunno
	case worst == nullMX:
		return dunno // a host that takes no mail may send some
	case retry(worst):
		return r.tempfail(r.p.set.unknownHeloTempfail, 450, "4.7.1", refusal(r.f.HeloName, classHelo, "Host not found"))
	}
	return r.reject(ClassPolicy, r.p.set.unknownHostnameCode, "4.7.1", refusal(r.f.HeloName, classHelo, notFoundText(worst, "Host")))
}

func notFoundText(s evidence.Status, what string) string {
	if s == evidence.Malformed {
		return "Malformed DNS server reply"
	}
	return what + " not found"
}

// worse ranks failed lookups as Postfix's dns_lookup_rl does: one server
// failure among them makes the whole temporary.
func worse(a, b evidence.Status) evidence.Status {
	rank := func(s evidence.Status) int {
		switch {
		case s == filtered:
			return 5
		case retry(s):
			return 4
		case s == evidence.Malformed:
			return 3
		case s == evidence.Failed:
			return 2
		case s == nullMX:
			return 1
		}
		return 0
	}
	if rank(b) > rank(a) {
		return b
	}
	return a
}

// retry reports whether a failure is what Postfix on glibc takes for "try
// again": the C library does not tell a refusal from silence.
func retry(s evidence.Status) bool { return s.Temporary() || s == evidence.Refused || s == badFilter }

// trimDot drops one final dot, but none of two.
func trimDot(s string) string {
	if t, ok := strings.CutSuffix(s, "."); ok && t != "" && !strings.HasSuffix(t, ".") {
		return t
	}
	return s
}
