package restrict

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

func evalRBLClient(r *run, c call) status {
	return r.rblAddr(c, r.f.ClientAddress)
}

func evalRHSBLClient(r *run, c call) status {
	return r.rhsbl(c, known(r.f.ClientName), classClient)
}

func evalRHSBLReverseClient(r *run, c call) status {
	return r.rhsbl(c, known(r.f.ReverseClientName), classRevClient)
}

func evalRHSBLHelo(r *run, c call) status { return r.rhsbl(c, r.f.HeloName, classHelo) }

func evalRHSBLSender(r *run, c call) status { return r.rhsbl(c, r.mailFrom(), classSender) }

func evalRHSBLRecipient(r *run, c call) status { return r.rhsbl(c, r.rcptTo(), classRecipient) }

// known is a client's name, or "" when it has none.
func known(name string) string {
	if strings.EqualFold(name, "unknown") {
		return ""
	}
	return name
}

func (r *run) rblAddr(c call, addr string) status {
	rev, ok := reverseAddr(addr)
	if !ok {
		return dunno
	}
	return r.rblQuery(c, rev, addr, classClient)
}

func (r *run) rhsbl(c call, what, class string) status {
	domain, ok := listableDomain(what)
	if !ok {
		return dunno
	}
	return r.rblQuery(c, domain, what, class)
}

// rblQuery refuses when the list names the thing. A list that fails does not
// refuse mail.
func (r *run) rblQuery(c call, label, what, class string) status {
	query := label + "." + c.it.domain
	if st := r.listed(query, c.it.filter); st != evidence.Found {
		return dunno
	}
	return r.rblReject(c, r.listReason(query), what, class)
}

// listing is what a DNS list answered: asked once an evaluation, as Postfix
// remembers it too.
type listing struct {
	query string
	evidence.Answer
}

// listed asks for the addresses under which a list names something; those that
// the filter does not let through count as not listed.
func (r *run) listed(query string, f *rblFilter) evidence.Status {
	a := r.listing(query)
	switch {
	case absent(a.Status):
		return evidence.NotFound
	case a.Status != evidence.Found || f == nil:
		return a.Status
	}
	for _, rec := range a.Records {
		if rec.Type == "A" && f.match(rec.Data) {
			return evidence.Found
		}
	}
	return evidence.NotFound
}

func (r *run) listing(query string) evidence.Answer {
	for i := range r.listings {
		if r.listings[i].query == query {
			return r.listings[i].Answer
		}
	}
	a := r.askList(query, "A")
	if a.Status != evidence.Found && !absent(a.Status) && !a.Repeated {
		r.warnf("%s: RBL lookup error: %s", query, a.Reason)
	}
	if len(r.p.set.dnsReplyFilter.Tables) > 0 && a.Status == evidence.Found {
		r.listReason(query) // for what the filter says to it
	}
	r.listings = append(r.listings, listing{query, a})
	return a
}

// askList asks a list, and does not repeat what an earlier command of the
// session has logged about the answer.
func (r *run) askList(query, typ string) evidence.Answer {
	q := evidence.Question{Kind: evidence.DNS, Name: typ, Arg: strings.ToLower(query)}
	a := r.Ask(q)
	a.Reason = strings.Replace(a.Reason, "name="+q.Arg, "name="+query, 1)
	return r.filterReply(a, query, typ, a.Repeated)
}

// maxReason is how much of a list's explanation is told to the client.
const maxReason = 500

// listReason asks for the list's explanation.
func (r *run) listReason(query string) string {
	for i := range r.reasons {
		if r.reasons[i].query == query {
			return r.reasons[i].Value
		}
	}
	a := r.askList(query, "TXT")
	if a.Status == filtered && !a.Repeated {
		r.warnf("%s: TXT lookup error: DNS reply filter drops all results", query)
	}
	reason := ""
	for i, rec := range a.Records {
		text := rec.Text()
		reason += text[:min(len(text), maxReason-len(reason))]
		if i+1 < len(a.Records) && maxReason-len(reason) > len(" / ") {
			reason += " / "
		}
	}
	r.reasons = append(r.reasons, listing{query, evidence.Answer{Value: reason}})
	return reason
}

func evalDNSWLClient(r *run, c call) status {
	rev, ok := reverseAddr(r.f.ClientAddress)
	if !ok {
		return dunno
	}
	return r.allowlisted(c, rev, r.f.ClientAddress)
}

func evalRHSWLClient(r *run, c call) status {
	domain, ok := listableDomain(known(r.f.ClientName))
	if !ok {
		return dunno
	}
	return r.allowlisted(c, domain, r.f.ClientName)
}

// allowlisted permits a client that an allow list names, but never to a
// recipient that we are not responsible for: a list of others must not open
// the relay.
func (r *run) allowlisted(c call, label, what string) status {
	if r.f.ProtocolState == "RCPT" && r.f.RecipientKnown {
		ok, failed := r.authDestination(r.rcptTo())
		if failed {
			return r.lookupFailure(r.rcptTo())
		}
		if !ok {
			return dunno
		}
	}
	switch r.listed(label+"."+c.it.domain, c.it.filter) {
	case evidence.Found:
		return r.permitLogged(c.it.text, classClient, r.f.NameAddr(), "")
	case evidence.NotFound:
		return dunno
	}
	return r.deferIfReject(ClassPolicy, 450, "4.7.1", refusal(what, classClient, "Service unavailable"))
}

// reverseAddr writes an address as DNS lists want it (RFC 5782 section 2.1).
func reverseAddr(addr string) (string, bool) {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return "", false
	}
	a = a.Unmap()
	if a.Is4() {
		b := a.As4()
		out := make([]byte, 0, len("255.255.255.255"))
		for i := 3; i > 0; i-- {
			out = append(strconv.AppendUint(out, uint64(b[i]), 10), '.')
		}
		return string(strconv.AppendUint(out, uint64(b[0]), 10)), true
	}
	const hex = "0123456789abcdef"
	b := a.As16()
	out := make([]byte, 0, 63)
	for i := 15; i >= 0; i-- {
		if len(out) > 0 {
			out = append(out, '.')
		}
		out = append(out, hex[b[i]&15], '.', hex[b[i]>>4])
	}
	return string(out), true
}

// listableDomain takes the domain out of a name or address, when it is one
// that a list can know: no literal, and no number at the end.
func listableDomain(what string) (string, bool) {
	domain := what
	if _, d, ok := mail.SplitAddress(what); ok {
		domain = d
	}
	if isDigits(domain[strings.LastIndexByte(domain, '.')+1:]) {
		return "", false
	}
	domain = mail.ASCIIDomain(domain)
	return domain, mail.ValidHostname(domain)
}

// rblFilter is the "=d.d.d.d" of a list name: for each octet the ranges that
// count as listed.
type rblFilter [4][]octetRange

type octetRange struct{ low, high int }

// parseRBLFilter reads four octets separated by dots; each is a number or
// "[a;b..c]"; all of it may stand in brackets.
func parseRBLFilter(s string) (*rblFilter, error) {
	var f rblFilter
	rest := s
	if strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]") && closing(s) == len(s)-1 {
		rest = s[1 : len(s)-1]
	}
	for i := range f {
		ranges, after, err := parseField(rest)
		if err != nil {
			return nil, fmt.Errorf("%q: %w", s, err)
		}
		f[i], rest = ranges, after
		if i < 3 {
			if !strings.HasPrefix(rest, ".") {
				return nil, fmt.Errorf("%q: want four octets", s)
			}
			rest = rest[1:]
		}
	}
	if rest != "" {
		return nil, fmt.Errorf("%q: text after the fourth octet", s)
	}
	return &f, nil
}

// closing is the place of the "]" that closes the first "[".
func closing(s string) int {
	level := 0
	for i := range len(s) {
		switch s[i] {
		case '[':
			level++
		case ']':
			if level--; level == 0 {
				return i
			}
		}
	}
	return -1
}

// parseField reads a number or "[...]" off the front of s.
func parseField(s string) (ranges []octetRange, rest string, err error) {
	if !strings.HasPrefix(s, "[") {
		n := 0
		for n < len(s) && '0' <= s[n] && s[n] <= '9' {
			n++
		}
		v, err := octet(s[:n])
		return []octetRange{{v, v}}, s[n:], err
	}
	inside, rest, ok := strings.Cut(s[1:], "]")
	if !ok {
		return nil, "", errors.New("missing ']'")
	}
	for _, part := range strings.Split(inside, ";") {
		lo, hi, isRange := strings.Cut(part, "..")
		if !isRange {
			hi = lo
		}
		l, err1 := octet(lo)
		h, err2 := octet(hi)
		if err := cmp.Or(err1, err2); err != nil {
			return nil, "", err
		}
		if l > h {
			return nil, "", fmt.Errorf("range %q ends before it begins", part)
		}
		ranges = append(ranges, octetRange{l, h})
	}
	return ranges, rest, nil
}

func octet(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if !isDigits(s) || err != nil || n > 255 {
		return 0, fmt.Errorf("%q is no number from 0 to 255", s)
	}
	return n, nil
}

func (f *rblFilter) match(addr string) bool {
	a, err := netip.ParseAddr(addr)
	if err != nil || !a.Is4() {
		return false
	}
	for i, b := range a.As4() {
		hit := false
		for _, rg := range f[i] {
			hit = hit || int(b) >= rg.low && int(b) <= rg.high
		}
		if !hit {
			return false
		}
	}
	return true
}
