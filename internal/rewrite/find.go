package rewrite

import (
	"fmt"
	"strings"

	"sekisho/internal/evidence"
	"sekisho/internal/mail"
)

// Match is what a search in a list of tables came to.
type Match struct {
	Found    bool
	Failed   bool // a table failed before one had an answer
	Value    string
	Ext      string // the extension that the matching key left out
	Warnings []string
}

// search walks the keys of one address through a list of tables: for each key
// all tables are asked before the next key is tried.
type search struct {
	r    *Resolver
	src  evidence.Source
	maps []string
	out  Match
}

// try asks the tables for one key; it reports whether the search is over.
// Tables that see only whole keys are left out of partial ones.
func (s *search) try(key string, whole bool) bool {
	for _, m := range s.maps {
		if !whole && !s.r.o.Partial(m) {
			continue
		}
		a := s.src.Ask(evidence.Question{Kind: evidence.Table, Name: m, Arg: key})
		switch a.Status {
		case evidence.Found:
			s.out.Found, s.out.Value = true, a.Value
			return true
		case evidence.NotFound:
		default:
			s.out.Failed = true
			s.out.Warnings = append(s.out.Warnings, fmt.Sprintf("%s lookup error for \"%s\"", m, key))
			return true
		}
	}
	return false
}

// Find searches address tables in the order of canonical(5) and virtual(5):
// the address, without its extension, the local part alone if the domain is
// ours, @domain. The keys are in external form and lower case.
func (r *Resolver) Find(src evidence.Source, maps []string, addr string) Match {
	s := &search{r: r, src: src, maps: maps}
	if len(maps) == 0 {
		return s.out
	}
	local, domain, has := mail.SplitAddress(strings.ToLower(addr))
	bare, ext := r.splitExtension(local)
	if s.address(local, bare, ext, domain, has) {
		return s.out
	}
	if has && s.ourOrigin(domain) {
		if s.try(mail.Quote(local), false) {
			return s.out
		}
		if ext != "" && s.try(mail.Quote(bare), false) {
			s.out.Ext = originalExt(addr, ext)
			return s.out
		}
	}
	if has && !s.out.Failed {
		s.try("@"+domain, false)
	}
	return s.out
}

// FindFull searches only the address with and without its extension, and
// @domain: the order of virtual(8).
func (r *Resolver) FindFull(src evidence.Source, maps []string, addr string) Match {
	s := &search{r: r, src: src, maps: maps}
	local, domain, has := mail.SplitAddress(strings.ToLower(addr))
	bare, ext := r.splitExtension(local)
	if !s.address(local, bare, ext, domain, has) && has {
		s.try("@"+domain, false)
	}
	return s.out
}

func (s *search) address(local, bare, ext, domain string, has bool) bool {
	at := ""
	if has {
		at = "@" + domain
	}
	if s.try(mail.Quote(local+at), true) {
		return true
	}
	if ext != "" && s.try(mail.Quote(bare+at), false) {
		s.out.Ext = ext
		return true
	}
	return false
}

// originalExt returns the extension in the case the address had it.
func originalExt(addr, ext string) string {
	local, _, _ := mail.SplitAddress(addr)
	return local[len(local)-len(ext):]
}

// ourOrigin reports whether addresses of a domain are also listed without it.
func (s *search) ourOrigin(domain string) bool {
	if strings.EqualFold(domain, s.r.o.Myorigin) {
		return true
	}
	res := resolution{r: s.r, src: s.src}
	ours, failed := res.isLocal(domain)
	if failed {
		s.out.Failed, s.out.Warnings = true, append(s.out.Warnings, res.out.Warnings...)
	}
	return ours
}

// findTransport searches transport_maps: the address with and without
// extension, the domain, its parents, "*".
func (r *Resolver) findTransport(src evidence.Source, addr string) Match {
	s := &search{r: r, src: src, maps: r.o.TransportMaps}
	local, domain, _ := mail.SplitAddress(strings.ToLower(addr))
	bare, ext := r.splitExtension(local)
	if s.address(local, bare, ext, domain, true) {
		return s.out
	}
	for key := domain; key != ""; {
		if s.try(key, false) {
			return s.out
		}
		i := strings.IndexByte(key[1:], '.')
		if i < 0 {
			break
		}
		if key = key[1+i:]; r.o.TransportParentStyle {
			key = key[1:]
		}
	}
	s.try("*", false)
	return s.out
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
