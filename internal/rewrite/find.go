package rewrite

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Match is what a search in a list of tables came to.
type Match struct {
	Found    bool
	Failed   bool // a table failed before one had an answer
	Broken   bool // with Failed: a table has an empty value, or failed for good, which no retry mends
	Value    string
	Ext      string // the extension that the matching key left out
	Warnings []string
}

// keys says which keys of an address are tried, in the order of the constants
// (mail_addr_find(3)).
type keys uint16

const (
	whole         keys = 1 << iota // user+ext@domain
	bare                           // user@domain
	localIfOurs                    // user+ext and user, when the domain is ours
	atDomain                       // @domain
	domainOnly                     // domain
	parents                        // and its parent domains,
	dottedParents                  // or those with a leading dot
	localAt                        // user+ext@ and user@
	externalOnly                   // no key without the quotes it needs
)

// Find searches address tables in the order of canonical(5) and virtual(5):
// the address, without its extension, the local part alone if the domain is
// ours, @domain. The address is in internal form, the keys in external form;
// a key that needs quotes is tried without them too.
func (r *Resolver) Find(src evidence.Source, maps []string, addr string) Match {
	return r.find(src, maps, addr, whole|bare|localIfOurs|atDomain)
}

// FindMapping is Find for what replaces an address (mail_addr_map(3)): a key
// that needs quotes is tried with them only.
func (r *Resolver) FindMapping(src evidence.Source, maps []string, addr string) Match {
	return r.find(src, maps, addr, whole|bare|localIfOurs|atDomain|externalOnly)
}

// FindFull searches only the address with and without its extension, and
// @domain: the order of virtual(8).
func (r *Resolver) FindFull(src evidence.Source, maps []string, addr string) Match {
	return r.find(src, maps, addr, whole|bare|atDomain)
}

// FindAccess searches an access table in the order of access(5): the address
// with and without its extension, its domain and the parents of it, the local
// part with a final "@". With parentStyle a parent domain is looked up without
// a leading dot.
func (r *Resolver) FindAccess(src evidence.Source, table, addr string, parentStyle bool) Match {
	return r.find(src, []string{table}, addr, whole|bare|domainKeys(parentStyle)|localAt)
}

// findTransport searches transport_maps: the address with and without
// extension, the domain, its parents, "*".
func (r *Resolver) findTransport(src evidence.Source, addr string) Match {
	s := &search{r: r, src: src, maps: r.o.TransportMaps, want: whole | bare | domainKeys(r.o.TransportParentStyle)}
	if !s.address(addr) {
		s.try("*", true)
	}
	return s.out
}

func domainKeys(parentStyle bool) keys {
	if parentStyle {
		return domainOnly | parents
	}
	return domainOnly | dottedParents
}

func (r *Resolver) find(src evidence.Source, maps []string, addr string, want keys) Match {
	if len(maps) == 0 {
		return Match{}
	}
	s := &search{r: r, src: src, maps: maps, want: want}
	s.address(addr)
	return s.out
}

// search walks the keys of one address through a list of tables: for each key
// all tables are asked before the next key is tried. Its methods report
// whether the search is over.
type search struct {
	r    *Resolver
	src  evidence.Source
	maps []string
	want keys
	out  Match
}

func (s *search) address(addr string) bool {
	local, domain, has := mail.SplitAddress(addr)
	bareLocal, ext := local, ""
	if s.want&bare != 0 {
		bareLocal, ext = s.r.splitExtension(local)
	}
	at := addr[len(local):]
	switch {
	case s.quoted(local, at, true),
		ext != "" && s.bare(bareLocal, ext, at):
		return true
	case !has:
		return false
	}
	return s.want&localIfOurs != 0 && s.ourOrigin(domain) && s.local(local, bareLocal, ext, "") ||
		s.out.Failed ||
		s.want&atDomain != 0 && s.try(at, false) ||
		s.want&domainOnly != 0 && s.domain(domain) ||
		s.want&localAt != 0 && s.local(local, bareLocal, ext, "@")
}

func (s *search) local(local, bareLocal, ext, at string) bool {
	return s.quoted(local, at, false) || ext != "" && s.bare(bareLocal, ext, at)
}

func (s *search) bare(local, ext, at string) bool {
	if !s.quoted(local, at, false) {
		return false
	}
	if s.out.Found {
		s.out.Ext = ext
	}
	return true
}

// quoted tries a key in external form, then as it is, unless that is not wanted.
func (s *search) quoted(local, at string, full bool) bool {
	key := mail.QuoteLocal(local)
	return s.try(key+at, full) || key != local && s.want&externalOnly == 0 && s.try(local+at, full)
}

// domain tries a domain and its parents.
func (s *search) domain(name string) bool {
	for name != "" {
		if s.try(name, false) {
			return true
		}
		i := strings.IndexByte(name[1:], '.')
		if i < 0 {
			return false
		}
		if name = name[1+i:]; s.want&parents != 0 {
			name = name[1:]
		}
	}
	return false
}

// try asks the tables for one key. Tables that see only whole keys are left
// out of partial ones.
func (s *search) try(key string, full bool) bool {
	if key == "" || s.r.o.SMTPUTF8 && !utf8.ValidString(key) {
		return false
	}
	for _, m := range s.maps {
		if !full && !s.r.o.Partial(m) {
			continue
		}
		a := s.src.Ask(evidence.Question{Kind: evidence.Table, Name: m, Arg: key})
		switch {
		case a.Status == evidence.NotFound:
		case s.r.o.SMTPUTF8 && !utf8.ValidString(a.Value):
			s.out.Failed, s.out.Broken = true, true
			s.warn("%s: key \"%s\": non-UTF-8 value \"%s\": malformed UTF-8 or invalid codepoint", m, key, strings.ToValidUTF8(a.Value, "?"))
			s.warn("%s lookup error for \"%s\"", m, key)
			return true
		case a.Status == evidence.Found && a.Value != "":
			s.out.Found, s.out.Value = true, a.Value
			return true
		case a.Status == evidence.Found:
			s.out.Failed, s.out.Broken = true, true
			s.warn("%s lookup of %s returns an empty string result", m, key)
			s.warn("%s should return NO RESULT in case of NOT FOUND", m)
			return true
		default:
			s.out.Failed, s.out.Broken = true, a.Permanent
			s.warn("%s lookup error for \"%s\"", m, key)
			return true
		}
	}
	return false
}

func (s *search) warn(format string, args ...any) {
	s.out.Warnings = append(s.out.Warnings, fmt.Sprintf(format, args...))
}

// ourOrigin reports whether addresses of a domain are also listed without it.
func (s *search) ourOrigin(domain string) bool {
	if strings.EqualFold(domain, s.r.o.Myorigin) {
		return true
	}
	res := resolution{r: s.r, src: s.src}
	ours, failed := res.isLocal(domain)
	if failed {
		s.out.Failed = true
	}
	s.out.Warnings = append(s.out.Warnings, res.out.Warnings...)
	return ours
}

// Map replaces an address by what a table says: a list of addresses in
// internal form. An extension that the matching key left out is passed on to
// each result; "@domain" keeps the local part. found is false when no table
// has the address.
func (r *Resolver) Map(src evidence.Source, maps []string, addr string, propagate bool) (results []string, m Match) {
	m = r.Find(src, maps, addr)
	if !m.Found {
		return nil, m
	}
	local, _, _ := mail.SplitAddress(addr)
	for _, w := range splitAddresses(m.Value) {
		a := mail.Unquote(w)
		if rest, ok := strings.CutPrefix(a, "@"); ok {
			a = local + "@" + rest
		} else if propagate && m.Ext != "" {
			a = addExtension(a, m.Ext)
		}
		results = append(results, r.Rewrite(a))
	}
	return results, m
}

func addExtension(addr, ext string) string {
	l, d, has := mail.SplitAddress(addr)
	if !has {
		return l + ext
	}
	return l + ext + "@" + d
}

// splitAddresses splits a table's value at commas and white space outside
// quotes.
func splitAddresses(v string) []string {
	var out []string
	var b strings.Builder
	quoted := false
	flush := func() {
		if b.Len() > 0 {
			out = append(out, b.String())
			b.Reset()
		}
	}
	for i := 0; i < len(v); i++ {
		c := v[i]
		switch {
		case c == '\\' && quoted && i+1 < len(v):
			b.WriteByte(c)
			i++
			c = v[i]
		case c == '"':
			quoted = !quoted
		case !quoted && strings.IndexByte(", \t\r\n", c) >= 0:
			flush()
			continue
		}
		b.WriteByte(c)
	}
	flush()
	return out
}
