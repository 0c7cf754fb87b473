package site

import (
	"context"
	"net"
	"net/netip"
	"strings"

	"sekisho/internal/config"
)

// own finds the addresses that inet_interfaces and proxy_interfaces name: mail
// for their literals is local mail, and permit_inet_interfaces trusts them.
func (c *compiler) own() {
	seen := make(map[string]bool)
	for _, param := range []string{"inet_interfaces", "proxy_interfaces"} {
		for _, it := range c.Config.List(param) {
			for _, a := range c.addresses(it, param) {
				if !seen[a] {
					seen[a] = true
					c.Own = append(c.Own, a)
				}
			}
		}
	}
}

// addresses reads one element: an address, "all", "loopback-only", or the name
// of a host.
func (c *compiler) addresses(it config.Item, param string) []string {
	text := strings.TrimSuffix(strings.TrimPrefix(it.Text, "["), "]")
	if a, err := netip.ParseAddr(text); err == nil {
		return []string{a.String()}
	}
	switch {
	case strings.EqualFold(text, "loopback-only"):
		return c.machine(func(a netip.Addr) bool { return a.IsLoopback() })
	case param == "inet_interfaces" && strings.EqualFold(text, "all"):
		return c.machine(func(netip.Addr) bool { return true })
	}
	addrs, why := c.resolveHost(text)
	if len(addrs) == 0 {
		c.problem(Problem{
			Pos: it.Pos, Param: param, What: "host " + text + " has no address: " + why,
			Mend: "write the address itself", Fatal: param == "inet_interfaces",
		})
	}
	return addrs
}

// machine lists the addresses of this machine's interfaces.
func (c *compiler) machine(want func(netip.Addr) bool) []string {
	ifs, err := net.InterfaceAddrs()
	if err != nil {
		c.problem(Problem{
			Pos: c.Config.Pos("inet_interfaces"), Param: "inet_interfaces",
			What: "cannot list this machine's addresses: " + err.Error(), Mend: "write the addresses themselves", Fatal: true,
		})
		return nil
	}
	var out []string
	for _, i := range ifs {
		n, ok := i.(*net.IPNet)
		if !ok {
			continue
		}
		a, ok := netip.AddrFromSlice(n.IP)
		if ok && want(a.Unmap()) {
			out = append(out, a.Unmap().String())
		}
	}
	return out
}

func (c *compiler) resolveHost(name string) (addrs []string, why string) {
	r, err := openDNS(c.Config, c.o)
	if err != nil {
		return nil, err.Error()
	}
	defer r.Close()
	a := r.Host(context.Background(), name)
	for _, rec := range a.Records {
		addrs = append(addrs, rec.Data)
	}
	return addrs, a.Reason
}
