package master

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"sekisho/internal/config"
)

// endpoint is a TCP address that a service listens at.
type endpoint struct {
	network string // "tcp4" or "tcp6"
	addr    string // host:port, the host never a name
	// optional: it belongs to an address family that master.cf does not ask for
	// by name, so that a machine without it does without.
	optional bool
}

// String returns the address as log lines show it.
func (e endpoint) String() string { return e.addr }

// endpoints finds where an inet service listens: at the host that its name
// gives, or at inet_interfaces; with the families of inet_protocols.
func endpoints(cfg *config.Config, s config.Service) ([]endpoint, error) {
	host, portName := "", s.Name
	if i := strings.LastIndexByte(s.Name, ':'); i >= 0 {
		host, portName = s.Name[:i], s.Name[i+1:]
	}
	port, err := portNumber(portName)
	if err != nil {
		return nil, fmt.Errorf("%s: service %s: %w", s.Pos, s.Name, err)
	}
	hosts, pos, param := []string{host}, s.Pos, "service "+s.Name
	if host == "" {
		param, pos = "inet_interfaces", cfg.Pos("inet_interfaces")
		hosts = cfg.Strings(param)
	}
	var out []endpoint
	for _, h := range hosts {
		found, err := hostEndpoints(strings.Trim(h, "[]"), port, cfg.Strings("inet_protocols"))
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", pos, param, err)
		}
		for _, e := range found {
			if !slices.Contains(out, e) {
				out = append(out, e)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%s: %s: no address to listen at with inet_protocols = %s", pos, param, cfg.Str("inet_protocols"))
	}
	return out, nil
}

// hostEndpoints are those of one host: an address, a name, "all" or
// "loopback-only".
func hostEndpoints(host string, port int, protocols []string) ([]endpoint, error) {
	var addrs []netip.Addr
	optional := false
	switch strings.ToLower(host) {
	case "all":
		addrs, optional = []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, true
	case "loopback-only":
		addrs, optional = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}, true
	default:
		var err error
		if addrs, err = hostAddrs(host); err != nil {
			return nil, err
		}
		optional = len(addrs) > 1
	}
	var out []endpoint
	for _, a := range addrs {
		network, protocol := "tcp4", "ipv4"
		if !a.Is4() {
			network, protocol = "tcp6", "ipv6"
		}
		if !slices.Contains(protocols, "all") && !slices.Contains(protocols, protocol) {
			continue
		}
		out = append(out, endpoint{network, netip.AddrPortFrom(a, uint16(port)).String(), optional && !a.Is4()})
	}
	return out, nil
}

func hostAddrs(host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a.Unmap()}, nil
	}
	addrs, err := net.DefaultResolver.LookupNetIP(context.Background(), "ip", host)
	if err != nil {
		return nil, fmt.Errorf("host %s has no address (%w); write the address itself", host, err)
	}
	for i := range addrs {
		addrs[i] = addrs[i].Unmap()
	}
	return addrs, nil
}

// wellKnown are the services that /etc/services may lack.
var wellKnown = map[string]int{"smtp": 25, "submission": 587, "submissions": 465, "smtps": 465}

func portNumber(name string) (int, error) {
	n, err := net.LookupPort("tcp", name)
	if err == nil {
		return n, nil
	}
	if n, ok := wellKnown[name]; ok {
		return n, nil
	}
	return 0, fmt.Errorf("no port of that name; write its number")
}
