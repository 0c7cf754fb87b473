package rewrite

import "strings"

// Rewrite brings an address in internal form into standard form, in the
// context of local mail: source route, bang path and percent hack are turned
// into user@domain, what is missing is appended, one final dot is dropped.
// The empty address stays empty.
func (r *Resolver) Rewrite(addr string) string {
	if addr == "" || addr == "@" {
		return ""
	}
	addr = stripRoute(addr)
	if !strings.Contains(addr, "@") {
		addr = r.qualify(addr)
	}
	at := strings.LastIndexByte(addr, '@')
	local, domain := addr[:at], addr[at+1:]
	if r.o.AppendDotMydomain && domain != "" && domain[0] != '[' && domain[0] != '.' && !strings.Contains(domain, ".") {
		domain += "." + r.o.Mydomain
	}
	return local + "@" + trimFinalDot(domain)
}

// stripRoute takes "@a,@b:" off the front.
func stripRoute(addr string) string {
	if !strings.HasPrefix(addr, "@") {
		return addr
	}
	if i := strings.IndexByte(addr, ':'); i >= 0 && strings.Contains(addr[i:], "@") {
		return addr[i+1:]
	}
	return addr
}

// qualify gives a domain to an address without one: from a bang path, from the
// percent hack, or from myorigin.
func (r *Resolver) qualify(addr string) string {
	if r.o.SwapBangpath {
		if host, user, ok := strings.Cut(addr, "!"); ok {
			return user + "@" + host
		}
	}
	if r.o.AllowPercentHack {
		if i := strings.LastIndexByte(addr, '%'); i >= 0 {
			return addr[:i] + "@" + addr[i+1:]
		}
	}
	return addr + "@" + r.o.Myorigin
}

// trimFinalDot drops one dot at the end of a domain, but not from ".." or ".".
func trimFinalDot(domain string) string {
	if s, ok := strings.CutSuffix(domain, "."); ok && s != "" && !strings.HasSuffix(s, ".") {
		return s
	}
	return domain
}

// StripExtension takes the extension off a local part, or returns it as it is
// when it has none (recipient_delimiter, postconf(5)).
func (r *Resolver) StripExtension(local string) string {
	bare, _ := r.splitExtension(local)
	return bare
}

// splitExtension cuts a local part before the first delimiter; ext includes
// it. Addresses that mail systems use among themselves are left whole.
func (r *Resolver) splitExtension(local string) (bare, ext string) {
	if r.o.RecipientDelimiter == "" {
		return local, ""
	}
	for _, n := range []string{"postmaster", "mailer-daemon", r.o.DoubleBounceSender} {
		if strings.EqualFold(local, n) {
			return local, ""
		}
	}
	if r.o.OwnerRequestSpecial && strings.Contains(r.o.RecipientDelimiter, "-") {
		low := strings.ToLower(local)
		if strings.HasPrefix(low, "owner-") || strings.HasSuffix(low, "-request") {
			return local, ""
		}
	}
	i := strings.IndexAny(local, r.o.RecipientDelimiter)
	if i <= 0 || i == len(local)-1 {
		return local, ""
	}
	return local[:i], local[i:]
}
