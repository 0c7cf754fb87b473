package dns

import (
	"context"
	"net/netip"
	"strings"
	"time"

	mdns "github.com/miekg/dns"

	"sekisho/internal/mail"
)

// System resolves host names as the C library does: the hosts file first, then
// the DNS ("hosts: files dns" of nsswitch.conf). It is safe for concurrent
// use.
type System struct {
	query  func(ctx context.Context, name, typ string) Answer
	hosts  hostsFile
	search []string // domains to append
	ndots  int      // dots from which on a name is first tried as it is

	// Route tells the address from which packets to another would come; it is
	// not valid when there is no way. By it Host orders addresses; without it
	// they stay as they were found, IPv4 first. To be set before use.
	Route func(to netip.Addr) netip.Addr
}

// NewSystem returns a System over query and the hosts file at path; an empty
// path means none.
func NewSystem(query func(ctx context.Context, name, typ string) Answer, path string) *System {
	return &System{query: query, hosts: hostsFile{path: path, every: time.Second / 10}, ndots: 1}
}

// Host returns the addresses of a host, the best to reach first, and only those
// of the types given if there are any. When only one of the two questions fails, its failure
// goes unsaid, as with getaddrinfo(3). A failure's Reason is in the words of
// gai_strerror(3).
func (s *System) Host(ctx context.Context, name string, types ...string) Answer {
	a := s.both(ctx, name, types)
	a.Records = order(a.Records, s.Route)
	return a
}

func (s *System) both(ctx context.Context, name string, types []string) Answer {
	if len(types) == 1 {
		return s.addresses(ctx, name, types[0])
	}
	four := make(chan Answer, 1)
	go func() { four <- s.addresses(ctx, name, "A") }()
	six := s.addresses(ctx, name, "AAAA")
	a := <-four
	switch {
	case a.Outcome == Success && six.Outcome == Success:
		a.Records = append(a.Records[:len(a.Records):len(a.Records)], six.Records...)
		a.TTL, a.Took = min(a.TTL, six.TTL), max(a.Took, six.Took)
		a.AD = a.AD && six.AD
		return a
	case a.Outcome == Success || six.Outcome != Success && !temporary(six.Outcome):
		return a
	}
	return six
}

func temporary(o Outcome) bool { return o == ServFail || o == Refused || o == Timeout }

// addresses returns a host's addresses of one family, typ "A" or "AAAA".
func (s *System) addresses(ctx context.Context, name, typ string) Answer {
	a := s.resolve(ctx, name, typ)
	a.Reason = libcReason(a.Outcome)
	return a
}

// libcReason says a failure as gai_strerror(3) does.
func libcReason(o Outcome) string {
	switch o {
	case Success:
		return ""
	case NXDomain:
		return "Name or service not known"
	case NoData:
		return "No address associated with hostname"
	case ServFail, Refused, Timeout:
		return "Temporary failure in name resolution"
	}
	return "Non-recoverable failure in name resolution"
}

func (s *System) resolve(ctx context.Context, name, typ string) Answer {
	if addr, ok := numericHost(name); ok {
		return fromAddrs(name, typ, []netip.Addr{addr})
	}
	if addrs := s.hosts.byName(name); len(addrs) > 0 {
		if a := fromAddrs(name, typ, addrs); a.Outcome == Success {
			return a
		}
	}
	var first Answer
	for i, try := range s.candidates(name) {
		a := s.query(ctx, try, typ)
		if a.Outcome == Success || temporary(a.Outcome) {
			return a
		}
		if i == 0 || a.Outcome == NoData {
			first = a
		}
	}
	return first
}

// candidates lists what a name may stand for, in the order of resolv.conf(5).
func (s *System) candidates(name string) []string {
	if bare, absolute := strings.CutSuffix(name, "."); absolute || len(s.search) == 0 {
		return []string{bare}
	}
	var list []string
	for _, domain := range s.search {
		list = append(list, name+"."+strings.TrimSuffix(domain, "."))
	}
	if strings.Count(name, ".") >= s.ndots {
		return append([]string{name}, list...)
	}
	return append(list, name)
}

// fromAddrs makes an answer of addresses known without asking.
func fromAddrs(name, typ string, addrs []netip.Addr) Answer {
	a := Answer{Outcome: Success, TTL: time.Minute}
	for _, addr := range addrs {
		if (typ == "A") == addr.Is4() {
			a.Records = append(a.Records, Record{Type: typ, Name: name, Data: addr.String(), TTL: a.TTL})
		}
	}
	if a.Records == nil {
		return failure(NoData, name, typ)
	}
	return a
}

// ClientName is what Postfix knows of a client by name.
type ClientName struct {
	Name          string // "unknown" unless Status is NameOK
	Status        mail.NameStatus
	Reverse       string // the PTR name, "unknown" when there is none
	ReverseStatus mail.NameStatus
	Warnings      []string // log lines, in order
}

// ClientName looks a client's name up and checks that the name leads back to
// the address, as Postfix's smtpd_peer does by getnameinfo(3) and
// getaddrinfo(3).
func (s *System) ClientName(ctx context.Context, addr netip.Addr) ClientName {
	addr = addr.Unmap()
	c := ClientName{Name: "unknown", Reverse: "unknown"}
	name, status := s.reverse(ctx, addr)
	if status == mail.NameOK {
		switch gripe := complaint(name, false); {
		case mail.ValidHostAddr(name):
			c.Warnings = append(c.Warnings, "numeric hostname: "+name)
			status = mail.NamePerm
		case gripe != "":
			c.Warnings = append(c.Warnings, gripe)
			status = mail.NamePerm
		}
	}
	c.Status, c.ReverseStatus = status, status
	if status != mail.NameOK {
		return c
	}
	c.Reverse = name
	why := ""
	if c.Status, why = s.confirm(ctx, name, addr); c.Status == mail.NameOK {
		c.Name = name
		return c
	}
	c.Warnings = append(c.Warnings, "hostname "+name+" does not resolve to address "+addr.String()+why)
	return c
}

// reverse finds the name of an address.
func (s *System) reverse(ctx context.Context, addr netip.Addr) (string, mail.NameStatus) {
	if name := s.hosts.byAddr(addr); name != "" {
		return name, mail.NameOK
	}
	arpa, err := mdns.ReverseAddr(addr.WithZone("").String())
	if err != nil {
		return "", mail.NamePerm
	}
	a := s.query(ctx, strings.TrimSuffix(arpa, "."), "PTR")
	if temporary(a.Outcome) {
		return "", mail.NameTemp
	}
	for _, r := range a.Records {
		switch {
		case r.Data == "":
			return ".", mail.NameOK
		case libcHostName(r.Data):
			return r.Data, mail.NameOK
		}
	}
	return "", mail.NamePerm
}

// libcHostName reports whether glibc passes a PTR name on (res_hnok): letters,
// digits, '-', '_' and '.', no '-' in front. Stricter rules are Postfix's.
func libcHostName(name string) bool {
	if strings.HasPrefix(name, "-") {
		return false
	}
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '-' && c != '_' && c != '.' && !isAlnum(c) {
			return false
		}
	}
	return true
}

// confirm checks that name has the address addr; why continues the warning.
func (s *System) confirm(ctx context.Context, name string, addr netip.Addr) (status mail.NameStatus, why string) {
	typ := "A"
	if addr.Is6() {
		typ = "AAAA"
	}
	a := s.addresses(ctx, name, typ)
	switch {
	case temporary(a.Outcome):
		return mail.NameTemp, ": " + a.Reason
	case a.Outcome != Success:
		return mail.NameForged, ": " + a.Reason
	}
	for _, r := range a.Records {
		if got, err := netip.ParseAddr(r.Data); err == nil && got == addr.WithZone("") {
			return mail.NameOK, ""
		}
	}
	return mail.NameForged, ""
}
