package mail

import (
	"net/netip"
	"strings"
)

// ValidHostname reports whether name has the form of a host name as Postfix's
// valid_hostname sees it: labels of letters, digits, '-' and '_' up to 63
// bytes, no '-' at either end, no empty label, at most 255 bytes in all, and
// not digits and dots alone.
func ValidHostname(name string) bool {
	if name == "" || len(name) > 255 || IsNumericHostname(name) {
		return false
	}
	start := 0
	for i := 0; i <= len(name); i++ {
		if i < len(name) && name[i] != '.' {
			if !isHostnameByte(name[i]) {
				return false
			}
			continue
		}
		label := name[start:i]
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		start = i + 1
	}
	return true
}

func isHostnameByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// IsNumericHostname reports whether name consists of digits and dots only.
func IsNumericHostname(name string) bool {
	return name != "" && strings.Trim(name, "0123456789.") == ""
}

// ValidHostAddr reports whether s is an IPv4 or IPv6 address without brackets.
// An IPv4 address whose first octet is 0 is none, except 0.0.0.0.
func ValidHostAddr(s string) bool {
	if strings.IndexByte(s, ':') < 0 {
		return validIPv4(s)
	}
	return validIPv6(s)
}

// validIPv4 takes four octets from 0 to 255, leading zeros included.
func validIPv4(s string) bool {
	octets := strings.Split(s, ".")
	if len(octets) != 4 {
		return false
	}
	for i, o := range octets {
		n := 0
		for j := 0; j < len(o); j++ {
			if o[j] < '0' || o[j] > '9' {
				return false
			}
			if n = n*10 + int(o[j]-'0'); n > 255 {
				return false
			}
		}
		if o == "" || i == 0 && n == 0 && strings.Trim(s, "0.") != "" {
			return false
		}
	}
	return true
}

func validIPv6(s string) bool {
	a, err := netip.ParseAddr(s)
	return err == nil && a.Is6() && a.Zone() == ""
}

// ValidMailHostAddr reads the inside of an address literal, "192.0.2.1" or
// "IPv6:2001:db8::1" (RFC 5321 section 4.1.3), and returns the bare address.
func ValidMailHostAddr(s string) (addr string, ok bool) {
	if len(s) > 5 && strings.EqualFold(s[:5], "IPv6:") {
		return s[5:], validIPv6(s[5:])
	}
	return s, validIPv4(s)
}
