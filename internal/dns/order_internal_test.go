package dns

import (
	"net/netip"
	"strings"
	"testing"
)

// TestOrder: the addresses of a host in the order in which getaddrinfo(3) of
// glibc gives them.
func TestOrder(t *testing.T) {
	dual := map[string]string{"192.0.2": "192.0.2.200", "198.51.100": "192.0.2.200", "127.": "127.0.0.1", "2001:db8": "2001:db8::200", "::1": "::1", "fe80": "fe80::200", "2002:": "2001:db8::200"}
	for _, tt := range []struct{ name, from, in, want string }{
		{"no way anywhere", "", "192.0.2.1 2001:db8::1 192.0.2.2", "2001:db8::1 192.0.2.1 192.0.2.2"},
		{"both families", "dual", "192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1"},
		{"IPv4 only", "192.", "2001:db8::1 192.0.2.1", "192.0.2.1 2001:db8::1"},
		{"loopback first", "dual", "192.0.2.1 127.0.0.1 2001:db8::1 ::1", "::1 2001:db8::1 127.0.0.1 192.0.2.1"},
		{"6to4 from elsewhere", "dual", "2002:c000:201::1 192.0.2.1 2001:db8::1", "2001:db8::1 192.0.2.1 2002:c000:201::1"},
		{"the nearer network", "dual", "2001:db8:ffff::1 2001:db8::1", "2001:db8::1 2001:db8:ffff::1"},
		{"as they came", "dual", "192.0.2.9 198.51.100.1 192.0.2.1", "192.0.2.9 198.51.100.1 192.0.2.1"},
		{"one", "dual", "192.0.2.1", "192.0.2.1"},
	} {
		route := func(to netip.Addr) netip.Addr {
			for prefix, from := range dual {
				if strings.HasPrefix(to.String(), prefix) && (tt.from == "dual" || tt.from != "" && strings.HasPrefix(prefix, tt.from)) {
					return netip.MustParseAddr(from)
				}
			}
			return netip.Addr{}
		}
		var in []Record
		for _, a := range strings.Fields(tt.in) {
			in = append(in, Record{Data: a})
		}
		var got []string
		for _, r := range order(in, route) {
			got = append(got, r.Data)
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, s, tt.want)
		}
	}
}

// TestRoute: the way to oneself is from oneself.
func TestRoute(t *testing.T) {
	if from := route(netip.MustParseAddr("127.0.0.1")); from != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("to 127.0.0.1 from %s", from)
	}
}

// TestParseNumber: what the C library takes for an IPv4 address.
func TestNumericHost(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1": "127.0.0.1", "127.1": "127.0.0.1", "127.0.1": "127.0.0.1", "2130706433": "127.0.0.1", "0x7f.1": "127.0.0.1",
		"0177.0.0.01": "127.0.0.1", "1.2.3.4.5": "", "1.2.3.256": "", "1.2.65536": "", "256.1": "", "08.1": "", "1..2": "", "": "", "a.1": "",
		"1.": "", "0x.1": "", "4294967296": "", "2001:db8::1": "2001:db8::1", "-1": "", "1 ": "",
	} {
		got, ok := numericHost(in)
		if want == "" && ok || want != "" && (!ok || got.String() != want) {
			t.Errorf("%q: %v %v, want %q", in, got, ok, want)
		}
	}
}
