package config

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// hostDefaults are the defaults that depend on the machine and the process:
// postconf(5) documents them as computed.
func hostDefaults() map[string]string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	if !strings.Contains(name, ".") {
		name += ".localdomain"
	}
	return map[string]string{
		"myhostname":   name,
		"process_id":   strconv.Itoa(os.Getpid()),
		"process_name": filepath.Base(os.Args[0]),
	}
}

// parentDomain is the default of mydomain: myhostname without its first label.
func (c *Config) parentDomain() string {
	if _, domain, ok := strings.Cut(c.Str("myhostname"), "."); ok {
		return domain
	}
	return "localdomain"
}

// Networks returns the value of mynetworks: as set, or as mynetworks_style
// makes it from the addresses that inet_interfaces names.
func (c *Config) Networks() []Item {
	if c.Set("mynetworks") {
		return c.List("mynetworks")
	}
	var out []Item
	for _, text := range strings.Fields(c.ownNetworks()) {
		out = append(out, Item{Text: text})
	}
	return out
}

// ownNetworks is the default of mynetworks. A machine that does not tell its
// addresses trusts itself alone.
func (c *Config) ownNetworks() string {
	interfaces, protocols := c.Strings("inet_interfaces"), c.Strings("inet_protocols")
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return "127.0.0.0/8 [::1]/128"
	}
	var out []string
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || !names(interfaces, n.IP) || !speaks(protocols, n.IP) {
			continue
		}
		if text := network(n, c.Str("mynetworks_style")); !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	return strings.Join(out, " ")
}

// names reports whether inet_interfaces has an address.
func names(interfaces []string, ip net.IP) bool {
	own, _ := netip.AddrFromSlice(ip)
	for _, text := range interfaces {
		switch strings.ToLower(text) {
		case "all":
			return true
		case "loopback-only":
			if own.Unmap().IsLoopback() {
				return true
			}
			continue
		}
		a, err := netip.ParseAddr(strings.Trim(text, "[]"))
		if err == nil && a.Unmap() == own.Unmap() {
			return true
		}
	}
	return false
}

// speaks reports whether inet_protocols has the protocol of an address.
func speaks(protocols []string, ip net.IP) bool {
	protocol := "ipv6"
	if ip.To4() != nil {
		protocol = "ipv4"
	}
	return slices.Contains(protocols, "all") || slices.Contains(protocols, protocol)
}

// network is the part of the net around an address that the style trusts.
func network(n *net.IPNet, style string) string {
	own, _ := netip.AddrFromSlice(n.IP)
	own = own.Unmap()
	bits, _ := n.Mask.Size()
	switch {
	case style == "host":
		bits = own.BitLen()
	case style == "class" && own.Is4():
		bits = classBits(own)
	}
	p := netip.PrefixFrom(own, bits).Masked()
	if own.Is4() {
		return p.String()
	}
	return "[" + p.Addr().String() + "]/" + strconv.Itoa(bits)
}

// classBits is the size of the historical network class of an address.
func classBits(a netip.Addr) int {
	switch first := a.As4()[0]; {
	case first < 128:
		return 8
	case first < 192:
		return 16
	case first < 224:
		return 24
	}
	return 32
}
