package rewrite

import (
	"slices"
	"strings"

	"sekisho/internal/mail"
)

// Rewrite brings an address in internal form into standard form, in the
// context of local mail: source route, bang path and percent hack are turned
// into user@domain, what is missing is appended, one final dot is dropped.
// The empty address stays empty.
func (r *Resolver) Rewrite(addr string) string {
	if _, domain, ok := plain(addr); ok {
		return addr + r.missing(domain)
	}
	return r.rewriteTokens(addr)
}

func (r *Resolver) rewriteTokens(addr string) string {
	if addr == "" {
		return ""
	}
	return mail.Unquote(mail.Quote(mail.JoinTokens(r.rewrite(scan(addr)))))
}

// plain recognises the ordinary address, user@domain without anything that
// needs quotes or could be a route, for which there is a short way.
func plain(addr string) (local, domain string, ok bool) {
	at := -1
	for i := 0; i < len(addr); i++ {
		switch c := addr[i]; {
		case c == '@' && at < 0:
			at = i
		case c == '.' && (i == 0 || i == at+1 || i == len(addr)-1 || addr[i-1] == '.' || addr[i+1] == '@'):
			return "", "", false
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_', c == '+', c == '=':
		default:
			return "", "", false
		}
	}
	if at < 1 || at == len(addr)-1 {
		return "", "", false
	}
	return addr[:at], addr[at+1:], true
}

// missing is what append_dot_mydomain adds to a domain.
func (r *Resolver) missing(domain string) string {
	if r.o.AppendDotMydomain && r.o.Mydomain != "" && !strings.Contains(domain, ".") {
		return "." + r.o.Mydomain
	}
	return ""
}

// scan cuts an address in internal form into tokens. It goes by way of the
// external form, so that what needs quotes is one quoted word.
func scan(addr string) []mail.Token {
	if addr == "" {
		return []mail.Token{{Kind: mail.QuotedString}}
	}
	return mail.ScanAddress(mail.Quote(addr))
}

// rewrite is trivial-rewrite's rule set for local mail.
func (r *Resolver) rewrite(ts []mail.Token) []mail.Token {
	switch {
	case len(ts) == 0 || isEmpty(ts):
		return ts
	case len(ts) == 1 && ts[0].Is('@'):
		return []mail.Token{{Kind: mail.QuotedString}}
	}
	ts = stripRoute(ts)
	if last(ts, '@') < 0 {
		ts = r.qualify(ts)
	}
	at := last(ts, '@')
	if r.o.AppendDotMydomain && r.o.Mydomain != "" && at >= 0 && at < len(ts)-1 && isWord(ts[at+1:]) {
		ts = join(ts, op("."), mail.ScanAddress(r.o.Mydomain))
	}
	if n := len(ts); n > 1 && ts[n-1].Is('.') && !ts[n-2].Is('.') && !ts[n-2].Is('@') {
		ts = ts[:n-1]
	}
	return ts
}

// isEmpty reports whether tokens are just an empty quoted string.
func isEmpty(ts []mail.Token) bool {
	return len(ts) == 1 && ts[0].Kind == mail.QuotedString && ts[0].Text == ""
}

// isWord reports whether a domain has neither a dot nor an address literal.
func isWord(domain []mail.Token) bool {
	for _, t := range domain {
		if t.Kind == mail.Literal || t.Is('.') {
			return false
		}
	}
	return true
}

// stripRoute takes "@a,@b:" off the front.
func stripRoute(ts []mail.Token) []mail.Token {
	if !ts[0].Is('@') {
		return ts
	}
	if i := first(ts, ':'); i >= 0 && i < len(ts)-1 {
		return ts[i+1:]
	}
	return ts
}

// qualify gives a domain to an address without one: from a bang path, from the
// percent hack, or from myorigin.
func (r *Resolver) qualify(ts []mail.Token) []mail.Token {
	if r.o.SwapBangpath {
		if i := first(ts, '!'); i == 0 {
			return join(tight(ts[1:]), op("@"))
		} else if i > 0 {
			return join(ts[i+1:], op("@"), ts[:i])
		}
	}
	if r.o.AllowPercentHack {
		if i := last(ts, '%'); i >= 0 {
			return join(ts[:i], op("@"), ts[i+1:])
		}
	}
	if r.o.NoAppendAtMyorigin || r.o.Myorigin == "" {
		return ts
	}
	return join(ts, op("@"), mail.ScanAddress(r.o.Myorigin))
}

// tight is how the words after a first "!" go on: without blanks between them.
func tight(ts []mail.Token) []mail.Token {
	ts = slices.Clone(ts)
	for i := range ts {
		ts[i].Tight = true
	}
	return ts
}

func op(c string) []mail.Token { return []mail.Token{{Kind: mail.Operator, Text: c}} }

func join(parts ...[]mail.Token) []mail.Token {
	var out []mail.Token
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}

// first and last find an operator; -1 is none.
func first(ts []mail.Token, op byte) int {
	for i := range ts {
		if ts[i].Is(op) {
			return i
		}
	}
	return -1
}

func last(ts []mail.Token, op byte) int {
	for i := len(ts) - 1; i >= 0; i-- {
		if ts[i].Is(op) {
			return i
		}
	}
	return -1
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
	if r.o.RecipientDelimiter == "" || !strings.ContainsAny(local, r.o.RecipientDelimiter) {
		return local, ""
	}
	for _, n := range []string{"postmaster", "mailer-daemon", r.o.DoubleBounceSender} {
		if strings.EqualFold(local, n) {
			return local, ""
		}
	}
	if r.o.OwnerRequestSpecial && strings.Contains(r.o.RecipientDelimiter, "-") {
		low := strings.ToLower(local)
		if strings.HasPrefix(low, "owner-") || len(low) > len("-request") && strings.HasSuffix(low, "-request") {
			return local, ""
		}
	}
	i := strings.IndexAny(local, r.o.RecipientDelimiter)
	if i <= 0 {
		return local, ""
	}
	return local[:i], local[i:]
}
