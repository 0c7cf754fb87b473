package dns

import (
	"math/bits"
	"net"
	"net/netip"
	"slices"
)

// policy is a row of the table by which addresses are told apart (RFC 3484
// section 2.1, with the rows that glibc has).
type policy struct {
	prefix            netip.Prefix
	precedence, label int
}

// policyOf finds the row of an address, the longest prefix first.
func policyOf(a netip.Addr) policy {
	if a.Is4() {
		return policy{precedence: 10, label: 4}
	}
	for _, p := range [...]policy{
		{netip.MustParsePrefix("::1/128"), 50, 0},
		{netip.MustParsePrefix("::/96"), 20, 3},
		{netip.MustParsePrefix("2001::/32"), 40, 7},
		{netip.MustParsePrefix("2002::/16"), 30, 2},
		{netip.MustParsePrefix("fec0::/10"), 40, 5},
		{netip.MustParsePrefix("fc00::/7"), 40, 6},
	} {
		if p.prefix.Contains(a) {
			return p
		}
	}
	return policy{precedence: 40, label: 1}
}

// scope is how far an address reaches: 2 on the link, 5 on the site, 14
// everywhere.
func scope(a netip.Addr) int {
	switch {
	case a.IsLoopback() || a.IsLinkLocalUnicast():
		return 2
	case a.Is6() && netip.MustParsePrefix("fec0::/10").Contains(a):
		return 5
	case a.Is6() && a.IsMulticast():
		return int(a.As16()[1] & 0xf)
	}
	return 14
}

// destination is an address with the one that packets to it would come from,
// which is not valid when there is no way there.
type destination struct {
	record Record
	to     netip.Addr
	from   netip.Addr
}

// order sorts the addresses of a host as getaddrinfo(3) does: what is best
// reached comes first (RFC 3484 section 6).
func order(records []Record, route func(netip.Addr) netip.Addr) []Record {
	if len(records) < 2 || route == nil {
		return records
	}
	list := make([]destination, len(records))
	for i, r := range records {
		to, err := netip.ParseAddr(r.Data)
		if err != nil {
			return records
		}
		list[i] = destination{r, to, route(to)}
	}
	slices.SortStableFunc(list, compare)
	sorted := make([]Record, len(list))
	for i, d := range list {
		sorted[i] = d.record
	}
	return sorted
}

func compare(a, b destination) int {
	for _, rule := range [...]func(destination) int{usable, sameScope, sameLabel, precedence, near} {
		if d := rule(b) - rule(a); d != 0 {
			return d
		}
	}
	if a.from.Is6() && b.from.Is6() {
		return common(b) - common(a)
	}
	return 0
}

func yes(b bool) int {
	if b {
		return 1
	}
	return 0
}

func usable(d destination) int { return yes(d.from.IsValid()) }

func sameScope(d destination) int { return yes(d.from.IsValid() && scope(d.from) == scope(d.to)) }

func sameLabel(d destination) int {
	return yes(d.from.IsValid() && policyOf(d.from).label == policyOf(d.to).label)
}

func precedence(d destination) int { return policyOf(d.to).precedence }

func near(d destination) int { return -scope(d.to) }

// common is how many bits at the beginning the two addresses have in common.
func common(d destination) int {
	a, b := d.from.As16(), d.to.As16()
	for i := range a {
		if x := a[i] ^ b[i]; x != 0 {
			return 8*i + bits.LeadingZeros8(x)
		}
	}
	return 128
}

// route asks the kernel where packets to an address would come from. It sends
// nothing.
func route(to netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, 53)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
}
