package mail

import "strings"

// SplitAddress cuts an address in internal form at its last '@'. hasDomain is
// false when there is none; local is then the whole address.
func SplitAddress(addr string) (local, domain string, hasDomain bool) {
	i := strings.LastIndexByte(addr, '@')
	if i < 0 {
		return addr, "", false
	}
	return addr[:i], addr[i+1:], true
}

// Quote turns an address from internal into external form: a local part that
// is no dot-string gets quotes (RFC 5321 section 4.1.2; Postfix's
// quote_822_local).
func Quote(addr string) string {
	i := strings.LastIndexByte(addr, '@')
	local, rest := addr, ""
	if i >= 0 {
		local, rest = addr[:i], addr[i:]
	}
	if addr == "" || isDotString(local) {
		return addr
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		c := local[i]
		if c == '"' || c == '\\' || c == '\r' {
			b.WriteByte('\\')
		}
		b.WriteByte(c)
	}
	b.WriteByte('"')
	b.WriteString(rest)
	return b.String()
}

// isDotString reports whether a local part needs no quotes: atoms separated by
// single dots. Bytes above 127 are fine (RFC 6531).
func isDotString(s string) bool {
	if s == "" || s[0] == '.' || s[len(s)-1] == '.' || strings.Contains(s, "..") {
		return false
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c <= ' ' || c == 127 || strings.IndexByte(`()<>@,;:\"[]`, c) >= 0 {
			return false
		}
	}
	return true
}

// Unquote turns an address from external into internal form: quotes and
// backslashes of a quoted local part go (Postfix's unquote_822_local).
func Unquote(addr string) string {
	i := strings.LastIndexByte(addr, '@')
	local, rest := addr, ""
	if i >= 0 {
		local, rest = addr[:i], addr[i:]
	}
	if strings.IndexByte(local, '"') < 0 && strings.IndexByte(local, '\\') < 0 {
		return addr
	}
	var b strings.Builder
	for i := 0; i < len(local); i++ {
		switch c := local[i]; c {
		case '"':
		case '\\':
			if i++; i < len(local) {
				b.WriteByte(local[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String() + rest
}
