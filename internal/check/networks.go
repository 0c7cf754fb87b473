package check

import (
	"encoding/hex"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"sekisho/internal/config"
)

// Networks looks at mynetworks: whoever is in it may relay. gateways are the
// machine's default gateways.
func Networks(cfg *config.Config, gateways []netip.Addr) []Finding {
	var found []Finding
	for _, it := range cfg.Networks() {
		p, ok := network(strings.TrimPrefix(it.Text, "!"))
		if !ok {
			continue
		}
		if strings.HasPrefix(it.Text, "!") {
			gateways = slices.DeleteFunc(slices.Clone(gateways), p.Contains)
			continue
		}
		if tooWide(p) {
			found = append(found, Finding{
				Code: "SEK301", Severity: Error, Pos: it.Pos,
				What: "mynetworks: " + it.Text + " trusts a large part of the Internet",
				Why:  "every client in mynetworks may relay without logging in",
				Mend: "list only your own networks",
			})
			continue
		}
		if g, ok := gatewayIn(p, gateways); ok {
			found = append(found, Finding{
				Code: "SEK303", Severity: Warning, Pos: orParam(it.Pos, cfg, "mynetworks_style"),
				What: "mynetworks: " + it.Text + " contains the default gateway " + g.String(),
				Why:  "where the gateway translates addresses (containers, port forwarding), every stranger seems to come from it, and may relay",
				Mend: "list the machines that may relay, without the gateway: !" + g.String() + " before the network",
			})
		}
	}
	if !cfg.Set("mynetworks") && cfg.Str("mynetworks_style") == "class" {
		found = append(found, Finding{
			Code: "SEK304", Severity: Warning, Pos: cfg.Pos("mynetworks_style"),
			What: "mynetworks_style = class trusts the whole class A, B or C network",
			Why:  "these are other people's networks where the provider gave out a part of one",
			Mend: "set mynetworks_style = host, or mynetworks",
		})
	}
	return found
}

func orParam(pos config.Pos, cfg *config.Config, param string) config.Pos {
	if pos == (config.Pos{}) {
		return cfg.Pos(param)
	}
	return pos
}

// network reads one element of a list that is a network or an address.
func network(text string) (netip.Prefix, bool) {
	bare := strings.NewReplacer("[", "", "]", "").Replace(text)
	if p, err := netip.ParsePrefix(bare); err == nil {
		return p, true
	}
	a, err := netip.ParseAddr(bare)
	return netip.PrefixFrom(a, a.BitLen()), err == nil
}

func tooWide(p netip.Prefix) bool {
	if p.Addr().IsPrivate() || p.Addr().IsLoopback() || p.Addr().IsLinkLocalUnicast() {
		return false
	}
	const widest4, widest6 = 8, 16
	return p.Addr().Is4() && p.Bits() <= widest4 || p.Addr().Is6() && p.Bits() <= widest6
}

// gatewayIn finds a gateway in the network. One that is listed by its own
// address is meant.
func gatewayIn(p netip.Prefix, gateways []netip.Addr) (netip.Addr, bool) {
	for _, g := range gateways {
		if !p.IsSingleIP() && p.Contains(g) {
			return g, true
		}
	}
	return netip.Addr{}, false
}

// Gateways reads the default gateways from the kernel's routing tables "route"
// and "ipv6_route" in fsys, which is /proc/net. Tables that are not there
// have none.
func Gateways(fsys fs.FS) []netip.Addr {
	var out []netip.Addr
	for _, f := range routes(fsys, "route") { // Iface Destination Gateway ...
		if len(f) > 2 && f[1] == "00000000" {
			out = appendHex(out, reversed(f[2]))
		}
	}
	for _, f := range routes(fsys, "ipv6_route") { // dest plen src plen nexthop ...
		if len(f) > 4 && strings.Trim(f[0], "0") == "" && f[1] == "00" {
			out = appendHex(out, f[4])
		}
	}
	return out
}

func routes(fsys fs.FS, name string) [][]string {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil
	}
	var out [][]string
	for line := range strings.Lines(string(text)) {
		out = append(out, strings.Fields(line))
	}
	return out
}

// reversed turns the kernel's little-endian IPv4 address round.
func reversed(digits string) string {
	var b strings.Builder
	for i := len(digits) - 2; i >= 0; i -= 2 {
		b.WriteString(digits[i : i+2])
	}
	return b.String()
}

func appendHex(out []netip.Addr, digits string) []netip.Addr {
	b, err := hex.DecodeString(digits)
	if err != nil {
		return out
	}
	if a, ok := netip.AddrFromSlice(b); ok && !a.IsUnspecified() {
		out = append(out, a)
	}
	return out
}
