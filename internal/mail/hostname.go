package mail

import (
	"net/netip"
	"strconv"
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
func validIPv4(s string) bool { return IPv4Fault(s) == "" }

// IPv4Fault says what is wrong with an IPv4 address, in the words in which
// Postfix's valid_ipv4_hostaddr complains, or nothing.
func IPv4Fault(s string) string {
	fault := func(what string) string { return "valid_ipv4_hostaddr: " + what + ": " + s }
	octets, digits, value := 0, 0, 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
			if digits == 0 {
				octets, value = octets+1, 0
			}
			digits++
			if value = value*10 + int(c-'0'); value > 255 {
				return fault("invalid octet value")
			}
		case c != '.':
			return fault("invalid character " + strconv.Itoa(int(c)) + "(decimal)")
		case digits == 0 || i == len(s)-1:
			return fault("misplaced dot")
		case octets == 1 && value == 0 && strings.Trim(s, "0.") != "":
			return fault("bad initial octet value")
		default:
			digits = 0
		}
	}
	if octets != 4 {
		return fault("invalid octet count")
	}
	return ""
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
