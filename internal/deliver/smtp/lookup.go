package smtp

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"

	"sekisho/internal/dns"
	"sekisho/internal/dnsfilter"
	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// host is an address to connect to.
type host struct {
	name string
	addr string
	pref uint16

	real   string // the name that has the address, when name is an alias
	secure bool   // the address is authentic (DNSSEC)
}

// exchange is what is known of the MX records that led to a host.
type exchange struct {
	domain string // asked for
	real   string // the name that has the records, when domain is an alias
	secure bool   // the records are authentic (DNSSEC)
}

// lookup finds the hosts of a destination (smtp_addr.c).
type lookup struct {
	a           *Agent
	ctx         context.Context
	detectLoops bool

	why         trouble
	mx          *exchange // nil: no MX record was used
	foundMyself bool      // this machine is one of the mail exchangers
}

// domain returns the mail exchangers' addresses, best first; without any MX
// record those of the domain itself.
func (l *lookup) domain(name string) []host {
	ascii := mail.ASCIIDomain(name)
	answer := l.query(ascii, "MX")
	l.why.text = answer.Reason
	switch answer.Outcome {
	case dns.Success:
		l.mx = &exchange{domain: ascii, real: answer.Records[0].Name, secure: answer.AD}
		return l.exchangers(name, answer.Records)
	case dns.NoData, dns.NXDomain:
		return l.host(ascii)
	case dns.ServFail, dns.Refused, dns.Timeout:
		l.why.dsn = "4.4.3"
	case filtered:
		l.why.dsn = "4.7.0"
		return nil
	case dns.Malformed:
		l.why.dsn = "5.4.4"
	default:
		l.why.dsn = "5.4.3"
	}
	if l.a.IgnoreMXError {
		return l.host(ascii)
	}
	return nil
}

// filtered is the outcome of a question whose answers the DNS reply filter has
// dropped, all of them.
const filtered = dns.Outcome(255)

// query asks the DNS, logs what is odd about the answer, and applies the DNS
// reply filter.
func (l *lookup) query(name, typ string) dns.Answer {
	a := l.a.World.Query(l.ctx, name, typ)
	for _, w := range a.Warnings {
		l.a.Log.Warn(w)
	}
	if a.Outcome != dns.Success || typ == "MX" && slices.ContainsFunc(a.Records, func(r dns.Record) bool { return r.Data == "" }) {
		return a
	}
	kept, outcome, lines := l.a.DNSReplyFilter.Apply(evidence.NewSession(l.ctx, l.a.World), a.Records)
	for _, line := range lines {
		if line.Warn {
			l.a.Log.Warn(line.Text)
		} else {
			l.a.Log.Info(line.Text)
		}
	}
	a.Records = kept
	switch outcome {
	case dnsfilter.Dropped:
		a.Outcome, a.Reason = filtered, outcome.Reason(name, typ)
	case dnsfilter.Broken:
		a.Outcome, a.Reason = dns.ServFail, outcome.Reason(name, typ)
	}
	return a
}

// exchangers turns MX records into addresses that are better than our own.
func (l *lookup) exchangers(name string, records []dns.Record) []host {
	if len(records) == 1 && records[0].Data == "" {
		l.why = trouble{dsn: "5.1.0", text: fmt.Sprintf("Domain %s does not accept mail (nullMX)", name)}
		return nil
	}
	records = slices.Clone(records)
	sort.SliceStable(records, func(i, j int) bool { return records[i].Pref < records[j].Pref })
	l.why = trouble{}
	var hosts []host
	for _, r := range records {
		hosts = append(hosts, l.addresses(r.Data, r.Pref)...)
	}
	if len(hosts) == 0 {
		if l.a.DeferIfNoMX && l.why.dsn != "" {
			l.why.dsn = "4" + l.why.dsn[1:]
		}
		l.a.Log.Warn(fmt.Sprintf("no MX host for %s has a valid address record", name))
		return nil
	}
	bestFound := hosts[0].pref
	if l.detectLoops {
		hosts = l.cutAtMyself(hosts)
	}
	switch {
	case len(hosts) > 0:
		return l.order(hosts)
	case records[0].Pref != bestFound:
		l.why = trouble{dsn: "4.4.4", text: "unable to find primary relay for " + name}
	default:
		l.why = trouble{dsn: "5.4.6", text: fmt.Sprintf("mail for %s loops back to myself", name)}
	}
	return nil
}

// cutAtMyself drops hosts that are no better than this machine. hosts are
// sorted by preference.
func (l *lookup) cutAtMyself(hosts []host) []host {
	for _, h := range hosts {
		if slices.Contains(l.a.OwnAddresses, h.addr) {
			l.foundMyself = true
			return slices.DeleteFunc(hosts, func(o host) bool { return o.pref >= h.pref })
		}
	}
	return hosts
}

// host returns the addresses of a host.
func (l *lookup) host(name string) []host {
	l.why = trouble{}
	hosts := l.addresses(mail.ASCIIDomain(name), 0)
	if l.detectLoops && slices.ContainsFunc(hosts, func(h host) bool { return slices.Contains(l.a.OwnAddresses, h.addr) }) {
		l.why = trouble{dsn: "5.4.6", text: fmt.Sprintf("mail for %s loops back to myself", name)}
		return nil
	}
	return l.order(hosts)
}

// addresses looks one host up. A temporary failure of one host outweighs
// permanent ones of others.
func (l *lookup) addresses(name string, pref uint16) []host {
	if ip, err := netip.ParseAddr(name); err == nil {
		if ip.Is4() && l.a.IPv4 || ip.Is6() && l.a.IPv6 {
			return []host{{name: name, addr: ip.String(), pref: pref}}
		}
	}
	notFound := true
	if l.a.LookupDNS {
		var hosts []host
		if hosts, notFound = l.fromDNS(name, pref); len(hosts) > 0 {
			return hosts
		}
	}
	if l.a.LookupHost && notFound {
		return l.native(name, pref)
	}
	return nil
}

func (l *lookup) fromDNS(name string, pref uint16) (hosts []host, notFound bool) {
	var worst dns.Answer
	for _, typ := range l.types() {
		a := l.query(name, typ)
		for _, r := range a.Records {
			hosts = append(hosts, host{name: name, addr: r.Data, pref: pref, real: r.Name, secure: a.AD})
		}
		if rank(a.Outcome) >= rank(worst.Outcome) {
			worst = a
		}
	}
	if len(hosts) == 0 {
		l.blame(worst)
	}
	return hosts, rank(worst.Outcome) <= 1
}

// types are the address records we can use.
func (l *lookup) types() (list []string) {
	if l.a.IPv4 {
		list = append(list, "A")
	}
	if l.a.IPv6 {
		list = append(list, "AAAA")
	}
	return list
}

// rank orders failures by how much they say: that there is no address, that
// the answer is senseless, that nobody knows.
func rank(o dns.Outcome) int {
	switch o {
	case filtered:
		return 5
	case dns.NXDomain, dns.NoData:
		return 1
	case dns.ServFail, dns.Refused, dns.Timeout:
		return 4
	case dns.Malformed:
		return 3
	case dns.OtherError:
		return 2
	}
	return 0
}

// blame remembers why a host has no address.
func (l *lookup) blame(a dns.Answer) {
	soft := l.why.soft()
	dsn := "5.4.4"
	switch rank(a.Outcome) {
	case 5:
		dsn = "4.7.0"
	case 4:
		dsn = "4.4.3"
	case 2:
		dsn = "5.4.3"
	}
	if soft {
		dsn = "4" + dsn[1:]
	}
	l.why = trouble{dsn: dsn, text: a.Reason}
}

// native asks the system's name service, which knows the hosts file.
func (l *lookup) native(name string, pref uint16) (hosts []host) {
	a := l.a.World.Host(l.ctx, name)
	for _, r := range a.Records {
		if slices.Contains(l.types(), r.Type) {
			hosts = append(hosts, host{name: name, addr: r.Data, pref: pref})
		}
	}
	if len(hosts) > 0 {
		return hosts
	}
	dsn := "5.4.4"
	if l.why.soft() || rank(a.Outcome) == 4 {
		dsn = "4.4.4"
	}
	l.why = trouble{dsn: dsn, text: fmt.Sprintf("unable to look up host %s: %s", name, a.Reason)}
	return nil
}

// order sorts addresses by preference, with equal ones in random order.
func (l *lookup) order(hosts []host) []host {
	if l.a.Randomize {
		rand.Shuffle(len(hosts), func(i, j int) { hosts[i], hosts[j] = hosts[j], hosts[i] })
	}
	sort.SliceStable(hosts, func(i, j int) bool {
		if hosts[i].pref != hosts[j].pref {
			return hosts[i].pref < hosts[j].pref
		}
		return l.familyRank(hosts[i]) < l.familyRank(hosts[j])
	})
	if !l.a.Balance {
		return hosts
	}
	return balance(hosts, l.a.AddressLimit)
}

func (l *lookup) familyRank(h host) int {
	v6 := isIPv6(h)
	switch l.a.AddressPreference {
	case "ipv4":
		if v6 {
			return 1
		}
	case "ipv6":
		if !v6 {
			return 1
		}
	}
	return 0
}

func isIPv6(h host) bool {
	ip, err := netip.ParseAddr(h.addr)
	return err == nil && ip.Is6()
}

// balance shortens the list to limit so that neither IPv4 nor IPv6 crowds the
// other out (smtp_balance_inet_protocols).
func balance(hosts []host, limit int) []host {
	v6 := 0
	for _, h := range hosts {
		if isIPv6(h) {
			v6++
		}
	}
	v4 := len(hosts) - v6
	if limit <= 0 || len(hosts) <= limit || v4 == 0 || v6 == 0 {
		return hosts
	}
	room6 := limit / 2
	switch {
	case v6 <= limit/2:
		room6 = v6
	case v4 <= limit/2:
		room6 = limit - v4
	case isIPv6(hosts[0]):
		room6 = (limit + 1) / 2
	}
	room4 := limit - room6
	return slices.DeleteFunc(hosts, func(h host) bool {
		room := &room4
		if isIPv6(h) {
			room = &room6
		}
		*room--
		return *room < 0
	})
}
