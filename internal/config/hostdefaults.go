package config

import (
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// hostDefaults are the defaults that depend on the machine: postconf(5)
// documents them as computed.
func hostDefaults() map[string]string {
	name, err := os.Hostname()
	if err != nil || name == "" {
		name = "localhost"
	}
	if !strings.Contains(name, ".") {
		name += ".localdomain"
	}
	return map[string]string{
		"myhostname": name, "process_id": strconv.Itoa(os.Getpid()), "process_name": filepath.Base(os.Args[0]),
	}
}

// Networks returns the value of mynetworks: as set, or as mynetworks_style
// makes it from the machine's own addresses.
func (c *Config) Networks() []Item {
	if c.Set("mynetworks") {
		return c.List("mynetworks")
	}
	style := c.Str("mynetworks_style")
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return []Item{{Text: "127.0.0.0/8"}, {Text: "[::1]/128"}}
	}
	out := []Item{{Text: "127.0.0.0/8"}}
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLoopback() {
			continue
		}
		out = append(out, Item{Text: network(n, style)})
	}
	return append(out, Item{Text: "[::1]/128"})
}

func network(n *net.IPNet, style string) string {
	bits := 32
	if n.IP.To4() == nil {
		bits = 128
	}
	ones, _ := n.Mask.Size()
	if style == "host" {
		ones = bits
	}
	mask := net.CIDRMask(ones, bits)
	masked := &net.IPNet{IP: n.IP.Mask(mask), Mask: mask}
	s := masked.String()
	if bits == 128 {
		ip, rest, _ := strings.Cut(s, "/")
		return "[" + ip + "]/" + rest
	}
	return s
}
