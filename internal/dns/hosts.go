package dns

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hostsFile is hosts(5), read again when it has changed. The path is empty
// for none.
type hostsFile struct {
	path string

	mu      sync.Mutex
	every   time.Duration // how long it is not looked at again
	checked time.Time
	mtime   time.Time
	size    int64
	addrs   map[string][]netip.Addr // lower-case name
	names   map[netip.Addr]string
}

// byName returns the addresses of a name, in the file's order.
func (h *hostsFile) byName(name string) []netip.Addr {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.addrs[strings.ToLower(strings.TrimSuffix(name, "."))]
}

// byAddr returns the canonical name of an address, empty when it has none.
func (h *hostsFile) byAddr(addr netip.Addr) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.refresh()
	return h.names[addr.WithZone("")]
}

// refresh reads the file if it is new. A missing file is an empty one.
func (h *hostsFile) refresh() {
	if h.path == "" {
		return
	}
	now := time.Now()
	if now.Sub(h.checked) < h.every {
		return
	}
	h.checked = now
	info, err := os.Stat(h.path)
	if err != nil {
		h.addrs, h.names, h.mtime = nil, nil, time.Time{}
		return
	}
	if info.ModTime().Equal(h.mtime) && info.Size() == h.size {
		return
	}
	text, err := os.ReadFile(h.path)
	if err != nil {
		return
	}
	h.mtime, h.size = info.ModTime(), info.Size()
	h.addrs, h.names = parseHosts(string(text))
}

func parseHosts(text string) (names map[string][]netip.Addr, addrs map[netip.Addr]string) {
	names, addrs = make(map[string][]netip.Addr), make(map[netip.Addr]string)
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		addr, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		addr = addr.Unmap().WithZone("")
		if _, ok := addrs[addr]; !ok {
			addrs[addr] = f[1]
		}
		for _, name := range f[1:] {
			key := strings.ToLower(name)
			names[key] = append(names[key], addr)
		}
	}
	return names, addrs
}

// numericHost reads an address as getaddrinfo(3) does, which also takes the
// forms of inet_aton(3): fewer parts, octal and hexadecimal numbers.
func numericHost(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return a, true
	}
	parts := strings.Split(s, ".")
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	value := uint64(0)
	for i, part := range parts {
		limit := uint64(1) << 8
		if i == len(parts)-1 {
			limit = 1 << (8 * (5 - len(parts)))
		}
		hex := strings.HasPrefix(strings.ToLower(part), "0x")
		n, err := strconv.ParseUint(part, 0, 33)
		if err != nil || n >= limit || strings.ContainsAny(part, "_oO") || !hex && strings.ContainsAny(part, "bB") {
			return netip.Addr{}, false
		}
		value = value*limit + n
	}
	return netip.AddrFrom4([4]byte{byte(value >> 24), byte(value >> 16), byte(value >> 8), byte(value)}), true
}
