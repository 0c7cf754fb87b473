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
// quote_822_local). A source route in front stays as it is.
func Quote(addr string) string {
	if addr == "" {
		return addr
	}
	route, mailbox := cutRoute(addr)
	local, domain, has := SplitAddress(mailbox)
	if isDotString(local) {
		return addr
	}
	quoted := route + QuoteLocal(local)
	if has {
		quoted += "@" + domain
	}
	return quoted
}

// QuoteLocal turns a local part that is no dot-string into a quoted string.
func QuoteLocal(local string) string {
	if isDotString(local) {
		return local
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
	return b.String()
}

// cutRoute takes "@a,@b:" off the front of an address.
func cutRoute(addr string) (route, mailbox string) {
	if strings.HasPrefix(addr, "@") {
		if i := strings.IndexByte(addr, ':'); i >= 0 {
			return addr[:i+1], addr[i+1:]
		}
	}
	return "", addr
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
// backslashes of a quoted local part go (Postfix's unquote_822_local). The
// domain begins after the last '@' outside of quotes and stays as it is.
func Unquote(addr string) string {
	if !strings.ContainsAny(addr, `"\`) {
		return addr
	}
	route, mailbox := cutRoute(addr)
	b := []byte(route)
	quoted, at, domain := false, -1, ""
	for i := 0; i < len(mailbox); i++ {
		c := mailbox[i]
		switch {
		case c == '"':
			quoted = !quoted
			continue
		case c == '@' && !quoted:
			at, domain = len(b), mailbox[i:]
		case c == '\\':
			if i++; i == len(mailbox) {
				continue
			}
			c = mailbox[i]
		}
		b = append(b, c)
	}
	if at >= 0 {
		return string(b[:at]) + domain
	}
	return string(b)
}
