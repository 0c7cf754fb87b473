package ldap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Query is a table's search. Its fields are the parameters of ldap_table(5),
// with the key already in Base and Filter.
type Query struct {
	Table       string // for log lines
	Key         string // the same
	Base        string
	DynamicBase bool // the key is a part of the base: one that is missing is no error
	Scope       string
	Filter      string
	Dereference int
	// The attributes that are wanted.
	Terminal, Leaf, Ordinary, Special []string
	RecursionLimit                    int
	ExpansionLimit                    int // 0: none
	SizeLimit                         int // 0: none
	// Format makes a result of a value; ok is false when it makes none.
	Format func(value string) (result string, ok bool)
}

// Scope reads base, one or sub.
func Scope(s string) (int, bool) {
	switch strings.ToLower(s) {
	case "base":
		return ldap.ScopeBaseObject, true
	case "one":
		return ldap.ScopeSingleLevel, true
	case "sub":
		return ldap.ScopeWholeSubtree, true
	}
	return 0, false
}

// CheckFilter says what is wrong with the syntax of a filter.
func CheckFilter(filter string) error {
	_, err := ldap.CompileFilter(parenthesized(filter))
	var e *ldap.Error
	if errors.As(err, &e) {
		return e.Err // without the library's number
	}
	return err
}

// parenthesized lets "a=b" pass, as libldap does.
func parenthesized(filter string) string {
	filter = strings.TrimSpace(filter)
	if !strings.HasPrefix(filter, "(") {
		return "(" + filter + ")"
	}
	return filter
}

// find is one lookup.
type find struct {
	d       *Directory
	q       *Query
	attrs   []string // terminal, leaf, ordinary, special
	results []string
}

// Find returns the results of a search, in the order of the entries, with those
// of the entries that special attributes name. The error has been told to the
// Directory's warn.
func (d *Directory) Find(q *Query) ([]string, error) {
	f := &find{d: d, q: q}
	for _, a := range [][]string{q.Terminal, q.Leaf, q.Ordinary, q.Special} {
		f.attrs = append(f.attrs, a...)
	}
	scope, _ := Scope(q.Scope)
	res, err := f.search(q.Base, scope, q.Filter, f.attrs)
	var unreachable errConnect
	switch {
	case err == nil:
		err := f.entries(res.Entries, 1)
		return f.results, err
	case errors.As(err, &unreachable):
		return nil, err
	case !ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		return nil, f.fail("dict_ldap_lookup: Search error " + numbered(err, ": ") + " ")
	case q.DynamicBase:
		return nil, nil
	}
	return nil, f.fail(fmt.Sprintf("dict_ldap_lookup: %s: Search base '%s' not found: %s", q.Table, q.Base, numbered(err, ": ")))
}

func (f *find) fail(text string) error {
	f.d.warn(text)
	return errors.New(strings.TrimSpace(text))
}

func (f *find) failAt(depth int, format string, args ...any) error {
	return f.fail(fmt.Sprintf("dict_ldap_get_values[%d]: ", depth) + fmt.Sprintf(format, args...))
}

func (f *find) search(base string, scope int, filter string, attrs []string) (*ldap.SearchResult, error) {
	return f.d.search(&ldap.SearchRequest{
		BaseDN: base, Scope: scope, Filter: parenthesized(filter), Attributes: attrs, DerefAliases: f.q.Dereference,
		SizeLimit: f.q.SizeLimit, TimeLimit: int(f.d.server.Timeout.Seconds()),
	})
}

// entries takes the results out of what a search found. Whether an entry is
// terminal is decided by its terminal attributes; one without any is as the one
// before it, as in Postfix.
func (f *find) entries(entries []*ldap.Entry, depth int) error {
	leaf, terminal := true, false
	for i, e := range entries {
		if f.q.SizeLimit > 0 && i >= f.q.SizeLimit {
			return f.failAt(depth, "%s: Query size limit (%d) exceeded", f.q.Table, f.q.SizeLimit)
		}
		terminal = terminal || hasAny(e, f.q.Terminal)
		if !terminal && len(f.q.Leaf) > 0 {
			leaf = leaf && !hasAny(e, f.q.Special)
		}
		for _, a := range e.Attributes {
			if len(a.Values) == 0 {
				continue
			}
			if err := f.attribute(a, leaf, terminal, depth); err != nil {
				return err
			}
		}
	}
	return nil
}

func hasAny(e *ldap.Entry, attrs []string) bool {
	for _, a := range attrs {
		if len(e.GetEqualFoldAttributeValues(a)) > 0 {
			return true
		}
	}
	return false
}

// attribute deals with the values of one attribute of an entry.
func (f *find) attribute(a *ldap.EntryAttribute, leaf, terminal bool, depth int) error {
	i := 0
	for i < len(f.attrs) && subtype(f.attrs[i], a.Name) <= 0 {
		i++
	}
	terminals := len(f.q.Terminal)
	leaves := terminals + len(f.q.Leaf)
	switch {
	case i < leaves+len(f.q.Ordinary) || terminal:
		if terminal && i >= terminals || !leaf && i < leaves {
			return nil
		}
		return f.ordinary(a, depth)
	case i == len(f.attrs):
		return nil
	case depth >= f.q.RecursionLimit:
		return f.failAt(depth, "%s: Recursion limit exceeded for special attribute %s=%s", f.q.Table, a.Name, a.Values[0])
	}
	for _, v := range a.Values {
		if err := f.follow(v, depth); err != nil {
			return err
		}
	}
	return nil
}

func (f *find) ordinary(a *ldap.EntryAttribute, depth int) error {
	for _, v := range a.Values {
		s, ok := f.q.Format(v)
		if !ok {
			continue
		}
		f.results = append(f.results, s)
		if f.q.ExpansionLimit > 0 && len(f.results) > f.q.ExpansionLimit {
			return f.failAt(depth, "%s: Expansion limit exceeded for key: '%s'", f.q.Table, f.q.Key)
		}
	}
	return nil
}

// follow looks at the entry, or the entries, that a value names.
func (f *find) follow(value string, depth int) error {
	base, scope, filter, attrs := value, ldap.ScopeBaseObject, "(objectclass=*)", f.attrs
	if isURL(value) {
		u, err := parseURL(value)
		if err != nil {
			return f.failAt(depth, "malformed URL %s: %s", value, err)
		}
		if attrs = f.wanted(u.attrs); len(attrs) == 0 {
			return nil
		}
		base, scope, filter = u.dn, u.scope, u.filter
	}
	res, err := f.search(base, scope, filter, attrs)
	switch {
	case err == nil:
		return f.entries(res.Entries, depth+1)
	case ldap.IsErrorWithCode(err, ldap.LDAPResultNoSuchObject):
		f.d.warn(fmt.Sprintf("dict_ldap_get_values[%d]: DN %s not found, skipping ", depth, value))
		return nil
	}
	return f.failAt(depth, "search error %s ", numbered(err, ": "))
}

// wanted are the attributes that both a URL and the table ask for; of two that
// differ in their options, the narrower.
func (f *find) wanted(attrs []string) []string {
	if len(attrs) == 0 {
		return f.attrs
	}
	var both []string
	for _, a := range attrs {
		for _, b := range f.attrs {
			switch subtype(a, b) {
			case 1:
				both = append(both, b)
			case -1:
				both = append(both, a)
			}
		}
	}
	return both
}

// subtype is 1 when b is a or a with options, -1 when a is b with options, and 0
// for different attributes (RFC 4512 section 2.5).
func subtype(a, b string) int {
	switch {
	case strings.EqualFold(a, b) || isPrefix(a, b):
		return 1
	case isPrefix(b, a):
		return -1
	}
	return 0
}

func isPrefix(a, b string) bool {
	return len(b) > len(a) && b[len(a)] == ';' && strings.EqualFold(a, b[:len(a)])
}
